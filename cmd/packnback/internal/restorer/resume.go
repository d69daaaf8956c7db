package restorer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// errInTheWay says that a folder stands where the snapshot has something else.
var errInTheWay = errors.New("a folder that is not empty is in the way (--delete removes it)")

// verdict says what to do about an entry, given what is in its place.
type verdict int

const (
	replace verdict = iota // nothing is there, or what is there is replaced
	adopt                  // it is there as in the snapshot: only its metadata is set
	leave                  // --overwrite says to leave what is there
	linked                 // it is there with its metadata, and has other names
)

// judge decides about e, which is no folder, in the folder fd. st is what is
// there; a nil st is nothing.
func (o *Options) judge(fd int, e *tree.Entry, st *unix.Stat_t) verdict {
	switch {
	case st == nil:
		return replace
	case o.Overwrite == Never:
		return leave
	case o.Overwrite == IfNewer:
		if newer(e.Mtime, st) {
			return replace
		}
		return leave
	case o.Overwrite != IfChanged || o.Verify || typeOf(st) != e.Type:
		return replace
	}
	switch e.Type {
	case tree.TypeFile:
		if uint64(st.Size) != e.Size || !sameTime(e.Mtime, st) {
			return replace
		}
	case tree.TypeSymlink:
		if target, err := readlink(fd, e.Name, len(e.Target)); err != nil || target != e.Target {
			return replace
		}
	case tree.TypeChar, tree.TypeBlock:
		if st.Rdev != e.Rdev {
			return replace
		}
	}
	if st.Nlink > 1 {
		// It has other names, perhaps outside of the target. Its metadata may be
		// taken as they are, never changed: chown and chmod would reach out there.
		if e.LinkID != 0 && st.Mode&0o7777 == e.Mode && st.Uid == e.UID && st.Gid == e.GID {
			return linked
		}
		return replace
	}
	return adopt
}

func newer(t tree.Time, st *unix.Stat_t) bool {
	if t.Sec != st.Mtim.Sec {
		return t.Sec > st.Mtim.Sec
	}
	return int64(t.Nsec) > st.Mtim.Nsec
}

func sameTime(t tree.Time, st *unix.Stat_t) bool {
	return t.Sec == st.Mtim.Sec && int64(t.Nsec) == st.Mtim.Nsec
}

func typeOf(st *unix.Stat_t) tree.Type {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return tree.TypeFile
	case unix.S_IFDIR:
		return tree.TypeDir
	case unix.S_IFLNK:
		return tree.TypeSymlink
	case unix.S_IFIFO:
		return tree.TypeFIFO
	case unix.S_IFCHR:
		return tree.TypeChar
	case unix.S_IFBLK:
		return tree.TypeBlock
	}
	return 0
}

// stat describes name in the folder fd, and returns nil when nothing is there.
func stat(fd int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	switch err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
		return &st, nil
	case unix.ENOENT:
		return nil, nil
	default:
		return nil, fmt.Errorf("looking what is there: %w", err)
	}
}

// readlink reads a symlink that should have a target of n bytes; a longer one
// comes with one byte more.
func readlink(fd int, name string, n int) (string, error) {
	b := make([]byte, n+1)
	k, err := unix.Readlinkat(fd, name, b)
	if err != nil {
		return "", err
	}
	return string(b[:k]), nil
}

// clearWay removes what stands in the way of something that is no folder where
// a rename would not replace it: the folder name in d, which is open as fd. When
// something in it must stay, all of it does.
func (o *Options) clearWay(d *folder, fd int, name string, st *unix.Stat_t) error {
	if st == nil || typeOf(st) != tree.TypeDir {
		return nil // replaced by the rename
	}
	if o.Delete {
		r := o.remover(d, d.path(name))
		if err := r.mayGo(fd, name); err != nil {
			return fmt.Errorf("a folder is in the way: %w", err)
		}
		return r.removeAll(fd, name)
	}
	err := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
	if err == unix.ENOTEMPTY || err == unix.EEXIST {
		return errInTheWay
	}
	return err
}
