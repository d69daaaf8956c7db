package restorer

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Why a folder can't be removed with all that is in it.
var (
	errMounted = errors.New("something is mounted on it or in it, which --delete leaves alone")
	errKept    = errors.New("something in it is not selected, so --delete leaves it alone")
)

// remover removes for --delete, by a folder that is open and a name in it. It
// follows no symlink, neither enters nor removes a mount point, and removes
// nothing that is not selected. Not safe for concurrent use.
type remover struct {
	options  *Options
	dev      uint64 // of the folder where it begins; it goes to no other
	path     []byte // of what it is at, as Options.Select wants it; "" is the target
	failures uint64 // that were reported
	report   func(path string, err error)
}

// remover returns one that is at path, which is d or in it.
func (o *Options) remover(d *folder, path string) *remover {
	return &remover{options: o, dev: d.dev, path: []byte(strings.TrimSuffix(path, "/"))}
}

// below returns f for the names in the folder that r is at.
func (r *remover) below(f func(name string) (gone bool, err error)) func(string) (bool, error) {
	n := len(r.path)
	return func(name string) (bool, error) {
		r.path = append(append(r.path, '/'), name...)
		defer func() { r.path = r.path[:n] }()
		return f(name)
	}
}

func (r *remover) selected() bool {
	if r.options.Select == nil {
		return true
	}
	yes, _ := r.options.Select(string(r.path))
	return yes
}

// clear removes what extra says from the open folder fd, where r is, as far as
// it is selected, and reports each. A folder in which something must stay is
// cleared in its turn.
func (r *remover) clear(fd int, extra func(name string) (bool, error)) error {
	before := r.failures
	remove := r.below(func(name string) (gone bool, err error) {
		if yes, err := extra(name); err != nil || !yes || !r.selected() {
			return false, err
		}
		whole, err := r.clearName(fd, name)
		if err != nil {
			r.failures++
		}
		if whole || err != nil {
			r.report(string(r.path), err)
		}
		return whole && err == nil && !r.options.DryRun, nil
	})
	for {
		gone, err := eachNameOnce(fd, remove)
		// After a failure it is not read again, or that would be told twice.
		if err != nil || !gone || r.failures > before {
			return err
		}
	}
}

// clearName removes name in the open folder dir, which r is at and which is
// selected. whole is false when something in it had to stay and the rest was
// cleared.
func (r *remover) clearName(dir int, name string) (whole bool, err error) {
	if r.options.Select != nil { // else nothing in it has to stay
		err = r.mayGo(dir, name)
	}
	switch {
	case err == errKept || err == errMounted:
		fd, err := r.open(dir, name)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		return false, r.clear(fd, func(string) (bool, error) { return true, nil })
	case err != nil || r.options.DryRun:
		return true, err
	}
	return true, r.removeAll(dir, name)
}

// mayGo returns nil when name in the open folder dir, which r is at, may be
// removed with all that is in it.
func (r *remover) mayGo(dir int, name string) error {
	if !r.selected() {
		return errKept
	}
	fd, err := r.open(dir, name)
	if err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = eachNameOnce(fd, r.below(func(inner string) (bool, error) { return false, r.mayGo(fd, inner) }))
	return err
}

// removeAll removes name in the open folder dir, which r is at, and if it is a
// folder, everything in it. What came after mayGo has looked is judged anew.
func (r *remover) removeAll(dir int, name string) error {
	if !r.selected() {
		return errKept
	}
	err := unix.Unlinkat(dir, name, 0)
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	fd, openErr := r.open(dir, name)
	if openErr == unix.ENOTDIR {
		return err
	}
	if openErr != nil {
		return openErr
	}
	err = eachName(fd, r.below(func(inner string) (bool, error) {
		err := r.removeAll(fd, inner)
		return err == nil, err
	}))
	unix.Close(fd)
	if err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// open opens the folder name in the open folder dir, unless something is
// mounted on it. Anything else of that name gives ENOTDIR.
func (r *remover) open(dir int, name string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return -1, unix.ENOTDIR
	}
	if st.Dev != r.dev {
		return -1, errMounted
	}
	fd, err := openFolder(dir, name)
	if err != nil {
		return -1, err
	}
	if err := notMounted(fd, r.dev); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// notMounted returns errMounted if the open folder fd, which was reached from a
// folder on the device dev, is where something is mounted. Another folder of the
// same file system has the same device; that it is mounted there is said by
// Linux 5.8 and later.
func notMounted(fd int, dev uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Dev != dev {
		return errMounted
	}
	var stx unix.Statx_t
	switch err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &stx); {
	case err == unix.ENOSYS || err == unix.EPERM: // an old kernel, or a sandbox that knows no statx
		return nil
	case err != nil:
		return err
	}
	if stx.Attributes&stx.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return errMounted
	}
	return nil
}
