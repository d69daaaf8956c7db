package index

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// Write writes a new segment to the new file tmp and syncs it; publishing it is
// the caller's. packs describes every pack that entries lie in, each once, in
// any order; those without an entry are refused, so that the packs of a segment
// are exactly those it gives life to. entries come in the order of
// Entry.Compare, each once; they are read twice and must be the same both
// times. Temporary files have names that begin with tmp. After an error tmp is
// gone.
func Write(fsys disk.FS, tmp string, packs []Pack, entries iter.Seq2[Entry, error]) error {
	sorted := slices.Clone(packs)
	slices.SortFunc(sorted, func(a, b Pack) int { return a.Name.Compare(b.Name) })
	keys, err := collectKeys(fsys, tmp+".keys", entries)
	if err != nil {
		return err
	}
	rows := func(yield func([]byte, error) bool) {
		var row []byte
		for e, err := range entries {
			var at entryNumbers
			if err == nil {
				at, err = numbersOf(e, sorted, keys)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			row = appendEntryRow(row[:0], e.ID, at, e.Location)
			if !yield(row, nil) {
				return
			}
		}
	}
	return errors.Join(writeFile(fsys, tmp, &contents{rows, sorted, keys.table.Rows(0)}), keys.close())
}

// numbersOf returns where e's row points to, and refuses an entry that can't be.
func numbersOf(e Entry, packs []Pack, keys *keyNumbers) (at entryNumbers, err error) {
	ordinal, ok := slices.BinarySearchFunc(packs, e.Pack, func(p Pack, n pack.Name) int { return p.Name.Compare(n) })
	if err := checkEntry(e, packs, ordinal, ok); err != nil {
		return at, err
	}
	at.pack = uint32(ordinal)
	at.key, err = keys.number(e.Key)
	return at, err
}

func checkEntry(e Entry, packs []Pack, ordinal int, ok bool) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("indexing object %s: %w", e.ID.Short(), err)
	}
	if !ok {
		return fmt.Errorf("indexing object %s: its pack %s is not described", e.ID.Short(), e.Pack)
	}
	if p := packs[ordinal]; e.Type() != p.Type || uint64(e.Offset)+uint64(e.Length) > uint64(p.Size) {
		return fmt.Errorf("indexing object %s: a %s of %d bytes at offset %d of %s pack %s of %d bytes",
			e.ID.Short(), e.Kind, e.Length, e.Offset, p.Type, p.Name, p.Size)
	}
	return nil
}

// contents is what a segment is written of.
type contents struct {
	rows  iter.Seq2[[]byte, error] // of entries
	packs []Pack                   // sorted
	keys  iter.Seq2[[]byte, error] // sorted
}

func writeFile(fsys disk.FS, tmp string, c *contents) (err error) {
	f, err := fsys.Create(tmp)
	if err != nil {
		return fmt.Errorf("creating index segment: %w", err)
	}
	if err = writeSegment(f, c); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing index segment %q: %w", tmp, err), fsys.Remove(tmp))
	}
	return nil
}

func writeSegment(out io.Writer, c *contents) error {
	var size lengths
	var err error
	used := NewBitmap(len(c.packs))
	if size.entries, err = writeTable(out, entryLayout, c.rows, func(row []byte) { used.Put(int(rowNumbers(row).pack)) }); err != nil {
		return err
	}
	for i, p := range c.packs {
		if !used.Has(i) {
			return fmt.Errorf("no entry lies in pack %s", p.Name)
		}
	}
	if size.packs, err = writeTable(out, packLayout, directory(c.packs), func([]byte) {}); err != nil {
		return err
	}
	if size.keys, err = writeTable(out, keyLayout, c.keys, func([]byte) {}); err != nil {
		return err
	}
	_, err = out.Write(appendEnd(nil, size))
	return err
}

