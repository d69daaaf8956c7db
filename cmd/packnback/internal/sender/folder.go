package sender

import (
	"context"
	"fmt"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Limits in bytes of entries that wait, undecoded, for something in their folder
// to change: in one folder (some 4,000 entries), and in all open ones together.
const (
	maxLazyFolder = 512 << 10
	maxLazy       = 4 << 20
	lazySize      = 64 // of an entry beside its path, about
)

// frame is a folder that is being put together. While all of its entries are
// as they were, they are only kept in lazy: if it stays like that, the folder's
// old object is the new one.
type frame struct {
	lazy    []lazyEntry
	waiting int           // bytes of lazy
	w       *folderWriter // nil until something has changed
}

type lazyEntry struct {
	name string
	raw  statcache.Raw
}

// folderWriter writes one folder after the other.
type folderWriter struct {
	w     *tree.DirWriter
	p     *pass
	ctx   context.Context // of the call that may emit; set by every such call
	inner *spool
	err   error // of emitting; ends the run
}

func (a *assembler) writer() *folderWriter {
	var w *folderWriter
	if n := len(a.idle); n > 0 {
		w, a.idle = a.idle[n-1], a.idle[:n-1]
	} else {
		w = &folderWriter{p: a.p}
		w.w = tree.NewDirWriter(w.emit)
	}
	w.inner = &spool{cache: a.p.cache}
	return w
}

func (w *folderWriter) emit(kind object.Kind, refs []object.ID, plaintext []byte) (object.ID, error) {
	id, err := w.p.offer(w.ctx, kind, refs, plaintext)
	if err == nil {
		err = w.inner.add(id)
	}
	w.err = err
	return id, err
}

// add adds an entry. An error without w.err is about the entry only.
func (w *folderWriter) add(ctx context.Context, e *tree.Entry) error {
	w.ctx = ctx
	return w.w.Add(e)
}

func (w *folderWriter) close(ctx context.Context) (object.ID, error) {
	w.ctx = ctx
	return w.w.Close()
}

// addEntry adds a changed entry to the open folder; ok is false when the format
// has no room for it, which has been reported then.
func (a *assembler) addEntry(ctx context.Context, it *item) (ok bool, err error) {
	f := a.frames[len(a.frames)-1]
	if err := a.writeLazy(ctx, f); err != nil {
		return false, err
	}
	e := &it.rec.Entry
	err = f.w.add(ctx, e)
	if err != nil && f.w.err == nil && len(e.Xattrs) > 0 {
		a.p.complain(it, fmt.Errorf("stored without its extended attributes: %w", err))
		e.Xattrs = nil
		err = f.w.add(ctx, e)
	}
	if err != nil && f.w.err == nil {
		a.p.events.problem(source.Problem{Kind: source.Unread, Path: it.path, Err: err})
		return false, nil
	}
	return err == nil, err
}

// addLazy adds an unchanged entry to the open folder.
func (a *assembler) addLazy(ctx context.Context, it *item) error {
	f := a.frames[len(a.frames)-1]
	entry := lazyEntry{it.name(), it.raw}
	if f.w != nil {
		return f.w.addRaw(ctx, entry)
	}
	f.lazy = append(f.lazy, entry)
	size := lazySize + len(it.path) // the name keeps all of the path in memory
	f.waiting += size
	a.lazy += size
	if f.waiting <= maxLazyFolder && a.lazy <= maxLazy {
		return nil
	}
	return a.writeLazy(ctx, f)
}

// writeLazy gives the folder a writer if it has none, and that all entries that
// have waited.
func (a *assembler) writeLazy(ctx context.Context, f *frame) error {
	if f.w == nil {
		f.w = a.writer()
	}
	lazy := f.lazy
	a.lazy -= f.waiting
	f.lazy, f.waiting = nil, 0
	for _, entry := range lazy {
		if err := f.w.addRaw(ctx, entry); err != nil {
			return err
		}
	}
	return nil
}

// addRaw adds an entry out of the cache.
func (w *folderWriter) addRaw(ctx context.Context, entry lazyEntry) error {
	r, err := entry.raw.Decode()
	if err != nil {
		return err
	}
	r.Entry.Name = entry.name
	if err := w.add(ctx, &r.Entry); err != nil {
		if w.err == nil { // it was good enough for the last run
			return fmt.Errorf("%w: entry %q: %w", statcache.ErrDamaged, entry.name, err)
		}
		return err
	}
	return nil
}
