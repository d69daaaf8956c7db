package sender

import (
	"context"
	"errors"
	"io"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// maxDirect is how many extents stand in a directory entry; a file of more gets
// list objects.
const maxDirect = 8

// cutter cuts one large file after the other.
type cutter struct {
	p      *pass
	chunks *chunk.Chunker
	buf    []byte
}

func newCutter(p *pass) *cutter {
	return &cutter{p: p, chunks: p.chunks.Fork(), buf: make([]byte, 0, chunk.MaxSize)}
}

// cutFile is what becomes of one file's contents.
type cutFile struct {
	p       *pass
	ctx     context.Context
	extents []tree.Extent // the only ones, unless there is a list
	size    uint64
	list    *tree.ListWriter // nil for at most maxDirect extents
	inner   *spool           // ids below the topmost list; nil without one
}

// cut sends the contents and returns the extents that stand for them. An error
// of the file is a *readError.
func (c *cutter) cut(ctx context.Context, from content) (*cutFile, error) {
	f := &cutFile{p: c.p, ctx: ctx}
	err := from.segments(func(s source.Segment) error {
		if s.Hole {
			return f.add(tree.Extent{Kind: tree.ExtentHole, Length: s.Length})
		}
		c.chunks.Reset(from.open(s))
		for {
			data, err := c.chunks.Next(c.buf)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return &readError{err}
			}
			c.buf = data[:0]
			id, err := c.p.offer(ctx, object.KindChunk, nil, data)
			if err != nil {
				return &runError{err}
			}
			if err := f.add(tree.Extent{Kind: tree.ExtentChunk, ID: id, Length: uint64(len(data))}); err != nil {
				return err
			}
		}
	})
	if err == nil {
		err = f.finish()
	}
	if err != nil {
		f.inner.close()
	}
	var run *runError
	var bad *readError
	switch {
	case errors.As(err, &run):
		return nil, run.err
	case err == nil || errors.As(err, &bad):
		return f, err
	}
	return nil, &readError{err} // of asking for the segments
}

// runError marks an error that ends the run on its way through the source.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// add appends an extent. From the one after maxDirect on, all are in lists.
func (f *cutFile) add(x tree.Extent) error {
	f.size += x.Length
	if f.list == nil && len(f.extents) < maxDirect {
		f.extents = append(f.extents, x)
		return nil
	}
	if f.list == nil {
		f.inner = &spool{cache: f.p.cache}
		f.list = tree.NewListWriter(f.emit)
		for i := range f.extents {
			if err := f.addToList(f.extents[i]); err != nil {
				return err
			}
		}
		f.extents = nil
	}
	return f.addToList(x)
}

func (f *cutFile) addToList(x tree.Extent) error {
	if x.Kind != tree.ExtentHole {
		if err := f.inner.add(x.ID); err != nil {
			return &runError{err}
		}
	}
	if err := f.list.Add(x); err != nil {
		return &runError{err}
	}
	return nil
}

// emit takes a finished list object. The topmost one is counted as inner, too,
// and once more as an extent: what is counted twice is taken back twice.
func (f *cutFile) emit(kind object.Kind, refs []object.ID, plaintext []byte) (object.ID, error) {
	id, err := f.p.offer(f.ctx, kind, refs, plaintext)
	if err == nil {
		err = f.inner.add(id)
	}
	return id, err
}

func (f *cutFile) finish() error {
	if f.list == nil {
		return nil
	}
	top, err := f.list.Close()
	if err != nil {
		return &runError{err}
	}
	f.extents = []tree.Extent{top}
	return nil
}
