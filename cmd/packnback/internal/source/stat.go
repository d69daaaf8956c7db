package source

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

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

// Place returns what identifies the entry whatever its path.
func (s *Stat) Place() Place { return Place{s.Dev, s.Ino} }

var errSocket = errors.New("a socket has nothing to back up")

// newStat converts what the kernel says. An error means that the entry is of a
// kind that is not backed up.
func newStat(st *unix.Stat_t) (Stat, error) {
	s := Stat{
		Mode: st.Mode & tree.ModeMask, UID: st.Uid, GID: st.Gid, Nlink: uint64(st.Nlink), Size: uint64(st.Size), Blocks: uint64(st.Blocks),
		Mtime: newTime(st.Mtim), Ctime: newTime(st.Ctim), Atime: newTime(st.Atim), Dev: uint64(st.Dev), Ino: st.Ino, Rdev: uint64(st.Rdev),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.Type = tree.TypeFile
	case unix.S_IFDIR:
		s.Type = tree.TypeDir
	case unix.S_IFLNK:
		s.Type = tree.TypeSymlink
	case unix.S_IFIFO:
		s.Type = tree.TypeFIFO
	case unix.S_IFCHR:
		s.Type = tree.TypeChar
	case unix.S_IFBLK:
		s.Type = tree.TypeBlock
	case unix.S_IFSOCK:
		return s, errSocket
	default:
		return s, fmt.Errorf("unknown file type %#o", st.Mode&unix.S_IFMT)
	}
	return s, nil
}

func newTime(t unix.Timespec) tree.Time {
	sec, nsec := t.Unix()
	// File systems in user space have been seen to give more than a second.
	return tree.Time{Sec: sec, Nsec: uint32(max(0, min(nsec, 999_999_999)))}
}

// Place identifies a folder or file whatever its path.
type Place struct{ Dev, Ino uint64 }

// retry repeats f while a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
