package index

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// rawTable makes a table of whatever rows are in b.
func rawTable(t testing.TB, l table.Layout, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := table.NewWriter(&out, l)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]byte
	for len(b) >= l.Row {
		rows, b = append(rows, b[:l.Row]), b[l.Row:]
	}
	slices.SortFunc(rows, bytes.Compare)
	for _, row := range rows {
		if err := w.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// reversed makes a table, of one block, of the rows in b in descending order, as
// no Writer does.
func reversed(t testing.TB, l table.Layout, b []byte) []byte {
	t.Helper()
	made := rawTable(t, l, b)
	const head = 24
	rows, end := made[head:head+len(b)], made[head+len(b):]
	for i, j := 0, len(rows)-l.Row; i < j; i, j = i+l.Row, j-l.Row {
		row := bytes.Clone(rows[i : i+l.Row])
		copy(rows[i:], rows[j:j+l.Row])
		copy(rows[j:], row)
	}
	binary.BigEndian.PutUint64(end, xxhash.Sum64(rows))
	binary.BigEndian.PutUint64(end[len(end)-8:], xxhash.Sum64(end[:len(end)-8]))
	return made
}

// segmentBytes makes a segment of three tables.
func segmentBytes(entries, packs, keys []byte) []byte {
	return appendEnd(slices.Concat(entries, packs, keys), lengths{uint64(len(entries)), uint64(len(packs)), uint64(len(keys))})
}

// FuzzOpen opens a segment whose rows, or whose very bytes, are arbitrary. One
// that passes Verify must be what Write makes of its packs and entries.
func FuzzOpen(f *testing.F) {
	for _, n := range []int{0, 1, 5} {
		packs, entries := testSegment(1, 1+n, 9)
		keys := keysOf(entries)
		var entryRows, packRows, keyRows []byte
		for _, e := range entries {
			at := entryNumbers{pack: uint32(slices.IndexFunc(byName(packs), func(p Pack) bool { return p.Name == e.Pack })), key: noKey}
			if i := slices.Index(keys, e.Key); i >= 0 {
				at.key = uint32(i)
			}
			entryRows = appendEntryRow(entryRows, e.ID, at, e.Location)
		}
		for _, p := range packs {
			packRows = p.appendRow(packRows)
		}
		for _, k := range keys {
			keyRows = append(keyRows, k[:]...)
		}
		f.Add(entryRows, packRows, keyRows, false)
		f.Add(segmentBytes(rawTable(f, entryLayout, entryRows), rawTable(f, packLayout, packRows), rawTable(f, keyLayout, keyRows)), []byte{}, []byte{}, true)
		f.Add(segmentBytes(rawTable(f, entryLayout, entryRows), reversed(f, packLayout, packRows), rawTable(f, keyLayout, keyRows)), []byte{}, []byte{}, true)
	}
	f.Fuzz(func(t *testing.T, entryRows, packRows, keyRows []byte, raw bool) {
		b := entryRows
		if !raw {
			b = segmentBytes(rawTable(t, entryLayout, entryRows), rawTable(t, packLayout, packRows), rawTable(t, keyLayout, keyRows))
		}
		s, err := newSegment(b, "fuzz")
		if err != nil {
			return
		}
		exercise(t, s)
		if s.Verify() != nil {
			return
		}
		var out bytes.Buffer
		rows := func(yield func([]byte, error) bool) {
			for i := range s.Len() {
				e, at, err := s.entry(i)
				if !yield(appendEntryRow(nil, e.ID, at, e.Location), err) {
					return
				}
			}
		}
		if err := writeSegment(&out, &contents{rows, packsOf(t, s), s.keys.Rows(0)}); err != nil {
			t.Fatalf("a segment that verifies can't be written: %v", err)
		}
		if !bytes.Equal(out.Bytes(), b) {
			t.Fatalf("a segment of %d bytes verifies, written again it has %d other ones", len(b), out.Len())
		}
	})
}

// keysOf returns the key objects of entries, ascending.
func keysOf(entries []Entry) []object.ID {
	var keys []object.ID
	for _, e := range entries {
		if !e.Key.IsZero() {
			keys = append(keys, e.Key)
		}
	}
	slices.SortFunc(keys, object.ID.Compare)
	return slices.Compact(keys)
}

func exercise(t *testing.T, s *Segment) {
	set := NewSet([]*Segment{s})
	for i := range s.Len() {
		e, err := s.Entry(i)
		if err != nil {
			continue
		}
		found, err := set.Find(nil, e.ID)
		if err == nil && !slices.ContainsFunc(found, func(f Found) bool { return f.Location == e.Location }) {
			t.Fatalf("entry %d is not found", i)
		}
		if _, _, err := set.FindPack(e.Pack); err != nil {
			continue
		}
	}
	for o := range s.Packs() {
		if _, err := s.Pack(o); err != nil {
			continue
		}
	}
	if _, err := set.Find(nil, object.ID{1}); err != nil {
		return
	}
	// What a merge does with the packs; the rest of it only writes what was read.
	used, _, err := s.used(nil)
	if err != nil {
		return
	}
	packs, err := unite([]*Segment{s}, []Bitmap{used})
	if err != nil {
		return
	}
	if _, err := s.renumber(packs, used); err != nil && s.Verify() == nil {
		t.Fatalf("a segment that verifies can't be merged: %v", err)
	}
}
