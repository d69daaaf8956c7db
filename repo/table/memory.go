package table

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"
)

const (
	// minMemoryRows is the smallest number of rows a Sorter holds before it
	// spills, whatever its budget: fewer would drown it in runs.
	minMemoryRows = 64
	// chunkRows is how many rows are allocated at a time; a power of two.
	chunkRows = 1024
	// overhead is what a row costs beside its bytes: four slots of 4 bytes when
	// their table has just doubled, and an orderKey while the rows are sorted.
	overhead = 4*4 + 16
)

// memory holds the rows of a Sorter that are not in a run yet, in the order
// they came, with an open-addressing table over the hash of their keys. The
// hash is seeded, since senders choose the ids that become keys.
type memory struct {
	layout Layout
	max    int // rows
	n      int
	chunks [][]byte // of chunkRows rows each
	seed   maphash.Seed
	slots  []uint32 // row number + 1 of the first row of a key; 0 is free; a power of two of them
}

func newMemory(l Layout, budget int) memory {
	rows := max(budget/(l.Row+overhead), minMemoryRows)
	return memory{layout: l, max: min(rows, 1<<30), seed: maphash.MakeSeed()}
}

func (m *memory) full() bool { return m.n >= m.max }

// clear empties the memory and keeps it for the next rows.
func (m *memory) clear() {
	m.n = 0
	clear(m.slots)
}

func (m *memory) row(i int) []byte {
	w, at := m.layout.Row, i%chunkRows
	return m.chunks[i/chunkRows][at*w : (at+1)*w : (at+1)*w]
}

func (m *memory) key(i int) []byte { return m.row(i)[:m.layout.Key] }

func (m *memory) insert(row []byte) {
	if 2*(m.n+1) > len(m.slots) {
		m.slots = make([]uint32, max(2*len(m.slots), 4*minMemoryRows))
		for i := range m.n {
			m.place(i)
		}
	}
	if m.n/chunkRows == len(m.chunks) {
		m.chunks = append(m.chunks, make([]byte, chunkRows*m.layout.Row))
	}
	copy(m.row(m.n), row)
	m.place(m.n)
	m.n++
}

// place enters row i, unless a row of the same key is entered already: many
// rows of one key must not make long probe sequences.
func (m *memory) place(i int) {
	if at := m.slot(m.key(i)); m.slots[at] == 0 {
		m.slots[at] = uint32(i + 1)
	}
}

// slot returns where the first row of a key is entered, or the free slot where
// it would be.
func (m *memory) slot(key []byte) uint64 {
	mask := uint64(len(m.slots) - 1)
	at := maphash.Bytes(m.seed, key) & mask
	for m.slots[at] != 0 && !bytes.Equal(m.key(int(m.slots[at]-1)), key) {
		at = (at + 1) & mask
	}
	return at
}

// find returns the first row that was inserted with that key, or nil.
func (m *memory) find(key []byte) []byte {
	if m.n == 0 {
		return nil
	}
	i := m.slots[m.slot(key)]
	if i == 0 {
		return nil
	}
	return m.row(int(i - 1))
}

// orderKey is a row while rows are sorted: most comparisons need no more than
// the first bytes, and don't leave the slice.
type orderKey struct {
	prefix uint64
	row    uint32
}

// source returns the rows in order as an input of a merge. Nothing may be
// inserted while it is used.
func (m *memory) source() *source {
	order := make([]orderKey, m.n)
	for i := range order {
		order[i] = orderKey{prefix(m.row(i)), uint32(i)}
	}
	slices.SortFunc(order, func(a, b orderKey) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return bytes.Compare(m.row(int(a.row)), m.row(int(b.row)))
	})
	i := 0
	return &source{next: func() ([]byte, error, bool) {
		if i == len(order) {
			return nil, nil, false
		}
		row := m.row(int(order[i].row))
		i++
		return row, nil, true
	}}
}
