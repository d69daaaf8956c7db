package source

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// xattrBuffers holds buffers of the size that neither a list of names nor a
// value can exceed.
var xattrBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// procHasFDs reports whether files can be reached through /proc: there are no
// calls for the extended attributes of a name in an open folder before Linux
// 6.13.
var procHasFDs = sync.OnceValue(func() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/fd", &st) == nil
})

// Xattrs returns the extended attributes, POSIX ACLs among them, sorted by
// name. File systems without any give none. With a *tree.LimitError come those
// that the format has room for.
func (it *Item) Xattrs() ([]tree.Xattr, error) {
	if it.at == nil {
		return nil, errMoved
	}
	a, err := it.xattrCalls()
	if err != nil {
		return nil, fmt.Errorf("reading the extended attributes of %q: %w", it.source, err)
	}
	defer a.close()
	return a.all(it.source)
}

// Xattrs returns the extended attributes of the file that is open, whatever its
// name leads to by now; else as Item.Xattrs.
func (r *Reader) Xattrs() ([]tree.Xattr, error) {
	a := xattrCallsOf(r.fd)
	return a.all(r.source)
}

// all makes the calls for the entry that messages call source.
func (a *xattrCalls) all(source string) ([]tree.Xattr, error) {
	buf := xattrBuffers.Get().(*[64 << 10]byte)
	defer xattrBuffers.Put(buf)
	n, err := a.list(buf[:])
	if n == 0 || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the extended attributes of %q: %w", source, err)
	}
	var xs []tree.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		n, err := a.get(name, buf[:])
		if errors.Is(err, unix.ENODATA) {
			continue // removed since it was listed, or listed and not for us
		}
		if err != nil {
			return nil, fmt.Errorf("reading the extended attribute %q of %q: %w", name, source, err)
		}
		xs = append(xs, tree.Xattr{Name: name, Value: append([]byte{}, buf[:n]...)})
	}
	slices.SortFunc(xs, func(a, b tree.Xattr) int { return strings.Compare(a.Name, b.Name) })
	if xs, err = tree.FitXattrs(xs); err != nil {
		return xs, fmt.Errorf("leaving out extended attributes of %q: %w", source, err)
	}
	return xs, nil
}

// xattrCalls are the system calls for one entry.
type xattrCalls struct {
	list  func(b []byte) (int, error)
	get   func(name string, b []byte) (int, error)
	close func()
}

func (it *Item) xattrCalls() (xattrCalls, error) {
	nothing := func() {}
	if !procHasFDs() {
		return it.xattrCallsByFD()
	}
	path := "/proc/self/fd/" + strconv.Itoa(it.at.fd)
	if it.self { // the link in /proc must be followed
		return xattrCalls{
			func(b []byte) (int, error) { return unix.Listxattr(path, b) },
			func(name string, b []byte) (int, error) { return unix.Getxattr(path, name, b) }, nothing}, nil
	}
	path += "/" + it.Name
	return xattrCalls{
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) }, nothing}, nil
}

// xattrCallsByFD does without /proc for what can be opened: files and folders.
func (it *Item) xattrCallsByFD() (xattrCalls, error) {
	if it.Stat.Type != tree.TypeFile && it.Stat.Type != tree.TypeDir {
		return xattrCalls{}, errors.New("/proc is not mounted")
	}
	name := it.Name
	if it.self {
		name = "."
	}
	fd, err := openAt(it.at.fd, name, openFile)
	if err != nil {
		return xattrCalls{}, changed(err)
	}
	a := xattrCallsOf(fd)
	a.close = func() { _ = unix.Close(fd) } // only read from
	return a, nil
}

// xattrCallsOf leaves fd open.
func xattrCallsOf(fd int) xattrCalls {
	return xattrCalls{
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) },
		func() {}}
}
