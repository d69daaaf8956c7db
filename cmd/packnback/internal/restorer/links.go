package restorer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/table"
	"github.com/packnback/packnback/repo/tree"
)

// linksBudget is the memory for hard links; more go to disk.
const linksBudget = 8 << 20

// linkLayout is a table of the first names of hard-linked files: view.LinkKey
// (16), u64 offset and u32 length of the path in the spool, 4 zero bytes.
var linkLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'r', 'l', 'n', 'k', 1}, Key: 16, Row: 32}

// links remembers under which path the first name of each hard-linked file was
// restored. Only the planning goroutine adds and finds.
type links struct {
	rows  *table.Sorter
	spool *os.File // the paths, one after the other; has no name any more
	end   int64
}

func newLinks(scratchDir string) (*links, error) {
	rows, err := table.NewSorter(table.OS(scratchDir), "links", linkLayout, linksBudget)
	if err != nil {
		return nil, err
	}
	spool, err := os.CreateTemp(scratchDir, "paths")
	if err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	return &links{rows: rows, spool: spool}, os.Remove(spool.Name())
}

func (l *links) close() error { return errors.Join(l.rows.Close(), l.spool.Close()) }

// first returns the path of the first name of e's inode, or notes that it is
// path and returns "".
func (l *links) first(e *tree.Entry, path string) (string, error) {
	key := view.LinkKey(e)
	row, ok, err := l.rows.Find(nil, key[:])
	if err != nil {
		return "", err
	}
	if ok {
		b := make([]byte, binary.BigEndian.Uint32(row[24:]))
		if _, err := l.spool.ReadAt(b, int64(binary.BigEndian.Uint64(row[16:]))); err != nil {
			return "", fmt.Errorf("reading the paths of hard links: %w", err)
		}
		return string(b), nil
	}
	if _, err := io.WriteString(l.spool, path); err != nil {
		return "", fmt.Errorf("writing the paths of hard links: %w", err)
	}
	row = binary.BigEndian.AppendUint64(key[:], uint64(l.end))
	row = binary.BigEndian.AppendUint32(row, uint32(len(path)))
	row = binary.BigEndian.AppendUint32(row, 0)
	l.end += int64(len(path))
	return "", l.rows.Add(row)
}

// withParent calls f with the open folder that path, absolute in form and from
// the target on, is in, and its last component. No symlink is followed.
func withParent(root *folder, path string, f func(dir int, name string) error) error {
	dir, owned := root.fd, false
	defer func() {
		if owned {
			unix.Close(dir)
		}
	}()
	rest := strings.TrimPrefix(path, "/")
	for {
		name, below, more := strings.Cut(rest, "/")
		if !more {
			return f(dir, name)
		}
		fd, err := openFolder(dir, name)
		if err != nil {
			return err
		}
		if owned {
			unix.Close(dir)
		}
		dir, owned, rest = fd, true, below
	}
}

// link gives e, in the folder d, to the inode that path names.
func (w *writer) link(root *folder, path string, d *folder, e *tree.Entry) error {
	return withParent(root, path, func(from int, first string) error {
		var st unix.Stat_t
		if err := unix.Fstatat(from, first, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("its other name %.500q: %w", path, err)
		}
		if typeOf(&st) != e.Type || e.Type == tree.TypeFile && uint64(st.Size) != e.Size {
			return fmt.Errorf("its other name %.500q is something else now", path)
		}
		return w.folders.use(d, func(dir int) error {
			old, err := stat(dir, e.Name)
			if err != nil {
				return err
			}
			if old != nil && old.Ino == st.Ino && old.Dev == st.Dev {
				return nil
			}
			if err := w.opt.clearWay(d, dir, e.Name, old); err != nil {
				return err
			}
			err = w.linkNew(from, first, dir, e, old)
			if err == unix.EPERM || err == unix.EMLINK || err == unix.EXDEV || err == unix.EOPNOTSUPP {
				return w.copy(from, first, d, e) // there are no hard links, or no more of them
			}
			return err
		})
	})
}

// copy makes e a file of its own, with the content of its other name.
func (w *writer) copy(from int, first string, d *folder, e *tree.Entry) error {
	if e.Type != tree.TypeFile {
		return w.node(d, e)
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(from, first, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return fmt.Errorf("opening its other name: %w", err)
	}
	in := os.NewFile(uintptr(fd), first)
	defer in.Close()
	f := &file{dir: d, entry: e, left: 1, fd: -1}
	buf := make([]byte, 256<<10)
	for at := uint64(0); at < e.Size; {
		n, err := in.ReadAt(buf[:min(uint64(len(buf)), e.Size-at)], int64(at))
		if n == 0 {
			_, err = w.fail(f, fmt.Errorf("reading its other name: %w", err))
			return err
		}
		f.left++
		if _, err := w.write(f, at, buf[:n]); err != nil {
			return err
		}
		at += uint64(n)
	}
	_, err = w.settled(f)
	return err
}

func (w *writer) linkNew(from int, first string, dir int, e *tree.Entry, old *unix.Stat_t) error {
	name := e.Name
	if old != nil {
		name = w.tempName()
	}
	err := unix.Linkat(from, first, dir, name, 0) // 0: a symlink is linked itself
	if err != nil || name == e.Name {
		return err
	}
	if err := unix.Renameat(dir, name, dir, e.Name); err != nil {
		_ = unix.Unlinkat(dir, name, 0)
		return err
	}
	return nil
}
