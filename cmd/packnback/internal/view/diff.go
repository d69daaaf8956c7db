package view

import (
	"context"
	"errors"
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
}

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
		return d.pair(before.Entry, after.Entry, 0)
	}
	return d.folders(before.Entry.Subtree, after.Entry.Subtree, 0)
}

// folders compares two folders, name by name.
func (d *differ) folders(before, after object.ID, depth int) error {
	if before == after {
		return nil
	}
	if depth >= MaxDepth || len(d.path) > maxPath {
		return fmt.Errorf("folder %.200q: %w tree: nested too deeply", d.path, object.ErrMalformed)
	}
	load := d.reader.load(d.ctx)
	if err := d.reader.prefetch(d.ctx, before, after); err != nil {
		return err
	}
	nextOld, stopOld := iter.Pull2(tree.ReadDir(load, before))
	defer stopOld()
	nextNew, stopNew := iter.Pull2(tree.ReadDir(load, after))
	defer stopNew()
	o, errO, okO := nextOld()
	n, errN, okN := nextNew()
	above := len(d.path)
	for okO || okN {
		if err := errors.Join(errO, errN); err != nil {
			return fmt.Errorf("folder %.200q: %w", d.path, err)
		}
		var x, y *tree.Entry
		if okO && (!okN || o.Name <= n.Name) {
			x = o
		}
		if okN && (!okO || n.Name <= o.Name) {
			y = n
		}
		name := y
		if name == nil {
			name = x
		}
		d.path = append(append(d.path, '/'), name.Name...)
		if err := d.pair(x, y, depth+1); err != nil {
			return err
		}
		d.path = d.path[:above]
		if x != nil {
			o, errO, okO = nextOld()
		}
		if y != nil {
			n, errN, okN = nextNew()
		}
	}
	return nil
}

// pair compares two entries of one name, either of which may be nil.
func (d *differ) pair(x, y *tree.Entry, depth int) error {
	if x != nil && y != nil && x.Type != y.Type {
		if err := d.pair(x, nil, depth); err != nil {
			return err
		}
		return d.pair(nil, y, depth)
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
