package tree

import (
	"fmt"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// sourceTree returns 5,000 directories of 16 entries, about the shape of a
// source tree.
func sourceTree() [][]Entry {
	dirs := make([][]Entry, 5000)
	for d := range dirs {
		for i := range 16 {
			dirs[d] = append(dirs[d], smallFile(d*16+i, fmt.Sprintf("source-%02d.c", i)))
		}
	}
	return dirs
}

// BenchmarkWriteDirs writes 80,000 entries in 5,000 directories, as a backup
// of an unchanged source tree does.
func BenchmarkWriteDirs(b *testing.B) {
	dirs := sourceTree()
	w := NewDirWriter(func(object.Kind, []object.ID, []byte) (object.ID, error) { return numberIDs[0], nil })
	b.ReportAllocs()
	for b.Loop() {
		for _, es := range dirs {
			for i := range es {
				if err := w.Add(&es[i]); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

var numberIDs = [...]object.ID{numberID(0)}

// BenchmarkReadDirs reads them.
func BenchmarkReadDirs(b *testing.B) {
	m := newMemory()
	var ids []object.ID
	for _, es := range sourceTree() {
		ids = append(ids, writeDir(b, m, es))
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, id := range ids {
			for _, err := range ReadDir(m.load, id) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		if n != 80_000 {
			b.Fatal(n)
		}
	}
}
