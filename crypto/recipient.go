package crypto

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/packnback/packnback/repo/object"
)

// MaxRecipients is the largest number of restore recipients, and of list
// recipients, that one send key seals to. With both at their limit a key
// object takes a quarter of object.MaxKeyObject.
const MaxRecipients = 16

// Purpose says what a key that reads is for.
type Purpose uint8

// The two purposes.
const (
	ForRestore Purpose = 1 // reads everything
	ForList    Purpose = 2 // reads names and metadata, never the bytes of files
)

// String returns "restore" or "list". ParsePurpose is its inverse.
func (p Purpose) String() string {
	switch p {
	case ForRestore:
		return "restore"
	case ForList:
		return "list"
	}
	return fmt.Sprintf("purpose %d", uint8(p))
}

// ParsePurpose reads "restore" or "list".
func ParsePurpose(s string) (Purpose, error) {
	for _, p := range [...]Purpose{ForRestore, ForList} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%w kind of key %.20q: want \"restore\" or \"list\"", object.ErrMalformed, s)
}

// Recipient is the public part of a restore or list key: what a send key seals
// to. It holds no secret and is always a hybrid (post-quantum) recipient of
// age.
type Recipient struct {
	purpose Purpose
	key     *age.HybridRecipient
	text    string // canonical "age1pq1…"
}

// NewRecipient returns the recipient that age writes as s ("age1pq1…").
func NewRecipient(p Purpose, s string) (Recipient, error) {
	if strings.HasPrefix(strings.ToUpper(s), secretPrefix) {
		return Recipient{}, fmt.Errorf("recipient: %w", ErrIsSecret)
	}
	key, err := age.ParseHybridRecipient(s)
	if err != nil {
		return Recipient{}, fmt.Errorf("%w recipient %.20q: want a hybrid age recipient, \"age1pq1…\", with an intact checksum", object.ErrMalformed, s)
	}
	return Recipient{p, key, key.String()}, nil
}

// Purpose says which kind of key the recipient belongs to.
func (r Recipient) Purpose() Purpose { return r.purpose }

// String returns the recipient as age writes it: "age1pq1" and about 1,950
// more characters.
func (r Recipient) String() string { return r.text }

// Fingerprint returns the short form of the recipient that people compare.
func (r Recipient) Fingerprint() string {
	return fingerprint("packnback "+r.purpose.String()+" recipient v1\n", []byte(r.text))
}

// fingerprint returns the first 16 bytes of the SHA-256 of domain and b as
// eight groups of four hex digits.
func fingerprint(domain string, b []byte) string {
	sum := sha256.Sum256(append([]byte(domain), b...))
	digits := hex.EncodeToString(sum[:16])
	var out strings.Builder
	for i := 0; i < len(digits); i += 4 {
		if i > 0 {
			out.WriteByte('-')
		}
		out.WriteString(digits[i : i+4])
	}
	return out.String()
}

// recipientSet is whom a send key seals to. Both lists are sorted by text and
// free of repeats, and no key is in both.
type recipientSet struct {
	restore, list []Recipient
}

func newRecipientSet(recipients []Recipient) (recipientSet, error) {
	var set recipientSet
	for _, r := range recipients {
		switch r.purpose {
		case ForRestore:
			set.restore = append(set.restore, r)
		case ForList:
			set.list = append(set.list, r)
		default:
			return recipientSet{}, errors.New("recipient of unknown purpose")
		}
	}
	set.restore, set.list = sortedRecipients(set.restore), sortedRecipients(set.list)
	if len(set.restore) == 0 {
		return recipientSet{}, errors.New("no restore recipient: what is sent could never be restored")
	}
	if len(set.restore) > MaxRecipients || len(set.list) > MaxRecipients {
		return recipientSet{}, fmt.Errorf("%d restore and %d list recipients, the limit is %d each", len(set.restore), len(set.list), MaxRecipients)
	}
	for _, r := range set.list {
		if slices.ContainsFunc(set.restore, func(o Recipient) bool { return o.text == r.text }) {
			return recipientSet{}, fmt.Errorf("recipient %s is named for restoring and for listing", r.Fingerprint())
		}
	}
	return set, nil
}

func sortedRecipients(rs []Recipient) []Recipient {
	slices.SortFunc(rs, func(a, b Recipient) int { return cmp.Compare(a.text, b.text) })
	return slices.CompactFunc(rs, func(a, b Recipient) bool { return a.text == b.text })
}

func (s *recipientSet) all() []Recipient { return slices.Concat(s.restore, s.list) }

// class returns the recipients of one class in the order in which they are
// hashed: sorted by text, whatever their purpose.
func (s *recipientSet) class(c object.Class) []Recipient {
	if c == object.ClassContent {
		return s.restore
	}
	return sortedRecipients(s.all())
}

// classFingerprint is the part of a class's id key that makes another set of
// recipients another id domain.
func (s *recipientSet) classFingerprint(c object.Class) [sha256.Size]byte {
	b := append([]byte("packnback class recipients v1\n"), byte(c))
	return sha256.Sum256(appendRecipients(b, s.class(c)))
}

// fingerprint is what manifests name: all recipients with their purposes.
func (s *recipientSet) fingerprint() object.ID {
	b := appendRecipients([]byte("packnback recipients v1\n"), s.restore)
	return object.HashID(appendRecipients(b, s.list))
}

func appendRecipients(b []byte, rs []Recipient) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(rs)))
	for _, r := range rs {
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.text)))
		b = append(b, r.text...)
	}
	return b
}
