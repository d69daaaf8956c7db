package tree

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// nameColumns builds the front-coded names of a node, which must be added in
// ascending order.
type nameColumns struct {
	last                       []byte
	shared, lengths, remainder []byte
}

func (c *nameColumns) reset() {
	c.last, c.shared, c.lengths, c.remainder = c.last[:0], c.shared[:0], c.lengths[:0], c.remainder[:0]
}

func (c *nameColumns) add(name string) {
	n := 0
	for n < len(c.last) && n < len(name) && c.last[n] == name[n] {
		n++
	}
	c.shared = binary.AppendUvarint(c.shared, uint64(n))
	c.lengths = binary.AppendUvarint(c.lengths, uint64(len(name)-n))
	c.remainder = append(c.remainder, name[n:]...)
	c.last = append(c.last[:n], name[n:]...)
}

func (c *nameColumns) appendTo(dst []byte) []byte {
	dst = append(dst, c.shared...)
	dst = append(dst, c.lengths...)
	return append(dst, c.remainder...)
}

func (c *nameColumns) size() int { return len(c.shared) + len(c.lengths) + len(c.remainder) }

// readNames takes n front-coded names and checks each of them and their order.
// set is called with each in turn.
func readNames(d *decoder, n int, set func(i int, name string)) {
	if n == 0 || d.err != nil {
		return
	}
	// Two columns of at least one byte each bound what is allocated for them.
	if 2*n > len(d.b) {
		d.fail("truncated names")
		return
	}
	sizes := make([][2]int, n) // shared, then whole length
	for i := range sizes {
		sizes[i][0] = d.count("shared length", MaxName)
	}
	total := 0
	for i := range sizes {
		rest := d.count("length of a name", MaxName)
		sizes[i][1] = sizes[i][0] + rest
		total += sizes[i][1]
		if rest == 0 || sizes[i][1] > MaxName || (i == 0 && sizes[0][0] != 0) || (i > 0 && sizes[i][0] > sizes[i-1][1]) {
			d.fail("name %d: %d bytes shared and %d more", i, sizes[i][0], rest)
			return
		}
	}
	if d.err != nil {
		return
	}
	// All names share one allocation. It is never written to again once the
	// strings point into it.
	arena := make([]byte, 0, total)
	var last []byte
	for i, s := range sizes {
		start := len(arena)
		arena = append(arena, last[:s[0]]...)
		arena = append(arena, d.bytes(s[1]-s[0])...)
		if d.err != nil {
			return
		}
		name := arena[start:len(arena):len(arena)]
		if s[0] < len(last) && name[s[0]] <= last[s[0]] {
			d.fail("name %d, %.80q, does not come after %.80q", i, name, last)
			return
		}
		last = name
		text := unsafe.String(&name[0], len(name))
		if err := CheckName(text); err != nil {
			d.err = malformed("%w", err)
			return
		}
		set(i, text)
	}
}

// errOrder says that a writer was given names out of order.
func errOrder(name, last string) error {
	return fmt.Errorf("directory entry %.80q does not come after %.80q", name, last)
}
