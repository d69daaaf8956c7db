package restorer

import (
	"container/list"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// maxOpenFolders is how many folders are kept open for the next call.
const maxOpenFolders = 256

// folder is a folder in the target. It is reached from its parent by its name,
// never by a path, and is known by device and inode once it has been opened:
// when another process puts something else in its place, using it is an error.
type folder struct {
	parent *folder // nil for the target itself
	name   string
	fresh  bool   // made by this run: nothing was in it
	absent bool   // of a dry run: it is not there and would be made
	serial uint64 // tells folders apart

	dev, ino uint64
	fd       int // -1 while it is closed; guarded by folders.mu
	pins     int
	element  *list.Element // in folders.idle while it is open and not in use
}

// folders opens and closes folders on demand. Safe for concurrent use.
type folders struct {
	mu     sync.Mutex
	idle   *list.List // of *folder, open and not in use, least recently used first
	serial uint64
}

var errSwapped = errors.New("another process has put something else in place of a folder")

// openTarget makes the folder path with those above it, as the user that runs
// this says, and opens it. Symlinks are followed here, and only here. empty
// reports whether nothing was in it.
func openTarget(path string, make bool) (fs *folders, root *folder, empty bool, err error) {
	if make {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, nil, false, err
		}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, nil, false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	root = &folder{fd: fd, dev: st.Dev, ino: st.Ino, pins: 1} // pinned until close
	names, err := readNames(fd, 1)
	if err != nil {
		unix.Close(fd)
		return nil, nil, false, &os.PathError{Op: "list", Path: path, Err: err}
	}
	return newFolders(), root, len(names) == 0, nil
}

func newFolders() *folders { return &folders{idle: list.New()} }

// close closes every folder; none may be in use.
func (fs *folders) close(root *folder) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.shrink(0)
	if root.fd >= 0 {
		unix.Close(root.fd)
		root.fd = -1
	}
}

// use calls f with an open descriptor of d, valid during the call.
func (fs *folders) use(d *folder, f func(fd int) error) error {
	if err := fs.pin(d); err != nil {
		return err
	}
	defer fs.unpin(d)
	return f(d.fd)
}

func (fs *folders) pin(d *folder) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	// Open from the nearest open ancestor downwards, without recursion: folders
	// may be nested very deeply.
	var closed []*folder
	at := d
	for ; at.fd < 0; at = at.parent {
		closed = append(closed, at)
	}
	fs.hold(at)
	for i := len(closed) - 1; i >= 0; i-- {
		next := closed[i]
		fd, err := openBelow(at.fd, next)
		fs.release(at)
		if err != nil {
			return err
		}
		next.fd = fd
		fs.hold(next)
		at = next
	}
	return nil
}

// openBelow opens d in its parent's descriptor and checks that it is still
// what it was.
func openBelow(parent int, d *folder) (int, error) {
	fd, err := openFolder(parent, d.name)
	if err != nil {
		if err == unix.ELOOP || err == unix.ENOTDIR {
			err = errSwapped
		}
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != d.dev || st.Ino != d.ino {
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		return -1, errSwapped
	}
	return fd, nil
}

func openFolder(parent int, name string) (int, error) {
	return ignoringEINTR(func() (int, error) {
		return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}

func (fs *folders) unpin(d *folder) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.release(d)
	fs.shrink(maxOpenFolders)
}

// hold takes d out of the idle list. fs.mu is held.
func (fs *folders) hold(d *folder) {
	if d.pins++; d.element != nil {
		fs.idle.Remove(d.element)
		d.element = nil
	}
}

// release puts d into the idle list when nobody uses it any more. fs.mu is held.
func (fs *folders) release(d *folder) {
	if d.pins--; d.pins == 0 {
		d.element = fs.idle.PushBack(d)
	}
}

// shrink closes idle folders beyond n. fs.mu is held.
func (fs *folders) shrink(n int) {
	for fs.idle.Len() > n {
		d := fs.idle.Remove(fs.idle.Front()).(*folder)
		unix.Close(d.fd)
		d.fd, d.element = -1, nil
	}
}

// enter returns the folder name in parent, which it makes (0700 until the
// restore leaves it) unless a folder of that name is there. Anything else of
// that name, a symlink above all, gives os.ErrExist. With unlock, a folder that
// its owner may not write to is made writable; the caller sets its mode later.
func (fs *folders) enter(parent *folder, name string, unlock bool) (*folder, error) {
	d := &folder{parent: parent, name: name, fd: -1}
	err := fs.use(parent, func(fd int) error {
		switch err := unix.Mkdirat(fd, name, 0o700); {
		case err == nil:
			d.fresh = true
			if !parent.fresh {
				// What it inherits, everything in it would inherit, too. Most have none.
				n := inode{fd: -1, dir: fd, name: name}
				_ = n.removexattr("system.posix_acl_default")
				_ = n.removexattr("system.posix_acl_access")
			}
		case err != unix.EEXIST:
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return os.ErrExist
		}
		d.dev, d.ino = st.Dev, st.Ino
		if unlock && st.Mode&0o700 != 0o700 && os.Geteuid() != 0 {
			return inode{fd: -1, dir: fd, name: name}.chmod(st.Mode&0o7777 | 0o700)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	fs.number(d)
	return d, nil
}

func (fs *folders) number(d *folder) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.serial++
	d.serial = fs.serial
}

// imagine is enter for a dry run: it makes nothing.
func (fs *folders) imagine(parent *folder, name string) (*folder, error) {
	d := &folder{parent: parent, name: name, fd: -1, fresh: true, absent: true}
	if parent.absent {
		return d, nil
	}
	err := fs.use(parent, func(fd int) error {
		st, err := stat(fd, name)
		if st != nil && typeOf(st) == tree.TypeDir {
			d.fresh, d.absent, d.dev, d.ino = false, false, st.Dev, st.Ino
		}
		return err
	})
	fs.number(d)
	return d, err
}

// forget closes d, which nobody will use again.
func (fs *folders) forget(d *folder) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if d.element != nil {
		fs.idle.Remove(d.element)
		d.element = nil
		unix.Close(d.fd)
		d.fd = -1
	}
}

// path returns the path of name in d as reports show it.
func (d *folder) path(name string) string {
	n := 1 + len(name)
	for f := d; f.parent != nil; f = f.parent {
		n += 1 + len(f.name)
	}
	b := make([]byte, n)
	put := func(s string) {
		n -= len(s)
		copy(b[n:], s)
		n--
		b[n] = '/'
	}
	put(name)
	for f := d; f.parent != nil; f = f.parent {
		put(f.name)
	}
	return string(b)
}

// ignoringEINTR repeats a system call that a signal interrupted, as package os
// does for its own.
func ignoringEINTR[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err != unix.EINTR {
			return v, err
		}
	}
}
