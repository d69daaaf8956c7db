package crypto

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/packnback/packnback/repo/object"
)

// The scrypt work factors (log2 N) of passphrases. 17 takes 128 MiB and about
// half a second, which fits the memory bound of a restore; files made
// elsewhere are read up to 20, which takes 1 GiB.
const (
	passphraseWork    = 17
	maxPassphraseWork = 20
)

// PassphraseRecipient returns the recipient that encrypts a key file to a
// passphrase, which must not be empty.
func PassphraseRecipient(passphrase string) (age.Recipient, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, errors.New("the passphrase is empty")
	}
	r.SetWorkFactor(passphraseWork)
	return r, nil
}

// PassphraseIdentity returns the identity that opens a key file encrypted to a
// passphrase, which must not be empty.
func PassphraseIdentity(passphrase string) (age.Identity, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, errors.New("the passphrase is empty")
	}
	id.SetMaxWorkFactor(maxPassphraseWork)
	return id, nil
}

// NeedsPassphrase reports whether the encrypted key file text is encrypted to a
// passphrase rather than to a token or another key.
func NeedsPassphrase(text []byte) bool {
	header, err := age.ExtractHeader(armor.NewReader(bytes.NewReader(text)))
	return err == nil && bytes.Contains(header, []byte("\n-> scrypt "))
}

// EncryptKeyText returns the text of a key encrypted to a passphrase or to any
// other age recipients, as an armored age file.
func EncryptKeyText(text []byte, to ...age.Recipient) ([]byte, error) {
	defer debug.FreeOSMemory() // scrypt's 128 MiB
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, to...)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = a.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting a key: %w", err)
	}
	return out.Bytes(), nil
}

// DecryptKeyText is EncryptKeyText's inverse. It returns ErrWrongPassphrase,
// ErrNotRecipient (none of identities fits), ErrAuth or object.ErrMalformed for
// a damaged file, or what an identity has to say.
func DecryptKeyText(text []byte, identities ...age.Identity) ([]byte, error) {
	defer debug.FreeOSMemory() // scrypt's 128 MiB and more
	if kind := Identify(text); kind != TextEncrypted {
		return nil, fmt.Errorf("unlocking a key file: it is %s, not encrypted", kind)
	}
	// The armored text is at most MaxKeyText, so what it carries is less.
	if len(text) > MaxKeyText {
		return nil, fmt.Errorf("%w encrypted key file: more than %d bytes", object.ErrMalformed, MaxKeyText)
	}
	binary, err := io.ReadAll(armor.NewReader(bytes.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("%w encrypted key file: %w", object.ErrMalformed, err)
	}
	b, err := decrypt(binary, MaxKeyText, identities)
	if err != nil {
		return nil, fmt.Errorf("unlocking a key file: %w", err)
	}
	return b, nil
}

// ReadKeyFile reads a key file of any kind but rewrap bundles. A secret one
// that is not encrypted must be readable by its owner only: the text of any
// other comes with ErrKeyMode, for callers that want to say what it is.
func ReadKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxKeyText+1))
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	if Identify(text) == TextRewrap {
		return nil, fmt.Errorf("file %q is a rewrap bundle, which is read along with the key beside it: %w", name, ErrNotKey)
	}
	if len(text) > MaxKeyText {
		return nil, fmt.Errorf("key file %q: %w: more than %d bytes", name, ErrNotKey, MaxKeyText)
	}
	if kind := Identify(text); kind.Secret() && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return text, fmt.Errorf("key file %q is %s of mode %04o: %w; make it yours alone with: chmod 600 %s",
			name, kind, info.Mode().Perm(), ErrKeyMode, shellQuote(name))
	}
	return text, nil
}

// shellQuote returns name as one word of a shell.
func shellQuote(name string) string {
	return "'" + string(bytes.ReplaceAll([]byte(name), []byte("'"), []byte(`'\''`))) + "'"
}

// WriteKeyFile writes a new key file, 0600 when secret and 0644 otherwise,
// durably. It never overwrites: a name that is taken gives fs.ErrExist.
func WriteKeyFile(name string, text []byte, secret bool) error {
	return writeKeyFile(name, text, secret, publishNew)
}

// ReplaceKeyFile puts text in the place of the secret key file name in one
// step: after a power cut it is the old one or the new one.
func ReplaceKeyFile(name string, text []byte) error {
	return writeKeyFile(name, text, true, os.Rename)
}

func writeKeyFile(name string, text []byte, secret bool, publish func(tmp, name string) error) error {
	mode := fs.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	dir := filepath.Dir(name)
	tmp := filepath.Join(dir, ".packnback-"+rand.Text())
	err := writeExclusive(tmp, text, mode)
	if err == nil {
		err = publish(tmp, name)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("writing key file %q: %w", name, err)
	}
	os.Remove(tmp) // the second name that a link leaves behind
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("writing key file %q: %w", name, err)
	}
	return nil
}

// publishNew gives tmp its name if that is free.
func publishNew(tmp, name string) error {
	err := os.Link(tmp, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return publishCopy(tmp, name)
}

// publishCopy is for file systems without links (FAT, as on many USB sticks):
// it writes the bytes once more under the name itself, which still never
// overwrites but can leave half a file after a power cut.
func publishCopy(tmp, name string) error {
	info, err := os.Stat(tmp)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(tmp)
	if err != nil {
		return err
	}
	err = writeExclusive(name, text, info.Mode().Perm())
	if err != nil && !errors.Is(err, fs.ErrExist) {
		os.Remove(name)
	}
	return err
}

// writeExclusive writes a file that must not exist yet, durably but for its
// name.
func writeExclusive(name string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync() // before it gets its name, so that the name never means half a key
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
