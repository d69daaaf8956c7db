package view

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Change is one difference between two trees.
type Change struct {
	Path string      // relative to where the comparison began: "/a/b"
	Old  *tree.Entry // nil for what was added
	New  *tree.Entry // nil for what is gone
	// Content says that what a file holds is different, or what a symlink names;
	// otherwise only metadata are. Meaningless unless both are set.
	Content bool
}

// differ compares trees.
type differ struct {
	reader *Reader
	ctx    context.Context
	yield  func(Change) error
	path   []byte
	held   int // bytes of the nodes on the way from the root, of both trees
}

// pairsAhead is how many names are looked at together, so that the folders
// among them that are different are asked for together.
const pairsAhead = 64

// pair is what the two trees have under one name; either may be nil.
type pair struct{ old, new *tree.Entry }

// Diff yields the differences between two places, in the order of names. Where
// a folder was added or is gone, everything in it is yielded, too. Subtrees
// that are the same object are not read at all, so the cost is that of what
// changed. Memory does not grow with the number of entries. A folder that is
// lost ends the comparison.
func (r *Reader) Diff(ctx context.Context, before, after Place, yield func(Change) error) error {
	d := &differ{reader: r, ctx: ctx, yield: yield}
	if before.Entry.Type != tree.TypeDir || after.Entry.Type != tree.TypeDir {
		d.path = append(d.path, '/')
		d.path = append(d.path, after.Entry.Name...)
		return d.compare(pair{before.Entry, after.Entry}, 0)
	}
	return d.folders(before.Entry.Subtree, after.Entry.Subtree, 0)
}

// folders compares two folders, name by name.
func (d *differ) folders(before, after object.ID, depth int) error {
	if before == after {
		return nil
	}
	if err := d.reader.prefetch(d.ctx, before, after); err != nil {
		return err
	}
	m := &merged{}
	defer m.stop()
	for i, id := range [...]object.ID{before, after} {
		m.sides[i].next, m.sides[i].stop = iter.Pull2(tree.ReadDir(d.load(&m.sides[i].loaded), id))
	}
	held, above := d.held, len(d.path)
	defer func() { d.held = held }()
	for {
		pairs, err := m.take()
		if err != nil {
			return fmt.Errorf("folder %.200q: %w", d.path, err)
		}
		if len(pairs) == 0 {
			return nil
		}
		d.held = held + m.sides[0].loaded + m.sides[1].loaded
		if depth >= MaxDepth || len(d.path) > maxPath || d.held > 2*maxHeld {
			return fmt.Errorf("folder %.200q: %w tree: nested too deeply, or with too much metadata", d.path, object.ErrMalformed)
		}
		if err := d.reader.prefetch(d.ctx, changedFolders(pairs)...); err != nil {
			return err
		}
		for _, p := range pairs {
			d.path = append(append(d.path, '/'), p.name()...)
			if err := d.compare(p, depth+1); err != nil {
				return err
			}
			d.path = d.path[:above]
		}
	}
}

// load is a tree.Load that notes the size of what it returned last.
func (d *differ) load(size *int) tree.Load {
	return func(kind object.Kind, id object.ID) ([]object.ID, []byte, error) {
		m, err := d.reader.metadata(d.ctx, kind, id)
		*size = m.size()
		return m.refs, m.plain, err
	}
}

func (p pair) name() string {
	if p.new != nil {
		return p.new.Name
	}
	return p.old.Name
}

// changedFolders returns the directories of folders that are in both trees and
// not the same.
func changedFolders(pairs []pair) []object.ID {
	var ids []object.ID
	for _, p := range pairs {
		if p.old != nil && p.new != nil && p.old.Type == tree.TypeDir && p.new.Type == tree.TypeDir && p.old.Subtree != p.new.Subtree {
			ids = append(ids, p.old.Subtree, p.new.Subtree)
		}
	}
	return ids
}

// merged reads two folders in step.
type merged struct {
	sides [2]struct {
		next   func() (*tree.Entry, error, bool)
		stop   func()
		entry  *tree.Entry // nil when it has to be read
		ended  bool
		loaded int
	}
}

