package sender

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/table"
	"github.com/packnback/packnback/repo/tree"
)

// racyWindow is how long before it is looked at a file must have been changed
// for its times to prove anything: the coarsest time stamps of file systems in
// use are two seconds apart.
const racyWindow = 2 * time.Second

// matcher decides for every step of the walk what has to be read. It runs on
// the walk's goroutine, one step ahead of nothing: what it needs of the cache
// is the next record.
type matcher struct {
	ctx     context.Context
	p       *pass
	base    *statcache.Walk // nil: no cache
	partial *statcache.Walk // what cut-off runs have seen; nil: nothing
	frames  []frameMatch    // the folders that are open
	batch   *batch
	links   *table.Sorter // files with several names that were seen in this pass
	outside int           // how many folders deep the walk is in one that is too deep
	rec     statcache.Record
	path    []byte
	stat    []byte
}

// frameMatch is one open folder.
type frameMatch struct {
	path  string
	dirty bool // something in it is not as it was
}

// linkLayout's rows are linkKeys.
var linkLayout = table.Layout{Magic: [8]byte([]byte("PNBlink\x01")), Key: len(linkKey{}), Row: len(linkKey{})}

// Limits of a path: sixty times what the kernel takes in one piece. Memory
// grows with the depth and with the lengths of paths, and anybody with an
// account can make a tree of any depth.
const (
	maxPath  = 256 << 10
	maxDepth = 8 << 10
)

func (m *matcher) step(it *source.Item) error {
	if m.tooDeep(it) {
		return nil
	}
	switch it.Step {
	case source.Enter:
		m.frames = append(m.frames, frameMatch{path: it.Path})
		return m.add(&item{step: source.Enter, path: it.Path})
	case source.Leave:
		return m.leave(it)
	}
	return m.file(it)
}

// tooDeep reports whether the step is left out because of its depth. The first
// of those in one folder is reported.
func (m *matcher) tooDeep(it *source.Item) bool {
	if m.outside > 0 {
		switch it.Step {
		case source.Enter:
			m.outside++
		case source.Leave:
			m.outside--
		}
		return true
	}
	if it.Step == source.Leave || len(it.Path) <= maxPath && it.Depth <= maxDepth {
		return false
	}
	if it.Step == source.Enter {
		m.outside = 1
	}
	m.frames[len(m.frames)-1].dirty = true
	m.p.events.problem(source.Problem{Kind: source.Unread, Path: it.Path, Err: errTooDeep})
	return true
}

// errTooDeep says that an entry was left out because of its path.
var errTooDeep = fmt.Errorf("left out: the path has more than %d bytes or %d folders", maxPath, maxDepth)

// describe fills m.rec, m.path and m.stat from what lstat said.
func (m *matcher) describe(it *source.Item) {
	m.rec = statcache.Record{}
	m.p.describe(&m.rec, it)
	m.path = append(m.path[:0], it.Path...)
	m.stat = m.rec.AppendStat(m.stat[:0])
}

// describe fills r with what it.Stat says.
func (p *pass) describe(r *statcache.Record, it *source.Item) {
	opt, e := &p.cfg.Options, &r.Entry
	r.Ctime = it.Stat.Ctime
	it.Fill(e)
	if e.HasAtime = opt.WithAtime; e.HasAtime {
		e.Atime = it.Stat.Atime
	} else {
		e.Atime = tree.Time{}
	}
	if e.Type == tree.TypeFile || e.Type == tree.TypeSymlink {
		e.Size = it.Stat.Size
	}
	if !opt.IgnoreInode {
		r.Ino = it.Stat.Ino
	}
	e.LinkID = 0
	if it.Stat.Nlink > 1 && e.Type != tree.TypeDir {
		e.LinkID = p.ids.LinkID(it.Stat.Dev, it.Stat.Ino)
	}
}

// fresh returns a copy of the described record for an item that is not
// unchanged.
func (m *matcher) fresh() *statcache.Record {
	r := m.rec
	r.Racy = racy(r.Ctime, m.p.cfg.now())
	return &r
}

func racy(ctime tree.Time, now time.Time) bool {
	age := now.Sub(time.Unix(ctime.Sec, int64(ctime.Nsec)))
	return age < racyWindow && age > -racyWindow
}

