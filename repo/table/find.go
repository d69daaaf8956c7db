package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime/debug"
)

// bucket returns the rows whose keys share the leading bits of p: lo to hi-1.
func (t *Table) bucket(p uint64) (lo, hi int) {
	i := int(p >> (64 - t.bits)) // a shift by 64 gives 0 in Go
	if i > 0 {
		lo = int(binary.BigEndian.Uint32(t.fan[(i-1)*countSize:]))
	}
	return lo, int(binary.BigEndian.Uint32(t.fan[i*countSize:]))
}

// Find returns the first row with the given key. Where there is none, ok is
// false and first is the row that such a key would stand before, Len at most.
func (t *Table) Find(key []byte) (first int, ok bool, err error) {
	if len(key) != t.layout.Key {
		return 0, false, fmt.Errorf("table %q: looking for a key of %d bytes, keys have %d", t.name, len(key), t.layout.Key)
	}
	defer catchFault(t.name, &err, debug.SetPanicOnFault(true))
	s := search{t: t, key: key}
	lo, hi := t.bucket(prefix(key))
	if lo, hi, err = s.narrow(lo, hi); err != nil {
		return 0, false, err
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		c, err := s.compare(mid)
		if err != nil {
			return 0, false, err
		}
		if c < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == t.n {
		return lo, false, nil
	}
	c, err := s.compare(lo)
	return lo, c == 0, err
}

// Has reports whether a row with the given key is there.
func (t *Table) Has(key []byte) (bool, error) {
	_, ok, err := t.Find(key)
	return ok, err
}

// search is one lookup under way.
type search struct {
	t   *Table
	key []byte
}

// compare compares the key of row i with the one looked for.
func (s *search) compare(i int) (int, error) {
	t := s.t
	if err := t.verify(i / t.layout.perBlock()); err != nil {
		return 0, err
	}
	return bytes.Compare(t.at(i)[:t.layout.Key], s.key), nil
}

// narrow takes keys for evenly spread over their bucket, looks where the one
// looked for should then stand, and widens its step from there until the key
// is between lo and hi. Ids are hashes, so the guess is a few rows off and all
// probes touch the same page; for other keys this costs a few probes more than
// halving alone.
func (s *search) narrow(lo, hi int) (int, int, error) {
	if hi-lo < 8 {
		return lo, hi, nil
	}
	guess := lo + int(fraction(prefix(s.key)<<s.t.bits, uint64(hi-lo)))
	c, err := s.compare(guess)
	if err != nil {
		return 0, 0, err
	}
	if c < 0 {
		lo = guess + 1
		for step := 2; lo < hi && lo+step < hi; step *= 2 {
			if c, err = s.compare(lo + step); err != nil {
				return 0, 0, err
			}
			if c >= 0 {
				return lo, lo + step, nil
			}
			lo += step + 1
		}
		return lo, hi, nil
	}
	hi = guess
	for step := 2; hi-step > lo; step *= 2 {
		if c, err = s.compare(hi - step); err != nil {
			return 0, 0, err
		}
		if c < 0 {
			return hi - step + 1, hi, nil
		}
		hi -= step
	}
	return lo, hi, nil
}

// fraction returns n * p / 2^64, which is below n.
func fraction(p, n uint64) uint64 {
	hi, _ := bits.Mul64(p, n)
	return hi
}
