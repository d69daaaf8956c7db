package source

import (
	"errors"
	"io"

	"github.com/packnback/packnback/repo/tree"
)

// Step says what an Item announces.
type Step int

// The steps of a walk. Enter and Leave enclose everything inside a folder;
// File stands for everything that is not a folder.
const (
	Enter Step = iota
	File
	Leave
)

// Item is one step of a walk. It is valid until yield returns, unless Keep was
// called. Its methods may be called from any goroutine.
type Item struct {
	Step  Step
	Path  string // in the snapshot: slash-separated, no leading slash, "" for the topmost folder
	Name  string // last component of Path; "" for the topmost folder
	Depth int    // components of Path
	Stat  Stat
}

// Stat is what lstat says about an entry.
type Stat struct {
	Type                tree.Type
	Mode                uint32 // tree.ModeMask
	UID, GID            uint32
	Nlink               uint64
	Size                uint64
	Blocks              uint64 // of 512 bytes, in use
	Mtime, Ctime, Atime tree.Time
	Dev, Ino, Rdev      uint64
}

// Sparse reports whether the file has fewer blocks than its size needs.
func (s *Stat) Sparse() bool { return s.Blocks*512 < s.Size }

// Keep makes it usable after yield has returned, until Release. It returns a
// copy, because the walk reuses it.
func (it *Item) Keep() *Item { return nil }

// Release ends what Keep began; call it once, on what Keep returned.
func (it *Item) Release() {}

// Fill sets e's name, type, mode, owner, times and device number from it; the
// owner's names are looked up in the system's databases. Extents, subtree,
// target, link id and extended attributes are left to the caller.
func (it *Item) Fill(e *tree.Entry) {}

// Readlink returns the target of a symlink.
func (it *Item) Readlink() (string, error) { return "", errors.ErrUnsupported }

// Xattrs returns the extended attributes, POSIX ACLs among them, sorted by
// name. File systems without any give none.
func (it *Item) Xattrs() ([]tree.Xattr, error) { return nil, errors.ErrUnsupported }

// Open opens a regular file for reading without following a symlink, and
// without touching its access time where the system permits that. ErrChanged
// says that something else is there by now.
func (it *Item) Open() (*Reader, error) { return nil, errors.ErrUnsupported }

// ErrChanged says that an entry is no longer what the walk saw.
var ErrChanged = errors.New("changed into something else meanwhile")

// Reader reads one open file. It is not safe for concurrent use.
type Reader struct{}

// Stat returns what the file's metadata were when it was opened; they are
// fresher than the Item's.
func (r *Reader) Stat() Stat { return Stat{} }

// Restat asks for the file's metadata again, to see whether it changed while
// it was read.
func (r *Reader) Restat() (Stat, error) { return Stat{}, errors.ErrUnsupported }

// Read reads on from where the last one ended.
func (r *Reader) Read(p []byte) (int, error) { return 0, errors.ErrUnsupported }

// ReadAt reads at an offset.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

// Segment is a run of a file: data, or a hole that reads as zeros.
type Segment struct {
	Offset, Length uint64
	Hole           bool
}

// Segments yields the file's first size bytes in order as runs of data and
// holes; holes shorter than minHole count as data. A file system that can't
// tell gives one run of data.
func (r *Reader) Segments(size, minHole uint64, yield func(Segment) error) error {
	return errors.ErrUnsupported
}

// Section returns a reader of one segment's bytes.
func (r *Reader) Section(s Segment) *io.SectionReader { return nil }

// Close closes the file.
func (r *Reader) Close() error { return nil }
