package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// InitOptions are Init's choices. The zero value is an ordinary repository.
type InitOptions struct {
	Settings map[string]string // settings that differ from their defaults
	Warn     func(string)      // called with one line for each doubt; nil: nobody wants to know
}

// Init makes a repository in the folder dir, which is made if it isn't there
// and must be empty if it is, and opens it. Where there is a repository already
// the error is CodeExists and nothing is changed. An init that was cut off may
// be repeated.
func Init(ctx context.Context, dir string, opt InitOptions) (*Repository, error) {
	fsys := disk.OS(dir)
	e, err := fsys.Stat(".")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, object.CodeInvalid.Errorf("making the repository's folder: %w", err)
		}
	case err != nil:
		return nil, object.CodeInvalid.Errorf("making a repository: %w", err)
	case !e.Dir:
		return nil, object.CodeExists.Errorf("can't make a repository at %q: it is a file, not a folder", dir)
	}
	if doubt := networkFileSystem(dir); doubt != "" && opt.Warn != nil {
		opt.Warn(doubt)
	}
	machine, err := thisMachine()
	if err != nil {
		return nil, err
	}
	var id object.RepositoryID
	rand.Read(id[:])
	if err := initFS(ctx, fsys, dir, id, opt.Settings); err != nil {
		return nil, err
	}
	return openFS(ctx, fsys, dir, machine, defaultTuning())
}

// initFS makes the files of an empty repository. The config comes last: with
// it the folder is a repository, without it the next init begins again.
func initFS(ctx context.Context, fsys disk.FS, dir string, id object.RepositoryID, settings map[string]string) error {
	for k, v := range settings {
		if err := checkSetting(k, v); err != nil {
			return err
		}
	}
	if err := checkEmpty(fsys, dir); err != nil {
		return err
	}
	for _, name := range folders {
		if err := fsys.Mkdir(name); err != nil {
			return object.CodeInternal.Errorf("making a repository: %w", err)
		}
	}
	lock, err := fsys.Lock(ctx, currentLock, disk.Exclusive)
	if err != nil {
		return object.CodeBusy.Errorf("making a repository: %w", err)
	}
	defer lock.Unlock()
	// Whoever held the lock before may have made a repository.
	if err := checkEmpty(fsys, dir); err != nil {
		return err
	}
	if err := (&Repository{fs: fsys, dir: dir}).writeReserve(reserveSize); err != nil {
		return err
	}
	cur := &current{repository: id, generation: 1, next: 1}
	if err := replaceFile(fsys, currentName, cur.append(nil)); err != nil {
		return err
	}
	cfg := &config{id: id, settings: settings}
	return replaceFile(fsys, configName, cfg.append(nil))
}

// checkEmpty refuses a folder that holds anything but what an init leaves that
// was cut off, or what a new file system holds.
func checkEmpty(fsys disk.FS, dir string) error {
	entries, err := fsys.List(".")
	if err != nil {
		return object.CodeInternal.Errorf("making a repository: %w", err)
	}
	for _, e := range entries {
		switch {
		case e.Name == configName:
			return object.CodeExists.Errorf("there is a repository at %q already; it was left as it is", dir)
		case slices.Contains(folders, e.Name), e.Name == "lost+found":
		case e.Name == reserveName, e.Name == currentName, e.Name == reserveName+newSuffix,
			e.Name == currentName+newSuffix, e.Name == configName+newSuffix:
		default:
			return object.CodeInvalid.Errorf("can't make a repository at %q: the folder isn't empty (it has %q); choose an empty one", dir, e.Name)
		}
	}
	packs, err := fsys.List("packs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return object.CodeInternal.Errorf("making a repository: %w", err)
	}
	if len(packs) > 0 {
		return object.CodeDamaged.Errorf("there are packs at %q, but no config: put back a copy of the config", dir)
	}
	return nil
}
