package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// zeros is what holes are written from.
var zeros [64 << 10]byte

// WriteFile writes the content of the file e to w, holes as zeros. It fetches
// ahead; memory does not grow with the file. It ends at the first byte that is
// lost.
func (r *Reader) WriteFile(ctx context.Context, w io.Writer, e *tree.Entry) error {
	produce := func(yield func(Piece) error) error {
		for x, err := range tree.ReadExtents(r.load(ctx), e.Extents, 0) {
			if err != nil {
				return err
			}
			if err := yield(Piece{Extent: x.Extent}); err != nil {
				return err
			}
		}
		return nil
	}
	var at uint64
	return r.Pieces(ctx, produce, func(p Piece, b []byte, err error) error {
		if err != nil {
			return fmt.Errorf("content at byte %d: %w", at, err)
		}
		at += p.Extent.Length
		if p.Extent.Kind == tree.ExtentHole {
			return writeZeros(w, p.Extent.Length)
		}
		_, err = w.Write(b)
		return err
	})
}

// writeZeros writes n zero bytes to w.
func writeZeros(w io.Writer, n uint64) error {
	for n > 0 {
		k := min(n, uint64(len(zeros)))
		if _, err := w.Write(zeros[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// Blobs reads files at any offset, for a mount. It keeps the objects used most
// recently, and lets no two readers fetch the same one at once. Safe for
// concurrent use.
type Blobs struct {
	reader *Reader
	cache  *cache[blob]

	mu      sync.Mutex
	running map[object.ID]*fetching // bounded by the number of callers
}

type blob []byte

func (b blob) size() int { return len(b) + 64 }

type fetching struct {
	done  chan struct{}
	plain []byte
	err   error
}

// NewBlobs returns a Blobs that keeps up to budget bytes of content, and
// nothing larger than a quarter of that.
func NewBlobs(r *Reader, budget int) *Blobs {
	return &Blobs{reader: r, cache: newCache[blob](budget), running: map[object.ID]*fetching{}}
}

// ReadAt fills p with the bytes of the file e from offset off on, up to its
// end, and returns how many there are.
func (b *Blobs) ReadAt(ctx context.Context, e *tree.Entry, p []byte, off uint64) (int, error) {
	if off >= e.Size {
		return 0, nil
	}
	p = p[:min(uint64(len(p)), e.Size-off)]
	n := 0
	for x, err := range tree.ReadExtents(b.reader.load(ctx), e.Extents, off) {
		if err != nil {
			return n, err
		}
		at := off + uint64(n) - x.At // where in the extent to begin
		k := min(uint64(len(p)-n), x.Length-at)
		if x.Kind == tree.ExtentHole {
			clear(p[n : n+int(k)])
		} else {
			plain, err := b.object(ctx, x.ID)
			if err != nil {
				return n, err
			}
			part, err := Slice(x.Extent, plain)
			if err != nil {
				return n, err
			}
			copy(p[n:], part[at:at+k])
		}
		if n += int(k); n == len(p) {
			break
		}
	}
	return n, nil
}

// object returns the content of a chunk or bundle.
func (b *Blobs) object(ctx context.Context, id object.ID) ([]byte, error) {
	for {
		if plain, ok := b.cache.find(id); ok {
			return plain, nil
		}
		b.mu.Lock()
		f, running := b.running[id]
		if !running {
			f = &fetching{done: make(chan struct{})}
			b.running[id] = f
		}
		b.mu.Unlock()
		if !running {
			b.fetch(ctx, id, f)
			return f.plain, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(f.err, context.Canceled) {
			return f.plain, f.err
		} // the one who fetched was interrupted, not we
	}
}

func (b *Blobs) fetch(ctx context.Context, id object.ID, f *fetching) {
	f.err = b.reader.Fetch(ctx, []object.ID{id}, func(_ object.ID, plain []byte, err error) error {
		f.plain = plain
		return err
	})
	if f.err == nil {
		b.cache.add(id, f.plain)
	}
	b.mu.Lock()
	delete(b.running, id)
	b.mu.Unlock()
	close(f.done)
}
