package recipients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"

	"github.com/packnback/packnback/crypto"
)

// maxIdentityFile is the largest identity or recipient file in bytes.
const maxIdentityFile = 1 << 20

// Recipient returns what a key file is encrypted to: an age recipient
// (age1pq1…, age1…), one of a plugin (age1NAME1…), an SSH public key
// (ssh-ed25519 …, ssh-rsa …), or a file whose first line that is not a comment
// is one of these, or that is the public part of a restore key.
func (s *Source) Recipient(ctx context.Context, spec string) (age.Recipient, error) {
	if looksLikeRecipient(spec) {
		return s.parseRecipient(ctx, spec)
	}
	text, err := readSmall(spec)
	if err != nil {
		return nil, fmt.Errorf("recipient %.80q is neither an age recipient, nor an SSH public key, nor a file: %w", spec, err)
	}
	if kind := crypto.Identify(text); kind == crypto.TextRecipient {
		r, err := crypto.ParseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient file %q: %w", spec, err)
		}
		return s.parseRecipient(ctx, r.String())
	}
	for line := range lines(text) {
		r, err := s.parseRecipient(ctx, line)
		if err != nil {
			return nil, fmt.Errorf("recipient file %q: %w", spec, err)
		}
		return r, nil
	}
	return nil, fmt.Errorf("recipient file %q has no recipient in it", spec)
}

// SealKeyText returns the text of a key encrypted to the recipients that specs
// name, as for Recipient. Each of them opens it alone.
func (s *Source) SealKeyText(ctx context.Context, text []byte, specs []string) ([]byte, error) {
	to := make([]age.Recipient, len(specs))
	for i, spec := range specs {
		var err error
		if to[i], err = s.Recipient(ctx, spec); err != nil {
			return nil, err
		}
	}
	return crypto.EncryptKeyText(text, to...)
}

func looksLikeRecipient(s string) bool {
	return strings.HasPrefix(s, "age1") || strings.HasPrefix(s, "ssh-")
}

func (s *Source) parseRecipient(ctx context.Context, text string) (age.Recipient, error) {
	var r age.Recipient
	var err error
	switch {
	case strings.HasPrefix(text, "age1pq1"):
		r, err = age.ParseHybridRecipient(text)
	case strings.HasPrefix(text, "age1") && strings.Count(text, "1") > 1:
		r, err = plugin.NewRecipient(text, s.pluginUI(ctx))
	case strings.HasPrefix(text, "age1"):
		r, err = age.ParseX25519Recipient(text)
	case strings.HasPrefix(text, "ssh-"):
		r, err = agessh.ParseRecipient(text)
	case strings.HasPrefix(text, "AGE-") || strings.Contains(text, "PRIVATE KEY"):
		return nil, errors.New("this is a secret identity; name its public recipient")
	default:
		return nil, fmt.Errorf("%.40q is no recipient", text)
	}
	if err != nil {
		return nil, fmt.Errorf("recipient %.40q is malformed", text)
	}
	return r, nil
}

// lines yields the lines of text that are neither empty nor comments.
func lines(text []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		sc := bufio.NewScanner(strings.NewReader(string(text)))
		for sc.Scan() {
			line := strings.TrimSpace(sc.Text())
			if line != "" && line[0] != '#' && !yield(line) {
				return
			}
		}
	}
}

// readSmall reads a file of at most maxIdentityFile bytes.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxIdentityFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxIdentityFile {
		return nil, fmt.Errorf("%q is larger than %d bytes", name, maxIdentityFile)
	}
	return b, nil
}
