package restorer

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// setIDBits are the permission bits that let whoever runs a file act as its
// owner or group.
const setIDBits = unix.S_ISUID | unix.S_ISGID

// errPrivileged says what was left out because nobody asked for it as root.
var errPrivileged = errors.New("restored only as root with --privileged")

// errNotOwner says what was left out because it was meant for another owner.
var errNotOwner = errors.New("set-ID bits and capabilities: left out because the owner could not be set")

// owners turns an entry's owner into ids of this machine. Safe for concurrent
// use.
type owners struct {
	numeric bool
	mu      sync.Mutex
	users   map[string]int // -1 when there is none of that name; bounded by maxOwners
	groups  map[string]int
}

// maxOwners bounds the names that owners remembers; a hostile snapshot may hold
// millions.
const maxOwners = 4096

func newOwners(numeric bool) *owners {
	return &owners{numeric: numeric, users: map[string]int{}, groups: map[string]int{}}
}

// of returns the owner and group of e: those of its names where this machine
// knows them, else its numbers.
func (o *owners) of(e *tree.Entry) (uid, gid int) {
	uid, gid = int(e.UID), int(e.GID)
	if o.numeric {
		return uid, gid
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if id := o.find(o.users, e.User, lookupUser); id >= 0 {
		uid = id
	}
	if id := o.find(o.groups, e.Group, lookupGroup); id >= 0 {
		gid = id
	}
	return uid, gid
}

func (o *owners) find(known map[string]int, name string, lookup func(string) (string, error)) int {
	if name == "" {
		return -1
	}
	id, ok := known[name]
	if ok {
		return id
	}
	id = -1
	if text, err := lookup(name); err == nil {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			id = int(n)
		}
	}
	if len(known) >= maxOwners {
		clear(known)
	}
	known[name] = id
	return id
}

