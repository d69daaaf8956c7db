package repo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// InitOptions are Init's choices. The zero value is an ordinary repository.
type InitOptions struct {
	ID       object.RepositoryID // of the repository that this is to be a replica of; zero: a new one
	Settings map[string]string   // settings that differ from their defaults
	Warn     func(string)        // called with one line for each doubt; nil: nobody wants to know
}

// Init makes a repository in the folder dir, which is made if it isn't there,
// and opens it. What else is in the folder is left alone, with a doubt, unless
// it has a name that the repository needs. Where there is a repository already
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
	other, err := checkRoom(fsys, dir)
	if err != nil {
		return nil, err
	}
	if other != "" && opt.Warn != nil {
		opt.Warn(fmt.Sprintf("the folder %q has other things in it, such as %q; they are left alone, but a repository is better off in a folder of its own", dir, other))
	}
	machine, err := thisMachine()
	if err != nil {
		return nil, err
	}
	id := opt.ID
	if id == (object.RepositoryID{}) {
		rand.Read(id[:])
	}
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
	if _, err := checkRoom(fsys, dir); err != nil {
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
	if _, err := checkRoom(fsys, dir); err != nil {
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

// checkRoom refuses a folder in which a repository would get in the way of what
// is there. It returns the name of something that isn't an init's that was cut
// off, or empty when there is nothing like that.
func checkRoom(fsys disk.FS, dir string) (other string, err error) {
	entries, err := fsys.List(".")
	if err != nil {
		return "", object.CodeInternal.Errorf("making a repository: %w", err)
	}
	for _, e := range entries {
		switch {
		case e.Name == configName:
			return "", object.CodeExists.Errorf("there is a repository at %q already; it was left as it is", dir)
		case e.Name == currentName, e.Name == reserveName:
			// An init that was cut off leaves these, and people's files may have the names.
			if ours, err := leftByInit(fsys, e); err != nil || !ours {
				return "", cmp.Or(err, inTheWay(dir, e.Name))
			}
		case slices.Contains(folders, e.Name), e.Name == "lost+found",
			slices.Contains([]string{reserveName + newSuffix, currentName + newSuffix, configName + newSuffix}, e.Name):
		default:
			other = e.Name
		}
	}
	packs, err := list(fsys, "packs")
	if err != nil {
		return "", err
	}
	if len(packs) > 0 {
		return "", object.CodeDamaged.Errorf("there are packs at %q, but no config: put back a copy of the config", dir)
	}
	if other == "" {
		return "", nil
	}
	return other, checkFolders(fsys, dir)
}

// leftByInit reports whether CURRENT or the reserve can be an init's.
func leftByInit(fsys disk.FS, e disk.Entry) (bool, error) {
	if e.Name == reserveName {
		return e.Size <= reserveSize, nil
	}
	b, err := disk.ReadFile(fsys, e.Name, maxCurrent)
	if err != nil {
		return false, err
	}
	_, err = unmarshalCurrent(b)
	return err == nil, nil
}

// checkFolders refuses folders of a repository's names that somebody else uses.
// In index only what is called like a segment is ever touched.
func checkFolders(fsys disk.FS, dir string) error {
	for _, name := range folders {
		entries, err := list(fsys, name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			ours := name == "locks" || name == "index" && path.Ext(e.Name) != ".idx"
			if !ours {
				return inTheWay(dir, path.Join(name, e.Name))
			}
		}
	}
	return nil
}

func inTheWay(dir, name string) error {
	return object.CodeInvalid.Errorf("can't make a repository at %q: %q is there, where the repository would write; choose an empty folder", dir, name)
}
