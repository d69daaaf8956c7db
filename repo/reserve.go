package repo

import (
	"errors"
	"io/fs"
	mathrand "math/rand/v2"
	"syscall"

	"github.com/packnback/packnback/repo/object"
)

const (
	reserveName = "reserve"
	reserveLock = "locks/reserve"
	// reserveSize is the least that is kept: enough for forgetting, and for
	// pruning a small repository.
	reserveSize = 4 << 20
	// reserveShare is how many times the index's size is kept, beside reserveBase
	// for what doesn't grow with it. Sorting and writing the lists of a prune takes
	// less than 96 bytes for each object, two rows of the index; what they condemn
	// makes the room for a new index.
	reserveShare = 2
	reserveBase  = 2 << 20
)

// withReserve runs work and, if the disk is full, runs it again with the
// reserve given up, which is made anew afterwards if there is room. So work must
// go on where it was, whatever it has done already.
func (r *Repository) withReserve(work func() error) error {
	err := work()
	if !errors.Is(err, object.CodeNoSpace) && !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, r.restoreReserve())
	}
	if e := r.fs.Remove(reserveName); errors.Is(e, fs.ErrNotExist) {
		return err
	} else if e != nil {
		return storeError("removing", reserveName, e)
	}
	return errors.Join(work(), r.restoreReserve())
}

// restoreReserve makes the reserve file where it is missing or has become too
// small, unless half of what is free would not be enough: somebody may be living
// on what was given up. That it can't be made is no failure of the work that was
// done before.
func (r *Repository) restoreReserve() error {
	size := r.wantedReserve()
	e, err := r.fs.Stat(reserveName)
	if err == nil && e.Size >= size/4*3 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("looking at", reserveName, err)
	}
	free, _, freeErr := r.fs.Free()
	if freeErr != nil {
		return storeError("looking at the free space of", r.dir, freeErr)
	}
	if free < 2*uint64(size) {
		if size = reserveSize; err == nil || free < 2*reserveSize {
			return nil
		}
	}
	lock, ok, err := r.tryLock(reserveLock, exclusive)
	if err != nil || !ok {
		return exceptFull(err) // somebody else makes it
	}
	defer lock.Unlock()
	return exceptFull(r.writeReserve(size))
}

// exceptFull is err unless that says that the disk is full.
func exceptFull(err error) error {
	if errors.Is(err, object.CodeNoSpace) {
		return nil
	}
	return err
}

// wantedReserve is how large the reserve should be now.
func (r *Repository) wantedReserve() int64 {
	size := int64(reserveBase)
	if _, cur, err := r.readCurrent(); err == nil {
		for _, s := range cur.segments {
			size += reserveShare * int64(s.size)
		}
	}
	return max(size, reserveSize)
}

// writeReserve replaces the reserve by one of that size. The caller holds its
// lock. The content is noise: zeros would take no room on a file system that
// compresses.
func (r *Repository) writeReserve(size int64) error {
	if err := r.removeUnfinished(reserveName); err != nil {
		return err
	}
	tmp := reserveName + newSuffix
	f, err := r.fs.Create(tmp)
	if err != nil {
		return storeError("creating", tmp, err)
	}
	noise := mathrand.NewChaCha8([32]byte{'r', 'e', 's', 'e', 'r', 'v', 'e'})
	b := make([]byte, 1<<20)
	for left := size; left > 0 && err == nil; left -= int64(len(b)) {
		b = b[:min(left, int64(len(b)))]
		noise.Read(b)
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = r.fs.Replace(tmp, reserveName); err == nil {
			return syncDir(r.fs, ".")
		}
	}
	return errors.Join(storeError("writing", tmp, err), r.removeUnfinished(reserveName))
}
