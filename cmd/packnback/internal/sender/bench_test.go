package sender

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// benchPass returns a pass whose stages can be run one by one.
func benchPass(b *testing.B) *pass {
	b.Helper()
	_, send := keys()
	cache, err := statcache.Open("", statcache.Binding{Client: "web1", Job: "default"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cache.Close() })
	claimed, err := cache.NewIDSet(claimMemory)
	if err != nil {
		b.Fatal(err)
	}
	up, err := crypto.NewUpload(send)
	if err != nil {
		b.Fatal(err)
	}
	comp, err := chunk.NewCompressor(chunk.LevelDefault, 1)
	if err != nil {
		b.Fatal(err)
	}
	ids := crypto.NewIDs(send)
	return &pass{
		cfg: &Config{}, events: newEvents(Events{}), cache: cache, trust: &trust{claimed: claimed}, ids: ids, up: up,
		chunks: chunk.New(ids.ChunkerSecret()), comp: comp, counts: new(counters),
		budget: semaphore.NewWeighted(offerBudget), seals: make(chan *offer), puts: make(chan *sealed, putQueue),
	}
}

// A whole unchanged run, by the file.
func BenchmarkUnchanged(b *testing.B) {
	l := newLab(b)
	const files = 5000
	for i := range files {
		l.write(fmt.Sprintf("d%02d/file-%04d", i/100, i), []byte("x"))
	}
	l.backup()
	for b.Loop() {
		l.backup()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
}

// Cutting a large file that the store has: reading, cutting, ids, lookups.
func BenchmarkCutKnown(b *testing.B) {
	p := benchPass(b)
	data := random(1, 32<<20)
	ctx := b.Context()
	for _, known := range []bool{false, true} {
		if known {
			b.SetBytes(int64(len(data)))
		}
		run := func() {
			c := newCutter(p)
			x, err := c.cut(ctx, content{
				segments: func(yield func(source.Segment) error) error { return yield(source.Segment{}) },
				open:     func(source.Segment) io.Reader { return bytes.NewReader(data) },
			})
			if err != nil {
				b.Fatal(err)
			}
			x.inner.close()
		}
		if known {
			for b.Loop() {
				run()
			}
			continue
		}
		g := new(errgroup.Group)
		g.Go(func() error { // whatever is offered the first time is dropped
			for o := range p.seals {
				p.buffers.put(o.plain)
				p.budget.Release(o.weight)
			}
			return nil
		})
		run()
		close(p.seals)
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// Compressing and sealing one bundle of text.
func BenchmarkSeal(b *testing.B) {
	p := benchPass(b)
	text := make([]byte, 0, bundleTarget)
	for i := 0; len(text) < bundleTarget-100; i++ {
		text = fmt.Appendf(text, "line %d of a file in which %x varies\n", i, i*i*7919)
	}
	ctx := b.Context()
	b.SetBytes(int64(len(text)))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.sealAll(ctx) })
	id := object.ID{1}
	for b.Loop() {
		plain := p.buffers.get(len(text))
		copy(*plain, text)
		binary.BigEndian.PutUint64(id[1:], p.claims)
		o := &offer{kind: object.KindBundle, id: id, plain: plain}
		if err := p.submit(ctx, o); err != nil {
			b.Fatal(err)
		}
		s := <-p.puts
		p.budget.Release(s.weight)
	}
	close(p.seals)
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
