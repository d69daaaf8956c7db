package disk

import (
	"context"
	"errors"
	"io"
)

// FS is a folder of files and everything below it. Names are slash-separated,
// relative to the folder and already cleaned; implementations refuse others.
// Errors wrap fs.ErrNotExist, fs.ErrExist and syscall.ENOSPC where they apply.
// All methods may be called by several goroutines at once.
type FS interface {
	// Create makes a new file of mode 0600 for writing at its end; it fails with
	// fs.ErrExist when the name is taken. The name is durable only after SyncDir.
	Create(name string) (File, error)
	// Open opens a file for reading. A missing one gives fs.ErrNotExist.
	Open(name string) (File, error)
	// Append opens an existing file for writing at its end.
	Append(name string) (File, error)
	// Mkdir makes a folder (0700) and those above it; it is no error when it exists.
	Mkdir(name string) error
	// Publish gives the file tmp the name name, atomically and only if that name
	// is free: fs.ErrExist otherwise, and then tmp is still there.
	Publish(tmp, name string) error
	// Replace gives the file tmp the name name, atomically, replacing what was there.
	Replace(tmp, name string) error
	// Remove removes a file or an empty folder.
	Remove(name string) error
	// SyncDir makes the names in a folder durable: what was created, published,
	// replaced or removed in it. "." is the FS's own folder.
	SyncDir(name string) error
	// List returns what a folder holds, sorted by name.
	List(name string) ([]Entry, error)
	// Stat describes one file or folder.
	Stat(name string) (Entry, error)
	// Free returns how many bytes an ordinary user may still write, and the size
	// of the whole file system.
	Free() (free, total uint64, err error)
	// Lock takes a kernel lock (flock) on the file name, which is created when
	// missing. It waits until it has it or ctx ends; with a ctx that has ended
	// already it tries once and returns ErrLocked. The lock dies with the process.
	Lock(ctx context.Context, name string, mode LockMode) (Lock, error)
}

// Entry describes one file or folder.
type Entry struct {
	Name    string // base name
	Dir     bool
	Size    int64
	ModTime int64 // nanoseconds since 1970
}

// File is an open file. ReadAt and Sync may be called while another goroutine
// writes; two goroutines must not write at once.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	// Sync makes durable what was written before it was called. After a Sync that
	// failed nothing is known about those bytes, and a second one must not be
	// trusted.
	Sync() error
	// Size returns the file's length now.
	Size() (int64, error)
	// Map returns the whole file as read-only memory that is valid until the
	// File is closed. Only immutable, published files may be mapped: one that
	// shrinks underneath is a SIGBUS.
	Map() ([]byte, error)
}

// LockMode says whether others may hold the lock too.
type LockMode int

// The two modes of flock(2).
const (
	Shared LockMode = iota
	Exclusive
)

// Lock is a held lock.
type Lock interface {
	// Unlock releases the lock. The file stays.
	Unlock() error
	// Linked reports whether the locked file is still the one that its name
	// names: a lock on an unlinked file excludes nobody.
	Linked() (bool, error)
}

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")
