package restorer

import (
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// keyBatch is how many records are put aside while their key objects are asked
// for together: content of many uploads must not cost a round trip for each.
const keyBatch = 32

// fetchWindow does everything in win that needs not wait for other windows.
func (r *run) fetchWindow(ctx context.Context, win *window) error {
	for _, t := range win.inline {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := r.task(t); err != nil {
			return err
		}
	}
	if len(win.ids) > 0 {
		if err := r.fetchObjects(ctx, win); err != nil {
			return err
		}
	}
	return r.verify(win)
}

func (r *run) task(t task) error {
	path := t.dir.path(t.entry.Name)
	switch {
	case t.file != nil:
		done, err := r.w.settled(t.file)
		return r.finished(t.file, done, err)
	case t.adopt:
		err := r.w.adopt(t.dir, t.entry)
		if whole(err) {
			r.report.content(t.entry)
		}
		return r.report.outcome(Unchanged, path, t.entry, err)
	}
	return r.report.outcome(Restored, path, t.entry, r.w.node(t.dir, t.entry))
}

// finished reports a file that is done.
func (r *run) finished(f *file, done bool, err error) error {
	if !done {
		return nil
	}
	if whole(err) {
		r.report.content(f.entry)
	}
	return r.report.outcome(Restored, f.dir.path(f.entry.Name), f.entry, err)
}

// fetchObjects fetches the window's objects, and decodes and writes them on
// all cores. Memory is bounded by the run's budget of sealed bytes and its
// number of decoders.
func (r *run) fetchObjects(ctx context.Context, win *window) error {
	g, ctx := errgroup.WithContext(ctx)
	var batch []*object.Record // records whose key object is not loaded yet
	start := func(rec *object.Record) {
		g.Go(func() error {
			defer r.sealed.Release(weight(rec))
			return r.object(ctx, win, rec)
		})
	}
	flush := func() error {
		if err := r.job.Reader.LoadKeys(ctx, batch...); err != nil {
			return err
		}
		for _, rec := range batch {
			start(rec)
		}
		batch = nil
		return nil
	}
	g.Go(func() error {
		err := r.job.Reader.FetchRecords(ctx, win.ids, func(id object.ID, rec *object.Record, err error) error {
			if err != nil {
				return r.lost(win, id, err)
			}
			// What is put aside must not use up what it waits for.
			if len(batch) > 0 && (len(batch) >= keyBatch || !r.sealed.TryAcquire(weight(rec))) {
				if err := flush(); err != nil {
					return err
				}
				if err := r.sealed.Acquire(ctx, weight(rec)); err != nil {
					return err
				}
			} else if len(batch) == 0 {
				if err := r.sealed.Acquire(ctx, weight(rec)); err != nil {
					return err
				}
			}
			if r.job.Reader.HasKey(rec) {
				start(rec)
				return nil
			}
			batch = append(batch, rec)
			return nil
		})
		if err != nil {
			return err
		}
		return flush()
	})
	return g.Wait()
}

func weight(rec *object.Record) int64 { return min(int64(rec.Size()), sealedBudget) }

// lost fails every piece that wanted the object id.
func (r *run) lost(win *window, id object.ID, err error) error {
	for _, x := range win.pieces[id] {
		done, err := r.w.fail(x.file, fmt.Errorf("content at byte %d: %w", x.at, err))
		if err := r.finished(x.file, done, err); err != nil {
			return err
		}
	}
	return nil
}

// object decodes one record and writes what the window wants of it.
func (r *run) object(ctx context.Context, win *window, rec *object.Record) error {
	var buf []byte
	select {
	case buf = <-r.decoders:
		defer func() { r.decoders <- buf }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	plain, err := r.job.Reader.Decode(ctx, rec, buf)
	if cap(plain) > cap(buf) {
		buf = plain[:0]
	}
	if err == nil && rec.Kind != object.KindChunk && rec.Kind != object.KindBundle {
		err = &view.LossError{ID: rec.ID, Err: fmt.Errorf("%w: it is a %s, not content", object.ErrMalformed, rec.Kind)}
	}
	if err != nil {
		if concernsAll(err) || !view.Refused(err) {
			return err
		}
		return r.lost(win, rec.ID, err)
	}
	var wrote uint64
	for _, x := range win.pieces[rec.ID] {
		b, err := view.Slice(x.extent, plain)
		var done bool
		if err != nil {
			done, err = r.w.fail(x.file, fmt.Errorf("content at byte %d: %w", x.at, err))
		} else {
			if r.opt.Verify {
				x.sum = xxhash.Sum64(b)
			}
			done, err = r.w.write(x.file, x.at, b)
			wrote += uint64(len(b))
		}
		if err := r.finished(x.file, done, err); err != nil {
			return err
		}
	}
	r.report.wrote(wrote)
	return nil
}

// verify reads every piece of the window back, from the disk where it can be
// made to, before the files get their names.
func (r *run) verify(win *window) error {
	if len(win.verify) == 0 {
		return nil
	}
	// One call for all files: fsync of each would take minutes for many small ones.
	if err := unix.Syncfs(r.root.fd); err != nil {
		return fmt.Errorf("writing to disk before reading again: %w", err)
	}
	buf := make([]byte, 256<<10)
	for _, x := range win.verify {
		done, err := r.w.verify(x, buf)
		if err := r.finished(x.file, done, err); err != nil {
			return err
		}
	}
	return nil
}
