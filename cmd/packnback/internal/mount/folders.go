package mount

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// folder is what the folders above the snapshots have in common. Their content
// changes with the list of snapshots, so the kernel may not keep it for long.
type folder struct {
	fs.Inode
	*files
}

// listValid is how long the kernel may keep names above the snapshots.
const listValid = time.Second

// Getattr makes them folders that all may read.
func (d *folder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = fuse.S_IFDIR | 0o555
	out.Nlink = 2
	out.SetTimeout(listValid)
	return 0
}

// snapshots returns the list, or why it can't be had.
func (d *folder) snapshots(ctx context.Context) ([]shown, syscall.Errno) {
	all, err := d.list.snapshots(ctx)
	if err != nil {
		return nil, d.failed("/", err)
	}
	return all, 0
}

// child returns the folder or symlink name, which is not in a snapshot.
func (d *folder) child(ctx context.Context, node fs.InodeEmbedder, name string, mode uint32, out *fuse.EntryOut) *fs.Inode {
	attr := fs.StableAttr{Mode: mode, Ino: d.inode(d.StableAttr().Ino, name)}
	out.Mode, out.Ino, out.Nlink = mode|0o555, attr.Ino, 1
	if mode == fuse.S_IFLNK {
		out.Mode = mode | 0o777
		out.Size = uint64(len(node.(*fs.MemSymlink).Data))
	}
	out.SetEntryTimeout(listValid)
	out.SetAttrTimeout(listValid)
	return d.NewInode(ctx, node, attr)
}

func (d *folder) sub(ctx context.Context, node fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return d.child(ctx, node, name, fuse.S_IFDIR, out), 0
}

func (d *folder) symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return d.child(ctx, &fs.MemSymlink{Data: []byte(target)}, name, fuse.S_IFLNK, out), 0
}

func dirStream(names []string, mode uint32) fs.DirStream {
	entries := make([]fuse.DirEntry, len(names))
	for i, name := range names {
		entries[i] = fuse.DirEntry{Name: name, Mode: mode}
	}
	return fs.NewListDirStream(entries)
}

// rootNode is the mounted folder itself.
type rootNode struct{ folder }

// one returns the only client, if there is just one: only then "latest" may be
// a snapshot. A hostile client must never become it unasked.
func one(all []shown) bool { return len(clients(all)) == 1 }

// Lookup finds snapshots, clients and latest.
func (n *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	switch {
	case name == "snapshots":
		return n.sub(ctx, &snapshotsNode{folder{files: n.files}}, name, out)
	case name == "clients":
		return n.sub(ctx, &clientsNode{folder{files: n.files}}, name, out)
	case name == "latest" && one(all):
		return n.symlink(ctx, "snapshots/"+newest(all, func(*shown) bool { return true }).name(), name, out)
	case name == "latest" && len(all) > 0:
		return n.sub(ctx, &latestNode{folder{files: n.files}}, name, out)
	}
	return nil, syscall.ENOENT
}

// Readdir lists them.
func (n *rootNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	entries := []fuse.DirEntry{{Name: "clients", Mode: fuse.S_IFDIR}, {Name: "snapshots", Mode: fuse.S_IFDIR}}
	switch {
	case one(all):
		entries = append(entries, fuse.DirEntry{Name: "latest", Mode: fuse.S_IFLNK})
	case len(all) > 0:
		entries = append(entries, fuse.DirEntry{Name: "latest", Mode: fuse.S_IFDIR})
	}
	return fs.NewListDirStream(entries), 0
}

// snapshotsNode is snapshots/: all of them by id.
type snapshotsNode struct{ folder }

// Lookup opens a snapshot.
func (n *snapshotsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	s := newest(all, func(s *shown) bool { return s.name() == name })
	if s == nil {
		return nil, syscall.ENOENT
	}
	return n.openSnapshot(ctx, s, out)
}

// Readdir lists the snapshots.
func (n *snapshotsNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].name()
	}
	return dirStream(names, fuse.S_IFDIR), errno
}

// clientsNode is clients/.
type clientsNode struct{ folder }

// Lookup finds a client.
func (n *clientsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	if newest(all, func(s *shown) bool { return s.client == name }) == nil {
		return nil, syscall.ENOENT
	}
	return n.sub(ctx, &clientNode{folder{files: n.files}, name}, name, out)
}

// Readdir lists the clients.
func (n *clientsNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	return dirStream(clients(all), fuse.S_IFDIR), errno
}

// clientNode is clients/CLIENT/.
type clientNode struct {
	folder
	client string
}

// Lookup finds a job.
func (n *clientNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	if newest(all, func(s *shown) bool { return s.client == n.client && s.job == name }) == nil {
		return nil, syscall.ENOENT
	}
	return n.sub(ctx, &jobNode{folder{files: n.files}, n.client, name}, name, out)
}

// Readdir lists the client's jobs.
func (n *clientNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	return dirStream(jobs(all, n.client), fuse.S_IFDIR), errno
}

// jobNode is clients/CLIENT/JOB/: its snapshots by time, and latest.
type jobNode struct {
	folder
	client, job string
}

func (n *jobNode) mine(s *shown) bool { return s.client == n.client && s.job == n.job }

// Lookup finds a snapshot.
func (n *jobNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	target := ""
	if s := newest(all, n.mine); s != nil && name == "latest" {
		target = s.when()
	} else if s := newest(all, func(s *shown) bool { return n.mine(s) && s.when() == name }); s != nil {
		target = "../../../snapshots/" + s.name()
	}
	if target == "" {
		return nil, syscall.ENOENT
	}
	return n.symlink(ctx, target, name, out)
}

// Readdir lists the snapshots of the job.
func (n *jobNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	var names []string
	for i := range all {
		if n.mine(&all[i]) {
			names = append(names, all[i].when())
		}
	}
	if len(names) > 0 {
		names = append(names, "latest")
	}
	return dirStream(names, fuse.S_IFLNK), errno
}

// latestNode is latest/ where there are several clients: the newest snapshot
// of each.
type latestNode struct{ folder }

// Lookup finds a client's newest snapshot.
func (n *latestNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	if errno != 0 {
		return nil, errno
	}
	s := newest(all, func(s *shown) bool { return s.client == name })
	if s == nil {
		return nil, syscall.ENOENT
	}
	return n.symlink(ctx, "../snapshots/"+s.name(), name, out)
}

// Readdir lists the clients.
func (n *latestNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, errno := n.snapshots(ctx)
	return dirStream(clients(all), fuse.S_IFLNK), errno
}
