package source

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// folder is an open folder. The walk and every kept Item hold a reference; the
// last one closes it.
type folder struct {
	fd   int
	refs atomic.Int32
}

func newFolder(fd int) *folder {
	f := &folder{fd: fd}
	f.refs.Store(1)
	return f
}

func (f *folder) hold() *folder {
	f.refs.Add(1)
	return f
}

func (f *folder) release() {
	if f != nil && f.refs.Add(-1) == 0 {
		_ = unix.Close(f.fd) // it was only read from
	}
}

const (
	// openPath is for folders that are only passed through: search permission
	// on them is enough.
	openPath = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	openList = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOATIME | unix.O_CLOEXEC
)

// openAt is openat(2) without a mode. With O_NOATIME among the flags it tries
// again without: only the owner and root may use that.
func openAt(dir int, name string, flags int) (int, error) {
	var fd int
	open := func() (err error) {
		fd, err = unix.Openat(dir, name, flags, 0)
		return err
	}
	err := retry(open)
	if err == unix.EPERM && flags&unix.O_NOATIME != 0 {
		flags &^= unix.O_NOATIME
		err = retry(open)
	}
	return fd, err
}

// stat examines what is called name in the folder.
func (f *folder) stat(name string, flags int) (Stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(f.fd, name, &st, flags) }); err != nil {
		return Stat{}, err
	}
	return newStat(&st)
}

// self returns the folder's own metadata.
func (f *folder) self() (Stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return Stat{}, err
	}
	return newStat(&st)
}
