package sender

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
	"github.com/packnback/packnback/repo/tree"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// The budgets, in bytes of contents. With what compression and the sorters
// take they keep a run well below 200 MiB.
const (
	readAhead   = 12 << 20 // read and not yet assembled
	offerBudget = 48 << 20 // offered and not yet put
)

// cutters is how many large files are cut at once. Two keep the sealers busy
// while one of them waits for the disk.
const cutters = 2

// aheadBatches is how many batches the walk may be ahead of the assembler. A
// batch of unchanged entries holds some 60 KiB.
const aheadBatches = 32

// pass is one attempt at walking everything and sending what is new.
type pass struct {
	cfg    *Config
	events *events
	cache  *statcache.Cache
	build  *statcache.Build
	trust  *trust
	ids    *crypto.IDs
	up     *crypto.Upload
	link   *link
	chunks *chunk.Chunker
	comp   *chunk.Compressor
	counts *counters

	increment increment // harder than comp

	adoption *statcache.Adoption
	ahead    *semaphore.Weighted
	budget   *semaphore.Weighted
	buffers  buffers

	order  sync.Mutex // guards claims; held while an object is claimed
	claims uint64     // made so far

	ordered chan *batch  // to the assembler, in walk order; bounded by aheadBatches
	toRead  chan *batch  // to readers; unbuffered
	toCut   chan *item   // to cutters; unbuffered
	asks    chan *offer  // to the asker; unbuffered, contents are in the budget
	seals   chan *offer  // to sealers; likewise
	puts    chan *sealed // to the putter; room for many small records, bytes are in the budget
}

// putQueue is how many sealed records may wait for the putter.
const putQueue = 256

// run walks, sends, and returns the root folder's entry and id once everything
// has been put.
func (p *pass) run(ctx context.Context) (root *rootFolder, err error) {
	p.ahead, p.budget = semaphore.NewWeighted(readAhead), semaphore.NewWeighted(offerBudget)
	p.ordered, p.toRead, p.toCut = make(chan *batch, aheadBatches), make(chan *batch), make(chan *item)
	p.asks, p.seals, p.puts = make(chan *offer), make(chan *offer), make(chan *sealed, putQueue)

	g, ctx := errgroup.WithContext(ctx)
	links, err := p.cache.Sorter("links", linkLayout, 1<<20)
	if err != nil {
		return nil, err
	}
	a, err := newAssembler(p)
	if err != nil {
		return nil, errors.Join(err, links.Close())
	}
	defer func() { err = errors.Join(err, links.Close(), a.close()) }()

	p.startReading(ctx, g, links)
	var offering sync.WaitGroup // the assembler and the cutters
	offering.Add(1 + cutters)
	g.Go(func() error {
		defer offering.Done()
		var err error
		root, err = a.run(ctx)
		return err
	})
	for range cutters {
		g.Go(func() error {
			defer offering.Done()
			return p.cutAll(ctx)
		})
	}
	p.startSending(ctx, g, &offering)
	return root, g.Wait()
}

// startReading starts the walk and the readers.
func (p *pass) startReading(ctx context.Context, g *errgroup.Group, links *table.Sorter) {
	g.Go(func() error {
		defer close(p.ordered)
		defer close(p.toRead)
		defer close(p.toCut)
		return p.walk(ctx, links)
	})
	for range p.readers() {
		g.Go(func() error { return p.readAll(ctx) })
	}
}

// startSending starts everything from the asker to the putter. Each channel is
// closed when the last of those who send on it has ended.
func (p *pass) startSending(ctx context.Context, g *errgroup.Group, offering *sync.WaitGroup) {
	var asking, sealing sync.WaitGroup
	g.Go(func() error {
		offering.Wait()
		close(p.asks)
		return nil
	})
	asking.Add(1)
	g.Go(func() error {
		defer asking.Done()
		return p.askAll(ctx)
	})
	g.Go(func() error {
		offering.Wait() // what needs no question goes to the sealers directly
		asking.Wait()
		close(p.seals)
		return nil
	})
	for range p.cfg.Options.sealers() {
		sealing.Add(1)
		g.Go(func() error {
			defer sealing.Done()
			return p.sealAll(ctx)
		})
	}
	g.Go(func() error {
		sealing.Wait()
		close(p.puts)
		return nil
	})
	g.Go(func() error { return p.putAll(ctx) })
}

