package mount

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// node is something in a snapshot.
type node struct {
	fs.Inode
	*files
	entry *tree.Entry
}

// failed tells of err and returns what the kernel is told.
func (f *files) failed(path string, err error) syscall.Errno {
	switch {
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case errors.Is(err, object.CodeNotFound):
		return syscall.ENOENT
	}
	f.Warn(path, err)
	if errors.Is(err, crypto.ErrNotRecipient) {
		return syscall.EACCES
	}
	return syscall.EIO
}

// openSnapshot returns the topmost folder of a snapshot.
func (n *snapshotsNode) openSnapshot(ctx context.Context, s *shown, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	// A long-running mount must not hold what a client may interrupt: the
	// snapshot is opened under the mount's own context.
	snap, err := n.Store.Snapshot(ctx, s.id)
	if err == nil && snap.ID() != s.id {
		err = fmt.Errorf("%w: the store sent another snapshot", object.ErrMalformed)
	}
	var opened *view.Snapshot
	if err == nil {
		opened, err = n.Reader.Open(ctx, snap)
	}
	if err != nil {
		return nil, n.failed("/snapshots/"+s.name(), err)
	}
	e := opened.Root().Entry
	if e.Mtime.Sec == 0 {
		e.Mtime.Sec = s.received.Unix()
	}
	return n.newNode(ctx, &n.Inode, s.name(), e, out), 0
}

// newNode returns the inode of e in parent. All names of one file have one.
func (f *files) newNode(ctx context.Context, parent *fs.Inode, name string, e *tree.Entry, out *fuse.EntryOut) *fs.Inode {
	attr := fs.StableAttr{Mode: modeOf(e) & syscall.S_IFMT, Ino: f.inode(parent.StableAttr().Ino, name)}
	if e.LinkID != 0 {
		attr.Ino = f.linked(parent, e)
	}
	setAttr(e, attr.Ino, &out.Attr)
	switch e.Type {
	case tree.TypeDir:
		return parent.NewInode(ctx, &dirNode{node{files: f, entry: e}}, attr)
	case tree.TypeFile:
		return parent.NewInode(ctx, &fileNode{node{files: f, entry: e}}, attr)
	case tree.TypeSymlink:
		return parent.NewInode(ctx, &linkNode{node{files: f, entry: e}}, attr)
	}
	return parent.NewInode(ctx, &node{files: f, entry: e}, attr)
}

// linked returns the inode number that all names of e in one snapshot share.
// What must be the same for all of them goes into it, so that entries that only
// claim to be one file are kept apart.
func (f *files) linked(parent *fs.Inode, e *tree.Entry) uint64 {
	root := parent // the snapshot's topmost folder
	for {
		_, up := root.Parent()
		if up == nil {
			break
		}
		if _, above := up.Operations().(*snapshotsNode); above {
			break
		}
		root = up
	}
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, v := range [...]uint64{root.StableAttr().Ino, e.LinkID, uint64(e.Type), uint64(e.Mode), e.Size, uint64(e.Mtime.Sec), uint64(e.Mtime.Nsec)} {
		maphash.WriteComparable(&h, v)
	}
	h.WriteString(e.Target)
	return h.Sum64() | 1<<63
}

var typeBits = map[tree.Type]uint32{
	tree.TypeFile: syscall.S_IFREG, tree.TypeDir: syscall.S_IFDIR, tree.TypeSymlink: syscall.S_IFLNK,
	tree.TypeFIFO: syscall.S_IFIFO, tree.TypeChar: syscall.S_IFCHR, tree.TypeBlock: syscall.S_IFBLK,
}

func modeOf(e *tree.Entry) uint32 { return typeBits[e.Type] | e.Mode&tree.ModeMask }

