package repo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"

	"github.com/packnback/packnback/repo/internal/disk"
)

// scratch is a folder of one process for files that are being built. Its lock
// says that it is in use; a folder without a locked file is left over.
type scratch struct {
	r    *Repository
	dir  string
	lock disk.Lock
}

const scratchLock = "lock"

// newScratch makes a scratch folder.
func (r *Repository) newScratch(ctx context.Context) (*scratch, error) {
	for {
		var name [8]byte
		rand.Read(name[:])
		s := &scratch{r: r, dir: "tmp/" + hex.EncodeToString(name[:])}
		if err := r.fs.Mkdir(s.dir); err != nil {
			return nil, storeError("making the folder", s.dir, err)
		}
		var err error
		s.lock, err = r.fs.Lock(ctx, s.file(scratchLock), exclusive)
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue // a sweep took the folder before it was locked
		}
		if err != nil {
			return nil, storeError("locking", s.file(scratchLock), err)
		}
		linked, err := s.lock.Linked()
		if err != nil {
			return nil, errors.Join(err, s.lock.Unlock())
		}
		if linked {
			return s, nil
		}
		s.lock.Unlock()
	}
}

// file returns the path of a file in s.
func (s *scratch) file(name string) string { return path.Join(s.dir, name) }

// close removes s and what is in it.
func (s *scratch) close() error {
	err := s.r.clear(s.dir)
	return errors.Join(err, s.lock.Unlock())
}

// clear removes a scratch folder; what is left when it fails is for a later
// sweep. The caller holds its lock. Once the lock's file is gone another sweep
// may make one, and then the folder is its to remove.
func (r *Repository) clear(dir string) error {
	entries, err := list(r.fs, dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if e.Name != scratchLock {
			names = append(names, path.Join(dir, e.Name))
		}
	}
	for _, name := range append(names, path.Join(dir, scratchLock), dir) {
		err := r.fs.Remove(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !(name == dir && errors.Is(err, fs.ErrExist)) {
			return storeError("removing", name, err)
		}
	}
	return nil
}

// sweep removes the scratch folders of processes that have ended.
func (r *Repository) sweep() error {
	entries, err := list(r.fs, "tmp")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Dir {
			continue
		}
		dir := path.Join("tmp", e.Name)
		lock, ok, err := r.tryLock(path.Join(dir, scratchLock), exclusive)
		if err != nil || !ok {
			continue // in use, or its sweep or removal is under way
		}
		err = r.clear(dir)
		lock.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
