package sender

import (
	"sync"
	"sync/atomic"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/repo/object"
)

// increaseBytes is how much of a run's bundles, before compression, may be
// compressed harder than was asked for. It costs two or three seconds at most.
const increaseBytes = 32 << 20

// increment compresses the bundles of a run that follows a snapshot as hard as
// can be: such runs are small and wait for the disk, and what they add is
// kept for long beside what it replaced. It makes them an eighth smaller. The
// compressor takes 44 MiB, so there is one, and none before it is needed. It may
// be used by several goroutines at once.
type increment struct {
	wanted bool
	taken  atomic.Int64
	once   sync.Once
	comp   *chunk.Compressor
	err    error
}

// compressor returns what is to compress o: usual, or the harder one.
func (i *increment) compressor(o *offer, usual *chunk.Compressor) (*chunk.Compressor, error) {
	if !i.wanted || o.kind != object.KindBundle || i.taken.Add(int64(len(*o.plain))) > increaseBytes {
		return usual, nil
	}
	i.once.Do(func() { i.comp, i.err = chunk.NewCompressor(chunk.LevelMax, 1) })
	return i.comp, i.err
}