func setAttr(e *tree.Entry, ino uint64, a *fuse.Attr) {
	*a = fuse.Attr{
		Ino: ino, Size: e.Size, Blocks: (e.Size + 511) / 512, Blksize: 1 << 16,
		Mode: modeOf(e), Nlink: 1, Owner: fuse.Owner{Uid: e.UID, Gid: e.GID}, Rdev: uint32(e.Rdev),
		Mtime: uint64(e.Mtime.Sec), Mtimensec: e.Mtime.Nsec,
	}
	a.Ctime, a.Ctimensec, a.Atime, a.Atimensec = a.Mtime, a.Mtimensec, a.Mtime, a.Mtimensec
	if e.HasAtime {
		a.Atime, a.Atimensec = uint64(e.Atime.Sec), e.Atime.Nsec
	}
	switch {
	case e.Type == tree.TypeDir:
		a.Nlink, a.Size = 2, 4096
	case e.LinkID != 0:
		a.Nlink = 2 // several; how many is not in a snapshot
	}
}

// path returns where n is, for warnings.
func (n *node) path() string { return "/" + n.Path(nil) }

// Getattr describes the node.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	setAttr(n.entry, n.StableAttr().Ino, &out.Attr)
	return 0
}

// Getxattr returns an extended attribute.
func (n *node) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	for i := range n.entry.Xattrs {
		if x := &n.entry.Xattrs[i]; x.Name == name {
			if len(dest) < len(x.Value) {
				return uint32(len(x.Value)), syscall.ERANGE
			}
			return uint32(copy(dest, x.Value)), 0
		}
	}
	return 0, syscall.ENODATA
}

// Listxattr lists the names of extended attributes.
func (n *node) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	var names []byte
	for i := range n.entry.Xattrs {
		names = append(append(names, n.entry.Xattrs[i].Name...), 0)
	}
	if len(dest) < len(names) {
		return uint32(len(names)), syscall.ERANGE
	}
	return uint32(copy(dest, names)), 0
}

// dirNode is a folder in a snapshot.
type dirNode struct{ node }

// Lookup finds an entry.
func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	e, ok, err := n.dirs.Find(ctx, n.entry.Subtree, name)
	if err != nil {
		return nil, n.failed(n.path(), err)
	}
	if !ok {
		return nil, syscall.ENOENT
	}
	return n.newNode(ctx, &n.Inode, name, e, out), 0
}

// Readdir lists the folder, one directory object at a time.
func (n *dirNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	// The stream outlives the request that opens it.
	next, stop := iter.Pull2(n.dirs.Entries(n.ctx, n.entry.Subtree))
	s := &entryStream{dir: n, next: next, stop: stop}
	s.step()
	return s, 0
}

// entryStream is an open folder. The kernel asks it from one goroutine at a
// time.
type entryStream struct {
	dir   *dirNode
	next  func() (*tree.Entry, error, bool)
	stop  func()
	entry *tree.Entry
	err   error
	more  bool
}

func (s *entryStream) step() { s.entry, s.err, s.more = s.next() }

// HasNext reports whether Next has something to say.
func (s *entryStream) HasNext() bool { return s.more }

// Next returns the next entry, or why the rest is lost.
func (s *entryStream) Next() (fuse.DirEntry, syscall.Errno) {
	if s.err != nil {
		err := s.err
		s.more = false
		return fuse.DirEntry{}, s.dir.failed(s.dir.path(), err)
	}
	e := fuse.DirEntry{Name: s.entry.Name, Mode: modeOf(s.entry), Ino: s.dir.inode(s.dir.StableAttr().Ino, s.entry.Name)}
	if s.entry.LinkID != 0 {
		e.Ino = s.dir.linked(&s.dir.Inode, s.entry)
	}
	s.step()
	return e, 0
}

// Close ends the listing.
func (s *entryStream) Close() { s.stop() }

// linkNode is a symlink.
type linkNode struct{ node }

// Readlink returns its target as it is; the kernel follows it outside of here.
func (n *linkNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(n.entry.Target), 0
}

// fileNode is a regular file.
type fileNode struct{ node }

// Open permits reading. What was read stays valid: a snapshot never changes.
func (n *fileNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC|syscall.O_APPEND) != 0 {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read reads content, verified.
func (n *fileNode) Read(ctx context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	k, err := n.blobs.ReadAt(ctx, n.entry, dest, uint64(off))
	if err != nil {
		return nil, n.failed(n.path(), err)
	}
	return fuse.ReadResultData(dest[:k]), 0
}
