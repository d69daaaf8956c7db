package view

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

func sampleEntry(kind tree.ExtentKind, size uint64) *tree.Entry {
	e := &tree.Entry{Type: tree.TypeFile, Size: size}
	if size > 0 {
		e.Extents = []tree.Extent{{Kind: kind, ID: object.ID{1}, Length: size}}
	}
	return e
}

// TestSampleIsUniform draws 10 of 100 files many times: each must come as often
// as the others. A file that never comes would never be tried.
func TestSampleIsUniform(t *testing.T) {
	const files, n, rounds = 100, 10, 20000
	var counts [files]int
	for round := range uint64(rounds) {
		s := newSample(n, [32]byte{byte(round), byte(round >> 8), byte(round >> 16)})
		for i := range files {
			s.offer(fmt.Sprint(i), sampleEntry(tree.ExtentBundle, 1))
		}
		got := s.take()
		if len(got) != n || !slices.IsSortedFunc(got, func(a, b picked) int { return int(a.order) - int(b.order) }) {
			t.Fatalf("round %d: %d files, want %d in order", round, len(got), n)
		}
		for _, f := range got {
			if f.path != fmt.Sprint(f.order) {
				t.Fatalf("file %d is %q", f.order, f.path)
			}
			counts[f.order]++
		}
	}
	// Each count is binomial: 2000 on average, deviation 42. Six of those are
	// left to chance; the seeds are fixed, so it comes out the same every time.
	for i, c := range counts {
		if math.Abs(float64(c)-rounds*n/files) > 6*math.Sqrt(rounds*n/files*(1-n/float64(files))) {
			t.Errorf("file %d was drawn %d times, want about %d", i, c, rounds*n/files)
		}
	}
}

// TestSampleHasLargeAndSmall has one large or small file among many others.
func TestSampleHasLargeAndSmall(t *testing.T) {
	for name, c := range map[string]struct {
		many, one *tree.Entry
		want      int
	}{
		"one large file":   {sampleEntry(tree.ExtentBundle, 9), sampleEntry(tree.ExtentChunk, 9), 4},
		"one listed file":  {sampleEntry(tree.ExtentBundle, 9), sampleEntry(tree.ExtentList, 9), 4},
		"one small file":   {sampleEntry(tree.ExtentChunk, 9), sampleEntry(tree.ExtentBundle, 9), 4},
		"one empty file":   {sampleEntry(tree.ExtentChunk, 9), sampleEntry(0, 0), 3},
		"among empty ones": {sampleEntry(0, 0), sampleEntry(tree.ExtentChunk, 9), 4},
	} {
		s := newSample(3, [32]byte{1}) // a seed that does not draw number 500
		for i := range 1000 {
			e := c.many
			if i == 500 {
				e = c.one
			}
			s.offer(fmt.Sprint(i), e)
		}
		got := s.take()
		there := slices.ContainsFunc(got, func(f picked) bool { return f.order == 500 })
		if len(got) != c.want || there != (c.want == 4) {
			t.Errorf("%s: %d files, that one among them: %v; want %d", name, len(got), there, c.want)
		}
	}
}

// TestSampleIsBounded offers names as long as a hostile tree can make them.
func TestSampleIsBounded(t *testing.T) {
	s := newSample(2, [32]byte{})
	long := string(make([]byte, maxPath))
	for range 100 {
		s.offer(long, sampleEntry(tree.ExtentChunk, 1))
	}
	for _, f := range s.take() {
		if len(f.path) > maxSamplePath {
			t.Errorf("a path of %d bytes is kept, want at most %d", len(f.path), maxSamplePath)
		}
	}
	if got := newSample(10000, [32]byte{}).take(); len(got) != 0 {
		t.Errorf("a sample of nothing has %d files", len(got))
	}
}
