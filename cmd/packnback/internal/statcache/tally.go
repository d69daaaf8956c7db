package statcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// writeTables writes the old tables with this run's changes. The content table
// comes first, because a place that appears or vanishes there changes what is
// live of its bundle.
func (b *Build) writeTables(h *header) error {
	contents := tally{key: contentPlace, trusted: b.trusted, about: func(row []byte) object.ID {
		return contentRowPlace(row).Bundle
	}, changed: b.placeChanged}
	objects := tally{key: object.IDSize, trusted: b.trusted, about: func(row []byte) object.ID {
		return object.ID(row[:object.IDSize])
	}}
	if b.old != nil {
		contents.old, objects.old = b.old.content, b.old.objects
	}
	if err := contents.run(b.c.fsys, h.content.name(contentKind), contentLayout, table.Merge(b.found.Rows(), b.lost.Rows())); err != nil {
		return err
	}
	return objects.run(b.c.fsys, h.objects.name(objectsKind), objectLayout, b.objects.Rows())
}

// placeChanged follows what becomes of one place: before and after say how
// many paths have their contents there. A bundle is as long as its last place
// reaches.
func (b *Build) placeChanged(row []byte, before, after int64) error {
	p := contentRowPlace(row)
	live := int64(0)
	switch {
	case before <= 0 && after > 0:
		live = int64(p.Length)
	case before > 0 && after <= 0:
		live = -int64(p.Length)
	default:
		return nil
	}
	return b.objects.Add(appendObjectRow(make([]byte, 0, objectLayout.Row), object.KindBundle, p.Bundle, p.Offset+p.Length, live))
}

// tally writes a table out of an old one and changes to it: rows that share
// their first key bytes are one thing, their counts are added up, and what is
// left of nothing is dropped.
type tally struct {
	key     int          // bytes
	old     *table.Table // nil when there is none
	trusted func(object.ID) (bool, error)
	about   func(row []byte) object.ID // what trusted is asked about an old row
	changed func(row []byte, before, after int64) error

	w     *table.Writer
	i     int    // next old row
	group []byte // the row of the group being added up; empty when there is none
	// before is the count in the old table, after that with all changes so far.
	before, after int64
}

func (t *tally) run(fsys table.FS, name string, l table.Layout, changes iter.Seq2[[]byte, error]) (err error) {
	if t.w, err = table.Create(fsys, name, l); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	for row, rowErr := range changes {
		if err = rowErr; err == nil {
			err = t.change(row)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = t.flush()
	}
	if err == nil {
		err = t.copyOld(nil)
	}
	if err != nil {
		return fmt.Errorf("cache: %w", errors.Join(err, t.w.Discard()))
	}
	return t.w.Close()
}

// change adds one row of the changes, which come in order.
func (t *tally) change(row []byte) error {
	if len(t.group) == 0 || !bytes.Equal(t.group[:t.key], row[:t.key]) {
		if err := t.flush(); err != nil {
			return err
		}
		if err := t.copyOld(row[:t.key]); err != nil {
			return err
		}
		if err := t.begin(row); err != nil {
			return err
		}
	}
	t.after += rowCount(row)
	t.raise(row)
	return nil
}

// begin starts the group of row, with the old table's row for it if there is
// one.
func (t *tally) begin(row []byte) error {
	t.group = append(t.group[:0], row...)
	t.before, t.after = 0, 0
	old, err := t.peek()
	if err != nil || old == nil || !bytes.Equal(old[:t.key], row[:t.key]) {
		return err
	}
	t.before = rowCount(old)
	t.after = t.before
	t.raise(old)
	t.i++
	return nil
}

// raise keeps the greatest of a group's rows: of a bundle's the one that knows
// its length.
func (t *tally) raise(row []byte) {
	if n := len(row) - 8; bytes.Compare(row[:n], t.group[:n]) > 0 {
		copy(t.group, row)
	}
}

// peek returns the next old row that may be carried over, nil at the end.
func (t *tally) peek() ([]byte, error) {
	if t.old == nil {
		return nil, nil
	}
	for ; t.i < t.old.Len(); t.i++ {
		row, err := t.old.Row(t.i)
		if err != nil {
			return nil, err
		}
		if t.trusted == nil {
			return row, nil
		}
		if ok, err := t.trusted(t.about(row)); ok || err != nil {
			return row, err
		}
	}
	return nil, nil
}

// copyOld copies old rows whose key is less than key; nil copies all.
func (t *tally) copyOld(key []byte) error {
	for {
		row, err := t.peek()
		if err != nil || row == nil || key != nil && bytes.Compare(row[:t.key], key) >= 0 {
			return err
		}
		if err := t.w.Add(row); err != nil {
			return err
		}
		t.i++
	}
}

// flush ends a group.
func (t *tally) flush() error {
	if len(t.group) == 0 {
		return nil
	}
	row := t.group
	if t.changed != nil {
		if err := t.changed(row, t.before, t.after); err != nil {
			return err
		}
	}
	binary.BigEndian.PutUint64(row[len(row)-8:], uint64(t.after))
	t.group = row[:0]
	if t.after <= 0 {
		return nil
	}
	return t.w.Add(row)
}
