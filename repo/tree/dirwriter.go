package tree

import (
	"errors"

	"github.com/packnback/packnback/repo/object"
)

// DirWriter writes one directory after the other, in memory that does not grow
// with the number of entries. It is not safe for concurrent use.
type DirWriter struct {
	emit Emit
}

// NewDirWriter returns a DirWriter that hands directory objects to emit.
func NewDirWriter(emit Emit) *DirWriter { return &DirWriter{emit: emit} }

// Add appends e, whose name must be greater than the one before. It keeps
// nothing of e. A *LimitError leaves w as it was; so does an error about e
// being contradictory. Any other error comes from Emit and ends w.
func (w *DirWriter) Add(e *Entry) error { return errors.ErrUnsupported }

// Close finishes the directory and returns its id. Afterwards w is empty and
// ready for another one.
func (w *DirWriter) Close() (object.ID, error) { return object.ID{}, errors.ErrUnsupported }
