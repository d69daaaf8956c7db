package repo

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"sort"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// marker finds what is reachable in one view. Its memory is two bits a row of
// the index, one a key object and a few bytes a pack. It reads metadata packs
// from the newest to the oldest, and each from back to front, because what an
// object refers to was mostly written before it: one round is nearly always
// enough, whatever the depth. Of data packs it reads nothing, since the index
// says what chunks and bundles refer to. Not safe for concurrent use.
type marker struct {
	v        *view
	reached  index.Bitmap // by position in v.set
	expanded index.Bitmap // reached, and so is what it refers to
	packs    []markedPack
	places   [][]int32      // by segment and ordinal: index into packs
	keys     []index.Bitmap // by segment: key objects that were marked for chunks and bundles
	outside  bool           // some packs are outside: see markedPack

	// missing is called for every ref that has no location, as often as it is
	// met; by is zero for a root.
	missing func(id, by object.ID)
}

// markedPack is a pack of the view.
type markedPack struct {
	index.Pack
	pending int  // rows that are reached and not expanded
	done    int  // rows that were expanded: a sender may put a folder before what is in it
	outside bool // locations in it are looked over, as if they were not there
}

func newMarker(v *view, missing func(id, by object.ID)) (*marker, error) {
	n := v.set.Len()
	m := &marker{v: v, reached: index.NewBitmap(n), expanded: index.NewBitmap(n), missing: missing}
	numbers := map[pack.Name]int32{}
	for _, seg := range v.set.Segments() {
		place := make([]int32, seg.Packs())
		for ordinal := range place {
			p, err := seg.Pack(ordinal)
			if err != nil {
				return nil, damaged(seg.Name(), err, repairCommand)
			}
			number, ok := numbers[p.Name]
			if !ok {
				number = int32(len(m.packs))
				numbers[p.Name] = number
				m.packs = append(m.packs, markedPack{Pack: p})
			}
			place[ordinal] = number
		}
		m.places = append(m.places, place)
		m.keys = append(m.keys, index.NewBitmap(seg.Keys()))
	}
	return m, nil
}

// segmentOf returns the number of the segment that has a position, and the row
// there.
func (m *marker) segmentOf(position int) (number, row int, err error) {
	segments := m.v.set.Segments()
	i, ok := sort.Find(len(segments), func(i int) int {
		start := m.v.set.Start(i)
		switch {
		case position < start:
			return -1
		case position >= start+segments[i].Len():
			return 1
		}
		return 0
	})
	if !ok {
		return 0, 0, object.CodeInternal.Errorf("no segment has position %d", position)
	}
	return i, position - m.v.set.Start(i), nil
}

// packOf returns the pack of the row at a position.
func (m *marker) packOf(position int) (*markedPack, error) {
	i, row, err := m.segmentOf(position)
	if err != nil {
		return nil, err
	}
	seg := m.v.set.Segments()[i]
	ordinal, err := seg.PackOf(row)
	if err != nil {
		return nil, damaged(seg.Name(), err, repairCommand)
	}
	return &m.packs[m.places[i][ordinal]], nil
}

// mark marks the object id, at its best location, and of a chunk or bundle the
// key object. A loop, because a hostile sender may name a chunk where a key
// object belongs, and another one there, without end.
func (m *marker) mark(id, by object.ID) error {
	for !id.IsZero() {
		key, err := m.markOne(id, by)
		if err != nil {
			return err
		}
		id, by = key, id
	}
	return nil
}

// markOne marks the object id and returns what is to be marked next: zero when
// there is nothing.
func (m *marker) markOne(id, by object.ID) (key object.ID, err error) {
	var few [4]index.Found
	found, err := m.v.find(few[:0], id)
	if err != nil {
		return key, err
	}
	if len(found) == 0 {
		m.missing(id, by)
		return key, nil
	}
	best, worst := found[0], quarantined+1
	for _, f := range found {
		c, err := m.v.condition(f.Location)
		if err != nil {
			return key, err
		}
		if c >= worst {
			continue
		}
		if m.outside {
			p, err := m.packOf(f.Position)
			if err != nil {
				return key, err
			}
			if p.outside {
				continue
			}
		}
		best, worst = f, c
	}
	if worst > quarantined {
		return key, nil // all of them are outside
	}
	if m.reached.Has(best.Position) {
		return key, nil
	}
	m.reached.Put(best.Position)
	if best.Type() == pack.Data {
		return m.keyOf(best.Position)
	}
	p, err := m.packOf(best.Position)
	if err != nil {
		return key, err
	}
	p.pending++
	return key, nil
}

// keyOf returns the only thing that a chunk or bundle refers to, from what the
// index says of it; zero when that was marked.
func (m *marker) keyOf(position int) (key object.ID, err error) {
	m.expanded.Put(position)
	i, row, err := m.segmentOf(position)
	if err != nil {
		return key, err
	}
	seg := m.v.set.Segments()[i]
	ordinal, ok, err := seg.KeyOf(row)
	if err != nil {
		return key, damaged(seg.Name(), err, repairCommand)
	}
	if !ok || m.keys[i].Has(ordinal) {
		return key, nil
	}
	m.keys[i].Put(ordinal)
	if key, err = seg.Key(ordinal); err != nil {
		return key, damaged(seg.Name(), err, repairCommand)
	}
	return key, nil
}

