package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/packnback/packnback/repo/object"
)

// keyMagic begins what age encrypts in a key object; its last byte is the
// version.
const keyMagic = "PNBkobj\x01"

// keyPayloadSize is the length of that plaintext.
const keyPayloadSize = len(keyMagic) + 1 + 2*KeySize

// keyPayload is what a key object carries: the session key that one upload
// sealed one class with, and the key of that class's ids, so that whoever can
// open the objects can also check their ids.
type keyPayload struct {
	class       object.Class
	session, id [KeySize]byte
}

func (p *keyPayload) append(dst []byte) []byte {
	dst = append(dst, keyMagic...)
	dst = append(dst, byte(p.class))
	dst = append(dst, p.session[:]...)
	return append(dst, p.id[:]...)
}

// unmarshalKeyPayload reads the one payload that b is, no byte more.
func unmarshalKeyPayload(b []byte) (*keyPayload, error) {
	if len(b) != keyPayloadSize {
		return nil, fmt.Errorf("%w key object: it carries %d bytes, want %d", object.ErrMalformed, len(b), keyPayloadSize)
	}
	if string(b[:len(keyMagic)]) != keyMagic {
		return nil, fmt.Errorf("%w key object: not a version 1 key object", object.ErrMalformed)
	}
	b = b[len(keyMagic):]
	p := &keyPayload{class: object.Class(b[0])}
	if p.class != object.ClassMetadata && p.class != object.ClassContent {
		return nil, fmt.Errorf("%w key object: unknown %s", object.ErrMalformed, p.class)
	}
	copy(p.session[:], b[1:])
	copy(p.id[:], b[1+KeySize:])
	return p, nil
}

// wrap makes the key object of p for recipients.
func (p *keyPayload) wrap(recipients []Recipient) (*object.Record, error) {
	sealed, err := encrypt(p.append(nil), ageRecipients(recipients)...)
	if err != nil {
		return nil, fmt.Errorf("wrapping the %s session key: %w", p.class, err)
	}
	rec := &object.Record{Kind: object.KindKey, ID: object.HashID(sealed), Sealed: sealed}
	if err := rec.Validate(); err != nil {
		return nil, fmt.Errorf("wrapping the %s session key: %w", p.class, err)
	}
	return rec, nil
}

// unwrapKeyObject opens the key object rec.
func unwrapKeyObject(rec *object.Record, identities []age.Identity) (*keyPayload, error) {
	if rec.Kind != object.KindKey {
		return nil, fmt.Errorf("%w key object %s: it is a %s", object.ErrMalformed, rec.ID.Short(), rec.Kind)
	}
	if err := rec.Validate(); err != nil {
		return nil, err
	}
	b, err := decrypt(rec.Sealed, keyPayloadSize, identities)
	if err != nil {
		return nil, fmt.Errorf("key object %s: %w", rec.ID.Short(), err)
	}
	p, err := unmarshalKeyPayload(b)
	if err != nil {
		return nil, fmt.Errorf("key object %s: %w", rec.ID.Short(), err)
	}
	return p, nil
}

func ageRecipients(rs []Recipient) []age.Recipient {
	out := make([]age.Recipient, len(rs))
	for i, r := range rs {
		out[i] = r.key
	}
	return out
}

// encrypt returns plaintext as a binary age file.
func encrypt(plaintext []byte, recipients ...age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decrypt opens a binary age file whose plaintext is at most limit bytes.
// It returns ErrNotRecipient, ErrWrongPassphrase, ErrAuth,
// object.ErrMalformed, or what an identity has to say.
func decrypt(sealed []byte, limit int, identities []age.Identity) ([]byte, error) {
	if _, err := age.ExtractHeader(bytes.NewReader(sealed)); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrMalformed, err)
	}
	if len(identities) == 0 {
		return nil, fmt.Errorf("no key to open it with: %w", ErrNotRecipient)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return nil, decryptError(err, identities)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuth, err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("%w: it carries more than %d bytes", object.ErrMalformed, limit)
	}
	return b, nil
}

// decryptError sorts out what age says. Anything but a mismatch is tampering
// when the identities are ours; a token or an SSH key may have failed for
// reasons of its own.
func decryptError(err error, identities []age.Identity) error {
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		if len(noMatch.StanzaTypes) == 1 && noMatch.StanzaTypes[0] == "scrypt" {
			return ErrWrongPassphrase
		}
		return ErrNotRecipient
	}
	for _, id := range identities {
		if _, ours := id.(*age.HybridIdentity); !ours {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrAuth, err)
}
