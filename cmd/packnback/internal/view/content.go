package view

import (
	"cmp"
	"context"
	"fmt"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
	"golang.org/x/sync/errgroup"
)

// Bounds of what Pieces reads ahead. Objects are about 1 MiB, at most
// object.MaxPlaintext: at most 256 MiB in the hands of a hostile sender, 32
// otherwise.
const (
	windowObjects = 8    // distinct objects of one window
	windowPieces  = 4096 // pieces of one window
	windowsAhead  = 3    // windows being fetched while one is consumed
)

// Piece is a step of what Pieces reads: an extent with something of the
// caller's, or only that, when the extent is the zero one.
type Piece struct {
	Token  any
	Extent tree.Extent // ExtentBundle, ExtentChunk or ExtentHole
}

// window is a run of pieces whose objects are fetched together.
type window struct {
	pieces  []Piece
	ids     []object.ID
	objects map[object.ID]content
	done    chan struct{} // closed when objects is complete, or err is set
	err     error
}

type content struct {
	plain []byte
	err   error
}

// Pieces hands the pieces that produce yields on to consume, in the same order,
// each with its bytes, and fetches ahead meanwhile, so that a distant store
// costs little more than a near one. Holes come without bytes. A piece whose
// object is lost comes with an error that satisfies Lost (or wraps
// crypto.ErrNotRecipient); consume decides whether to go on. The bytes are
// valid during the call only. produce runs in a goroutine of its own.
func (r *Reader) Pieces(ctx context.Context, produce func(yield func(Piece) error) error, consume func(Piece, []byte, error) error) error {
	g, ctx := errgroup.WithContext(ctx)
	ordered := make(chan *window, windowsAhead)
	fetchers, fctx := errgroup.WithContext(ctx)
	fetchers.SetLimit(windowsAhead)
	send := func(w *window) error {
		fetchers.Go(func() error {
			defer close(w.done)
			w.err = r.fill(fctx, w)
			return w.err
		})
		select {
		case ordered <- w:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.Go(func() error {
		defer close(ordered)
		w := newWindow()
		err := produce(func(p Piece) error {
			if w.full(p) {
				if err := send(w); err != nil {
					return err
				}
				w = newWindow()
			}
			w.add(p)
			return nil
		})
		if err == nil && len(w.pieces) > 0 {
			err = send(w)
		}
		return cmp.Or(fetchers.Wait(), err)
	})
	g.Go(func() error {
		for w := range ordered {
			select {
			case <-w.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if w.err != nil {
				return w.err
			}
			if err := w.consume(consume); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func newWindow() *window {
	return &window{objects: map[object.ID]content{}, done: make(chan struct{})}
}

func (w *window) full(p Piece) bool {
	if len(w.pieces) >= windowPieces {
		return true
	}
	_, have := w.objects[p.Extent.ID]
	return !have && len(w.ids) >= windowObjects && hasObject(p.Extent)
}

var extentNames = map[tree.ExtentKind]string{tree.ExtentBundle: "bundle", tree.ExtentChunk: "chunk"}

func hasObject(x tree.Extent) bool {
	return x.Kind == tree.ExtentBundle || x.Kind == tree.ExtentChunk
}

func (w *window) add(p Piece) {
	w.pieces = append(w.pieces, p)
	if !hasObject(p.Extent) {
		return
	}
	if _, have := w.objects[p.Extent.ID]; !have {
		w.objects[p.Extent.ID] = content{}
		w.ids = append(w.ids, p.Extent.ID)
	}
}

func (r *Reader) fill(ctx context.Context, w *window) error {
	if len(w.ids) == 0 {
		return nil
	}
	return r.FetchRecords(ctx, w.ids, func(id object.ID, rec *object.Record, err error) error {
		var plain []byte
		if err == nil {
			plain, err = r.decodeContent(ctx, rec, nil)
		}
		if err != nil && !Refused(err) {
			return err
		}
		w.objects[id] = content{plain, err}
		return nil
	})
}

// decodeContent is Decode for what must be a chunk or a bundle. The memory it
// returns may be used again even where there is an error.
func (r *Reader) decodeContent(ctx context.Context, rec *object.Record, dst []byte) ([]byte, error) {
	plain, err := r.Decode(ctx, rec, dst)
	if err == nil && rec.Kind != object.KindChunk && rec.Kind != object.KindBundle {
		err = &LossError{rec.ID, fmt.Errorf("%w: it is a %s, not content", object.ErrMalformed, rec.Kind)}
	}
	return plain, err
}

func (w *window) consume(consume func(Piece, []byte, error) error) error {
	for _, p := range w.pieces {
		var b []byte
		var err error
		if hasObject(p.Extent) {
			c := w.objects[p.Extent.ID]
			if b, err = c.plain, c.err; err == nil {
				b, err = Slice(p.Extent, b)
			}
		}
		if err := consume(p, b, err); err != nil {
			return err
		}
	}
	return nil
}

// Slice returns the bytes of plain, the content of the object of x, that x
// stands for. A hostile tree may name bytes that are not there.
func Slice(x tree.Extent, plain []byte) ([]byte, error) {
	if err := fits(x, uint64(len(plain))); err != nil {
		return nil, err
	}
	return plain[x.Offset : uint64(x.Offset)+x.Length], nil
}

// fits checks that an object of n bytes has what x stands for.
func fits(x tree.Extent, n uint64) error {
	from := uint64(x.Offset)
	if x.Kind == tree.ExtentChunk && (from != 0 || x.Length != n) || from > n || x.Length > n-from {
		return &LossError{x.ID, fmt.Errorf("%w tree: wants %d bytes at %d of a %s of %d", object.ErrMalformed, x.Length, from, extentNames[x.Kind], n)}
	}
	return nil
}
