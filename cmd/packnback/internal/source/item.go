package source

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

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

// Item is one step of a walk. It is valid until yield returns, and what Keep
// returns until Release. Its methods may be called from any goroutine.
type Item struct {
	Step  Step
	Path  string // in the snapshot: slash-separated, no leading slash, "" for the topmost folder
	Name  string // last component of Path; "" for the topmost folder
	Depth int    // components of Path
	Stat  Stat

	at     *folder // with self the folder itself, else the one that Name is in; nil when it was lost
	self   bool
	source string
}

// ErrChanged says that an entry is no longer what the walk saw.
var ErrChanged = errors.New("changed into something else meanwhile")

// Keep returns a copy of it that is valid until Release. It holds a file
// descriptor, which all entries of one folder share.
func (it *Item) Keep() *Item {
	kept := *it
	if kept.at != nil {
		kept.at.hold()
	}
	return &kept
}

// Release ends what Keep began. It is called once, on what Keep returned.
func (it *Item) Release() { it.at.release() }

// Source returns the entry's absolute path on this machine, for messages.
func (it *Item) Source() string { return it.source }

// Fill sets e's name, type, mode, owner, times and device number from it; the
// owner's names are looked up in the system's databases. The access time is
// set but not marked. Extents, size, subtree, target, link id and extended
// attributes are left to the caller.
func (it *Item) Fill(e *tree.Entry) {
	s := &it.Stat
	e.Name, e.Type, e.Mode, e.UID, e.GID, e.Mtime = it.Name, s.Type, s.Mode, s.UID, s.GID, s.Mtime
	e.User, e.Group = users.name(s.UID), groups.name(s.GID)
	if s.Type == tree.TypeChar || s.Type == tree.TypeBlock {
		e.Rdev = s.Rdev
	}
}

// Readlink returns the target of a symlink.
func (it *Item) Readlink() (string, error) {
	if it.at == nil {
		return "", errMoved
	}
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		var n int
		err := retry(func() (err error) { n, err = unix.Readlinkat(it.at.fd, it.Name, b); return err })
		switch {
		case err == unix.EINVAL:
			return "", fmt.Errorf("reading the symlink %q: %w", it.source, ErrChanged)
		case err != nil:
			return "", fmt.Errorf("reading the symlink %q: %w", it.source, err)
		case n < size:
			return string(b[:n]), nil
		case size > tree.MaxTarget:
			return "", fmt.Errorf("reading the symlink %q: its target is longer than %d bytes", it.source, tree.MaxTarget)
		}
	}
}

// openFile opens a file for reading without following a symlink, waiting for
// the other end of a FIFO, or making a terminal ours.
const openFile = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOATIME | unix.O_CLOEXEC

// Open opens a regular file for reading without following a symlink, and
// without touching its access time where the system permits that. ErrChanged
// says that something else is there by now.
func (it *Item) Open() (*Reader, error) {
	if it.at == nil {
		return nil, errMoved
	}
	fd, err := openAt(it.at.fd, it.Name, openFile)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", it.source, changed(err))
	}
	return newReader(fd, it.source)
}