func (m *merged) stop() {
	for i := range m.sides {
		m.sides[i].stop()
	}
}

// take returns the next pairs, none at the end of both.
func (m *merged) take() ([]pair, error) {
	var pairs []pair
	for len(pairs) < pairsAhead {
		for i := range m.sides {
			s := &m.sides[i]
			if s.entry != nil || s.ended {
				continue
			}
			e, err, ok := s.next()
			if err != nil {
				return nil, err
			}
			s.entry, s.ended = e, !ok
		}
		o, n := &m.sides[0].entry, &m.sides[1].entry
		var p pair
		switch {
		case *o == nil && *n == nil:
			return pairs, nil
		case *n == nil || *o != nil && (*o).Name < (*n).Name:
			p.old, *o = *o, nil
		case *o == nil || (*n).Name < (*o).Name:
			p.new, *n = *n, nil
		default:
			p = pair{*o, *n}
			*o, *n = nil, nil
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// compare yields what is different between p's entries.
func (d *differ) compare(p pair, depth int) error {
	x, y := p.old, p.new
	if x != nil && y != nil && x.Type != y.Type {
		if err := d.whole(x, nil); err != nil {
			return err
		}
		return d.whole(nil, y)
	}
	if x == nil || y == nil {
		return d.whole(x, y)
	}
	content := !sameContent(x, y)
	if content || !sameMetadata(x, y) {
		if err := d.yield(Change{string(d.path), x, y, content}); err != nil {
			return err
		}
	}
	if x.Type == tree.TypeDir {
		return d.folders(x.Subtree, y.Subtree, depth)
	}
	return nil
}

// whole yields something that only one of the trees has, with all in it.
func (d *differ) whole(x, y *tree.Entry) error {
	e := x
	if e == nil {
		e = y
	}
	return d.reader.Walk(d.ctx, Place{Path: string(d.path), Entry: e}, func(it *Item) error {
		if it.Step == Leave {
			return it.Err
		}
		c := Change{Path: it.Path, New: it.Entry, Content: true}
		if x != nil {
			c.Old, c.New = it.Entry, nil
		}
		return d.yield(c)
	})
}

// sameContent compares what files and symlinks hold, without reading it.
// Chunks of the same bytes have the same id. Small files are found again in
// other bundles when those are tidied up, so of them size and time decide; one
// whose time was changed and that was stored anew counts as different.
func sameContent(x, y *tree.Entry) bool {
	switch x.Type {
	case tree.TypeFile:
		if x.Size != y.Size || slices.Equal(x.Extents, y.Extents) {
			return x.Size == y.Size
		}
		return x.Mtime == y.Mtime && bundled(x) && bundled(y)
	case tree.TypeSymlink:
		return x.Target == y.Target
	case tree.TypeChar, tree.TypeBlock:
		return x.Rdev == y.Rdev
	}
	return true
}

func bundled(e *tree.Entry) bool {
	return !slices.ContainsFunc(e.Extents, func(x tree.Extent) bool { return x.Kind != tree.ExtentBundle })
}

func sameMetadata(x, y *tree.Entry) bool {
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group && x.Mtime == y.Mtime &&
		slices.EqualFunc(x.Xattrs, y.Xattrs, func(a, b tree.Xattr) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) })
}

// prefetch brings directory objects into the cache, all with one Fetch. What
// is lost shows when it is loaded.
func (r *Reader) prefetch(ctx context.Context, ids ...object.ID) error {
	var want []object.ID
	for _, id := range ids {
		if _, ok := r.cache.find(id); !ok {
			want = append(want, id)
		}
	}
	if len(want) < 2 {
		return nil
	}
	return r.FetchRecords(ctx, want, func(_ object.ID, rec *object.Record, err error) error {
		if err == nil {
			_, err = r.decodeMeta(ctx, object.KindDir, rec)
		}
		if err != nil && !Refused(err) {
			return err
		}
		return nil
	})
}
