package restorer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// maxTarget is the longest symlink target that Linux makes.
const maxTarget = 4095

// node makes e, which is neither a file nor a folder, in the folder d, in
// place of what is there. What could not be set comes as a *metadataError.
func (w *writer) node(d *folder, e *tree.Entry) error {
	if (e.Type == tree.TypeChar || e.Type == tree.TypeBlock) && !w.meta.privileged {
		return fmt.Errorf("device node: %w", errPrivileged)
	}
	return w.folders.use(d, func(dir int) error {
		old, err := stat(dir, e.Name)
		if err != nil {
			return err
		}
		if err := w.opt.clearWay(d, dir, e.Name, old); err != nil {
			return err
		}
		name := e.Name
		if old != nil && typeOf(old) != tree.TypeDir {
			name = w.tempName()
		}
		if err := mknod(dir, name, e); err != nil {
			return err
		}
		remarks := w.meta.apply(inode{fd: -1, dir: dir, name: name}, e, d.fresh)
		if name != e.Name {
			if err := unix.Renameat(dir, name, dir, e.Name); err != nil {
				_ = unix.Unlinkat(dir, name, 0)
				return fmt.Errorf("giving it its name: %w", err)
			}
		}
		if len(remarks) > 0 {
			return &metadataError{remarks}
		}
		return nil
	})
}

func mknod(dir int, name string, e *tree.Entry) error {
	var err error
	switch e.Type {
	case tree.TypeSymlink:
		if len(e.Target) > maxTarget {
			return fmt.Errorf("symlink: a target of %d bytes, the system's limit is %d", len(e.Target), maxTarget)
		}
		err = unix.Symlinkat(e.Target, dir, name)
	case tree.TypeFIFO:
		err = unix.Mknodat(dir, name, unix.S_IFIFO|0o600, 0)
	case tree.TypeChar:
		err = unix.Mknodat(dir, name, unix.S_IFCHR|0o600, int(e.Rdev))
	case tree.TypeBlock:
		err = unix.Mknodat(dir, name, unix.S_IFBLK|0o600, int(e.Rdev))
	default:
		return fmt.Errorf("a %s can't be restored", e.Type)
	}
	if err != nil {
		return fmt.Errorf("making a %s: %w", e.Type, err)
	}
	return nil
}

// adopt sets the metadata of e on what is in its place already.
func (w *writer) adopt(d *folder, e *tree.Entry) error {
	return w.folders.use(d, func(dir int) error {
		n := inode{fd: -1, dir: dir, name: e.Name}
		if e.Type == tree.TypeFile {
			fd, err := ignoringEINTR(func() (int, error) {
				return unix.Openat(dir, e.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			})
			switch {
			case err == unix.EACCES && !w.meta.root: // its owner may not read it; by name then
			case err != nil:
				return fmt.Errorf("opening what is there: %w", err)
			default:
				defer unix.Close(fd)
				var st unix.Stat_t
				if err := unix.Fstat(fd, &st); err != nil {
					return err
				}
				if st.Nlink != 1 || typeOf(&st) != tree.TypeFile {
					return errors.New("what is there was changed by another process")
				}
				n = inode{fd: fd}
			}
		}
		if remarks := w.meta.apply(n, e, false); len(remarks) > 0 {
			return &metadataError{remarks}
		}
		return nil
	})
}
