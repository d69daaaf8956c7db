package sender

import (
	"context"
	"slices"
	"sync"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/repo/object"
	"golang.org/x/sync/errgroup"
)

// offer is an object that has an id and is not known to be in the store.
type offer struct {
	kind   object.Kind
	id     object.ID
	refs   []object.ID
	plain  *[]byte
	weight int64  // held from the budget
	seq    uint64 // in the order of claims
}

// sealed is a record on its way to the store.
type sealed struct {
	rec    *object.Record // nil: the store has it, and there is nothing to put
	plain  int            // length of its plaintext
	weight int64
	seq    uint64
}

// Limits of the asker. Few large questions cost the fewest round trips; their
// size is bounded by the budget, because contents wait for the answer.
const (
	askBatch    = 512
	askInFlight = 4
)

// offer computes an object's id and sees to it that it gets into the store. It
// keeps nothing of refs and plaintext. It returns when the object has a place
// in the budget, not when it is sent.
func (p *pass) offer(ctx context.Context, kind object.Kind, refs []object.ID, plaintext []byte) (object.ID, error) {
	id := p.ids.ID(kind, refs, plaintext)
	known, err := p.trust.has(id)
	if known || err != nil {
		return id, err
	}
	plain := p.buffers.get(len(plaintext))
	copy(*plain, plaintext)
	return id, p.submit(ctx, &offer{kind: kind, id: id, refs: slices.Clone(refs), plain: plain})
}

// offerBuffer is offer for an object without refs whose plaintext is in one of
// p's buffers, which it takes over.
func (p *pass) offerBuffer(ctx context.Context, kind object.Kind, plain *[]byte) (object.ID, error) {
	id := p.ids.ID(kind, nil, *plain)
	known, err := p.trust.has(id)
	if known || err != nil {
		p.buffers.put(plain)
		return id, err
	}
	return id, p.submit(ctx, &offer{kind: kind, id: id, plain: plain})
}

// submit claims an object and passes it on, unless another goroutine claimed
// it a moment ago. The budget comes first: what has been claimed must be on its
// way, because everything claimed later waits for it at the putter.
func (p *pass) submit(ctx context.Context, o *offer) error {
	o.weight = int64(cap(*o.plain) + len(o.refs)*object.IDSize)
	if err := p.budget.Acquire(ctx, o.weight); err != nil {
		return err
	}
	p.order.Lock()
	mine, err := p.trust.claim(o.id)
	if mine {
		o.seq = p.claims
		p.claims++
	}
	p.order.Unlock()
	if !mine || err != nil {
		p.buffers.put(o.plain)
		p.budget.Release(o.weight)
		return err
	}
	to := p.seals
	if p.trust.asks(o.id) {
		to = p.asks
	}
	select {
	case to <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askAll asks the store about offers in batches, ahead of compression. It never
// waits for a batch to fill: while questions are under way, the next ones
// gather.
func (p *pass) askAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askInFlight)
	for {
		first, ok, err := receive(ctx, p.asks)
		if !ok || err != nil {
			waitErr := g.Wait()
			if err == nil {
				err = waitErr
			}
			return err
		}
		batch := []*offer{first}
		for more := true; more && len(batch) < askBatch; {
			select {
			case o, ok := <-p.asks:
				if more = ok; ok {
					batch = append(batch, o)
				}
			default:
				more = false
			}
		}
		g.Go(func() error { return p.askOne(ctx, batch) })
	}
}

// askOne asks about a batch and passes on what the store lacks.
func (p *pass) askOne(ctx context.Context, batch []*offer) error {
	ids := make([]object.ID, len(batch))
	for i, o := range batch {
		ids[i] = o.id
	}
	have, err := p.link.have(ctx, ids)
	if err != nil {
		return err
	}
	for i, o := range batch {
		if have[i] {
			p.buffers.put(o.plain)
			if err := p.toPut(ctx, &sealed{weight: o.weight, seq: o.seq}); err != nil {
				return err
			}
			continue
		}
		select {
		case p.seals <- o:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sealAll compresses and seals.
func (p *pass) sealAll(ctx context.Context) error {
	// Room for every chunk and bundle: an encoder that has to grow its output copies
	// it again and again, and what does not compress is the longest.
	scratch := make([]byte, 0, chunk.MaxSize+chunk.MaxSize/64)
	for {
		o, ok, err := receive(ctx, p.seals)
		if !ok || err != nil {
			return err
		}
		comp, err := p.increment.compressor(o, p.comp)
		if err != nil {
			return err
		}
		codec, stored := comp.Compress(scratch, *o.plain)
		s := &sealed{rec: p.up.Seal(o.id, o.kind, o.refs, codec, len(*o.plain), stored), plain: len(*o.plain), seq: o.seq}
		p.buffers.put(o.plain)
		s.weight = min(o.weight, int64(s.rec.Size()))
		p.budget.Release(o.weight - s.weight)
		if err := p.toPut(ctx, s); err != nil {
			return err
		}
	}
}

// toPut hands an object that needs nothing more to the putter.
func (p *pass) toPut(ctx context.Context, s *sealed) error {
	select {
	case p.puts <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// putAll hands records to the store in the order in which they were claimed,
// whatever order they were sealed in: an object comes after all that it refers
// to. So whatever first part of the puts is durable when a run is cut off is
// whole in itself, and the next run can go on with it. What waits for its turn
// is in the budget.
func (p *pass) putAll(ctx context.Context) error {
	waiting := make(map[uint64]*sealed)
	for next := uint64(0); ; {
		s, ok, err := receive(ctx, p.puts)
		if !ok || err != nil {
			return err
		}
		for waiting[s.seq] = s; waiting[next] != nil; next++ {
			s := waiting[next]
			delete(waiting, next)
			if err := p.putOne(ctx, s); err != nil {
				return err
			}
			p.budget.Release(s.weight)
		}
	}
}

func (p *pass) putOne(ctx context.Context, s *sealed) error {
	if s.rec == nil {
		return nil
	}
	if err := p.putKey(ctx, s.rec.Kind.Class()); err != nil {
		return err
	}
	if err := p.link.put(ctx, s.rec); err != nil {
		return err
	}
	p.counts.put(s)
	p.events.Progress.Sent.Add(uint64(s.rec.Size()))
	return nil
}

// putKey puts the key object of a class unless the session has it.
func (p *pass) putKey(ctx context.Context, class object.Class) error {
	if p.link.keyed[class] {
		return nil
	}
	rec := p.up.KeyObject(class)
	if err := p.link.put(ctx, rec); err != nil {
		return err
	}
	p.counts.put(&sealed{rec: rec})
	p.events.Progress.Sent.Add(uint64(rec.Size()))
	p.link.keyed[class] = true
	return nil
}

// receive takes from a channel unless ctx ends first; ok is false when the
// channel is closed.
func receive[T any](ctx context.Context, c <-chan T) (v T, ok bool, err error) {
	select {
	case v, ok = <-c:
		return v, ok, nil
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

// counters are the figures of a pass.
type counters struct {
	mu     sync.Mutex
	added  uint64 // bytes of contents put, before compression
	packed uint64 // bytes of all records put
}

func (c *counters) put(s *sealed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.rec.Kind == object.KindChunk || s.rec.Kind == object.KindBundle {
		c.added += uint64(s.plain)
	}
	c.packed += uint64(s.rec.Size())
}
