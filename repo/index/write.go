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
// Entry.Compare, each once. After an error tmp is gone.
func Write(fsys disk.FS, tmp string, packs []Pack, entries iter.Seq2[Entry, error]) error {
	sorted := slices.Clone(packs)
	slices.SortFunc(sorted, func(a, b Pack) int { return a.Name.Compare(b.Name) })
	rows := func(yield func([]byte, error) bool) {
		var row []byte
		for e, err := range entries {
			if err != nil {
				yield(nil, err)
				return
			}
			ordinal, ok := slices.BinarySearchFunc(sorted, e.Pack, func(p Pack, n pack.Name) int { return p.Name.Compare(n) })
			if err := checkEntry(e, sorted, ordinal, ok); err != nil {
				yield(nil, err)
				return
			}
			row = appendEntryRow(row[:0], e.ID, uint32(ordinal), e.Location)
			if !yield(row, nil) {
				return
			}
		}
	}
	return writeFile(fsys, tmp, sorted, rows)
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

// writeFile writes a segment of sorted packs and rows.
func writeFile(fsys disk.FS, tmp string, packs []Pack, rows iter.Seq2[[]byte, error]) (err error) {
	f, err := fsys.Create(tmp)
	if err != nil {
		return fmt.Errorf("creating index segment: %w", err)
	}
	if err = writeSegment(f, packs, rows); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing index segment %q: %w", tmp, err), fsys.Remove(tmp))
	}
	return nil
}

func writeSegment(out io.Writer, packs []Pack, rows iter.Seq2[[]byte, error]) error {
	used := make([]bool, len(packs))
	entries, err := writeTable(out, entryLayout, rows, func(row []byte) { used[rowOrdinal(row)] = true })
	if err != nil {
		return err
	}
	if i := slices.Index(used, false); i >= 0 {
		return fmt.Errorf("no entry lies in pack %s", packs[i].Name)
	}
	directory := func(yield func([]byte, error) bool) {
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
	size, err := writeTable(out, packLayout, directory, func([]byte) {})
	if err != nil {
		return err
	}
	_, err = out.Write(appendEnd(nil, entries, size))
	return err
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
// no order to rely on, and must answer alike; packs of which it keeps nothing
// leave the directory. Memory is needed for the packs' descriptions only, some
// hundred bytes for each 64 MiB stored. Merging nothing into nothing makes a
// valid segment without entries.
func Merge(fsys disk.FS, tmp string, segments []*Segment, keep func(Entry) (bool, error)) error {
	used := make([][]bool, len(segments))
	for i, s := range segments {
		var err error
		if used[i], err = s.used(keep); err != nil {
			return err
		}
	}
	packs, err := unite(segments, used)
	if err != nil {
		return err
	}
	inputs := make([]iter.Seq2[[]byte, error], len(segments))
	for i, s := range segments {
		ordinals, err := s.renumber(packs, used[i])
		if err != nil {
			return err
		}
		inputs[i] = s.mapped(ordinals, keep)
	}
	return writeFile(fsys, tmp, packs, table.Dedup(table.Merge(inputs...)))
}

// used reports for every pack whether keep keeps any entry in it.
func (s *Segment) used(keep func(Entry) (bool, error)) ([]bool, error) {
	used := make([]bool, s.Packs())
	for i := range s.Len() {
		e, ordinal, err := s.entry(i)
		if err != nil {
			return nil, err
		}
		ok := true
		if keep != nil {
			if e.Pack, err = s.packName(ordinal); err != nil {
				return nil, err
			}
			if ok, err = keep(e); err != nil {
				return nil, err
			}
		}
		used[ordinal] = used[ordinal] || ok
	}
	return used, nil
}

// unite returns the packs that are used by any segment, sorted by name.
func unite(segments []*Segment, used [][]bool) ([]Pack, error) {
	var packs []Pack
	for i, s := range segments {
		for o := range s.Packs() {
			if !used[i][o] {
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
func (s *Segment) renumber(packs []Pack, used []bool) ([]uint32, error) {
	ordinals := make([]uint32, s.Packs())
	next := 0
	for o := range ordinals {
		if !used[o] {
			continue
		}
		n, err := s.packName(o)
		if err != nil {
			return nil, err
		}
		for packs[next].Name != n { // both are sorted, and packs has all that are used
			next++
		}
		ordinals[o] = uint32(next)
	}
	return ordinals, nil
}

// mapped yields the rows that keep keeps, with new ordinals. Those ascend as the
// old ones do, so the rows stay sorted.
func (s *Segment) mapped(ordinals []uint32, keep func(Entry) (bool, error)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var buf [entryRow]byte
		for i := range s.Len() {
			e, ordinal, err := s.entry(i)
			ok := true
			if err == nil && keep != nil {
				if e.Pack, err = s.packName(ordinal); err == nil {
					ok, err = keep(e)
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				continue
			}
			row := appendEntryRow(buf[:0], e.ID, ordinals[ordinal], e.Location)
			if !yield(row, nil) {
				return
			}
		}
	}
}
