package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/packnback/packnback/repo/object"
)

// minListExtents is the number of extents below which content never ends a
// list leaf.
const minListExtents = 32

// ListWriter writes the extents of one large file after the other as a tree of
// list objects, in memory that does not grow with their number. It is not safe
// for concurrent use.
type ListWriter struct {
	emit   Emit
	leaf   extentColumns
	refs   refColumn
	length uint64 // of the leaf
	total  uint64 // of the file
	levels []listLevel
	buf    []byte
	err    error // of emit; ends this list
}

// NewListWriter returns a ListWriter that hands list objects to emit.
func NewListWriter(emit Emit) *ListWriter { return &ListWriter{emit: emit} }

// Add appends an extent that is no list. An error about x leaves w as it was;
// any other comes from Emit, wrapped, and only Close can follow.
func (w *ListWriter) Add(x Extent) error {
	if w.err != nil {
		return w.err
	}
	if err := x.check(false); err != nil {
		return err
	}
	if w.total+x.Length > maxFileSize {
		return fmt.Errorf("file of more than %d bytes", uint64(maxFileSize))
	}
	w.total += x.Length
	w.length += x.Length
	w.leaf.add(&x, &w.refs)
	if w.leaf.n == maxListExtents || w.leaf.n >= minListExtents && x.Kind != ExtentHole && lowBits(x.ID)&127 == 0 {
		w.err = w.flushLeaf()
	}
	return w.err
}

func lowBits(id object.ID) uint64 { return binary.BigEndian.Uint64(id[object.IDSize-8:]) }

func (w *ListWriter) flushLeaf() error {
	b := append(w.buf[:0], magicList[:]...)
	b = binary.AppendUvarint(b, uint64(w.leaf.n))
	b = w.leaf.appendTo(b)
	w.buf = append(b, w.refs.col...)
	id, err := w.store(w.refs.ids, w.buf)
	if err != nil {
		return err
	}
	c := listChild{Length: w.length, ID: id}
	w.leaf.reset()
	w.refs.reset()
	w.length = 0
	return w.push(0, c)
}

func (w *ListWriter) store(refs []object.ID, b []byte) (object.ID, error) {
	id, err := w.emit(object.KindList, refs, b)
	if err != nil {
		return id, fmt.Errorf("storing a list: %w", err)
	}
	return id, nil
}

// push adds c to the unfinished node of levels[i], and finishes that where c
// ends it.
func (w *ListWriter) push(i int, c listChild) error {
	if i == maxLevel {
		return errors.New("tree: list too large")
	}
	if i == len(w.levels) {
		w.levels = append(w.levels, listLevel{level: i + 1})
	}
	v := &w.levels[i]
	v.add(c)
	if v.n < maxChildren && (v.n < minChildren || lowBits(c.ID)>>(7+6*i)&63 != 0) {
		return nil
	}
	up, err := w.flushLevel(i)
	if err != nil {
		return err
	}
	return w.push(i+1, up)
}

func (w *ListWriter) flushLevel(i int) (listChild, error) {
	v := &w.levels[i]
	w.buf = v.encode(w.buf[:0])
	id, err := w.store(v.refs.ids, w.buf)
	c := listChild{Length: v.length, ID: id}
	v.reset()
	return c, err
}

// Close finishes the list and returns the one extent that stands for it.
// Afterwards w is empty and ready for another one, also after an error. A list
// of no extents is an error.
func (w *ListWriter) Close() (Extent, error) {
	x, err := Extent{}, w.err
	if err == nil {
		x, err = w.finish()
	}
	w.leaf.reset()
	w.refs.reset()
	for i := range w.levels {
		w.levels[i].reset()
	}
	w.levels = w.levels[:0]
	w.length, w.total, w.err = 0, 0, nil
	return x, err
}

func (w *ListWriter) finish() (Extent, error) {
	if w.total == 0 {
		return Extent{}, errors.New("list of no extents")
	}
	if w.leaf.n > 0 {
		if err := w.flushLeaf(); err != nil {
			return Extent{}, err
		}
	}
	for i := 0; ; i++ {
		v := &w.levels[i]
		if top := i == len(w.levels)-1; top && v.n == 1 {
			return Extent{Kind: ExtentList, ID: v.refs.ids[0], Length: w.total}, nil
		}
		if v.n == 0 {
			continue // content ended the node just here; the level above has it
		}
		c, err := w.flushLevel(i)
		if err != nil {
			return Extent{}, err
		}
		if err := w.push(i+1, c); err != nil {
			return Extent{}, err
		}
	}
}

// listLevel builds one interior node of a list.
type listLevel struct {
	level   int
	n       int
	length  uint64
	lengths []byte
	refs    refColumn
}

func (v *listLevel) reset() {
	v.n, v.length, v.lengths = 0, 0, v.lengths[:0]
	v.refs.reset()
}

func (v *listLevel) add(c listChild) {
	v.n++
	v.length += c.Length
	v.lengths = binary.AppendUvarint(v.lengths, c.Length)
	v.refs.add(c.ID)
}

func (v *listLevel) encode(b []byte) []byte {
	b = append(b, magicListNode[:]...)
	b = append(b, byte(v.level))
	b = binary.AppendUvarint(b, uint64(v.n))
	b = append(b, v.lengths...)
	return append(b, v.refs.col...)
}
