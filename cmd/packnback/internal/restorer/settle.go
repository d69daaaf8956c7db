package restorer

import (
	"context"

	"golang.org/x/sys/unix"
)

// settle does a window's steps, in order, after the window and all before it
// are done.
func (r *run) settle(ctx context.Context, win *window) error {
	for _, s := range win.steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		if s.first != "" {
			err = r.report.outcome(Restored, s.dir.path(s.entry.Name), s.entry, r.w.link(r.root, s.first, s.dir, s.entry))
		} else {
			err = r.leave(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leave finishes a folder: everything in it is there now.
func (r *run) leave(s step) error {
	path := s.dir.path("")
	if s.dir.parent != nil {
		path = s.dir.parent.path(s.dir.name)
	}
	if s.tidy {
		// What can't be removed harms nobody.
		_ = r.folders.use(s.dir, removeStale)
	}
	if s.delete && !s.dir.absent {
		if err := r.removeExtra(s.dir); err != nil {
			if err = r.report.outcome(Deleted, path, nil, err); err != nil {
				return err
			}
		}
	}
	if r.opt.DryRun {
		if s.dir.parent != nil && s.apply {
			r.report.done(action(s.dir), path, s.entry)
		}
		return nil
	}
	if s.apply || s.times {
		err := r.folders.use(s.dir, func(fd int) error { return r.folderMetadata(fd, s) })
		if s.dir.parent != nil || err != nil {
			if err := r.report.outcome(action(s.dir), path, s.entry, err); err != nil {
				return err
			}
		}
	}
	r.folders.forget(s.dir)
	return nil
}

func action(d *folder) Action {
	if d.fresh {
		return Restored
	}
	return Unchanged
}

func (r *run) folderMetadata(fd int, s step) error {
	if !s.apply {
		return inode{fd: fd}.setTimes(atime(s.entry), timespec(s.entry.Mtime))
	}
	if remarks := r.w.meta.apply(inode{fd: fd}, s.entry, s.dir.fresh); len(remarks) > 0 {
		return &metadataError{remarks}
	}
	return nil
}

// removeExtra removes what the snapshot does not have in d, as far as it is
// selected.
func (r *run) removeExtra(d *folder) error {
	rm := r.opt.remover(d, d.path(""))
	rm.report = func(path string, err error) {
		if err != nil && err != unix.ENOENT {
			r.report.lost(path, &removeError{err})
			return
		}
		r.report.done(Deleted, path, nil)
	}
	return r.folders.use(d, func(fd int) error {
		return rm.clear(fd, func(name string) (bool, error) {
			kept, err := r.keeper.has(d, name)
			return !kept, err
		})
	})
}

// removeError says that an extra file could not be removed.
type removeError struct{ err error }

func (e *removeError) Error() string {
	return "removing what the snapshot does not have: " + e.err.Error()
}
func (e *removeError) Unwrap() error { return e.err }
