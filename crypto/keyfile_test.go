package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/packnback/packnback/repo/object"
)

func TestKeyFileModes(t *testing.T) {
	restore := newReadKey(t, ForRestore)
	send := newSendKey(t, restore)
	sealed, err := EncryptKeyText(restore.Append(nil), newReadKey(t, ForRestore).Recipient().key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		text []byte
		mode fs.FileMode
		want error
	}{
		{"restore key, own", restore.Append(nil), 0o600, nil},
		{"restore key, read-only", restore.Append(nil), 0o400, nil},
		{"restore key, group", restore.Append(nil), 0o640, ErrKeyMode},
		{"restore key, world", restore.Append(nil), 0o604, ErrKeyMode},
		{"send key, group writes", send.Append(nil), 0o620, ErrKeyMode},
		{"send key, world executes", send.Append(nil), 0o601, ErrKeyMode},
		{"paper key, world", restore.AppendPaper(nil, nil), 0o644, ErrKeyMode},
		{"bare identity, world", []byte(restore.identities[0].String()), 0o644, ErrKeyMode},
		{"public part, world", restore.Recipient().AppendText(nil), 0o644, nil},
		{"sender, world", send.Sender().Append(nil), 0o644, nil},
		{"encrypted key, world", sealed, 0o644, nil},
	} {
		name := filepath.Join(t.TempDir(), "it's a key")
		if err := os.WriteFile(name, c.text, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := ReadKeyFile(name)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
		if err == nil && !bytes.Equal(got, c.text) {
			t.Errorf("%s: got another text", c.name)
		}
		if err != nil && !strings.Contains(err.Error(), `chmod 600 '`+strings.ReplaceAll(name, "'", `'\''`)+"'") {
			t.Errorf("%s: the error names no command to paste: %v", c.name, err)
		}
	}
}

func TestReadKeyFileFailures(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, MaxKeyText+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{filepath.Join(dir, "none"): fs.ErrNotExist, large: ErrNotKey} {
		if _, err := ReadKeyFile(name); !errors.Is(err, want) {
			t.Errorf("%s: got error %v, want %v", filepath.Base(name), err, want)
		}
	}
	if _, err := ReadKeyFile(dir); err == nil {
		t.Error("a folder was read as a key")
	}
}

func TestWriteKeyFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "k")
	for _, c := range []struct {
		secret bool
		mode   fs.FileMode
	}{{true, 0o600}, {false, 0o644}} {
		if err := WriteKeyFile(name, []byte("first"), c.secret); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&^c.mode != 0 { // the umask may take more
			t.Errorf("secret %v: mode %v, error %v, want at most %v", c.secret, info.Mode(), err, c.mode)
		}
		if err := WriteKeyFile(name, []byte("second"), c.secret); !errors.Is(err, fs.ErrExist) {
			t.Errorf("writing over a key: got error %v, want %v", err, fs.ErrExist)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != "first" {
			t.Errorf("after the refusal: got %q, %v", got, err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	// A dangling symlink is a name that is taken, too.
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), name); err != nil {
		t.Fatal(err)
	}
	if err := WriteKeyFile(name, []byte("x"), true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing through a dangling symlink: got error %v, want %v", err, fs.ErrExist)
	}
	if err := WriteKeyFile(filepath.Join(dir, "no", "folder"), []byte("x"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a missing folder: got error %v, want %v", err, fs.ErrNotExist)
	}
	assertNames(t, dir, "k")
}

// TestPublishWithoutLinks takes the way for file systems that have no links.
func TestPublishWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	tmp, name := filepath.Join(dir, "tmp"), filepath.Join(dir, "name")
	for file, text := range map[string]string{tmp: "new", name: "old"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := publishCopy(tmp, name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("name taken: got error %v, want %v", err, fs.ErrExist)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
		t.Errorf("name taken: got %q, %v", got, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := publishCopy(tmp, name); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 3 {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestReplaceKeyFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "k")
	if err := WriteKeyFile(name, []byte("old"), true); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceKeyFile(name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v", got, err)
	}
	assertNames(t, dir, "k")
}

func assertNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestEncryptedKey(t *testing.T) {
	restore := newReadKey(t, ForRestore)
	text := restore.Append(nil)
	// Work factor 10 keeps the test quick; that of PassphraseRecipient is 17.
	to, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	sealed, err := EncryptKeyText(text, to)
	if err != nil {
		t.Fatal(err)
	}
	if Identify(sealed) != TextEncrypted || !NeedsPassphrase(sealed) {
		t.Errorf("identified as %s, needs a passphrase: %v", Identify(sealed), NeedsPassphrase(sealed))
	}
	if _, err := ParseReadKey(sealed); !errors.Is(err, ErrEncrypted) {
		t.Errorf("parsing it encrypted: got error %v, want %v", err, ErrEncrypted)
	}
	open := func(passphrase string, b []byte) ([]byte, error) {
		id, err := PassphraseIdentity(passphrase)
		if err != nil {
			t.Fatal(err)
		}
		return DecryptKeyText(b, id)
	}
	if got, err := open("correct horse", sealed); err != nil || !bytes.Equal(got, text) {
		t.Errorf("right passphrase: got %q, %v", got, err)
	}
	if _, err := open("wrong", sealed); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("wrong passphrase: got error %v, want %v", err, ErrWrongPassphrase)
	}
	if _, err := open("correct horse", text); err == nil {
		t.Error("a text that is not encrypted was decrypted")
	}
	cut := append(bytes.Clone(sealed[:len(sealed)/2]), "\n-----END AGE ENCRYPTED FILE-----\n"...)
	if _, err := open("correct horse", cut); !errors.Is(err, object.ErrMalformed) && !errors.Is(err, ErrAuth) {
		t.Errorf("truncated: got error %v", err)
	}
	key := newReadKey(t, ForRestore)
	sealed, err = EncryptKeyText(text, key.Recipient().key)
	if err != nil {
		t.Fatal(err)
	}
	if NeedsPassphrase(sealed) {
		t.Error("a key sealed to a recipient needs a passphrase")
	}
	if _, err := DecryptKeyText(sealed, restore.Identities()...); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("wrong identity: got error %v, want %v", err, ErrNotRecipient)
	}
	if got, err := DecryptKeyText(sealed, key.Identities()...); err != nil || !bytes.Equal(got, text) {
		t.Errorf("right identity: got %q, %v", got, err)
	}
}

// TestPassphraseWork checks the work factor that is written and the one that is
// refused before any work is done.
func TestPassphraseWork(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second of scrypt")
	}
	to, err := PassphraseRecipient("p")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypt([]byte("text"), to)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(sealed[bytes.Index(sealed, []byte("-> scrypt ")):], []byte("\n"))
	if !bytes.HasSuffix(line, []byte(" 17")) {
		t.Errorf("the header says %q, want work factor 17", line)
	}
	id, err := PassphraseIdentity("p")
	if err != nil {
		t.Fatal(err)
	}
	heavy := bytes.Replace(sealed, line, append(bytes.TrimSuffix(bytes.Clone(line), []byte("17")), "21"...), 1)
	if _, err := decrypt(heavy, 4, []age.Identity{id}); err == nil || errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("work factor 21: got error %v, want a refusal", err)
	}
	for _, empty := range []func() error{
		func() error { _, err := PassphraseRecipient(""); return err },
		func() error { _, err := PassphraseIdentity(""); return err },
	} {
		if empty() == nil {
			t.Error("an empty passphrase was accepted")
		}
	}
}

