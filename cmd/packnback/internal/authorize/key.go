package authorize

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

const (
	// MaxKeyFile is the most that a public key's file may have; the largest RSA
	// keys have about 3 KiB.
	MaxKeyFile = 64 << 10
	// minRSA is the smallest RSA modulus, in bits, that today's sshd takes.
	minRSA = 2048
)

// Key is an SSH public key.
type Key struct {
	key     ssh.PublicKey
	comment string
}

// ParseKey reads the one public key that text has, in the format of ssh-keygen's
// .pub files. A private key is refused, so are several keys, certificates, and
// options before the key: the options are what this package is for.
func ParseKey(text []byte) (*Key, error) {
	if len(text) > MaxKeyFile {
		return nil, fmt.Errorf("it has more than %d bytes", MaxKeyFile)
	}
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return nil, errors.New("it is a PRIVATE key; give the .pub file beside it, and keep this one where it is")
	}
	var line string
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimSpace(l); l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		if line != "" {
			return nil, errors.New("it has more than one line; give a file with one key")
		}
		line = l
	}
	if line == "" {
		return nil, errors.New("it is empty")
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, errors.New("it is not an SSH public key")
	}
	if len(options) > 0 {
		return nil, fmt.Errorf("it has options before the key (%.40q); give the key alone", options[0])
	}
	if err := checkKind(key); err != nil {
		return nil, err
	}
	return &Key{key, printable(comment)}, nil
}

func checkKind(key ssh.PublicKey) error {
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("it is a certificate; give the plain public key")
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return fmt.Errorf("it is an RSA key of %d bits; sshd wants %d: make one with ssh-keygen -t ed25519", r.N.BitLen(), minRSA)
		}
	}
	if key.Type() == "ssh-dss" {
		return errors.New("it is a DSA key, which sshd no longer takes: make one with ssh-keygen -t ed25519")
	}
	return nil
}

// printable keeps a comment from breaking the line it ends up in.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
}

// Fingerprint returns the key's SHA-256 fingerprint as ssh-keygen -l shows it.
func (k *Key) Fingerprint() string { return ssh.FingerprintSHA256(k.key) }

// String returns type, key and comment as authorized_keys wants them.
func (k *Key) String() string {
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.key)))
	if k.comment != "" {
		text += " " + k.comment
	}
	return text
}
