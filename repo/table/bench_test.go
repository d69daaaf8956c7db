package table

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// benchRow fills row with a key that looks like an id.
func benchRow(row []byte, i uint64) {
	rng := rand.NewPCG(i, 77)
	for at := 0; at+8 <= 32; at += 8 {
		binary.BigEndian.PutUint64(row[at:], rng.Uint64())
	}
}

func benchTable(b *testing.B, n int) *Table {
	b.Helper()
	fsys := OS(b.TempDir())
	s, err := NewSorter(fsys, "tmp-", testLayout, 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	row := make([]byte, testLayout.Row)
	for i := range n {
		benchRow(row, uint64(i))
		if err := s.Add(row); err != nil {
			b.Fatal(err)
		}
	}
	w, err := Create(fsys, "t", testLayout)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.WriteTo(w); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return openTable(b, fsys, "t", testLayout)
}

func BenchmarkFind(b *testing.B) {
	const n = 1_000_000
	tab := benchTable(b, n)
	for _, c := range []struct {
		name   string
		offset uint64
	}{{"hit", 0}, {"miss", n}} {
		b.Run(c.name, func(b *testing.B) {
			var key [32]byte
			i := uint64(0)
			for b.Loop() {
				benchRow(key[:], c.offset+i*2654435761%n)
				i++
				if ok, err := tab.Has(key[:]); err != nil || ok != (c.offset == 0) {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkSorterAdd(b *testing.B) {
	s, err := NewSorter(OS(b.TempDir()), "tmp-", testLayout, 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.SetBytes(int64(testLayout.Row))
	row := make([]byte, testLayout.Row)
	i := uint64(0)
	for b.Loop() {
		benchRow(row, i)
		i++
		if err := s.Add(row); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSorterFind(b *testing.B) {
	s, err := NewSorter(OS(b.TempDir()), "tmp-", testLayout, 4<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	row := make([]byte, testLayout.Row)
	const n = 500_000
	for i := range uint64(n) {
		benchRow(row, i)
		if err := s.Add(row); err != nil {
			b.Fatal(err)
		}
	}
	i := uint64(0)
	for b.Loop() {
		benchRow(row, i*2654435761%(2*n)) // every other one is a miss
		i++
		if _, err := s.Has(row[:32]); err != nil {
			b.Fatal(err)
		}
	}
}