// TestReadKeyWithOlderIdentities checks a key file that keeps older secrets.
func TestReadKeyWithOlderIdentities(t *testing.T) {
	older, newer := newReadKey(t, ForRestore), newReadKey(t, ForRestore)
	text := append(newer.Append(nil), older.identities[0].String()+"\n"...)
	both, err := ParseReadKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if both.Recipient() != newer.Recipient() && both.Recipient().String() != newer.Recipient().String() {
		t.Error("the public part is not that of the first identity")
	}
	for _, k := range []*ReadKey{older, newer} {
		send := newSendKey(t, k)
		u := newUpload(t, send)
		rec := sealOne(send, u, object.KindChunk, nil, []byte("x"))
		if _, err := openOne(NewOpener(both.Identities()...), u.KeyObject(object.ClassContent), rec); err != nil {
			t.Error(err)
		}
	}
	paper, err := ParseReadKey(both.AppendPaper(nil, []Sender{newSendKey(t, older).Sender()}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range both.identities {
		if got, want := paper.identities[i].String(), both.identities[i].String(); got != want {
			t.Errorf("identity %d comes back from paper as another", i)
		}
	}
}

func TestRecipientSets(t *testing.T) {
	restore, list := newReadKey(t, ForRestore).Recipient(), newReadKey(t, ForList).Recipient()
	many := make([]Recipient, MaxRecipients+1)
	for i := range many {
		many[i] = newReadKey(t, ForRestore).Recipient()
	}
	same := list
	same.purpose = ForRestore
	for name, to := range map[string][]Recipient{
		"none": nil, "list only": {list}, "too many": many, "one for both purposes": {restore, list, same},
	} {
		if _, err := GenerateSendKey("web1", to); err == nil {
			t.Errorf("%s: a send key was made", name)
		}
		if _, err := GenerateGroup(to); err == nil {
			t.Errorf("%s: a dedup group was made", name)
		}
	}
	if _, err := GenerateSendKey("Web 1", []Recipient{restore}); err == nil {
		t.Error("a client name with a space was accepted")
	}
	all := append(many[:MaxRecipients:MaxRecipients], list)
	k, err := GenerateSendKey("web1", append(all, all...))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(k.Append(nil)); n > MaxKeyText {
		t.Errorf("a send key with %d recipients takes %d bytes, limit is %d", len(all), n, MaxKeyText)
	}
	u := newUpload(t, k)
	if n := len(u.KeyObject(object.ClassMetadata).Sealed); n > object.MaxKeyObject {
		t.Errorf("its key object takes %d bytes, limit is %d", n, object.MaxKeyObject)
	}
}

func TestGroup(t *testing.T) {
	restore := newReadKey(t, ForRestore).Recipient()
	g, err := GenerateGroup([]Recipient{restore})
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.GenerateSendKey("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.GenerateSendKey("b")
	if err != nil {
		t.Fatal(err)
	}
	plaintext := []byte("shared")
	if NewIDs(a).ID(object.KindChunk, nil, plaintext) != NewIDs(b).ID(object.KindChunk, nil, plaintext) {
		t.Error("members of a group have different ids")
	}
	if a.Sender().Signer == b.Sender().Signer {
		t.Error("members of a group share a signing key")
	}
	if !g.SealsTo([]Recipient{restore}) || g.SealsTo([]Recipient{restore, newReadKey(t, ForList).Recipient()}) {
		t.Error("SealsTo is wrong")
	}
}
