package index

import (
	"fmt"
	"iter"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// Segment is one open segment file. It may be used by several goroutines at
// once until it is closed. Errors that say the file is not what was written
// wrap table.ErrDamaged.
type Segment struct {
	name    string
	entries *table.Table
	packs   *table.Table
	keys    *table.Table
	file    disk.File // nil when the Segment was made of bytes
}

// OpenSegment maps the published segment name.
func OpenSegment(fsys disk.FS, name string) (*Segment, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening index segment: %w", err)
	}
	b, err := f.Map()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening index segment: %w", err)
	}
	s, err := newSegment(b, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.file = f
	return s, nil
}

func newSegment(b []byte, name string) (*Segment, error) {
	l, err := parseEnd(b)
	if err != nil {
		return nil, fmt.Errorf("%w: index segment %q: %w", table.ErrDamaged, name, err)
	}
	s := &Segment{name: name}
	if s.entries, err = table.New(b[:l.entries], name, entryLayout); err != nil {
		return nil, err
	}
	if s.packs, err = table.New(b[l.entries:l.entries+l.packs], name, packLayout); err != nil {
		return nil, err
	}
	if s.keys, err = table.New(b[l.entries+l.packs:len(b)-endSize], name, keyLayout); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Segment) damaged(what string, i int, err error) error {
	return fmt.Errorf("%w: index segment %q: %s %d: %w", table.ErrDamaged, s.name, what, i, err)
}

// Name returns the name the segment was opened by.
func (s *Segment) Name() string { return s.name }

// Len returns the number of entries.
func (s *Segment) Len() int { return s.entries.Len() }

// Entry returns entry i of 0 to Len-1.
func (s *Segment) Entry(i int) (Entry, error) {
	e, at, err := s.entry(i)
	if err != nil {
		return e, err
	}
	if e.Pack, err = s.packName(int(at.pack)); err != nil || at.key == noKey {
		return e, err
	}
	e.Key, err = s.Key(int(at.key))
	return e, err
}

// entry returns entry i without its pack's name and its key object.
func (s *Segment) entry(i int) (Entry, entryNumbers, error) {
	row, err := s.entries.Row(i)
	if err != nil {
		return Entry{}, entryNumbers{}, err
	}
	e, at, err := parseEntryRow(row)
	switch {
	case err != nil:
		return e, at, s.damaged("entry", i, err)
	case int64(at.pack) >= int64(s.packs.Len()):
		return e, at, s.damaged("entry", i, fmt.Errorf("no pack %d of %d", at.pack, s.packs.Len()))
	case at.key != noKey && int64(at.key) >= int64(s.keys.Len()):
		return e, at, s.damaged("entry", i, fmt.Errorf("no key object %d of %d", at.key, s.keys.Len()))
	}
	return e, at, nil
}

func (s *Segment) packName(ordinal int) (pack.Name, error) {
	row, err := s.packs.Row(ordinal)
	if err != nil {
		return pack.Name{}, err
	}
	return pack.Name(row), nil
}

// Entries yields the entries from entry from on, in the order of Compare. After
// an error, which is yielded with a zero Entry, it ends.
func (s *Segment) Entries(from int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for i := max(from, 0); i < s.Len(); i++ {
			e, err := s.Entry(i)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Find returns the first entry of an object and how many it has here: 0 when
// there is none.
func (s *Segment) Find(id object.ID) (first, n int, err error) {
	first, ok, err := s.entries.Find(id[:])
	if err != nil || !ok {
		return 0, 0, err
	}
	for n = 1; first+n < s.Len(); n++ {
		row, err := s.entries.Row(first + n)
		if err != nil {
			return 0, 0, err
		}
		if object.ID(row[:32]) != id {
			break
		}
	}
	return first, n, nil
}

// PackOf returns the ordinal of the pack of entry i.
func (s *Segment) PackOf(i int) (ordinal int, err error) {
	_, at, err := s.entry(i)
	return int(at.pack), err
}

// KeyOf returns the ordinal of the key object of entry i; ok is false when the
// entry is a key object's own.
func (s *Segment) KeyOf(i int) (ordinal int, ok bool, err error) {
	_, at, err := s.entry(i)
	return int(at.key), err == nil && at.key != noKey, err
}

// Keys returns the number of key objects that entries refer to.
func (s *Segment) Keys() int { return s.keys.Len() }

// Key returns the id of key object ordinal of 0 to Keys-1. They are sorted.
func (s *Segment) Key(ordinal int) (object.ID, error) {
	row, err := s.keys.Row(ordinal)
	if err != nil {
		return object.ID{}, err
	}
	id := object.ID(row)
	if id.IsZero() {
		return id, s.damaged("key object", ordinal, fmt.Errorf("its id is zero"))
	}
	return id, nil
}

// Packs returns the number of packs that entries lie in.
func (s *Segment) Packs() int { return s.packs.Len() }

// Pack returns pack ordinal of 0 to Packs-1. Packs are sorted by name.
func (s *Segment) Pack(ordinal int) (Pack, error) {
	row, err := s.packs.Row(ordinal)
	if err != nil {
		return Pack{}, err
	}
	p, err := parsePack(row)
	if err != nil {
		return p, s.damaged("pack", ordinal, err)
	}
	return p, nil
}

// FindPack returns the ordinal of a pack; ok is false when no entry lies in it.
func (s *Segment) FindPack(n pack.Name) (ordinal int, ok bool, err error) {
	return s.packs.Find(n[:])
}

// Verify reads the whole segment and checks every checksum, the order, and that
// every entry lies within its pack.
func (s *Segment) Verify() error {
	for _, t := range []*table.Table{s.keys, s.packs, s.entries} {
		if err := t.Verify(); err != nil {
			return err
		}
	}
	packs, keys := NewBitmap(s.Packs()), NewBitmap(s.Keys())
	var last Entry
	for i := range s.Len() {
		e, at, err := s.entry(i)
		if err != nil {
			return err
		}
		p, err := s.Pack(int(at.pack))
		if err != nil {
			return err
		}
		e.Pack = p.Name
		packs.Put(int(at.pack))
		if at.key != noKey {
			if _, err := s.Key(int(at.key)); err != nil {
				return err
			}
			keys.Put(int(at.key))
		}
		switch {
		case i > 0 && e.Compare(last) <= 0:
			return s.damaged("entry", i, fmt.Errorf("a second entry of one place"))
		case e.Type() != p.Type || uint64(e.Offset)+uint64(e.Length) > uint64(p.Size):
			return s.damaged("entry", i, fmt.Errorf("a %s of %d bytes at offset %d of %s pack %s of %d bytes",
				e.Kind, e.Length, e.Offset, p.Type, p.Name, p.Size))
		}
		last = e
	}
	if err := s.verifyListed("pack", s.packs, packLayout.Key, packs); err != nil {
		return err
	}
	return s.verifyListed("key object", s.keys, keyLayout.Key, keys)
}

// verifyListed checks that every row of a table is used, and that no key of that
// many bytes is there twice.
func (s *Segment) verifyListed(what string, t *table.Table, key int, used Bitmap) error {
	for i := range t.Len() {
		if !used.Has(i) {
			return s.damaged(what, i, fmt.Errorf("no entry has it"))
		}
		row, err := t.Row(i)
		if err != nil {
			return err
		}
		if first, _, err := t.Find(row[:key]); err != nil || first != i {
			return s.damaged(what, i, fmt.Errorf("listed twice"))
		}
	}
	return nil
}

// Close unmaps the segment.
func (s *Segment) Close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
