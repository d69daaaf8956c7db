package recipients

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
	"github.com/packnback/packnback/crypto"
)

// pluginName is an age plugin that this test binary is when it is called so.
const pluginName = "pnbtest"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "age-plugin-"+pluginName {
		os.Exit(runPlugin())
	}
	os.Exit(m.Run())
}

// runPlugin is a token in software: its key is the X25519 identity in the
// payload of identities, and it asks for a PIN that must be 1234.
func runPlugin() int {
	p, err := plugin.New(pluginName)
	if err != nil {
		return 1
	}
	p.HandleRecipient(func(data []byte) (age.Recipient, error) { return age.ParseX25519Recipient(string(data)) })
	p.HandleIdentity(func(data []byte) (age.Identity, error) {
		pin, err := p.RequestValue("PIN", true)
		if err != nil || pin != "1234" {
			return nil, errors.New("wrong PIN")
		}
		return age.ParseX25519Identity(string(data))
	})
	return p.Main()
}

// source returns a Source with a world of its own; answers are what the
// terminal says, in order.
func source(t *testing.T, vars map[string]string, answers ...string) *Source {
	t.Helper()
	return &Source{
		Env: &env.Env{Stderr: new(bytes.Buffer), Getenv: func(name string) string { return vars[name] }},
		ask: func(context.Context, string) (string, error) {
			if len(answers) == 0 {
				return "", env.ErrNoTerminal
			}
			a := answers[0]
			answers = answers[1:]
			return a, nil
		},
	}
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// encrypt returns a key text encrypted to a recipient that spec names.
func encrypt(t *testing.T, spec string) []byte {
	t.Helper()
	r, err := source(t, nil).Recipient(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	text, err := crypto.EncryptKeyText([]byte(secretText), r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const secretText = "the text of a key\n"

func TestPassphrase(t *testing.T) {
	// Work factor 10 instead of 17: what is tested is where passphrases come from.
	r, err := age.NewScryptRecipient("right")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	text, err := crypto.EncryptKeyText([]byte(secretText), r)
	if err != nil {
		t.Fatal(err)
	}
	variable := map[string]string{"PACKNBACK_PASSPHRASE": "right"}
	for _, c := range []struct {
		name    string
		vars    map[string]string
		command string
		answers []string
		want    error
	}{
		{name: "variable", vars: variable},
		{name: "wrong variable", vars: map[string]string{"PACKNBACK_PASSPHRASE": "wrong"}, answers: []string{"right"}, want: crypto.ErrWrongPassphrase},
		{name: "command", command: "printf 'right\\nsecond line\\n'"},
		{name: "command with CRLF", command: "printf 'right\\r\\n'"},
		{name: "command wins over variable", vars: variable, command: "echo wrong", want: crypto.ErrWrongPassphrase},
		{name: "terminal", answers: []string{"right"}},
		{name: "third try", answers: []string{"", "wrong", "right"}},
		{name: "no fourth try", answers: []string{"a", "b", "c", "right"}, want: crypto.ErrWrongPassphrase},
		{name: "nobody there", want: ErrNoPassphrase},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := source(t, c.vars, c.answers...)
			s.PassphraseCommand = c.command
			got, err := s.Unlock(t.Context(), "restore.key", text)
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Fatalf("got error %v, want %v", err, c.want)
				}
				return
			}
			if err != nil || string(got) != secretText {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}

func TestPassphraseCommandFailures(t *testing.T) {
	for _, c := range []struct{ command, want string }{
		{"exit 3", "exit status 3"},
		{"true", "printed nothing"},
		{"echo", "printed nothing"},
		{"head -c 5000 /dev/zero | tr '\\0' x", "more than 4096 bytes"},
		{"/no/such/command", "exit status 127"},
	} {
		s := source(t, nil)
		s.PassphraseCommand = c.command
		_, _, err := s.given(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("command %q: got error %v, want one with %q", c.command, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := source(t, nil)
	s.PassphraseCommand = "sleep 60"
	if _, _, err := s.given(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled command: got error %v, want %v", err, context.Canceled)
	}
}

func TestNewPassphrase(t *testing.T) {
	for _, c := range []struct {
		answers []string
		want    string
		err     error
	}{
		{[]string{"a", "a"}, "a", nil},
		{[]string{"a", "b"}, "", errMismatch},
		{nil, "", ErrNoPassphrase},
	} {
		got, err := source(t, nil, c.answers...).NewPassphrase(t.Context(), "f")
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("answers %q: got %q, %v, want %q, %v", c.answers, got, err, c.want, c.err)
		}
	}
	if _, err := source(t, nil, "", "").NewPassphrase(t.Context(), "f"); err == nil {
		t.Error("an empty passphrase was accepted")
	}
}

// sshKey returns an SSH key pair: the public line and the private file.
func sshKey(t *testing.T) (public string, private []byte) {
	t.Helper()
	pub, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(secret, "test")
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(sshPub)), pem.EncodeToMemory(block)
}

// lockedSSHKey returns a key pair whose private file is encrypted to "for ssh",
// with one round of the key derivation instead of the usual 16.
func lockedSSHKey(t *testing.T) (public string, private []byte) {
	t.Helper()
	private, err := os.ReadFile("testdata/id_locked")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile("testdata/id_locked.pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(pub), private
}

func TestSSHKey(t *testing.T) {
	for name, key := range map[string]func(*testing.T) (string, []byte){"plain": sshKey, "locked": lockedSSHKey} {
		public, private := key(t)
		text := encrypt(t, strings.TrimSpace(public))
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".ssh", "id_ed25519"), private, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := source(t, map[string]string{"HOME": home}, "for ssh").Unlock(t.Context(), "restore.key", text)
		if err != nil || string(got) != secretText {
			t.Errorf("%s SSH key: got %q, %v", name, got, err)
		}
		_, err = source(t, nil).Unlock(t.Context(), "restore.key", text)
		if !errors.Is(err, crypto.ErrNotRecipient) || !strings.Contains(err.Error(), "ssh-ed25519") {
			t.Errorf("no SSH key at hand: got error %v", err)
		}
	}
}

func TestIdentityFiles(t *testing.T) {
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]struct{ public, secret string }{
		"classic": {classic.Recipient().String(), classic.String()},
		"hybrid":  {hybrid.Recipient().String(), hybrid.String()},
	} {
		text := encrypt(t, id.public)
		file := write(t, "identity", []byte("# comment\n\n"+id.secret+"\n"))
		if got, err := source(t, map[string]string{"PACKNBACK_IDENTITY": file}).Unlock(t.Context(), "k", text); err != nil || string(got) != secretText {
			t.Errorf("%s, $PACKNBACK_IDENTITY: got %q, %v", name, got, err)
		}
		beside := write(t, "restore.key.identity", []byte(id.secret))
		if got, err := source(t, nil).Unlock(t.Context(), strings.TrimSuffix(beside, ".identity"), text); err != nil || string(got) != secretText {
			t.Errorf("%s, beside the key: got %q, %v", name, got, err)
		}
	}
	text := encrypt(t, classic.Recipient().String())
	for _, c := range []struct{ file, want string }{
		{hybrid.Recipient().String(), "public recipient"},
		{"AGE-SECRET-KEY-1XXXX", "malformed"},
		{"nonsense", "unknown kind"},
		{"# nothing\n", "no identity"},
	} {
		s := source(t, nil)
		s.Identities = []string{write(t, "identity", []byte(c.file))}
		if _, err := s.Unlock(t.Context(), "k", text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("identity file %.30q: got error %v, want one with %q", c.file, err, c.want)
		}
	}
}

func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "age-plugin-"+pluginName)); err != nil {
		t.Fatal(err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recipient := plugin.EncodeRecipient(pluginName, []byte(key.Recipient().String()))
	identity := write(t, "identity", []byte(plugin.EncodeIdentity(pluginName, []byte(key.String()))))
	vars := map[string]string{"PACKNBACK_IDENTITY": identity}

	t.Setenv("PATH", dir)
	text := encrypt(t, recipient)
	if got, err := source(t, vars, "1234").Unlock(t.Context(), "k", text); err != nil || string(got) != secretText {
		t.Errorf("right PIN: got %q, %v", got, err)
	}
	if _, err := source(t, vars, "0000").Unlock(t.Context(), "k", text); err == nil || errors.Is(err, crypto.ErrAuth) {
		t.Errorf("wrong PIN: got error %v, want the plugin's", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := source(t, vars, "1234").Unlock(t.Context(), "k", text); err == nil || !strings.Contains(err.Error(), "age-plugin-pnbtest") {
		t.Errorf("plugin not installed: got error %v, want one that names it", err)
	}
}

func TestRecipient(t *testing.T) {
	restore, err := crypto.GenerateReadKey(crypto.ForRestore)
	if err != nil {
		t.Fatal(err)
	}
	public, private := sshKey(t)
	s := source(t, nil)
	for _, spec := range []string{
		restore.Recipient().String(),
		public,
		write(t, "restore.pub", restore.Recipient().AppendText(nil)),
		write(t, "id_ed25519.pub", []byte(public)),
		write(t, "recipients.txt", []byte("# mine\n"+restore.Recipient().String()+"\n")),
	} {
		if _, err := s.Recipient(t.Context(), spec); err != nil {
			t.Errorf("recipient %.40q: %v", spec, err)
		}
	}
	for _, c := range []struct{ spec, want string }{
		{"age1pq1xxxx", "malformed"},
		{"age1xxxx", "malformed"},
		{"ssh-ed25519 xxxx", "malformed"},
		{"/no/such/file", "nor a file"},
		{write(t, "id_ed25519", private), "secret identity"},
		{write(t, "restore.key", restore.Append(nil)), "secret identity"},
		{write(t, "empty", nil), "no recipient"},
		{write(t, "other", []byte("hello")), "no recipient"},
	} {
		if _, err := s.Recipient(t.Context(), c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("recipient %.40q: got error %v, want one with %q", c.spec, err, c.want)
		}
	}
}

func TestUnlockLeavesPlainTextAlone(t *testing.T) {
	restore, err := crypto.GenerateReadKey(crypto.ForRestore)
	if err != nil {
		t.Fatal(err)
	}
	text := restore.Append(nil)
	if got, err := source(t, nil).Unlock(t.Context(), "k", text); err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %q, %v", got, err)
	}
}
