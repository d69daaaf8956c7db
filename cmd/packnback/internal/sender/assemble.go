package sender

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
	"github.com/packnback/packnback/repo/tree"
)

// assembler puts what the other stages found out together, in walk order:
// small files into bundles, entries into folders, everything into the new
// cache.
type assembler struct {
	p       *pass
	bundler bundler
	links   *table.Sorter // what became of files with several names
	frames  []*frame
	lazy    int             // bytes of entries in all frames that are not decoded yet
	idle    []*folderWriter // to be used again
	root    *rootFolder
}

// rootFolder is the result of a pass.
type rootFolder struct {
	id    object.ID
	entry *tree.Entry // its metadata
	tally *tally
}

// tally is what a summary counts.
type tally struct {
	files, dirs [New + 1]uint64 // by Change
	others      uint64
	bytes       uint64
}

// empty reports whether a walk found nothing, but for the topmost folder.
func (t *tally) empty() bool {
	return t.files == [New + 1]uint64{} && t.dirs == [New + 1]uint64{} && t.others == 0
}

// errNoRoot says that a walk did not end with the topmost folder.
var errNoRoot = errors.New("the walk ended early")

func newAssembler(p *pass) (*assembler, error) {
	links, err := p.cache.Sorter("linked", linkedLayout, 1<<20)
	if err != nil {
		return nil, err
	}
	return &assembler{p: p, links: links, root: &rootFolder{tally: new(tally)}, bundler: bundler{places: make(map[object.ID]uint32)}}, nil
}

func (a *assembler) close() error {
	for _, f := range a.frames {
		if f.w != nil {
			f.w.inner.close()
		}
	}
	return a.links.Close()
}

func (a *assembler) run(ctx context.Context) (*rootFolder, error) {
	for {
		b, ok, err := receive(ctx, a.p.ordered)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if err := a.batch(ctx, b); err != nil {
			return nil, err
		}
	}
	if err := a.closeBundle(ctx); err != nil {
		return nil, err
	}
	if a.root.entry == nil {
		return nil, errNoRoot // unless the walk has failed, whose error comes first
	}
	return a.root, nil
}

func (a *assembler) batch(ctx context.Context, b *batch) error {
	if b.done != nil {
		if _, _, err := receive(ctx, b.done); err != nil {
			return err
		}
	}
	for _, it := range b.items {
		if err := a.take(ctx, it); err != nil {
			return err
		}
	}
	if b.buf != nil {
		a.p.buffers.put(b.buf)
	}
	if b.work {
		a.p.ahead.Release(b.bytes)
	}
	return nil
}

// take resolves what an item refers to and assembles it, or queues it when
// that is not known before the bundle is closed.
func (a *assembler) take(ctx context.Context, it *item) error {
	if it.done != nil {
		if _, _, err := receive(ctx, it.done); err != nil {
			return err
		}
	}
	var err error
	switch {
	case it.err != nil:
	case it.task == taskSmall:
		err = a.small(it)
	case it.task == taskLink:
		err = a.linked(it)
	}
	if err == nil && it.link != (linkKey{}) && it.task != taskLink {
		err = a.rememberLink(it)
	}
	if err != nil {
		return err
	}
	if it.err != nil {
		kind := source.Unread
		if errors.Is(it.err, fs.ErrNotExist) || errors.Is(it.err, source.ErrChanged) {
			kind = source.Vanished
		}
		a.p.events.problem(source.Problem{Kind: kind, Path: it.path, Err: it.err})
		return nil
	}
	b := &a.bundler
	if !it.waits && len(b.queue) == 0 {
		return a.apply(ctx, it)
	}
	b.queue = append(b.queue, it)
	b.waiting += queuedSize + len(it.path)
	if len(*b.buf) >= bundleTarget || b.waiting >= maxWaiting {
		return a.closeBundle(ctx)
	}
	return nil
}

// apply assembles an item of which everything is known.
func (a *assembler) apply(ctx context.Context, it *item) error {
	switch it.step {
	case source.Enter:
		a.frames = append(a.frames, &frame{})
		return nil
	case source.Leave:
		return a.leave(ctx, it)
	}
	if it.unchanged() {
		if err := a.addLazy(ctx, it); err != nil {
			return err
		}
	} else {
		it.rec.Entry.Name = it.name()
		if ok, err := a.addEntry(ctx, it); !ok || err != nil {
			it.spool.close()
			return err
		}
	}
	a.countFile(it)
	return a.remember(it)
}

