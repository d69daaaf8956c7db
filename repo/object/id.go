package object

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// IDSize is the length of an ID in bytes.
const IDSize = 32

// ID names an object or a snapshot. For chunks, bundles, lists and directories
// it is a keyed hash that only the sender and the restorer can compute; for key
// objects and snapshots it is the SHA-256 of their stored bytes. The zero ID
// names nothing.
type ID [IDSize]byte

// HashID returns the SHA-256 of b as an ID: the id of a key object with those
// sealed bytes, or of a snapshot with that signed manifest.
func HashID(b []byte) ID { return sha256.Sum256(b) }

// String returns the 64 lower-case hex digits of id. ParseID is its inverse.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 8 hex digits of id, for people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by their bytes: -1, 0 or +1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// ParseID reads 64 hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*IDSize {
		return id, fmt.Errorf("object id %.80q: want %d hex digits, got %d characters", s, 2*IDSize, len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("object id %q: %w", s, err)
	}
	if id.String() != s {
		return ID{}, fmt.Errorf("object id %q: hex digits must be lower-case", s)
	}
	return id, nil
}
