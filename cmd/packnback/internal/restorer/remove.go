package restorer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/table"
)

// namesBudget is the memory for the names of --delete; more go to disk.
const namesBudget = 8 << 20

// nameLayout is a table of names that are in the snapshot's folders: the first
// 16 bytes of the SHA-256 of the folder's serial and the name. A sender who
// makes two names collide gains that one extra file stays.
var nameLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'r', 'n', 'a', 'm', 1}, Key: 16, Row: 16}

// keeper knows which names the snapshot has in the folders that were there
// before, so that --delete removes the others.
type keeper struct {
	names *table.Sorter
}

func newKeeper(scratch table.FS) (*keeper, error) {
	s, err := table.NewSorter(scratch, "names", nameLayout, namesBudget)
	if err != nil {
		return nil, err
	}
	return &keeper{s}, nil
}

func nameKey(d *folder, name string) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(name)), d.serial)
	sum := sha256.Sum256(append(b, name...))
	return sum[:16]
}

// keep notes that the snapshot has name in d.
func (k *keeper) keep(d *folder, name string) error {
	if k == nil || d.fresh {
		return nil
	}
	return k.names.Add(nameKey(d, name))
}

// removeExtra removes what is in d and not in the snapshot, as far as selected
// allows, and calls removed for each.
func (k *keeper) removeExtra(fs *folders, d *folder, dry bool, selected func(name string) bool, removed func(name string, err error)) error {
	failed := false // then the folder is not read again, or the failure would be told twice
	return fs.use(d, func(fd int) error {
		return eachName(fd, func(name string) (gone bool, err error) {
			there, err := k.names.Has(nameKey(d, name))
			if err != nil || there || !selected(name) {
				return false, err
			}
			if !dry {
				err = removeAll(fd, name, d.dev)
			}
			removed(name, err)
			failed = failed || err != nil
			return !failed && !dry, nil
		})
	})
}

// removeStale removes from the folder fd the unfinished files that a run has
// left that was killed. Those of runs that are alive are locked.
func removeStale(fd int) error {
	return eachName(fd, func(name string) (gone bool, err error) {
		if !tempPattern.MatchString(name) {
			return false, nil
		}
		old, err := ignoringEINTR(func() (int, error) {
			return unix.Openat(fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		})
		if err != nil {
			return false, nil // not ours, or gone already
		}
		defer unix.Close(old)
		var st unix.Stat_t
		if unix.Fstat(old, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || unix.Flock(old, unix.LOCK_EX|unix.LOCK_NB) != nil {
			return false, nil
		}
		return false, unix.Unlinkat(fd, name, 0)
	})
}

// eachName calls f with every name in the folder fd. Where f removes names,
// the folder is read again until nothing more is removed: file systems may
// skip names while others go away.
func eachName(fd int, f func(name string) (gone bool, err error)) error {
	for again := true; again; {
		again = false
		dup, err := openFolder(fd, ".")
		if err != nil {
			return err
		}
		dir := os.NewFile(uintptr(dup), "folder")
		for {
			names, err := dir.Readdirnames(1024)
			for _, name := range names {
				gone, err := f(name)
				if err != nil {
					dir.Close()
					return err
				}
				again = again || gone
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				dir.Close()
				return err
			}
		}
		dir.Close()
	}
	return nil
}

// readNames returns up to n names of the folder fd.
func readNames(fd, n int) ([]string, error) {
	dup, err := openFolder(fd, ".")
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(dup), "folder")
	defer dir.Close()
	names, err := dir.Readdirnames(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// errMounted says that a folder is not removed because of what is mounted.
var errMounted = errors.New("something is mounted on it or in it, which --delete leaves alone")

// removeAll removes name in the folder dir, which is on the device dev, and if
// it is a folder, everything in it. It follows no symlink, and neither enters
// nor removes a mount point.
func removeAll(dir int, name string, dev uint64) error {
	err := unix.Unlinkat(dir, name, 0)
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	var st unix.Stat_t
	if serr := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); serr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	if st.Dev != dev {
		return errMounted
	}
	fd, err := openFolder(dir, name)
	if err != nil {
		return err
	}
	if err = notMounted(fd, dev); err == nil {
		err = eachName(fd, func(inner string) (bool, error) {
			err := removeAll(fd, inner, dev)
			return err == nil, err
		})
	}
	unix.Close(fd)
	if err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
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