// countFile adds a file, or what is neither file nor folder, to the figures.
func (a *assembler) countFile(it *item) {
	it.settle()
	typ, size := it.raw.Size()
	if !it.unchanged() {
		typ, size = it.rec.Entry.Type, it.rec.Entry.Size
	}
	t, progress := a.root.tally, a.p.events.Progress
	if typ == tree.TypeFile {
		t.files[it.change]++
		t.bytes += size
		progress.Files.Add(1)
		progress.Bytes.Add(size)
	} else {
		t.others++
	}
	a.p.events.entry(it.path, typ, it.change)
}

// remember writes an item into the new cache. A cache that can't be written ends
// with the first failure; its Finish tells of it, once.
func (a *assembler) remember(it *item) error {
	path := []byte(it.path)
	build := a.p.build
	if it.unchanged() {
		_ = build.Copy(path, it.raw)
	} else {
		if it.counts {
			if err := a.p.count(it.rec, 1); err != nil {
				return err
			}
		}
		_ = build.Add(path, it.rec)
	}
	inner := func(ids []byte) error {
		if it.counts {
			if err := a.p.countInner(ids, 1); err != nil {
				return err
			}
		}
		_ = build.Inner(path, ids)
		return nil
	}
	for _, ids := range it.inner {
		if err := inner(ids); err != nil {
			return err
		}
	}
	if it.spool == nil {
		return nil
	}
	return it.spool.each(inner)
}

// leave finishes a folder.
func (a *assembler) leave(ctx context.Context, it *item) error {
	f := a.frames[len(a.frames)-1]
	a.frames = a.frames[:len(a.frames)-1]
	if it.unchanged() {
		return a.leaveUnchanged(ctx, it, f)
	}
	id, err := a.finishFolder(ctx, it, f)
	if err != nil {
		return err
	}
	e := &it.rec.Entry
	e.Subtree = id
	if len(a.frames) == 0 {
		a.finishRoot(it.rec)
	} else {
		e.Name = it.name()
		if ok, err := a.addEntry(ctx, it); !ok || err != nil {
			it.spool.close()
			return err
		}
	}
	a.countFolder(it)
	return a.remember(it)
}

// leaveUnchanged finishes a folder in which nothing has changed: its object is
// the one of the last run. Where entries had to be written out already, because
// there were too many to wait, the result is the same and is not sent.
func (a *assembler) leaveUnchanged(ctx context.Context, it *item, f *frame) error {
	if f.w != nil {
		if _, err := a.finishFolder(ctx, it, f); err != nil {
			return err
		}
		it.spool.close()
		it.spool = nil
	}
	a.lazy -= f.waiting
	if len(a.frames) == 0 {
		r, err := it.raw.Decode()
		if err != nil {
			return err
		}
		a.finishRoot(r)
	} else if err := a.addLazy(ctx, it); err != nil {
		return err
	}
	a.countFolder(it)
	return a.remember(it)
}

func (a *assembler) finishRoot(r *statcache.Record) {
	e := r.Entry
	a.root.id, e.Subtree = e.Subtree, object.ID{}
	e.Name, e.HasAtime, e.Atime = "", false, tree.Time{}
	a.root.entry = &e
}

// countFolder counts a folder that is done, except the topmost one: it is the
// snapshot itself, and a restore counts none for it either.
func (a *assembler) countFolder(it *item) {
	it.settle()
	if len(a.frames) == 0 {
		return
	}
	a.root.tally.dirs[it.change]++
	a.p.events.Progress.Dirs.Add(1)
	a.p.events.entry(it.path, tree.TypeDir, it.change)
}

// finishFolder writes what is left of a folder and returns its object's id. The
// ids of a folder of several objects go into the item's spool.
func (a *assembler) finishFolder(ctx context.Context, it *item, f *frame) (object.ID, error) {
	if err := a.writeLazy(ctx, f); err != nil {
		return object.ID{}, err
	}
	w := f.w
	f.w = nil
	id, err := w.close(ctx)
	if err != nil {
		return id, fmt.Errorf("folder %q: %w", it.path, err)
	}
	if string(w.inner.few) != string(id[:]) {
		it.spool = w.inner
	}
	w.inner = nil
	a.idle = append(a.idle, w)
	return id, nil
}
