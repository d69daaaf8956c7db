package tree

import (
	"errors"
	"iter"

	"github.com/packnback/packnback/repo/object"
)

// Node is one parsed directory object: a leaf with entries, or an interior
// node of a very large directory with children.
type Node struct {
	Level    int     // 0 for a leaf
	Entries  []Entry // of a leaf, ascending by name
	Children []Child // of an interior node, ascending by first name
}

// Child is one subtree of an interior node.
type Child struct {
	First string // name of its first entry
	Count uint64 // number of entries in it
	ID    object.ID
}

// UnmarshalDir parses one directory object and checks everything that can be
// checked without its children.
func UnmarshalDir(refs []object.ID, plaintext []byte) (*Node, error) {
	return nil, errors.ErrUnsupported
}

// ReadDir iterates over the entries of the directory id in ascending order,
// one node at a time. The entries are valid only until the next step. After
// an error it stops.
func ReadDir(load Load, id object.ID) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) { yield(nil, errors.ErrUnsupported) }
}

// Lookup returns the entry called name in the directory id, and false when
// there is none. It loads one node per level.
func Lookup(load Load, id object.ID, name string) (*Entry, bool, error) {
	return nil, false, errors.ErrUnsupported
}
