package crypto

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/packnback/packnback/repo/object"
)

// secretPrefix begins the text of a hybrid age identity.
const secretPrefix = "AGE-SECRET-KEY-PQ-1"

// maxIdentities is the largest number of identities in one key file.
const maxIdentities = 16

// ReadKey is a restore or a list key: one or more hybrid age identities, the
// first of which is the one that new send keys seal to. It is not changed once
// it is made, so it may be used by several goroutines at once.
type ReadKey struct {
	purpose    Purpose
	created    time.Time // zero when the text does not say
	identities []*age.HybridIdentity
}

// GenerateReadKey makes a new restore or list key.
func GenerateReadKey(p Purpose) (*ReadKey, error) {
	if p != ForRestore && p != ForList {
		return nil, fmt.Errorf("key of unknown purpose %d", p)
	}
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, fmt.Errorf("generating a %s key: %w", p, err)
	}
	return &ReadKey{p, time.Now().UTC().Truncate(time.Second), []*age.HybridIdentity{identity}}, nil
}

// Purpose says whether k restores or only lists.
func (k *ReadKey) Purpose() Purpose { return k.purpose }

// Created returns when the key was made, to the second; zero when its text
// does not say.
func (k *ReadKey) Created() time.Time { return k.created }

// Recipient returns the public part of k.
func (k *ReadKey) Recipient() Recipient {
	r := k.identities[0].Recipient()
	return Recipient{k.purpose, r, r.String()}
}

// Identities returns the secret keys for NewOpener.
func (k *ReadKey) Identities() []age.Identity {
	out := make([]age.Identity, len(k.identities))
	for i, identity := range k.identities {
		out[i] = identity
	}
	return out
}

// Append appends the text of k, in the clear. ParseReadKey is its inverse. Any
// tool that reads age identity files reads it too.
func (k *ReadKey) Append(dst []byte) []byte {
	kind, may := TextRestoreKey, []string{
		"Whoever has this file and can reach the backups reads all of them: every name,",
		"every byte. Keep it away from the machines that are backed up and from the store,",
		"and keep a copy on paper: without it no backup can be restored by anyone.",
	}
	if k.purpose == ForList {
		kind, may = TextListKey, []string{
			"Whoever has this file and can reach the backups sees names, sizes, times and tags",
			"in all of them, but not the contents of files.",
		}
	}
	dst = appendComment(dst, markers[kind].marker)
	dst = appendComment(dst, may...)
	if !k.created.IsZero() {
		dst = appendComment(dst, "created: "+k.created.Format(time.RFC3339))
	}
	r := k.Recipient()
	dst = appendComment(dst, "fingerprint: "+r.Fingerprint(), "public: "+r.String())
	for _, identity := range k.identities {
		dst = append(dst, identity.String()...)
		dst = append(dst, '\n')
	}
	return dst
}

// ParseReadKey reads the text of a restore or list key, or of a copy on paper,
// that is not encrypted. Other kinds of key file give ErrIsPublic, ErrIsSend,
// ErrIsGroup, ErrEncrypted or ErrNotKey.
func ParseReadKey(text []byte) (*ReadKey, error) {
	k := new(ReadKey)
	switch kind := Identify(text); kind {
	case TextRestoreKey:
		k.purpose = ForRestore
	case TextListKey:
		k.purpose = ForList
	case TextPaper:
		return parsePaper(text)
	default:
		return nil, wrongKind("a restore or list key", kind, true)
	}
	lines, err := keyLines(text)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || len(lines) > maxIdentities {
		return nil, fmt.Errorf("%w %s key: %d identities, want 1 to %d", object.ErrMalformed, k.purpose, len(lines), maxIdentities)
	}
	for i, line := range lines {
		identity, err := parseIdentity(line)
		if err != nil {
			return nil, fmt.Errorf("%s key, identity %d: %w", k.purpose, i+1, err)
		}
		k.identities = append(k.identities, identity)
	}
	k.created = createdComment(text)
	return k, nil
}

// parseIdentity reads one identity. The secret is never part of the error.
func parseIdentity(s string) (*age.HybridIdentity, error) {
	if !strings.HasPrefix(s, secretPrefix) {
		return nil, fmt.Errorf("%w: it does not begin with %s", object.ErrMalformed, secretPrefix)
	}
	identity, err := age.ParseHybridIdentity(s)
	if err != nil {
		return nil, fmt.Errorf("%w: its checksum does not match; a character is wrong or missing", object.ErrMalformed)
	}
	return identity, nil
}

// createdComment returns the time in the comment that Append writes; zero where
// there is none. Whatever comments say, a key whose secret is intact is read.
func createdComment(text []byte) time.Time {
	for line := range bytes.Lines(text) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "# created: "); ok {
			t, err := parseTime(s)
			if err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// Format prints the type's name instead of its secrets.
func (k ReadKey) Format(f fmt.State, _ rune) { redact(f, "ReadKey") }

// AppendText appends the text of the public part r. ParseRecipient is its
// inverse.
func (r Recipient) AppendText(dst []byte) []byte {
	dst = append(dst, markers[TextRecipient].marker...)
	dst = append(dst, '\n')
	dst = appendComment(dst,
		"Public part of a "+r.purpose.String()+" key. It holds no secret: send keys are made with it, and",
		"backups are sealed to it.")
	dst = appendField(dst, "kind", r.purpose.String())
	dst = appendField(dst, "recipient", r.text)
	return appendField(dst, "fingerprint", r.Fingerprint())
}

// ParseRecipient reads the public part of a restore or list key. A secret key
// gives ErrIsSecret; the public part of a send key gives ErrIsSend.
func ParseRecipient(text []byte) (Recipient, error) {
	if kind := Identify(text); kind != TextRecipient {
		return Recipient{}, wrongPublic("the public part of a restore or list key", kind, false)
	}
	fields, err := parseFields(text, TextRecipient)
	if err != nil {
		return Recipient{}, err
	}
	r := fieldReader{what: "public part", fields: fields}
	purpose, err := ParsePurpose(r.one("kind"))
	if r.err == nil && err != nil {
		return Recipient{}, err
	}
	text1 := r.one("recipient")
	sum := r.one("fingerprint")
	if r.end(); r.err != nil {
		return Recipient{}, r.err
	}
	rec, err := NewRecipient(purpose, text1)
	if err != nil {
		return Recipient{}, err
	}
	if sum != rec.Fingerprint() {
		return Recipient{}, fmt.Errorf("%w public part: fingerprint %.60q is not the recipient's", object.ErrMalformed, sum)
	}
	return rec, nil
}
