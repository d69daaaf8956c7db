package crypto

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/packnback/packnback/repo/object"
)

// SendKey is what a machine needs to back itself up: the recipients it seals
// to, the secret that its ids come from, the key that signs its snapshots and
// its name. It opens nothing. A SendKey is not changed once it is made, so it
// may be used by several goroutines at once.
type SendKey struct {
	client     string
	created    time.Time
	recipients recipientSet
	dedup      [KeySize]byte
	signing    ed25519.PrivateKey
}

// GenerateSendKey makes a send key for a client with a dedup secret of its own.
// At least one recipient must be for restoring.
func GenerateSendKey(client string, recipients []Recipient) (*SendKey, error) {
	set, err := newRecipientSet(recipients)
	if err != nil {
		return nil, fmt.Errorf("send key for client %.80q: %w", client, err)
	}
	g := &Group{recipients: set}
	rand.Read(g.dedup[:])
	return g.GenerateSendKey(client)
}

// GenerateSendKey makes a send key for a client that shares its dedup secret,
// recipients and so its ids with the other members of the group.
func (g *Group) GenerateSendKey(client string) (*SendKey, error) {
	if err := object.CheckName("client", client); err != nil {
		return nil, err
	}
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("signing key for client %q: %w", client, err)
	}
	return &SendKey{
		client: client, created: time.Now().UTC().Truncate(time.Second),
		recipients: g.recipients, dedup: g.dedup, signing: signing,
	}, nil
}

// WithRecipients returns a key of the same client that signs with the same
// signing key, so that its snapshots continue k's chains, and seals to other
// recipients. Its ids are a new domain even where the recipients are the same
// ones: the dedup secret is new.
func (k *SendKey) WithRecipients(recipients []Recipient) (*SendKey, error) {
	renewed, err := GenerateSendKey(k.client, recipients)
	if err != nil {
		return nil, err
	}
	renewed.signing = k.signing
	return renewed, nil
}

// Client returns the name under which the key sends.
func (k *SendKey) Client() string { return k.client }

// Created returns when the key was made, to the second.
func (k *SendKey) Created() time.Time { return k.created }

// RestoreRecipients returns whom the key's uploads can be restored by.
func (k *SendKey) RestoreRecipients() []Recipient { return slices.Clone(k.recipients.restore) }

// ListRecipients returns whom the key's uploads can be listed by, in addition.
func (k *SendKey) ListRecipients() []Recipient { return slices.Clone(k.recipients.list) }

// Recipients returns the fingerprint of all recipients, which manifests carry.
func (k *SendKey) Recipients() object.ID { return k.recipients.fingerprint() }

// Sender returns the key's public part.
func (k *SendKey) Sender() Sender {
	return Sender{Client: k.client, Signer: [ed25519.PublicKeySize]byte(k.signing.Public().(ed25519.PublicKey))}
}

// Fingerprint returns what a sender's cache is bound to: it changes with the
// client, the recipients, the dedup secret and the signing key, and gives none
// of them away.
func (k *SendKey) Fingerprint() object.ID {
	signer, recipients := k.Sender().Signer, k.Recipients()
	return derive(&k.dedup, infoBinding+string(signer[:])+string(recipients[:])+k.client)
}

// idKey derives the key of the ids of one class.
func (k *SendKey) idKey(class object.Class) [KeySize]byte {
	recipients := k.recipients.classFingerprint(class)
	return derive(&k.dedup, infoID+string([]byte{byte(class)})+string(recipients[:]))
}

// Sign signs m, which must be complete and name the key's client.
func (k *SendKey) Sign(m *object.Manifest) error {
	if m.Client != k.client {
		return fmt.Errorf("signing a manifest of client %.80q with the send key of client %q", m.Client, k.client)
	}
	m.Signer = k.Sender().Signer
	m.Signature = [ed25519.SignatureSize]byte(ed25519.Sign(k.signing, m.AppendUnsigned(nil)))
	return nil
}

// Append appends the text of k. ParseSendKey is its inverse.
func (k *SendKey) Append(dst []byte) []byte {
	dst = append(dst, markers[TextSendKey].marker...)
	dst = append(dst, '\n')
	dst = appendComment(dst,
		"This key adds backups of client "+k.client+" and signs them. It cannot read, list,",
		"change or delete any backup, not even the ones it has made: they are sealed to",
		"the recipients below, and only the holder of a recipient's secret key opens them.",
		"Whoever has a copy can send backups in this client's name where the store lets",
		"him in, and, with the cache of this machine, can confirm guesses about its files.",
		"Keep it readable by its owner only (mode 0600).",
		"Fingerprint: "+k.Sender().Fingerprint())
	body := k.appendBody(nil)
	return appendField(append(dst, body...), "check", textCheck(body))
}

func (k *SendKey) appendBody(dst []byte) []byte {
	dst = appendField(dst, "client", k.client)
	dst = appendField(dst, "created", k.created.Format(time.RFC3339))
	dst = appendField(dst, "signing-key", hex.EncodeToString(k.signing.Seed()))
	dst = appendField(dst, "dedup-secret", hex.EncodeToString(k.dedup[:]))
	return k.recipients.appendFields(dst)
}

// ParseSendKey reads the text of a send key. Other kinds of key file give
// ErrIsPublic, ErrIsReading, ErrIsGroup, ErrEncrypted or ErrNotKey.
func ParseSendKey(text []byte) (*SendKey, error) {
	if kind := Identify(text); kind != TextSendKey {
		return nil, wrongKind("a send key", kind, false)
	}
	fields, err := parseFields(text, TextSendKey)
	if err != nil {
		return nil, err
	}
	r := fieldReader{what: "send key", fields: fields}
	k := &SendKey{client: r.one("client")}
	if err := object.CheckName("client", k.client); err != nil {
		r.fail("%w", err)
	}
	if k.created, err = parseTime(r.one("created")); err != nil {
		r.fail("%w", err)
	}
	seed := r.key("signing-key")
	k.signing = ed25519.NewKeyFromSeed(seed[:])
	k.dedup = r.key("dedup-secret")
	k.recipients = r.recipients()
	r.check(func() []byte { return k.appendBody(nil) })
	if r.err != nil {
		return nil, r.err
	}
	return k, nil
}

// parseTime reads a time in UTC to the second, as key files have it.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.UTC().Format(time.RFC3339) != s {
		return time.Time{}, fmt.Errorf("created %.40q is not a time like 2026-01-31T12:00:00Z", s)
	}
	return t.UTC(), nil
}

// Format prints the type's name and fingerprint instead of its secrets.
func (k SendKey) Format(f fmt.State, _ rune) { redact(f, "SendKey") }
