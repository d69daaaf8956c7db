package view

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/packnback/packnback/repo/tree"
)

// MaxSample is the largest number of files in a sample. With long names and 64
// extents for each it is 80 MB.
const MaxSample = 10000

// maxSamplePath is how much of a path a sample keeps, for messages only.
const maxSamplePath = 4096

// picked is a file of a sample: what is needed to read it, and where in the
// walk it stood.
type picked struct {
	order   uint64
	path    string
	size    uint64
	extents []tree.Extent

	got  uint64 // bytes that were read
	lost bool
}

// sample draws files while a walk goes by: each has the same chance, whatever
// their number, which nobody needs to know before. It keeps no more than n,
// one large and one small file.
type sample struct {
	n     int
	rand  *rand.Rand
	seen  uint64
	files []picked
	large oneOf // files with objects of their own
	small oneOf // files that share their only objects with others
}

// oneOf draws one file of those that it is offered.
type oneOf struct {
	seen uint64
	file picked
}

func newSample(n int, seed [32]byte) *sample {
	return &sample{n: n, rand: rand.New(rand.NewChaCha8(seed))}
}

// offer lets the sample take the file e at path.
func (s *sample) offer(path string, e *tree.Entry) {
	order := s.seen
	s.seen++
	at := order
	if order >= uint64(s.n) {
		at = s.rand.Uint64N(s.seen)
	}
	if at < uint64(len(s.files)) {
		s.files[at] = newPicked(order, path, e)
	} else if at < uint64(s.n) {
		s.files = append(s.files, newPicked(order, path, e))
	}
	class := &s.small
	switch {
	case isLarge(e.Extents):
		class = &s.large
	case e.Size == 0:
		return
	}
	if class.seen++; s.rand.Uint64N(class.seen) == 0 {
		class.file = newPicked(order, path, e)
	}
}

// take returns the sample in the order of the walk, so that what stands
// together in the store is asked for together. It has a large and a small file
// if there were any.
func (s *sample) take() []picked {
	for _, class := range []*oneOf{&s.large, &s.small} {
		if class.seen == 0 || slices.ContainsFunc(s.files, func(f picked) bool { return f.size > 0 && isLarge(f.extents) == (class == &s.large) }) {
			continue
		}
		s.files = append(s.files, class.file)
	}
	slices.SortFunc(s.files, func(a, b picked) int { return cmp.Compare(a.order, b.order) })
	return s.files
}

func newPicked(order uint64, path string, e *tree.Entry) picked {
	return picked{order: order, path: strings.Clone(path[:min(len(path), maxSamplePath)]), size: e.Size, extents: slices.Clone(e.Extents)}
}

func isLarge(extents []tree.Extent) bool {
	return slices.ContainsFunc(extents, func(x tree.Extent) bool { return x.Kind == tree.ExtentChunk || x.Kind == tree.ExtentList })
}
