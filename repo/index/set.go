package index

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// Set is the segments that are in force together. It may be used by several
// goroutines at once. Its entries are numbered through all segments in their
// order; such a position means something for this Set only.
type Set struct {
	segments []*Segment
	starts   []int // position of each segment's first entry, and of the end
}

// NewSet returns the Set of segments. It does not own them: who opened them
// closes them, after the last use of the Set.
func NewSet(segments []*Segment) *Set {
	s := &Set{segments: slices.Clone(segments), starts: make([]int, 1, len(segments)+1)}
	for i, seg := range segments {
		s.starts = append(s.starts, s.starts[i]+seg.Len())
	}
	return s
}

// Segments returns the segments of s, which must not be changed.
func (s *Set) Segments() []*Segment { return s.segments }

// Len returns the number of entries.
func (s *Set) Len() int { return s.starts[len(s.segments)] }

// Start returns the position of the first entry of segment i.
func (s *Set) Start(i int) int { return s.starts[i] }

// Entry returns the entry at a position of 0 to Len-1.
func (s *Set) Entry(position int) (Entry, error) {
	if position < 0 || position >= s.Len() {
		return Entry{}, fmt.Errorf("index: no entry %d of %d", position, s.Len())
	}
	i, ok := slices.BinarySearch(s.starts, position)
	if !ok {
		i-- // the last segment that starts before it
	}
	for s.segments[i].Len() == 0 || s.starts[i+1] <= position { // empty segments start where the next one does
		i++
	}
	return s.segments[i].Entry(position - s.starts[i])
}

// Found is one location of an object.
type Found struct {
	Location
	Position int    // of the entry in the Set
	Sequence uint64 // of its pack
}

// Find appends all locations of an object to dst, the oldest first: by the
// sequence of their packs, then by name and offset.
func (s *Set) Find(dst []Found, id object.ID) ([]Found, error) {
	start := len(dst)
	for i, seg := range s.segments {
		first, n, err := seg.Find(id)
		if err != nil {
			return dst[:start], err
		}
		for j := first; j < first+n; j++ {
			e, at, err := seg.entry(j)
			if err != nil {
				return dst[:start], err
			}
			p, err := seg.Pack(int(at.pack))
			if err != nil {
				return dst[:start], err
			}
			e.Pack = p.Name
			dst = append(dst, Found{Location: e.Location, Position: s.starts[i] + j, Sequence: p.Sequence})
		}
	}
	if len(dst)-start > 1 {
		slices.SortFunc(dst[start:], func(a, b Found) int {
			return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), a.Pack.Compare(b.Pack), cmp.Compare(a.Offset, b.Offset))
		})
	}
	return dst, nil
}

// FindPack returns what the first segment that has the pack says of it; ok is
// false when none has.
func (s *Set) FindPack(n pack.Name) (p Pack, ok bool, err error) {
	for _, seg := range s.segments {
		ordinal, ok, err := seg.FindPack(n)
		if err != nil {
			return Pack{}, false, err
		}
		if ok {
			p, err := seg.Pack(ordinal)
			return p, err == nil, err
		}
	}
	return Pack{}, false, nil
}
