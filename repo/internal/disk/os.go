package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"

	"golang.org/x/sys/unix"
)

// Modes of what a repository makes: nobody but its owner has business there.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// OS returns the FS of the real folder dir. It makes nothing and checks
// nothing: a folder that isn't there shows at the first call. A relative dir is
// resolved once, so a later change of the working folder does no harm.
func OS(dir string) FS {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return osFS{dir}
}

type osFS struct{ dir string }

// path returns the real path of name. Names that leave the folder are a bug of
// the caller's at best, and are refused here once more.
func (o osFS) path(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(o.dir, filepath.FromSlash(name)), nil
}

func (o osFS) open(op, name string, flags int) (File, error) {
	path, err := o.path(op, name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flags, fileMode)
	if err != nil {
		return nil, err
	}
	return &osFile{f: f}, nil
}

// Create opens for reading too: a pack is read by the session that writes it.
func (o osFS) Create(name string) (File, error) {
	return o.open("create", name, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND)
}

func (o osFS) Open(name string) (File, error) { return o.open("open", name, os.O_RDONLY) }

func (o osFS) Append(name string) (File, error) {
	return o.open("append", name, os.O_RDWR|os.O_APPEND)
}

func (o osFS) Mkdir(name string) error {
	path, err := o.path("mkdir", name)
	if err != nil {
		return err
	}
	return os.MkdirAll(path, dirMode)
}

func (o osFS) Publish(tmp, name string) error {
	from, to, err := o.pair("publish", tmp, name)
	if err != nil {
		return err
	}
	err = renameNoReplace(from, to)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		err = linkThenUnlink(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "publish", Old: from, New: to, Err: err}
	}
	return nil
}

// linkThenUnlink is Publish for file systems without RENAME_NOREPLACE. A crash
// between its two steps leaves the file under both names, which readers of the
// final name never notice.
func linkThenUnlink(from, to string) error {
	if err := unix.Link(from, to); err != nil {
		return err
	}
	return unix.Unlink(from)
}

func (o osFS) Replace(tmp, name string) error {
	from, to, err := o.pair("replace", tmp, name)
	if err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (o osFS) pair(op, tmp, name string) (from, to string, err error) {
	if from, err = o.path(op, tmp); err != nil {
		return "", "", err
	}
	to, err = o.path(op, name)
	return from, to, err
}

func (o osFS) Remove(name string) error {
	path, err := o.path("remove", name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// SyncDir tolerates file systems that can't fsync a folder (EINVAL): there the
// names are as durable as they will ever be.
func (o osFS) SyncDir(name string) error {
	path, err := o.path("sync", name)
	if err != nil {
		return err
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// List leaves out what vanishes while it reads: another process removed it.
func (o osFS) List(name string) ([]Entry, error) {
	path, err := o.path("list", name)
	if err != nil {
		return nil, err
	}
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	infos, err := d.Readdir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(infos))
	for _, info := range infos {
		entries = append(entries, entryOf(info))
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}

func (o osFS) Stat(name string) (Entry, error) {
	path, err := o.path("stat", name)
	if err != nil {
		return Entry{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return Entry{}, err
	}
	e := entryOf(info)
	if name == "." {
		e.Name = "."
	}
	return e, nil
}

func entryOf(info fs.FileInfo) Entry {
	e := Entry{Name: info.Name(), Dir: info.IsDir(), ModTime: info.ModTime().UnixNano()}
	if !e.Dir {
		e.Size = info.Size()
	}
	return e
}

func (o osFS) Free() (free, total uint64, err error) {
	for {
		free, total, err = space(o.dir)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: o.dir, Err: err}
	}
	return free, total, nil
}

func (o osFS) Lock(ctx context.Context, name string, mode LockMode) (Lock, error) {
	path, err := o.path("lock", name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if mode == Shared && (errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)) {
		// A repository that may only be read still takes part in the locking.
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	if err := flock(ctx, f, mode); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %q: %w", path, err)
	}
	return &osLock{f: f, path: path}, nil
}

// osFile is a File of the real file system.
type osFile struct {
	f      *os.File
	mapped []byte
}

func (f *osFile) Write(p []byte) (int, error)             { return f.f.Write(p) }
func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }
func (f *osFile) Sync() error                             { return f.f.Sync() }

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Map() ([]byte, error) {
	if f.mapped != nil {
		return f.mapped, nil
	}
	size, err := f.Size()
	if err != nil || size == 0 {
		return nil, err
	}
	if int64(int(size)) != size {
		return nil, &fs.PathError{Op: "mmap", Path: f.f.Name(), Err: syscall.EFBIG}
	}
	b, err := unix.Mmap(int(f.f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &fs.PathError{Op: "mmap", Path: f.f.Name(), Err: err}
	}
	f.mapped = b
	return b, nil
}

func (f *osFile) Close() error {
	var unmap error
	if f.mapped != nil {
		unmap = unix.Munmap(f.mapped)
		f.mapped = nil
	}
	return errors.Join(f.f.Close(), unmap)
}
