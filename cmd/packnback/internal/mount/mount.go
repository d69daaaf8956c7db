package mount

import (
	"context"
	"fmt"
	"hash/maphash"
	"os/exec"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

const (
	// contentBudget bounds the content that is kept: about fifty chunks.
	contentBudget = 64 << 20
	// dirBudget bounds the parsed directories that are kept.
	dirBudget = 64 << 20
	// refreshAfter is how old the list of snapshots may get.
	refreshAfter = 30 * time.Second
	// validFor is how long the kernel may believe what it was told. Snapshots
	// never change; the lists of them do.
	validFor = time.Hour
)

// Store is what a mount needs of a repository.
type Store interface {
	view.Store
	Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error)
}

// Config says what to mount, and where.
type Config struct {
	Store  Store
	Reader *view.Reader
	Dir    string // an existing folder
	Only   view.Narrow
	// Refuse says why a snapshot is not shown; nil errors and a nil Refuse show it.
	Refuse func(*object.Snapshot) error
	// Warn is told of what could not be read; several goroutines may call it.
	Warn       func(path string, err error)
	AllowOther bool // let all users in, as far as the modes in the snapshots permit
}

// files is the state of one mount.
type files struct {
	Config
	ctx   context.Context
	list  *list
	dirs  *view.Dirs
	blobs *view.Blobs
	seed  maphash.Seed // of inode numbers: nobody can make two collide
}

// Mount mounts and serves until ctx ends or somebody unmounts. ready is called
// when the file system can be used.
func Mount(ctx context.Context, c Config, ready func()) error {
	f := &files{
		Config: c, ctx: ctx,
		list:  &list{store: c.Store, only: c.Only, refuse: c.Refuse, warn: c.Warn},
		dirs:  view.NewDirs(c.Reader, dirBudget),
		blobs: view.NewBlobs(c.Reader, contentBudget),
		seed:  maphash.MakeSeed(),
	}
	if _, err := f.list.snapshots(ctx); err != nil {
		return err
	}
	long, short := validFor, time.Second
	options := &fs.Options{
		MountOptions: fuse.MountOptions{
			AllowOther: c.AllowOther, FsName: "packnback", Name: "packnback",
			Options:              []string{"ro", "nosuid", "nodev"},
			IgnoreSecurityLabels: true,
			MaxReadAhead:         1 << 20,
			MaxBackground:        16,
		},
		EntryTimeout: &long, AttrTimeout: &long, NegativeTimeout: &short,
		NullPermissions: true,
	}
	if c.AllowOther {
		options.Options = append(options.Options, "default_permissions")
	}
	server, err := fs.Mount(c.Dir, &rootNode{folder{files: f}}, options)
	if err != nil {
		return fmt.Errorf("mounting at %q: %w", c.Dir, err)
	}
	ready()
	ended := make(chan struct{})
	go func() {
		server.Wait() // ends when the file system is unmounted, below or by others
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	if err := server.Unmount(); err != nil {
		// Somebody is in there. It goes away when the last file is closed.
		if lazy := detach(c.Dir); lazy != nil {
			return fmt.Errorf("unmounting %q: %w", c.Dir, err)
		}
		return nil
	}
	<-ended
	return nil
}

// detach takes the mount point out of the way though it is in use.
func detach(dir string) error {
	if unix.Unmount(dir, unix.MNT_DETACH) == nil {
		return nil
	}
	return exec.Command("fusermount3", "-u", "-z", "--", dir).Run()
}

// inode returns the number of something named name in the folder number
// parent.
func (f *files) inode(parent uint64, name string) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	maphash.WriteComparable(&h, parent)
	h.WriteString(name)
	return h.Sum64() | 1<<63 // apart from the root's
}
