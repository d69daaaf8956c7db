package sender

import (
	"context"
	"fmt"

	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

const (
	// bundleTarget is the length at which a bundle is closed. Twice as much would
	// save another 1.4 % of a source tree, half of it would cost 2 %; a restorer
	// that wants one file reads one bundle.
	bundleTarget = 1 << 20
	// bundleRoom is what a bundle's buffer must hold: the last file may begin
	// just below the target.
	bundleRoom = bundleTarget + largeFile
	// maxWaiting is how many bytes of items may wait for the open bundle: some
	// 20,000 items.
	maxWaiting = 10 << 20
	// queuedSize is what an item takes beside its path, about.
	queuedSize = 400
)

// bundler collects the contents of small files in walk order. Until a bundle
// is closed it has no id, so everything from the first of its files on waits.
type bundler struct {
	buf     *[]byte // nil: none is open
	places  map[object.ID]uint32
	queue   []*item
	waiting int // bytes of the queue
}

// small finds or makes a place for the contents of a small file.
func (a *assembler) small(it *item) error {
	data := it.data
	it.data = nil
	if len(data) == 0 {
		it.rec.Entry.Extents = nil
		return nil
	}
	done, err := a.place(it)
	if done || err != nil {
		return err
	}
	b := &a.bundler
	if b.buf == nil {
		b.buf = a.p.buffers.get(bundleRoom)
		*b.buf = (*b.buf)[:0]
	}
	it.offset, it.waits = uint32(len(*b.buf)), true
	*b.buf = append(*b.buf, data...)
	b.places[it.rec.Content] = it.offset
	return nil
}

// place looks for a place that has the contents of it.rec.Content already: in
// the open bundle, in this run's or in the base snapshot's.
func (a *assembler) place(it *item) (bool, error) {
	if offset, ok := a.bundler.places[it.rec.Content]; ok {
		it.offset, it.waits = offset, true
		return true, nil
	}
	p, ok, err := a.knownPlace(it.rec.Content)
	if !ok || err != nil {
		return false, err
	}
	if uint64(p.Length) != it.rec.Entry.Size {
		return false, fmt.Errorf("%w: a content id for %d bytes, and for %d", statcache.ErrDamaged, p.Length, it.rec.Entry.Size)
	}
	it.rec.Entry.Extents = []tree.Extent{{Kind: tree.ExtentBundle, ID: p.Bundle, Offset: p.Offset, Length: uint64(p.Length)}}
	return true, nil
}

func (a *assembler) knownPlace(content object.ID) (found statcache.Place, ok bool, err error) {
	t := a.p.trust
	usable := func(p statcache.Place) (bool, error) {
		if t.sparse[p.Bundle] {
			return false, nil
		}
		return t.has(p.Bundle)
	}
	if p, known, err := a.p.build.Place(content); err != nil {
		return p, false, err
	} else if known {
		if ok, err := usable(p); ok || err != nil {
			return p, ok, err
		}
	}
	if t.gen == nil {
		return found, false, nil
	}
	placesErr := t.gen.Places(content, func(p statcache.Place) bool {
		if ok, err = usable(p); ok {
			found = p
		}
		return !ok && err == nil
	})
	if err == nil {
		err = placesErr
	}
	return found, ok, err
}

// closeBundle gives the open bundle its id, sends it, and assembles everything
// that has waited for it.
func (a *assembler) closeBundle(ctx context.Context) error {
	b := &a.bundler
	if b.buf == nil {
		return nil
	}
	id, err := a.p.offerBuffer(ctx, object.KindBundle, b.buf)
	b.buf = nil
	if err != nil {
		return err
	}
	clear(b.places)
	queue := b.queue
	b.queue, b.waiting = b.queue[:0], 0
	for i, it := range queue {
		if it.waits {
			it.waits = false
			it.rec.Entry.Extents = []tree.Extent{{Kind: tree.ExtentBundle, ID: id, Offset: it.offset, Length: it.rec.Entry.Size}}
		}
		if err := a.apply(ctx, it); err != nil {
			return err
		}
		queue[i] = nil
	}
	return nil
}
