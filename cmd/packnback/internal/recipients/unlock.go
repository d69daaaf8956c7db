package recipients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"

	"github.com/packnback/packnback/crypto"
)

// tries is how often a passphrase may be mistyped on a terminal.
const tries = 3

// Unlock returns the text of the key file name, which holds text, decrypted if
// it is encrypted. Errors: crypto.ErrWrongPassphrase, crypto.ErrNotRecipient
// when no identity at hand fits, ErrNoPassphrase.
func (s *Source) Unlock(ctx context.Context, name string, text []byte) ([]byte, error) {
	if crypto.Identify(text) != crypto.TextEncrypted {
		return text, nil
	}
	var out []byte
	var err error
	if crypto.NeedsPassphrase(text) {
		out, err = s.unlockPassphrase(ctx, name, text)
	} else {
		out, err = s.unlockIdentities(ctx, name, text)
	}
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", name, err)
	}
	return out, nil
}

func (s *Source) unlockPassphrase(ctx context.Context, name string, text []byte) ([]byte, error) {
	passphrase, ok, err := s.given(ctx)
	if err != nil {
		return nil, err
	}
	if ok {
		return decryptWith(text, passphrase)
	}
	for try := 1; ; try++ {
		passphrase, err := s.terminal(ctx, fmt.Sprintf("passphrase for %q", name))
		if err != nil {
			return nil, err
		}
		out, err := decryptWith(text, passphrase)
		if try == tries || !errors.Is(err, crypto.ErrWrongPassphrase) || ctx.Err() != nil {
			return out, err
		}
		fmt.Fprintln(s.Env.Stderr, "wrong passphrase, try again")
	}
}

func decryptWith(text []byte, passphrase string) ([]byte, error) {
	if passphrase == "" {
		return nil, crypto.ErrWrongPassphrase // no file is encrypted to an empty one
	}
	identity, err := crypto.PassphraseIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	return crypto.DecryptKeyText(text, identity)
}

// unlockIdentities tries the identities of the user: those that were named,
// then the one beside the key file, then SSH keys.
func (s *Source) unlockIdentities(ctx context.Context, name string, text []byte) ([]byte, error) {
	identities, err := s.identities(ctx, name, text)
	if err != nil {
		return nil, err
	}
	out, err := crypto.DecryptKeyText(text, identities...)
	var missing *plugin.NotFoundError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("age-plugin-%s, which the identity needs, is not installed: %w", missing.Name, err)
	}
	if errors.Is(err, crypto.ErrNotRecipient) {
		return nil, fmt.Errorf("%w: it is encrypted to %s; name the identity file in $PACKNBACK_IDENTITY, or put it at %q",
			err, strings.Join(stanzaTypes(text), ", "), name+".identity")
	}
	return out, err
}

