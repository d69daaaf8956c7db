package pack

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/packnback/packnback/repo/object"
)

// Dir is the folder that holds the folders of packs.
const Dir = "packs"

// NameSize is the length of a Name in bytes.
const NameSize = 20

// Name names a pack: the id of the session that wrote it and a counter. Since
// session ids are random and never come again, neither do names.
type Name [NameSize]byte

// NewName returns the name of a session's pack number counter. Data and meta
// packs of one session share the counter.
func NewName(session object.SessionID, counter uint32) Name {
	var n Name
	copy(n[:], session[:])
	binary.BigEndian.PutUint32(n[len(session):], counter)
	return n
}

// ParseName reads 40 lower-case hex digits. It is the inverse of String.
func ParseName(s string) (Name, error) {
	var n Name
	if len(s) != 2*NameSize {
		return n, fmt.Errorf("pack name %.80q: want %d hex digits", s, 2*NameSize)
	}
	if _, err := hex.Decode(n[:], []byte(s)); err != nil || n.String() != s {
		return Name{}, fmt.Errorf("pack name %q: want lower-case hex digits", s)
	}
	return n, nil
}

// String returns the 40 lower-case hex digits of n.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// Compare orders names by their bytes, so the packs of one session stand
// together and in the order they were begun.
func (n Name) Compare(other Name) int { return bytes.Compare(n[:], other[:]) }

// Session returns the id of the session that wrote the pack.
func (n Name) Session() object.SessionID { return object.SessionID(n[:16]) }

// Counter returns the number of the pack within its session.
func (n Name) Counter() uint32 { return binary.BigEndian.Uint32(n[16:]) }

// Folder returns the folder the pack is in. The session spreads packs over 256
// folders and the counter does so for the packs of one long session.
func (n Name) Folder() string { return fmt.Sprintf("%s/%02x", Dir, n[0]^n[NameSize-1]) }

// Path returns the pack's file name from the repository's folder down.
func (n Name) Path(t Type) string { return n.Folder() + "/" + n.String() + "." + t.String() }

// ParseFile reads the base name of a pack's file, "<40 hex digits>.data" or
// ".meta".
func ParseFile(base string) (Name, Type, error) {
	digits, ext, ok := strings.Cut(base, ".")
	n, err := ParseName(digits)
	if err != nil {
		return Name{}, 0, err
	}
	for _, t := range [...]Type{Data, Meta} {
		if ok && ext == t.String() {
			return n, t, nil
		}
	}
	return Name{}, 0, fmt.Errorf("pack file %q: want the ending .%s or .%s", base, Data, Meta)
}

// Type says which kinds of object a pack holds.
type Type uint8

// The two types of pack. The objects that lead to others are in packs of their
// own, so that following all refs reads no file contents.
const (
	Data Type = 1 // chunks and bundles
	Meta Type = 2 // lists, directories and key objects
)

// TypeOf returns the type of pack that objects of kind k are kept in.
func TypeOf(k object.Kind) Type {
	if k.Class() == object.ClassContent {
		return Data
	}
	return Meta
}

// Valid reports whether t is a type that this version knows.
func (t Type) Valid() bool { return t == Data || t == Meta }

// String returns "data" or "meta", which is also the ending of a file name.
func (t Type) String() string {
	switch t {
	case Data:
		return "data"
	case Meta:
		return "meta"
	}
	return fmt.Sprintf("type %d", uint8(t))
}
