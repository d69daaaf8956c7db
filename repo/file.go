package repo

import (
	"errors"
	"io/fs"
	"path"
	"syscall"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// newSuffix ends the name of a file while it is written in order to replace
// the one without it.
const newSuffix = ".new"

// createFile writes a new file of that content and makes it durable; its name
// isn't yet.
func createFile(fsys disk.FS, name string, content []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return storeError("creating", name, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return storeError("writing", name, err)
	}
	return nil
}

// replaceFile gives the file name new content, all of it or, after a crash, none
// of it. The caller holds the lock that protects the file, so a file of the
// temporary name is left over from a crash.
func replaceFile(fsys disk.FS, name string, content []byte) error {
	tmp := name + newSuffix
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", tmp, err)
	}
	if err := createFile(fsys, tmp, content); err != nil {
		return err
	}
	if err := fsys.Replace(tmp, name); err != nil {
		return storeError("replacing", name, err)
	}
	return syncDir(fsys, path.Dir(name))
}

func (r *Repository) replaceFile(name string, content []byte) error {
	return replaceFile(r.fs, name, content)
}

func syncDir(fsys disk.FS, name string) error {
	if err := fsys.SyncDir(name); err != nil {
		return storeError("making durable the folder", name, err)
	}
	return nil
}

// syncDirs makes several folders durable, in order. One that is missing holds
// nothing to be lost: whoever copied the repository may have left it out.
func (r *Repository) syncDirs(names ...string) error {
	for _, name := range names {
		if err := r.fs.SyncDir(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError("making durable the folder", name, err)
		}
	}
	return nil
}

// storeError says what was being done to which file. A full disk gets the code
// that tells a sender to stop without blaming its data.
func storeError(doing, name string, err error) error {
	var se *object.StoreError
	switch {
	case errors.As(err, &se):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return object.CodeNoSpace.Errorf("the store's disk is full (%s %q); free some space or prune; earlier snapshots are unharmed", doing, name)
	}
	return object.CodeInternal.Errorf("%s %q: %w", doing, name, err)
}

// list is List, where a missing folder is an empty one.
func list(fsys disk.FS, name string) ([]disk.Entry, error) {
	entries, err := fsys.List(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError("listing", name, err)
	}
	return entries, nil
}

// exists reports whether there is a file of that name.
func exists(fsys disk.FS, name string) (bool, error) {
	_, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, storeError("looking for", name, err)
	}
	return true, nil
}
