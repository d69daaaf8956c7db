package repo

import (
	"encoding/binary"
	"fmt"

	"github.com/packnback/packnback/repo/object"
)

const (
	currentName   = "CURRENT"
	currentMagic  = "PNBcurr\x01"
	maxCurrent    = 128 << 10
	maxSegments   = 4096
	repairCommand = "run `packnback repair index`"
)

// current is the file CURRENT: packnback-repository(5), "CURRENT". A value is
// never changed once others can see it; update makes a copy.
type current struct {
	repository object.RepositoryID
	generation uint64 // goes up with every change of condemned, deleting or quarantine
	time       int64  // the newest time recorded, nanoseconds since 1970
	next       uint64 // number that the next file in index/ or gc/ takes
	lists      lists
	published  int64        // when condemned or deleting was published; 0 when neither is
	segments   []segmentRef // oldest contents first
}

// lists are the numbers of files in gc/, 0 where there is none.
type lists struct {
	condemned, deleting uint64
	packs, roots        uint64 // I0 and R3
	quarantine          uint64
}

// segmentRef names a live segment.
type segmentRef struct {
	number uint64
	rows   uint64
	size   uint64 // bytes of the file
}

func segmentName(number uint64) string { return fmt.Sprintf("index/%d.idx", number) }
func listName(number uint64) string    { return fmt.Sprintf("gc/%d.list", number) }

// clone returns a copy of c that may be changed.
func (c *current) clone() *current {
	d := *c
	d.segments = append([]segmentRef(nil), c.segments...)
	return &d
}

// lists of c in the order of the file.
func (l *lists) each() [5]*uint64 {
	return [5]*uint64{&l.condemned, &l.deleting, &l.packs, &l.roots, &l.quarantine}
}

func (c *current) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, currentMagic...)
	dst = append(dst, c.repository[:]...)
	dst = binary.BigEndian.AppendUint64(dst, c.generation)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.time))
	dst = binary.BigEndian.AppendUint64(dst, c.next)
	for _, n := range c.lists.each() {
		dst = binary.BigEndian.AppendUint64(dst, *n)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.published))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.segments)))
	for _, s := range c.segments {
		dst = binary.BigEndian.AppendUint64(dst, s.number)
		dst = binary.BigEndian.AppendUint64(dst, s.rows)
		dst = binary.BigEndian.AppendUint64(dst, s.size)
	}
	return appendSum(dst, start)
}

// unmarshalCurrent is append's inverse.
func unmarshalCurrent(b []byte) (*current, error) {
	f, err := openSummed(b, currentMagic, maxCurrent)
	if err != nil {
		return nil, err
	}
	c := new(current)
	copy(c.repository[:], f.take(len(c.repository)))
	c.generation = f.uint64()
	c.time = int64(f.uint64())
	c.next = f.uint64()
	for _, n := range c.lists.each() {
		*n = f.uint64()
	}
	c.published = int64(f.uint64())
	n := f.uint32()
	if n > maxSegments || int(n)*24 != len(f.b) {
		return nil, fmt.Errorf("%w: %d segments in %d bytes", object.ErrMalformed, n, len(f.b))
	}
	c.segments = make([]segmentRef, n)
	for i := range c.segments {
		c.segments[i] = segmentRef{f.uint64(), f.uint64(), f.uint64()}
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	return c, c.check()
}

// check looks at what must go together.
func (c *current) check() error {
	l := &c.lists
	switch {
	case c.next == 0 || c.time < 0 || c.published < 0:
		return fmt.Errorf("%w: impossible number or time", object.ErrMalformed)
	case (l.packs == 0) != (l.roots == 0), (l.condemned != 0 || l.deleting != 0) != (l.packs != 0),
		l.condemned != 0 && l.deleting != 0, (l.packs != 0) != (c.published != 0):
		return fmt.Errorf("%w: lists that don't go together", object.ErrMalformed)
	}
	seen := make(map[uint64]bool, len(c.segments)+5)
	number := func(n uint64) error {
		if n >= c.next || seen[n] {
			return fmt.Errorf("%w: file number %d twice or not given out yet", object.ErrMalformed, n)
		}
		seen[n] = true
		return nil
	}
	for _, n := range l.each() {
		if *n != 0 {
			if err := number(*n); err != nil {
				return err
			}
		}
	}
	for _, s := range c.segments {
		if s.number == 0 || s.rows == 0 {
			return fmt.Errorf("%w: segment without a number or without rows", object.ErrMalformed)
		}
		if err := number(s.number); err != nil {
			return err
		}
	}
	return nil
}