// directory yields the rows of the table of packs.
func directory(packs []Pack) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var row []byte
		for i, p := range packs {
			err := p.check()
			if i > 0 && packs[i-1].Name == p.Name {
				err = fmt.Errorf("pack %s is described twice", p.Name)
			}
			row = p.appendRow(row[:0])
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// writeTable writes distinct rows and returns the table's length in bytes.
func writeTable(out io.Writer, l table.Layout, rows iter.Seq2[[]byte, error], note func(row []byte)) (uint64, error) {
	w, err := table.NewWriter(out, l)
	if err != nil {
		return 0, err
	}
	for row, err := range rows {
		if err != nil {
			return 0, err
		}
		if err := w.Add(row); err != nil {
			return 0, err
		}
		note(row)
	}
	size := uint64(w.Size())
	return size, w.Close()
}

// Merge writes the entries of all segments for which keep is true (nil keeps
// all) to the new segment file tmp, as Write does. Entries for one place that
// several segments have become one. keep is asked twice about every entry, in
// no order to rely on, and must answer alike; Entry.Key is not filled in. Packs
// and key objects of which it keeps nothing leave the tables. Memory is needed for the packs' descriptions only, some
// hundred bytes for each 64 MiB stored. Merging nothing into nothing makes a
// valid segment without entries.
func Merge(fsys disk.FS, tmp string, segments []*Segment, keep func(Entry) (bool, error)) error {
	usedPacks, usedKeys := make([]Bitmap, len(segments)), make([]Bitmap, len(segments))
	for i, s := range segments {
		var err error
		if usedPacks[i], usedKeys[i], err = s.used(keep); err != nil {
			return err
		}
	}
	packs, err := unite(segments, usedPacks)
	if err != nil {
		return err
	}
	keys, err := newKeyNumbers(fsys, tmp+".keys", uniteKeys(segments, usedKeys))
	if err != nil {
		return err
	}
	inputs := make([]iter.Seq2[[]byte, error], len(segments))
	for i, s := range segments {
		ordinals, err := s.renumber(packs, usedPacks[i])
		if err != nil {
			return errors.Join(err, keys.close())
		}
		inputs[i] = s.mapped(ordinals, keys, keep)
	}
	rows := table.Dedup(table.Merge(inputs...))
	return errors.Join(writeFile(fsys, tmp, &contents{rows, packs, keys.table.Rows(0)}), keys.close())
}

// used reports for every pack and key object whether keep keeps any entry that
// has it.
func (s *Segment) used(keep func(Entry) (bool, error)) (packs, keys Bitmap, err error) {
	packs, keys = NewBitmap(s.Packs()), NewBitmap(s.Keys())
	for i := range s.Len() {
		e, at, err := s.entry(i)
		if err != nil {
			return nil, nil, err
		}
		ok, err := s.keeps(e, at, keep)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		packs.Put(int(at.pack))
		if at.key != noKey {
			keys.Put(int(at.key))
		}
	}
	return packs, keys, nil
}

// keeps asks keep about an entry whose pack's name isn't filled in.
func (s *Segment) keeps(e Entry, at entryNumbers, keep func(Entry) (bool, error)) (ok bool, err error) {
	if keep == nil {
		return true, nil
	}
	if e.Pack, err = s.packName(int(at.pack)); err != nil {
		return false, err
	}
	return keep(e)
}

// unite returns the packs that are used by any segment, sorted by name.
func unite(segments []*Segment, used []Bitmap) ([]Pack, error) {
	var packs []Pack
	for i, s := range segments {
		for o := range s.Packs() {
			if !used[i].Has(o) {
				continue
			}
			p, err := s.Pack(o)
			if err != nil {
				return nil, err
			}
			packs = append(packs, p)
		}
	}
	slices.SortFunc(packs, func(a, b Pack) int { return a.Name.Compare(b.Name) })
	distinct := packs[:0]
	for _, p := range packs {
		if n := len(distinct); n > 0 && distinct[n-1].Name == p.Name {
			distinct[n-1] = distinct[n-1].merge(p)
			continue
		}
		distinct = append(distinct, p)
	}
	return distinct, nil
}

// renumber returns the ordinals among packs of the packs of s that are used.
func (s *Segment) renumber(packs []Pack, used Bitmap) ([]uint32, error) {
	ordinals := make([]uint32, s.Packs())
	next := 0
	for o := range ordinals {
		if !used.Has(o) {
			continue
		}
		n, err := s.packName(o)
		if err != nil {
			return nil, err
		}
		for next < len(packs) && packs[next].Name != n { // both are sorted, and packs has all that are used
			next++
		}
		if next == len(packs) {
			return nil, s.damaged("pack", o, errors.New("it is out of order"))
		}
		ordinals[o] = uint32(next)
	}
	return ordinals, nil
}

// mapped yields the rows that keep keeps, with new numbers. Those of packs ascend
// as the old ones do, so the rows stay sorted.
func (s *Segment) mapped(ordinals []uint32, keys *keyNumbers, keep func(Entry) (bool, error)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var buf [entryRow]byte
		for i := range s.Len() {
			e, at, err := s.entry(i)
			ok := false
			if err == nil {
				ok, err = s.keeps(e, at, keep)
			}
			if ok && at.key != noKey {
				if e.Key, err = s.Key(int(at.key)); err == nil {
					at.key, err = keys.number(e.Key)
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				continue
			}
			at.pack = ordinals[at.pack]
			if !yield(appendEntryRow(buf[:0], e.ID, at, e.Location), nil) {
				return
			}
		}
	}
}
