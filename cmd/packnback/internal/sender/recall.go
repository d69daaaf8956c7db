package sender

import (
	"bytes"
	"slices"
	"strings"

	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// seek looks for the described path in the cache. What is passed over is gone.
func (m *matcher) seek() (old cached, err error) {
	if m.base == nil {
		return old, nil
	}
	old.raw, old.known, err = m.base.Seek(m.path, func(path []byte, raw statcache.Raw) error {
		m.spoil(path)
		return m.gone(path, raw)
	})
	if old.known && err == nil {
		old.inner, err = innerOf(m.base)
	}
	return old, err
}

// innerOf returns the inner ids of the record that w just gave.
func innerOf(w *statcache.Walk) (inner [][]byte, err error) {
	err = w.Inner(func(ids []byte) error {
		inner = append(inner, ids)
		return nil
	})
	return inner, err
}

// spoil marks the folder of a path that is gone, if that folder is still there.
func (m *matcher) spoil(path []byte) {
	if len(path) == 0 {
		return
	}
	parent := ""
	depth := 0
	if i := bytes.LastIndexByte(path, '/'); i >= 0 {
		parent = string(path[:i])
		depth = 1 + strings.Count(parent, "/")
	}
	if depth < len(m.frames) && m.frames[depth].path == parent {
		m.frames[depth].dirty = true
	}
}

// gone takes back what the record just passed over referred to.
func (m *matcher) gone(_ []byte, raw statcache.Raw) error {
	inner, err := innerOf(m.base)
	if err != nil {
		return err
	}
	return m.drop(cached{known: true, raw: raw, inner: inner})
}

// drop takes back what a record referred to.
func (m *matcher) drop(old cached) error {
	if !old.known {
		return nil
	}
	r, err := old.raw.Decode()
	if err != nil {
		return err
	}
	if err := m.p.count(r, -1); err != nil {
		return err
	}
	for _, ids := range old.inner {
		if err := m.p.countInner(ids, -1); err != nil {
			return err
		}
	}
	return nil
}

// sameContent gives the described file the contents that the cache has for its
// path, if they are the same and may be relied upon.
func (m *matcher) sameContent(n *item, old cached) (bool, error) {
	opt, e := &m.p.cfg.Options, &n.rec.Entry
	r, err := old.raw.Decode()
	if err != nil {
		return false, err
	}
	if opt.Force || r.Racy || r.Entry.Type != tree.TypeFile ||
		r.Entry.Size != e.Size || r.Entry.Mtime != e.Mtime ||
		r.Ctime != n.rec.Ctime && !opt.IgnoreCtime || r.Ino != n.rec.Ino && !opt.IgnoreInode {
		return false, nil
	}
	if ok, err := m.reliable(old); !ok || err != nil {
		return false, err
	}
	e.Extents, n.rec.Content, n.inner = r.Entry.Extents, r.Content, old.inner
	return true, nil
}

// reliable reports whether everything that the record refers to may be relied
// upon. A whole cache without sparse bundles needs no look at the record.
func (m *matcher) reliable(old cached) (bool, error) {
	t := m.p.trust
	if t.whole() && len(t.sparse) == 0 {
		return true, nil
	}
	r, err := old.raw.Decode()
	if err != nil {
		return false, err
	}
	// What a list refers to is known under the name that the file was read under
	// only, and that one may have left the cache.
	isList := func(x tree.Extent) bool { return x.Kind == tree.ExtentList }
	if !t.whole() && len(old.inner) == 0 && slices.ContainsFunc(r.Entry.Extents, isList) {
		return false, nil
	}
	return m.eachRef(r, old.inner, func(id object.ID) (bool, error) {
		if t.sparse[id] {
			return false, nil
		}
		if t.whole() {
			return true, nil
		}
		return t.base(id)
	})
}

// eachRef reports whether ok holds for every object that a record refers to,
// itself or through others.
func (m *matcher) eachRef(r *statcache.Record, inner [][]byte, ok func(object.ID) (bool, error)) (bool, error) {
	refs := make([]object.ID, 0, len(r.Entry.Extents)+1)
	for i := range r.Entry.Extents {
		if x := &r.Entry.Extents[i]; x.Kind != tree.ExtentHole {
			refs = append(refs, x.ID)
		}
	}
	if !r.Entry.Subtree.IsZero() {
		refs = append(refs, r.Entry.Subtree)
	}
	for _, id := range refs {
		if is, err := ok(id); !is || err != nil {
			return false, err
		}
	}
	for _, ids := range inner {
		for ; len(ids) >= object.IDSize; ids = ids[object.IDSize:] {
			if is, err := ok(object.ID(ids[:object.IDSize])); !is || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// resume takes the extents of a file from what a cut-off run has done with it,
// if all of them are durable.
func (m *matcher) resume(n *item) (bool, error) {
	if m.partial == nil || m.p.cfg.Options.Force {
		return false, nil
	}
	raw, ok, err := m.partial.Seek(m.path, nil)
	if !ok || err != nil || !m.same(raw) {
		return false, err
	}
	r, err := raw.Decode()
	if err != nil {
		return false, err
	}
	inner, err := innerOf(m.partial)
	if err != nil {
		return false, err
	}
	t := m.p.trust
	ok, err = m.eachRef(r, inner, func(id object.ID) (bool, error) {
		if has, err := t.durable(id); has || err != nil {
			return has, err
		}
		if t.sparse[id] {
			return false, nil
		}
		return t.base(id)
	})
	if !ok || err != nil {
		return false, err
	}
	n.rec.Entry.Extents, n.rec.Entry.Size, n.rec.Content = r.Entry.Extents, r.Entry.Size, r.Content
	n.inner, n.counts = inner, true
	return true, nil
}
