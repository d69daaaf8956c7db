package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
)

// DirWriter writes one directory after the other, in memory that does not grow
// with the number of entries: one unfinished node for each level of the tree
// that a very large directory becomes. It is not safe for concurrent use.
type DirWriter struct {
	emit   Emit
	leaf   leaf
	first  string // name of the leaf's first entry
	levels []interior
	err    error // of emit; ends this directory
}

// NewDirWriter returns a DirWriter that hands directory objects to emit.
func NewDirWriter(emit Emit) *DirWriter { return &DirWriter{emit: emit} }

// Add appends e, whose name must be greater than the one before. It keeps no
// memory of e's but its strings. A *LimitError, and an error about e
// contradicting itself or being out of order, leave w as it was. Any other
// error comes from Emit, wrapped, and only Close can follow.
func (w *DirWriter) Add(e *Entry) error {
	if w.err != nil {
		return w.err
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("directory entry %.80q: %w", e.Name, err)
	}
	if w.leaf.n > 0 {
		if e.Name <= string(w.leaf.names.last) {
			return errOrder(e.Name, string(w.leaf.names.last))
		}
		if w.leaf.n >= minLeafEntries && xxhash.Sum64String(e.Name)>>(64-10) == 0 || !w.leaf.room(e) {
			if w.err = w.flushLeaf(); w.err != nil {
				return w.err
			}
		}
	}
	if w.leaf.n == 0 {
		w.first = e.Name
	}
	w.leaf.add(e)
	return nil
}

func (w *DirWriter) flushLeaf() error {
	id, err := w.emitLeaf()
	if err != nil {
		return err
	}
	err = w.push(0, Child{First: w.first, Count: uint64(w.leaf.n), ID: id})
	w.leaf.reset()
	return err
}

func (w *DirWriter) emitLeaf() (object.ID, error) {
	b, err := w.leaf.encode()
	if err != nil {
		return object.ID{}, err
	}
	id, err := w.emit(object.KindDir, w.leaf.refs.ids, b)
	if err != nil {
		return id, fmt.Errorf("storing a directory: %w", err)
	}
	return id, nil
}

// push adds c to the unfinished node of levels[i], finishing that first where
// c begins a new one.
func (w *DirWriter) push(i int, c Child) error {
	if i == maxLevel {
		return errors.New("tree: directory too large")
	}
	if i == len(w.levels) {
		w.levels = append(w.levels, interior{level: i + 1})
	}
	if w.levels[i].ends(c.First) {
		if err := w.flushInterior(i); err != nil {
			return err
		}
	}
	w.levels[i].add(c)
	return nil
}

func (w *DirWriter) flushInterior(i int) error {
	c, err := w.emitInterior(i)
	if err != nil {
		return err
	}
	return w.push(i+1, c)
}

func (w *DirWriter) emitInterior(i int) (Child, error) {
	v := &w.levels[i]
	id, err := w.emit(object.KindDir, v.ids, v.encode())
	if err != nil {
		return Child{}, fmt.Errorf("storing a directory: %w", err)
	}
	c := Child{First: v.first, Count: v.total, ID: id}
	v.reset()
	return c, nil
}

// Close finishes the directory and returns its id. Afterwards w is empty and
// ready for another one, also after an error.
func (w *DirWriter) Close() (object.ID, error) {
	id, err := object.ID{}, w.err
	if err == nil {
		id, err = w.finish()
	}
	w.leaf.reset()
	for i := range w.levels {
		w.levels[i].reset()
	}
	w.levels = w.levels[:0]
	w.err = nil
	return id, err
}

func (w *DirWriter) finish() (object.ID, error) {
	if len(w.levels) == 0 {
		return w.emitLeaf()
	}
	if err := w.flushLeaf(); err != nil {
		return object.ID{}, err
	}
	for i := 0; ; i++ {
		top := i == len(w.levels)-1
		if top && w.levels[i].n == 1 {
			return w.levels[i].ids[0], nil
		}
		c, err := w.emitInterior(i)
		if err != nil {
			return object.ID{}, err
		}
		if top {
			return c.ID, nil
		}
		if err := w.push(i+1, c); err != nil {
			return object.ID{}, err
		}
	}
}

// minChildren is the number of children below which content never ends an
// interior node, of a directory or a list.
const minChildren = 32

// interior builds one interior node of a directory.
type interior struct {
	level   int
	n       int
	first   string
	total   uint64 // entries below it
	names   nameColumns
	counts  []byte
	ids     []object.ID
	encoded []byte
}

func (v *interior) reset() {
	v.n, v.total, v.first = 0, 0, ""
	v.names.reset()
	v.counts, v.ids = v.counts[:0], v.ids[:0]
}

// ends reports whether the node is finished when the next child begins with
// the name first.
func (v *interior) ends(first string) bool {
	return v.n >= minChildren && xxhash.Sum64String(first)>>(6*(v.level-1))&63 == 0 || v.n >= maxChildren
}

func (v *interior) add(c Child) {
	if v.n == 0 {
		v.first = c.First
	}
	v.n++
	v.total += c.Count
	v.names.add(c.First)
	v.counts = binary.AppendUvarint(v.counts, c.Count)
	v.ids = append(v.ids, c.ID)
}

// encode returns the node's plaintext, which is valid until the next one.
func (v *interior) encode() []byte {
	b := append(v.encoded[:0], magicInterior[:]...)
	b = append(b, byte(v.level))
	b = binary.AppendUvarint(b, uint64(v.n))
	b = v.names.appendTo(b)
	v.encoded = append(b, v.counts...)
	return v.encoded
}
