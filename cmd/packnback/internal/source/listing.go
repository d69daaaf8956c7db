package source

import (
	"errors"
	"io"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

const (
	batchSize   = 512       // entries that are examined together
	aheadLimit  = 256 << 10 // bytes of names that are read ahead of time
	namesBudget = 16 << 20  // bytes of names that all folders of a walk together keep in memory, roughly
)

// request says which folder to open, and how.
type request struct {
	parent *folder // nil: source is opened by its path
	name   string
	source string // absolute path
	plan   *planNode
	inside bool   // everything in the folder belongs to the backup
	follow bool   // it is the working folder or on the way to an operand: follow a symlink
	dev    uint64 // the file system to stay on; with mounts, that of the folder itself
	mounts bool   // the folder may be on any file system
}

// listing is a folder being read: its own metadata and, batch by batch, what
// is in it.
type listing struct {
	request
	opt     *Options
	dir     *folder // nil when it could not be opened
	self    Stat
	err     error // why dir is nil
	listErr error // why there is nothing to read, or no more
	skipped bool  // one of Options.Skip
	names   names
	read    bool // all names are there, sorted
	batch   []child
	end     bool // batch is the last one
}

// child is one entry of a folder.
type child struct {
	name   string
	stat   Stat
	err    error
	at     *folder // where it is, when that is not its listing's folder: operands at the top of a snapshot
	opened *opened // when it is being opened ahead of time
	verdict
}

// verdict is whether the filter lets an entry pass, once that was asked.
type verdict int

const (
	unasked verdict = iota
	wanted
	unwanted
)

// opened is a folder that is opened ahead of time.
type opened struct {
	task *task
	list *listing
}

// open opens the folder and reads its first batch. With ahead it leaves a
// folder of very many names to finish.
func (r request) open(opt *Options, ahead bool) *listing {
	l := &listing{request: r, opt: opt}
	if l.err = l.openDir(); l.err != nil {
		return l
	}
	if l.self, l.err = l.dir.self(); l.err != nil {
		l.close()
		return l
	}
	if slices.Contains(opt.Skip, l.self.Place()) {
		l.skipped, l.end = true, true
		return l
	}
	if l.mounts {
		l.dev = l.self.Dev
	} else if l.inside && l.self.Dev != l.dev {
		l.inside = false // a mount point is kept, what is mounted there is not
	}
	switch tag := ""; {
	case l.listErr != nil:
	case !l.inside:
		l.list("")
	default:
		if tag = opt.Filter.tagged(l.dir); tag != "" {
			l.inside = false
			l.list(tag)
			break
		}
		var complete bool
		if complete, l.listErr = l.names.read(l.dir.fd, aheadLimit); complete {
			l.listErr = l.names.sort(opt.TempDir)
			l.read = true
		}
	}
	if l.read || !ahead || l.listErr != nil {
		l.finish(aheadLimit)
	}
	return l
}

// openDir opens the folder: for listing when everything in it is wanted.
func (l *listing) openDir() error {
	flags := openPath
	if l.inside {
		flags = openList
	}
	nofollow := unix.O_NOFOLLOW
	if l.follow {
		nofollow = 0
	}
	dir, name := unix.AT_FDCWD, l.source
	if l.parent != nil {
		dir, name = l.parent.fd, l.name
	}
	fd, err := openAt(dir, name, flags|nofollow)
	if l.inside && (err == unix.EACCES || err == unix.EPERM) {
		// Its own metadata can still be had.
		l.listErr = err
		fd, err = openAt(dir, name, openPath|nofollow)
	}
	if err != nil {
		return err
	}
	l.dir = newFolder(fd)
	return nil
}

// list makes the planned names, and extra if not empty, all there is to read.
func (l *listing) list(extra string) {
	if l.plan != nil {
		for _, c := range l.plan.children {
			l.names.memory = append(l.names.memory, c.name)
		}
	}
	if extra != "" {
		l.names.memory = append(l.names.memory, extra)
		slices.Sort(l.names.memory)
	}
	l.read = true
}

// finish reads what open with ahead left, keeping at most limit bytes of names
// in memory, and the first batch.
func (l *listing) finish(limit int) {
	if l.batch != nil || l.end {
		return
	}
	if !l.read && l.listErr == nil {
		if l.listErr = l.names.readAll(l.dir.fd, limit, l.opt.TempDir); l.listErr == nil {
			l.listErr = l.names.sort(l.opt.TempDir)
		}
		l.read = true
	}
	l.batch = l.fill()
}

// fill examines the next entries; nil means that there are no more.
func (l *listing) fill() []child {
	if l.listErr != nil {
		l.end = true
		return nil
	}
	n := batchSize
	if l.names.file == nil {
		n = min(n, len(l.names.memory))
	}
	batch := make([]child, 0, n)
	for len(batch) < batchSize {
		name, err := l.names.next()
		if err != nil {
			l.end = true
			if err != io.EOF {
				l.listErr = err
			}
			break
		}
		batch = append(batch, l.examine(name))
	}
	return batch
}

// examine asks for the metadata of one entry.
func (l *listing) examine(name string) child {
	c := child{name: name}
	if c.err = tree.CheckName(name); c.err != nil {
		return c
	}
	at, flags := l.dir, unix.AT_SYMLINK_NOFOLLOW
	if p := l.plan.child(name); p != nil && !l.inside {
		if !p.operand {
			flags = 0
		}
		if path.Dir(p.source) != l.source {
			fd, err := openAt(unix.AT_FDCWD, path.Dir(p.source), openPath)
			if err != nil {
				c.err = err
				return c
			}
			at = newFolder(fd)
			c.at = at
		}
	}
	c.stat, c.err = at.stat(name, flags)
	return c
}

// close gives back what the listing holds.
func (l *listing) close() {
	l.dir.release()
	l.dir = nil
	l.names.close()
	for i := range l.batch {
		l.batch[i].at.release()
	}
	l.batch = nil
}

// isDir reports whether the entry is a folder, as far as is known.
func (c *child) isDir() bool { return c.err == nil && c.stat.Type == tree.TypeDir }

// changed says in the words of this package why opening an entry failed.
func changed(err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENXIO) {
		return ErrChanged
	}
	return err
}