func lookupUser(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func lookupGroup(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// inode is something whose metadata is to be set: an open file or folder, or a
// name in a folder that is never followed when it is a symlink.
type inode struct {
	fd   int // of the file or folder itself; -1 to go by name
	dir  int // the folder that name is in
	name string
}

// at returns an absolute path through /proc for the calls that know no
// descriptors. Its last component is not followed by the calls that use it.
func (n inode) at() string { return "/proc/self/fd/" + strconv.Itoa(n.dir) + "/" + n.name }

func (n inode) chown(uid, gid int) error {
	if n.fd >= 0 {
		return unix.Fchown(n.fd, uid, gid)
	}
	return unix.Fchownat(n.dir, n.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (n inode) chmod(mode uint32) error {
	if n.fd >= 0 {
		return unix.Fchmod(n.fd, mode)
	}
	err := unix.Fchmodat(n.dir, n.name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != unix.EOPNOTSUPP {
		return err
	}
	// Before Linux 6.6: by a descriptor that only stands for the inode.
	fd, err := unix.Openat(n.dir, n.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

func (n inode) setxattr(x *tree.Xattr) error {
	if n.fd >= 0 {
		return unix.Fsetxattr(n.fd, x.Name, x.Value, 0)
	}
	return unix.Lsetxattr(n.at(), x.Name, x.Value, 0)
}

func (n inode) removexattr(name string) error {
	if n.fd >= 0 {
		return unix.Fremovexattr(n.fd, name)
	}
	return unix.Lremovexattr(n.at(), name)
}

func (n inode) setTimes(atime, mtime unix.Timespec) error {
	times := []unix.Timespec{atime, mtime}
	if n.fd >= 0 {
		err := unix.UtimesNanoAt(n.fd, "", times, unix.AT_EMPTY_PATH)
		if err == unix.EINVAL || err == unix.ENOENT { // before Linux 5.8
			err = unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(n.fd), times, 0)
		}
		return err
	}
	return unix.UtimesNanoAt(n.dir, n.name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// applier sets metadata.
type applier struct {
	owners     *owners
	root       bool // this process may give files away
	privileged bool // root, and asked to restore what gives rights
}

func newApplier(opt Options) *applier {
	root := os.Geteuid() == 0
	return &applier{owners: newOwners(opt.NumericIDs), root: root, privileged: root && opt.Privileged}
}

// apply sets everything about n that e says, in the one order that works: a
// change of owner takes set-id bits and capabilities away, a mode without
// write permission keeps attributes from being set, and an ACL must come after
// the mode. It goes on after an error and returns all of them: what could not
// be set is told, and the content is there anyway. fresh says that this run
// made n, in a folder without a default ACL.
func (a *applier) apply(n inode, e *tree.Entry, fresh bool) []error {
	var errs []error
	if err := a.chown(n, e); err != nil {
		errs = append(errs, fmt.Errorf("setting the owner: %w", err))
		if less := powerless(e); less != e {
			e, errs = less, append(errs, errNotOwner)
		}
	}
	if !fresh {
		if err := a.clear(n, e); err != nil {
			errs = append(errs, fmt.Errorf("removing attributes that it had: %w", err))
		}
	}
	note := func(x *tree.Xattr, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("setting the attribute %.255q: %w", x.Name, err))
		}
	}
	acl := func(x *tree.Xattr) bool { return strings.HasPrefix(x.Name, "system.posix_acl_") }
	for i := range e.Xattrs {
		if x := &e.Xattrs[i]; !acl(x) {
			note(x, a.setxattr(n, x))
		}
	}
	if e.Type != tree.TypeSymlink {
		mode, dropped := a.mode(e)
		if err := n.chmod(mode); err != nil {
			errs = append(errs, fmt.Errorf("setting the mode: %w", err))
		} else if dropped {
			errs = append(errs, fmt.Errorf("set-user-ID and set-group-ID bits: %w", errPrivileged))
		}
	}
	for i := range e.Xattrs {
		if x := &e.Xattrs[i]; acl(x) {
			note(x, n.setxattr(x))
		}
	}
	if err := n.setTimes(atime(e), timespec(e.Mtime)); err != nil {
		errs = append(errs, fmt.Errorf("setting the time: %w", err))
	}
	return errs
}

// maxXattrNames is the most that Linux returns as a list of names.
const maxXattrNames = 64 << 10

// clear removes the attributes of n that e does not have: those of something
// that was there before, and an ACL inherited from a folder that was. Labels and
// signatures of security modules are theirs to keep.
func (a *applier) clear(n inode, e *tree.Entry) error {
	buf := make([]byte, 1<<10)
	size, err := n.listxattr(buf)
	if err == unix.ERANGE {
		buf = make([]byte, maxXattrNames)
		size, err = n.listxattr(buf)
	}
	if err == unix.ENOTSUP || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:size]), "\x00"), "\x00") {
		ours := strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") ||
			a.root && (strings.HasPrefix(name, "trusted.") || name == "security.capability")
		if ours && !hasXattr(e, name) {
			if err := n.removexattr(name); err != nil && err != unix.ENODATA {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (n inode) listxattr(buf []byte) (int, error) {
	if n.fd >= 0 {
		return unix.Flistxattr(n.fd, buf)
	}
	return unix.Llistxattr(n.at(), buf)
}

func hasXattr(e *tree.Entry, name string) bool {
	for i := range e.Xattrs {
		if e.Xattrs[i].Name == name {
			return true
		}
	}
	return false
}

// chown gives n to e's owner. Others than root can't, and get no error for
// what nobody expects: at most the group is set.
func (a *applier) chown(n inode, e *tree.Entry) error {
	uid, gid := a.owners.of(e)
	if a.root {
		return n.chown(uid, gid)
	}
	if err := n.chown(-1, gid); err != nil && err != unix.EPERM {
		return err
	}
	return nil
}

// powerless returns e without what would let others act as the owner of a file
// or with its capabilities, or e itself if there is nothing of the kind.
func powerless(e *tree.Entry) *tree.Entry {
	capability := func(x tree.Xattr) bool { return x.Name == "security.capability" }
	if e.Type == tree.TypeDir || e.Mode&setIDBits == 0 && !slices.ContainsFunc(e.Xattrs, capability) {
		return e
	}
	less := *e
	less.Mode &^= setIDBits
	less.Xattrs = slices.DeleteFunc(slices.Clone(e.Xattrs), capability)
	return &less
}

// mode returns the permission bits to set and whether some were left out. The
// set-group-ID bit of a folder only says which group its files get.
func (a *applier) mode(e *tree.Entry) (mode uint32, dropped bool) {
	mode = e.Mode & tree.ModeMask
	if e.Type != tree.TypeDir && !a.privileged && mode&setIDBits != 0 {
		return mode &^ setIDBits, true
	}
	return mode, false
}

// setxattr sets an attribute that is no ACL. Those in "user." are anybody's;
// "security." holds capabilities and labels, which give rights.
func (a *applier) setxattr(n inode, x *tree.Xattr) error {
	switch {
	case strings.HasPrefix(x.Name, "user."):
	case strings.HasPrefix(x.Name, "security."):
		if !a.privileged {
			return errPrivileged
		}
	case !a.root:
		return errors.New("restored only as root")
	}
	return n.setxattr(x)
}

func timespec(t tree.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
}

func atime(e *tree.Entry) unix.Timespec {
	if e.HasAtime {
		return timespec(e.Atime)
	}
	return unix.Timespec{Nsec: unix.UTIME_OMIT}
}
