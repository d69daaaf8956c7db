package repo

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// The locks of packnback-repository(5), "LOCKS". A process takes them in the
// order prune, gc, head, current; the client's, the merge and another
// session's are taken with neither head nor current held.
const (
	pruneLock   = "locks/prune"
	gcLock      = "locks/gc"
	gateLock    = "locks/gate"
	currentLock = "locks/current"
	mergeLock   = "locks/merge"

	shared    = disk.Shared
	exclusive = disk.Exclusive
)

func headLock(client, job string) string { return headFolder(client, job) + "/lock" }
func clientLock(client string) string    { return quotaFolder(client) + "/lock" }

// lock waits for a lock until ctx ends.
func (r *Repository) lock(ctx context.Context, name string, mode disk.LockMode) (disk.Lock, error) {
	if err := ctx.Err(); err != nil {
		return nil, interrupted(err)
	}
	l, err := r.openLock(ctx, name, mode)
	if err == nil {
		return l, nil
	}
	if ctx.Err() != nil {
		return nil, interrupted(ctx.Err())
	}
	return nil, lockError(name, err)
}

// tryLock takes a lock that nobody holds; ok is false when somebody does.
func (r *Repository) tryLock(name string, mode disk.LockMode) (l disk.Lock, ok bool, err error) {
	once, cancel := context.WithCancel(context.Background())
	cancel()
	l, err = r.openLock(once, name, mode)
	if errors.Is(err, disk.ErrLocked) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, lockError(name, err)
	}
	return l, true, nil
}

// openLock is Lock, which makes the folder locks where that is missing: it holds
// nothing worth copying, so a copy of a repository may lack it.
func (r *Repository) openLock(ctx context.Context, name string, mode disk.LockMode) (disk.Lock, error) {
	l, err := r.fs.Lock(ctx, name, mode)
	if !errors.Is(err, fs.ErrNotExist) || path.Dir(name) != "locks" {
		return l, err
	}
	if err := r.fs.Mkdir("locks"); err != nil {
		return nil, err
	}
	return r.fs.Lock(ctx, name, mode)
}

// lockSoon takes a lock exclusively unless it is held for longer than adoptWait
// of the tuning.
func (r *Repository) lockSoon(ctx context.Context, name string) (l disk.Lock, ok bool, err error) {
	soon, cancel := context.WithTimeout(ctx, r.tune.adoptWait)
	defer cancel()
	l, err = r.fs.Lock(soon, name, exclusive)
	switch {
	case err == nil:
		return l, true, nil
	case ctx.Err() != nil:
		return nil, false, interrupted(ctx.Err())
	case errors.Is(err, disk.ErrLocked):
		return nil, false, nil
	}
	return nil, false, lockError(name, err)
}

// lockError tells a file system that has no locks from other failures.
func lockError(name string, err error) error {
	if errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
		return object.CodeUnsafeLock.Errorf("the repository's file system can't lock %q (%w); move the repository to a local disk", name, err)
	}
	return storeError("locking", name, err)
}

// lockGC takes gc.lock through the gate. One who waits for it exclusively keeps
// the gate shut, so that shared holders who come later can't starve him.
func (r *Repository) lockGC(ctx context.Context, mode disk.LockMode) (disk.Lock, error) {
	gate, err := r.lock(ctx, gateLock, exclusive)
	if err != nil {
		return nil, err
	}
	if mode == shared {
		gate.Unlock()
		return r.lock(ctx, gcLock, shared)
	}
	defer gate.Unlock()
	return r.lock(ctx, gcLock, exclusive)
}

// lockIn makes the folder of a lock's file first.
func (r *Repository) lockIn(ctx context.Context, folder, name string) (disk.Lock, error) {
	if err := r.fs.Mkdir(folder); err != nil {
		return nil, storeError("making the folder", folder, err)
	}
	return r.lock(ctx, name, exclusive)
}

func interrupted(err error) error {
	return object.CodeInterrupted.Errorf("interrupted: %w", err)
}