// file matches everything that is not a folder.
func (m *matcher) file(it *source.Item) error {
	m.describe(it)
	old, err := m.seek()
	if err != nil {
		return err
	}
	n := &item{step: source.File, path: it.Path, change: New}
	if old.known {
		n.was, n.change = old.raw, Changed
	}
	if old.known && m.same(old.raw) && !m.p.cfg.Options.Force {
		ok, err := m.reliable(old)
		if err != nil {
			return err
		}
		if ok {
			n.raw, n.inner, n.change = old.raw, old.inner, Unmodified
			return m.add(n)
		}
	}
	m.frames[len(m.frames)-1].dirty = true
	n.rec = m.fresh()
	if err := m.plan(n, old); err != nil {
		return err
	}
	if n.task != taskNone {
		n.from = it.Keep()
	}
	return m.add(n)
}

// cached is what the cache has of a path.
type cached struct {
	known bool
	raw   statcache.Raw
	inner [][]byte // further ids, in slices of them end to end
}

// same reports whether a record's stat section is the described one and proves
// something.
func (m *matcher) same(raw statcache.Raw) bool {
	return bytes.Equal(raw.Stat, m.stat) && !raw.Racy()
}

// plan decides what has to be read for an entry that differs from what the
// cache has.
func (m *matcher) plan(n *item, old cached) error {
	e := &n.rec.Entry
	n.task = taskMeta
	if e.Type != tree.TypeFile {
		return m.drop(old)
	}
	resumed, err := m.resume(n)
	if err != nil {
		return err
	}
	if !resumed && old.known {
		same, err := m.sameContent(n, old)
		if same || err != nil {
			return err
		}
	}
	if err := m.drop(old); err != nil || resumed {
		return err
	}
	n.counts = true
	if e.LinkID != 0 {
		n.link = keyOfLink(n.rec)
		first, err := m.firstLink(n.link)
		if err != nil {
			return err
		}
		if !first {
			n.task = taskLink
			return nil
		}
	}
	if n.task = taskSmall; e.Size >= largeFile {
		n.task, n.done = taskLarge, make(chan struct{})
	}
	return nil
}

// firstLink reports whether no other name of the file came before.
func (m *matcher) firstLink(key linkKey) (bool, error) {
	had, err := m.links.Has(key[:])
	if err != nil || had {
		return false, err
	}
	return true, m.links.Add(key[:])
}

// leave matches a folder whose contents have all been seen. If they are as they
// were, and may be relied upon, so may the folder's own objects.
func (m *matcher) leave(it *source.Item) error {
	m.describe(it)
	old, err := m.seek()
	if err != nil {
		return err
	}
	top := m.frames[len(m.frames)-1]
	m.frames = m.frames[:len(m.frames)-1]
	n := &item{step: source.Leave, path: it.Path, change: New}
	if old.known {
		n.was, n.change = old.raw, Changed
	}
	if old.known && m.same(old.raw) && !top.dirty {
		ok, err := m.reliable(old)
		if err != nil {
			return err
		}
		if ok {
			n.raw, n.inner, n.change = old.raw, old.inner, Unmodified
			return m.add(n)
		}
	}
	if err := m.drop(old); err != nil {
		return err
	}
	if len(m.frames) > 0 {
		m.frames[len(m.frames)-1].dirty = true
	}
	n.rec, n.counts = m.fresh(), true
	n.task, n.from = taskMeta, it.Keep()
	return m.add(n)
}

// add puts an item into the current batch and sends that on when it is full.
func (m *matcher) add(n *item) error {
	b := m.batch
	if b == nil {
		b = &batch{items: make([]*item, 0, batchItems)}
		m.batch = b
	}
	b.items = append(b.items, n)
	b.paths += len(n.path)
	switch n.task {
	case taskLarge:
		if err := m.p.dispatchLarge(m.ctx, n); err != nil {
			return err
		}
	case taskSmall:
		b.bytes += int64(n.rec.Entry.Size)
		b.work = true
	case taskMeta, taskLink:
		b.work = true
	}
	if len(b.items) < batchItems && b.bytes < batchBytes && b.paths < batchPaths {
		return nil
	}
	return m.flush()
}

// flush sends the current batch on.
func (m *matcher) flush() error {
	b := m.batch
	m.batch = nil
	if b == nil {
		return nil
	}
	return m.p.dispatch(m.ctx, b)
}

// finish ends the walk: what the cache still has is gone.
func (m *matcher) finish() error {
	if m.base != nil {
		if err := m.base.Rest(m.gone); err != nil {
			return err
		}
	}
	if len(m.frames) > 0 {
		return fmt.Errorf("the walk ended inside of %q", m.frames[len(m.frames)-1].path)
	}
	return m.flush()
}
