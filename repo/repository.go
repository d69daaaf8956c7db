package repo

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// openPacks is how many pack files one process keeps open for reading.
const openPacks = 64

// Repository is an open repository. Safe for concurrent use until Close; any
// number of processes may have the same one open.
type Repository struct {
	fs      disk.FS
	dir     string // for messages
	id      object.RepositoryID
	tune    tuning
	machine machineID
	files   *pack.Files
	times   snapshotTimes

	mu     sync.Mutex // guards what follows
	cfg    *config
	newest *view            // what acquire hands out while CURRENT stays the same
	shared map[string]*held // open segments and lists, by name
}

// tuning is what tests set otherwise than the program does.
type tuning struct {
	now             func() time.Time
	packSize        int64         // a pack that has grown to it is sealed
	checkpointBytes int64         // received since the last checkpoint
	checkpointEvery time.Duration // while there is activity
	sorterMemory    int           // bytes, for each of a session's two sorters
	adoptWait       time.Duration // how long a session waits for the lock of an upload that it would continue
	acknowledge     time.Duration // how long a prune waits for sessions to take notice of its list
}

func defaultTuning() tuning {
	return tuning{
		now:             time.Now,
		packSize:        pack.TargetSize,
		checkpointBytes: 64 << 20,
		checkpointEvery: 5 * time.Second,
		sorterMemory:    8 << 20,
		// Somebody who only looks whether an upload lives holds its lock for a moment,
		// and a process whose connection broke needs one to end.
		adoptWait:   500 * time.Millisecond,
		acknowledge: 30 * time.Second,
	}
}

// folders are what init makes and what every writer may rely on. An empty one
// may have been lost when somebody copied the repository.
var folders = []string{"packs", "index", "gc", "snapshots", "trash", "links", "heads", "quota", "sessions", "locks", "tmp", "damaged"}

// Open opens the repository in the folder dir. Where there is none the error is
// CodeNoRepo, for a newer format CodeVersion, for a config that can't be read
// CodeDamaged. It reads the config only.
func Open(ctx context.Context, dir string) (*Repository, error) {
	fsys := disk.OS(dir)
	if e, err := fsys.Stat("."); errors.Is(err, fs.ErrNotExist) {
		return nil, object.CodeNoRepo.Errorf("no repository at %q: there is no such folder; `packnback init` makes one", dir)
	} else if err == nil && !e.Dir {
		return nil, object.CodeNoRepo.Errorf("no repository at %q: it is a file, not a folder", dir)
	}
	machine, err := thisMachine()
	if err != nil {
		return nil, err
	}
	return openFS(ctx, fsys, dir, machine, defaultTuning())
}

func openFS(ctx context.Context, fsys disk.FS, dir string, machine machineID, t tuning) (*Repository, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cfg, err := readConfig(fsys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, object.CodeNoRepo.Errorf("no repository at %q: the folder has no config; `packnback init` makes a repository in an empty folder", dir)
	}
	if err != nil {
		return nil, err
	}
	return &Repository{
		fs: fsys, dir: dir, id: cfg.id, tune: t, machine: machine, cfg: cfg,
		files:  pack.NewFiles(fsys, openPacks),
		shared: map[string]*held{},
	}, nil
}

func readConfig(fsys disk.FS) (*config, error) {
	b, err := disk.ReadFile(fsys, configName, maxConfig)
	if err != nil {
		return nil, err
	}
	cfg, err := unmarshalConfig(b)
	if err != nil {
		return nil, damaged(configName, err, "put back a copy of it; it holds the repository's id and settings")
	}
	return cfg, nil
}

// ID returns the repository's id.
func (r *Repository) ID() object.RepositoryID { return r.id }

// Close closes what the repository has open. Sessions and running calls must
// have ended.
func (r *Repository) Close() error {
	r.mu.Lock()
	v := r.newest
	r.newest = nil
	r.mu.Unlock()
	var err error
	if v != nil {
		err = v.release()
	}
	return errors.Join(err, r.files.Close())
}

// now returns the store's clock.
func (r *Repository) now() int64 { return r.tune.now().UnixNano() }