// run marks everything that is reachable from what was marked so far. Objects
// that can't be read stay reached and not expanded.
func (m *marker) run(ctx context.Context) error {
	order := make([]int, len(m.packs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.packs[b].Sequence, m.packs[a].Sequence), m.packs[a].Name.Compare(m.packs[b].Name))
	})
	for again := true; again; {
		again = false
		for _, i := range order {
			if m.packs[i].pending == 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return interrupted(err)
			}
			again = true
			done := m.packs[i].done
			if err := m.expandPack(&m.packs[i]); err != nil {
				return err
			}
			if m.packs[i].done == done {
				m.packs[i].pending = 0 // what is left of it can't be read
			}
		}
	}
	return nil
}

// expandPack marks what the reached objects of the metadata pack p refer to.
func (m *marker) expandPack(p *markedPack) error {
	f, err := m.v.r.fs.Open(p.Name.Path(p.Type))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storeError("opening", p.Name.Path(p.Type), err)
	}
	defer f.Close()
	var records []record
	_, err = pack.ScanHeaders(f, p.Name, p.Type, func(offset uint32, h object.Header) error {
		records = append(records, record{id: h.ID, offset: offset, length: uint32(h.Size())})
		return nil
	})
	if err != nil {
		return storeError("reading", p.Name.Path(p.Type), err)
	}
	return m.expandBackwards(p, records)
}

// record is a place in a metadata pack; there are at most as many of them in
// memory as one pack holds.
type record struct {
	id             object.ID
	offset, length uint32
}

// expandBackwards goes from the last record to the first: a directory comes
// after what is in it.
func (m *marker) expandBackwards(p *markedPack, records []record) error {
	for _, rec := range slices.Backward(records) {
		if p.pending == 0 {
			return nil
		}
		if err := m.expand(p, rec); err != nil {
			return err
		}
	}
	return nil
}

// expand marks what the object at one place refers to, if the object itself is
// reached there. One that can't be read whole is left as it is.
func (m *marker) expand(p *markedPack, at record) error {
	var few [4]index.Found
	found, err := m.v.find(few[:0], at.id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found, func(f index.Found) bool { return f.Pack == p.Name && f.Offset == at.offset })
	if i < 0 || !m.reached.Has(found[i].Position) || m.expanded.Has(found[i].Position) {
		return nil
	}
	r, err := m.v.r.files.Record(p.Name, p.Type, at.offset, at.length)
	if err != nil {
		return nil
	}
	m.expanded.Put(found[i].Position)
	p.pending--
	p.done++
	for _, ref := range append(r.Refs, r.Key) {
		if ref.IsZero() {
			continue
		}
		if err := m.mark(ref, at.id); err != nil {
			return err
		}
	}
	return nil
}

// bytes returns the length of all records that were reached.
func (m *marker) bytes() (total uint64, err error) {
	for position := range m.reached.All(0, m.v.set.Len()) {
		e, err := m.v.set.Entry(position)
		if err != nil {
			return 0, damaged("the index", err, repairCommand)
		}
		total += uint64(e.Length)
	}
	return total, nil
}

// ids yields the ids of what was reached, ascending.
func (m *marker) ids() iter.Seq2[[]byte, error] {
	var inputs []iter.Seq2[[]byte, error]
	for i, seg := range m.v.set.Segments() {
		inputs = append(inputs, func(yield func([]byte, error) bool) {
			start := m.v.set.Start(i)
			for position := range m.reached.All(start, start+seg.Len()) {
				e, err := seg.Entry(position - start)
				if !yield(e.ID[:], err) {
					return
				}
			}
		})
	}
	return table.Merge(inputs...)
}

// markUpload marks what an upload's objects refer to outside of its own packs,
// as far as they are durable.
func (m *marker) markUpload(s *sessionState) error {
	silent := m.missing
	m.missing = func(object.ID, object.ID) {} // its own objects aren't in the index
	defer func() { m.missing = silent }()
	if !s.base.IsZero() {
		if err := m.markSnapshot(s.base); err != nil {
			return err
		}
	}
	return m.v.r.uploadRefs(s, m.mark)
}

// uploadRefs yields what the objects of an upload refer to, with the object
// that does, as far as they are durable and can be read: an upload that has
// rotted can't be committed, and must not stop others.
func (r *Repository) uploadRefs(s *sessionState, yield func(ref, by object.ID) error) error {
	for _, p := range s.packs {
		f, err := r.fs.Open(p.name.Path(p.typ))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return storeError("opening", p.name.Path(p.typ), err)
		}
		_, err = scanPack(f, p, func(_ uint32, h object.Header, refs []object.ID) error {
			return eachRef(h, refs, yield)
		})
		if errors.Is(err, object.ErrMalformed) {
			err = nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// eachRef yields the refs of one object, its key object included.
func eachRef(h object.Header, refs []object.ID, yield func(ref, by object.ID) error) error {
	for _, ref := range append(refs, h.Key) {
		if ref.IsZero() {
			continue
		}
		if err := yield(ref, h.ID); err != nil {
			return err
		}
	}
	return nil
}
