package index

import (
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
)

func BenchmarkSetFind(b *testing.B) {
	fsys := disk.OS(b.TempDir())
	var segments []*Segment
	for i := range 6 {
		packs, entries := testSegment(1+i*4, 5+i*4, 20000)
		segments = append(segments, writeOpen(b, fsys, string(rune('a'+i)), packs, entries))
	}
	set := NewSet(segments)
	var dst []Found
	i := 0
	for b.Loop() {
		e, err := set.Entry(i * 7919 % set.Len())
		if err != nil {
			b.Fatal(err)
		}
		if dst, err = set.Find(dst[:0], e.ID); err != nil || len(dst) == 0 {
			b.Fatal(len(dst), err)
		}
		i++
	}
}

func BenchmarkMerge(b *testing.B) {
	fsys := disk.OS(b.TempDir())
	var segments []*Segment
	n := 0
	for i := range 4 {
		packs, entries := testSegment(1+i*4, 5+i*4, 20000)
		segments = append(segments, writeOpen(b, fsys, string(rune('a'+i)), packs, entries))
		n += len(entries)
	}
	b.SetBytes(int64(n * entryRow))
	for b.Loop() {
		if err := Merge(fsys, "merged", segments, nil); err != nil {
			b.Fatal(err)
		}
		if err := fsys.Remove("merged"); err != nil {
			b.Fatal(err)
		}
	}
}