func (s *Source) identities(ctx context.Context, name string, text []byte) ([]age.Identity, error) {
	files := append([]string(nil), s.Identities...)
	if named := s.Env.Getenv("PACKNBACK_IDENTITY"); named != "" {
		files = append(files, named)
	}
	var all []age.Identity
	for _, file := range files {
		ids, err := s.identityFile(ctx, file)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	for _, file := range append([]string{name + ".identity"}, s.sshKeys(text)...) {
		ids, err := s.identityFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	return all, nil
}

// sshKeys names the user's SSH keys of the types that text is encrypted to.
func (s *Source) sshKeys(text []byte) []string {
	home := s.Env.Getenv("HOME")
	if home == "" {
		return nil
	}
	var names []string
	for _, t := range stanzaTypes(text) {
		switch t {
		case "ssh-ed25519":
			names = append(names, filepath.Join(home, ".ssh", "id_ed25519"))
		case "ssh-rsa":
			names = append(names, filepath.Join(home, ".ssh", "id_rsa"))
		}
	}
	return names
}

// EncryptedTo returns what an encrypted key file is encrypted to, in words for
// people: "a passphrase", or the types of its age recipients.
func EncryptedTo(text []byte) []string {
	if crypto.NeedsPassphrase(text) {
		return []string{"a passphrase"}
	}
	return stanzaTypes(text)
}

// stanzaTypes returns what kinds of recipient an armored age file is for.
func stanzaTypes(text []byte) []string {
	header, err := age.ExtractHeader(armor.NewReader(bytes.NewReader(text)))
	if err != nil {
		return nil
	}
	var types []string
	for line := range lines(header) {
		if rest, ok := strings.CutPrefix(line, "-> "); ok {
			name, _, _ := strings.Cut(rest, " ")
			types = append(types, name)
		}
	}
	return types
}

// identityFile reads a file of age identities, one a line, or one SSH private
// key.
func (s *Source) identityFile(ctx context.Context, name string) ([]age.Identity, error) {
	text, err := readSmall(name)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	if bytes.HasPrefix(text, []byte("-----BEGIN")) {
		id, err := s.sshIdentity(ctx, name, text)
		if err != nil {
			return nil, fmt.Errorf("identity file %q: %w", name, err)
		}
		return []age.Identity{id}, nil
	}
	var ids []age.Identity
	for line := range lines(text) {
		id, err := s.parseIdentity(ctx, line)
		if err != nil {
			return nil, fmt.Errorf("identity file %q, identity %d: %w", name, len(ids)+1, err)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("identity file %q has no identity in it", name)
	}
	return ids, nil
}

// parseIdentity reads one identity. The secret is never part of the error.
func (s *Source) parseIdentity(ctx context.Context, line string) (age.Identity, error) {
	var id age.Identity
	var err error
	switch {
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		id, err = plugin.NewIdentity(line, s.pluginUI(ctx))
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err = age.ParseHybridIdentity(line)
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		id, err = age.ParseX25519Identity(line)
	case looksLikeRecipient(line):
		return nil, errors.New("this is a public recipient; a secret identity is needed")
	default:
		return nil, errors.New("unknown kind of identity")
	}
	if err != nil {
		return nil, errors.New("malformed")
	}
	return id, nil
}

// sshIdentity reads an SSH private key, asking for its passphrase only when it
// is the one that fits.
func (s *Source) sshIdentity(ctx context.Context, name string, pem []byte) (age.Identity, error) {
	id, err := agessh.ParseIdentity(pem)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return id, err
	}
	if locked.PublicKey == nil {
		return nil, errors.New("an encrypted SSH key in the old PEM form; convert it with ssh-keygen -p -o")
	}
	return agessh.NewEncryptedSSHIdentity(locked.PublicKey, pem, func() ([]byte, error) {
		passphrase, err := s.terminal(ctx, fmt.Sprintf("passphrase for SSH key %q", name))
		return []byte(passphrase), err
	})
}

// pluginUI is how an age plugin talks to the user: messages on standard error,
// questions on the terminal.
func (s *Source) pluginUI(ctx context.Context) *plugin.ClientUI {
	say := func(format string, args ...any) { fmt.Fprintf(s.Env.Stderr, format+"\n", args...) }
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			say("age-plugin-%s: %q", name, message)
			return nil
		},
		RequestValue: func(name, prompt string, secret bool) (string, error) {
			prompt = fmt.Sprintf("age-plugin-%s: %q", name, prompt)
			if secret {
				return s.terminal(ctx, prompt)
			}
			return s.Env.Ask(ctx, prompt+": ")
		},
		Confirm: func(name, prompt, yes, no string) (bool, error) {
			choices := fmt.Sprintf("yes (%q) or no (%q)", yes, no)
			if no == "" {
				choices = fmt.Sprintf("yes (%q)", yes)
			}
			answer, err := s.Env.Ask(ctx, fmt.Sprintf("age-plugin-%s: %q: %s? ", name, prompt, choices))
			return strings.HasPrefix(strings.ToLower(answer), "y"), err
		},
		WaitTimer: func(name string) { say("waiting for age-plugin-%s (touch the token?)", name) },
	}
}
