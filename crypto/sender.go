package crypto

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"

	"github.com/packnback/packnback/repo/object"
)

// Sender is the public part of a send key: what a restorer trusts.
type Sender struct {
	Client string
	Signer [ed25519.PublicKeySize]byte // signs the client's manifests
}

// Fingerprint returns the short form of the signing key that people compare.
func (s Sender) Fingerprint() string { return SignerFingerprint(s.Signer) }

// SignerFingerprint returns the short form of the signing key that a manifest
// names.
func SignerFingerprint(signer [ed25519.PublicKeySize]byte) string {
	return fingerprint("packnback signing key v1\n", signer[:])
}

// Append appends the text of s. ParseSender is its inverse.
func (s Sender) Append(dst []byte) []byte {
	dst = append(dst, markers[TextSender].marker...)
	dst = append(dst, '\n')
	dst = appendComment(dst,
		"Public part of a send key. It holds no secret. A restorer who trusts it can tell",
		"this client's snapshots from forged ones.")
	dst = appendField(dst, "client", s.Client)
	dst = appendField(dst, "signing-key", hex.EncodeToString(s.Signer[:]))
	return appendField(dst, "fingerprint", s.Fingerprint())
}

// ParseSender reads the public part of a send key. A secret key gives
// ErrIsSecret; the public part of a key that reads gives ErrIsReading.
func ParseSender(text []byte) (Sender, error) {
	kind := Identify(text)
	if kind != TextSender {
		return Sender{}, wrongPublic("the public part of a send key", kind, kind == TextRecipient)
	}
	fields, err := parseFields(text, TextSender)
	if err != nil {
		return Sender{}, err
	}
	r := fieldReader{what: "public part", fields: fields}
	s := Sender{Client: r.one("client")}
	if err := object.CheckName("client", s.Client); err != nil {
		r.fail("%w", err)
	}
	s.Signer = r.key("signing-key")
	if got := r.one("fingerprint"); got != s.Fingerprint() {
		r.fail("fingerprint %.60q is not the signing key's", got)
	}
	if r.end(); r.err != nil {
		return Sender{}, r.err
	}
	return s, nil
}

// wrongPublic is the error for a text of kind got where the public part want
// is needed. reading says that it is one of a key that reads.
func wrongPublic(want string, got TextKind, reading bool) error {
	var cause error
	switch {
	case got.Secret() || got == TextEncrypted:
		cause = fmt.Errorf("%w; its public part is in the file of the same name with \".pub\" added", ErrIsSecret)
	case reading:
		cause = ErrIsReading
	case got == TextSender:
		cause = ErrIsSend
	default:
		cause = ErrNotKey
	}
	return fmt.Errorf("%s is needed: %w", want, cause)
}
