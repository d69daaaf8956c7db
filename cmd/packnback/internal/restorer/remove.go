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

// has reports whether the snapshot has name in d.
func (k *keeper) has(d *folder, name string) (bool, error) { return k.names.Has(nameKey(d, name)) }

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
	for {
		if gone, err := eachNameOnce(fd, f); err != nil || !gone {
			return err
		}
	}
}

// eachNameOnce is eachName for one reading. gone says that f removed a name.
func eachNameOnce(fd int, f func(name string) (gone bool, err error)) (gone bool, err error) {
	dup, err := openFolder(fd, ".")
	if err != nil {
		return false, err
	}
	dir := os.NewFile(uintptr(dup), "folder")
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			went, err := f(name)
			if err != nil {
				return false, err
			}
			gone = gone || went
		}
		if errors.Is(err, io.EOF) {
			return gone, nil
		}
		if err != nil {
			return false, err
		}
	}
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