// sealers returns how many objects are compressed and sealed at once: one a
// processor, as far as the memory of their encoders (and 4 MiB each for what
// comes out) stays within some 100 MiB.
func (o *Options) sealers() int {
	most := 8
	switch o.Level {
	case chunk.LevelBetter:
		most = 6
	case chunk.LevelMax:
		most = 2
	}
	return min(runtime.GOMAXPROCS(0), most)
}

func (p *pass) readers() int {
	if n := p.cfg.Options.ReadConcurrency; n > 0 {
		return n
	}
	return min(2*runtime.GOMAXPROCS(0), 8)
}

// walk runs the source through the matcher.
func (p *pass) walk(ctx context.Context, links *table.Sorter) error {
	m := &matcher{ctx: ctx, p: p, links: links}
	if p.trust.gen != nil {
		m.base = p.trust.gen.Walk()
	}
	if p.adoption != nil {
		m.partial = p.adoption.Walk()
	}
	if p.cfg.Source.stream != nil {
		if err := p.streamItems(ctx, m); err != nil {
			return err
		}
		return m.flush()
	}
	if err := p.cfg.Source.walk(ctx, p.events, m.step); err != nil {
		return err
	}
	return m.finish()
}

// dispatch sends a batch to the assembler and, when there is something to
// read, to a reader.
func (p *pass) dispatch(ctx context.Context, b *batch) error {
	if b.work {
		b.done = make(chan struct{})
		b.bytes = min(b.bytes, readAhead)
		if err := p.ahead.Acquire(ctx, b.bytes); err != nil {
			return err
		}
	}
	// The reader first: the assembler waits for it.
	if b.work {
		select {
		case p.toRead <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case p.ordered <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dispatchLarge sends a large file to a cutter.
func (p *pass) dispatchLarge(ctx context.Context, it *item) error {
	select {
	case p.toCut <- it:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// count adds (n = 1) or takes back (n = -1) what a record refers to.
func (p *pass) count(r *statcache.Record, n int64) error {
	for i := range r.Entry.Extents {
		x := &r.Entry.Extents[i]
		kind := objectKind(x.Kind)
		if kind == 0 {
			continue
		}
		if ok, err := p.counted(x.ID, n); !ok || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		var err error
		if x.Kind == tree.ExtentBundle {
			err = p.build.AddContent(r.Content, statcache.Place{Bundle: x.ID, Offset: x.Offset, Length: uint32(x.Length)}, n)
		} else {
			err = p.build.AddObject(kind, x.ID, n)
		}
		if err != nil {
			return err
		}
	}
	if r.Entry.Subtree.IsZero() {
		return nil
	}
	if ok, err := p.counted(r.Entry.Subtree, n); !ok || err != nil {
		return err
	}
	return p.build.AddObject(object.KindDir, r.Entry.Subtree, n)
}

// countInner is count for ids that lie end to end. Their kinds are not known
// here and matter to nobody.
func (p *pass) countInner(ids []byte, n int64) error {
	return eachID(ids, func(id object.ID) error {
		if ok, err := p.counted(id, n); !ok || err != nil {
			return err
		}
		return p.build.AddObject(0, id, n)
	})
}

// counted reports whether a reference takes part in the cache's counts. What
// is taken back from a cache that is trusted in part only was never carried
// over.
func (p *pass) counted(id object.ID, n int64) (bool, error) {
	if n > 0 || p.trust.whole() {
		return true, nil
	}
	return p.trust.base(id)
}
