package pack

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			fsys := disk.OS(b.TempDir())
			r := testRecord(rand.New(rand.NewPCG(1, 1)), object.KindChunk, 0, size)
			b.SetBytes(int64(size))
			var w *Writer
			counter := uint32(0)
			for b.Loop() {
				if w == nil || w.Size() > TargetSize {
					if w != nil {
						w.Close()
						fsys.Remove(w.Name().Path(Data))
					}
					var err error
					if w, err = Create(fsys, NewName(testSession, counter), Data); err != nil {
						b.Fatal(err)
					}
					counter++
				}
				if _, _, err := w.Append(r); err != nil {
					b.Fatal(err)
				}
			}
			w.Close()
		})
	}
}

func BenchmarkScan(b *testing.B) {
	fsys := disk.OS(b.TempDir())
	rng := rand.New(rand.NewPCG(1, 1))
	var recs []*object.Record
	for range 2000 {
		recs = append(recs, testRecord(rng, object.KindDir, 10, 4000))
	}
	n := NewName(testSession, 0)
	makePack(b, fsys, n, Meta, recs, true)
	f, err := fsys.Open(n.Path(Meta))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Size()
	b.SetBytes(size)
	for b.Loop() {
		if sum, err := Scan(f, n, Meta, func(uint32, *object.Record) error { return nil }); err != nil || sum.Records != 2000 {
			b.Fatal(sum, err)
		}
	}
}
