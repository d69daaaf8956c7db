package viewtest

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Bounds of a captured file: smaller ones share bundles, larger ones are cut.
const (
	bundleSize = 64 << 10
	chunkSize  = 100 << 10
)

// Capture writes the real folder path with everything in it as directories and
// content, and returns an entry for it. It is a sender in small: what it
// records is what lstat and friends say.
func (b *Builder) Capture(path string) tree.Entry {
	b.tb.Helper()
	c := &capture{Builder: b}
	root := c.entry(path)
	c.flush()
	return c.finish(root).entry
}

// captured is an entry whose content may still wait in a bundle.
type captured struct {
	entry    tree.Entry
	children []*captured
}

type capture struct {
	*Builder
	bundle  []byte
	waiting []*captured // those whose extent is in bundle
}

func (c *capture) entry(path string) *captured {
	c.tb.Helper()
	var st unix.Stat_t
	c.must(unix.Lstat(path, &st))
	e := tree.Entry{
		Name: filepath.Base(path), Mode: st.Mode & tree.ModeMask, UID: st.Uid, GID: st.Gid,
		Mtime: tree.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
	}
	if u, err := user.LookupId(strconv.Itoa(int(st.Uid))); err == nil {
		e.User = u.Username
	}
	if g, err := user.LookupGroupId(strconv.Itoa(int(st.Gid))); err == nil {
		e.Group = g.Name
	}
	e.Xattrs = c.xattrs(path)
	out := &captured{entry: e}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		out.entry.Type = tree.TypeDir
		list, err := os.ReadDir(path)
		c.must(err)
		for _, child := range list {
			out.children = append(out.children, c.entry(path+"/"+child.Name()))
		}
		return out
	case unix.S_IFREG:
		out.entry.Type, out.entry.Size = tree.TypeFile, uint64(st.Size)
		c.file(path, out)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		c.must(err)
		out.entry.Type, out.entry.Target, out.entry.Size = tree.TypeSymlink, target, uint64(len(target))
	case unix.S_IFIFO:
		out.entry.Type = tree.TypeFIFO
	case unix.S_IFCHR:
		out.entry.Type, out.entry.Rdev = tree.TypeChar, st.Rdev
	case unix.S_IFBLK:
		out.entry.Type, out.entry.Rdev = tree.TypeBlock, st.Rdev
	}
	if st.Nlink > 1 {
		out.entry.LinkID = c.ids.LinkID(st.Dev, st.Ino)
	}
	return out
}

func (c *capture) xattrs(path string) []tree.Xattr {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil || n == 0 {
		return nil
	}
	var xs []tree.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		k, err := unix.Lgetxattr(path, name, value)
		c.must(err)
		xs = append(xs, tree.Xattr{Name: name, Value: value[:k]})
	}
	slices.SortFunc(xs, func(a, b tree.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return xs
}

// file records the content of the file path, with its holes.
func (c *capture) file(path string, out *captured) {
	f, err := os.Open(path)
	c.must(err)
	defer f.Close()
	size := int64(out.entry.Size)
	if size == 0 {
		return
	}
	if size < bundleSize {
		b := make([]byte, size)
		_, err := f.ReadAt(b, 0)
		c.must(err)
		if len(c.bundle)+len(b) > 1<<20 {
			c.flush()
		}
		out.entry.Extents = []tree.Extent{{Kind: tree.ExtentBundle, Offset: uint32(len(c.bundle)), Length: uint64(size)}}
		c.bundle = append(c.bundle, b...)
		c.waiting = append(c.waiting, out)
		return
	}
	var extents []tree.Extent
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			data = size
		} else {
			c.must(err)
		}
		if data > at {
			extents = append(extents, tree.Extent{Kind: tree.ExtentHole, Length: uint64(data - at)})
		}
		if at = data; at == size {
			break
		}
		hole, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		c.must(err)
		b := make([]byte, min(hole-at, chunkSize))
		_, err = f.ReadAt(b, at)
		c.must(err)
		extents = append(extents, c.Chunk(string(b)))
		at += int64(len(b))
	}
	out.entry.Extents = c.Large(out.entry.Name, extents...).Extents
}

// flush writes the bundle at hand.
func (c *capture) flush() {
	if len(c.waiting) == 0 {
		return
	}
	id := c.content(object.KindBundle, string(c.bundle))
	for _, w := range c.waiting {
		w.entry.Extents[0].ID = id
	}
	c.bundle, c.waiting = nil, nil
}

// finish writes the directories, the innermost first.
func (c *capture) finish(x *captured) *captured {
	if x.entry.Type == tree.TypeDir {
		entries := make([]tree.Entry, len(x.children))
		for i, child := range x.children {
			entries[i] = c.finish(child).entry
		}
		x.entry.Subtree = c.Dir(entries...)
	}
	return x
}
