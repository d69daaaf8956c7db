package tree

import (
	"errors"
	"iter"

	"github.com/packnback/packnback/repo/object"
)

// ListWriter writes the extents of one large file after the other as a tree of
// list objects, in memory that does not grow with their number. It is not safe
// for concurrent use.
type ListWriter struct {
	emit Emit
}

// NewListWriter returns a ListWriter that hands list objects to emit.
func NewListWriter(emit Emit) *ListWriter { return &ListWriter{emit: emit} }

// Add appends an extent that is no list.
func (w *ListWriter) Add(x Extent) error { return errors.ErrUnsupported }

// Close finishes the list and returns the one extent that stands for it.
// Afterwards w is empty and ready for another one. A list of no extents is an
// error.
func (w *ListWriter) Close() (Extent, error) { return Extent{}, errors.ErrUnsupported }

// ListNode is one parsed list object.
type ListNode struct {
	Level    int         // 0 for a leaf
	Extents  []Extent    // of a leaf
	Children []ListChild // of an interior node
}

// ListChild is one subtree of an interior list node.
type ListChild struct {
	Length uint64 // bytes of the file that it stands for
	ID     object.ID
}

// UnmarshalList parses one list object.
func UnmarshalList(refs []object.ID, plaintext []byte) (*ListNode, error) {
	return nil, errors.ErrUnsupported
}

// ReadExtents iterates over what extents stand for, lists resolved, beginning
// with the extent that holds byte from. Each comes with the offset in the file
// at which it begins. After an error it stops.
func ReadExtents(load Load, extents []Extent, from uint64) iter.Seq2[PlacedExtent, error] {
	return func(yield func(PlacedExtent, error) bool) { yield(PlacedExtent{}, errors.ErrUnsupported) }
}

// PlacedExtent is an extent and where in its file it begins.
type PlacedExtent struct {
	At uint64
	Extent
}
