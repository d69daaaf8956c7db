package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// descendMemory is what the descent through condemned objects sorts in memory.
const descendMemory = 1 << 20

// closure is one run of the commit check: packnback-repository(5), "Commit",
// step 3. What it holds is in sorters and so flat.
type closure struct {
	s       *Session
	v       *view
	suspect bool          // a repair had put something aside by the time of v, or something is quarantined in it
	waning  *table.Sorter // ids to look below: only at condemned locations, or in doubt; nil: none
	sorters int
	missing object.MissingError
}

// checkClosure checks that everything the upload's objects and the manifest
// refer to is in the upload or may be relied on, as v has it. What is not
// comes back as a MissingError. An error that wraps fs.ErrNotExist means that v
// is out of date.
func (s *Session) checkClosure(ctx context.Context, v *view, m *object.Manifest) error {
	c := &closure{s: s, v: v}
	// What was so when the session opened is too old. A repair puts something
	// aside before it publishes, so this is no older than v.
	aside, err := s.r.repaired()
	if err != nil {
		return err
	}
	c.suspect = aside || v.quarantine != nil
	err = c.run(ctx, m)
	if c.waning != nil {
		err = errors.Join(err, c.waning.Close())
	}
	if err != nil {
		return err
	}
	if len(c.missing.IDs) > 0 {
		return &c.missing
	}
	return nil
}

func (c *closure) run(ctx context.Context, m *object.Manifest) error {
	if err := c.roots(m); err != nil {
		return err
	}
	n := 0
	for row, err := range table.Dedup(c.s.needs.Rows()) {
		if err != nil {
			return storeError("sorting in", c.s.scratch.dir, err)
		}
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return interrupted(ctx.Err())
		}
		if err := c.look(object.ID(row)); err != nil {
			return err
		}
	}
	if c.waning == nil {
		return nil
	}
	return c.descend(ctx)
}

// roots checks the snapshot's roots, and that they are of the kinds that a
// manifest may name.
func (c *closure) roots(m *object.Manifest) error {
	want := object.KindDir
	for _, id := range m.Roots() {
		kind, ok, err := c.kind(id)
		if err != nil {
			return err
		}
		if ok && kind != want {
			return object.CodeMalformed.Errorf("the manifest names %s %s where a %s belongs", kind, id, want)
		}
		if err := c.look(id); err != nil {
			return err
		}
		want = object.KindKey
	}
	return nil
}

// kind returns the kind of an object that the upload may rely on.
func (c *closure) kind(id object.ID) (object.Kind, bool, error) {
	l, ok, err := c.s.own.Find(id)
	if err != nil {
		return 0, false, storeError("sorting in", c.s.scratch.dir, err)
	}
	if ok {
		return l.Kind, true, nil
	}
	if !c.s.req.Replica {
		visible, err := c.s.visible.has(id)
		if err != nil || !visible {
			return 0, false, err
		}
	}
	p, found, err := c.v.presence(id)
	return found.Kind, p != absent, err
}

// look checks one ref of the upload's.
func (c *closure) look(id object.ID) error {
	own, err := c.s.stored(id)
	if err != nil || own {
		return err
	}
	visible, err := c.s.visible.has(id)
	if err != nil {
		return err
	}
	if !visible && !c.s.req.Replica {
		c.miss(id)
		return nil
	}
	p, _, err := c.v.presence(id)
	switch {
	case err != nil:
		return err
	case p == absent:
		c.miss(id)
	case p == waning || !visible || c.doubts():
		if c.waning == nil {
			if c.waning, err = c.sorter(); err != nil {
				return err
			}
		}
		return c.waning.Add(id[:])
	}
	return nil
}

// doubts reports whether what is live may all the same have holes below it, for
// a session that must not rely on that: it copies to a replica, or was told what
// it may rely on before anything was found bad or lost. One that was told since
// has asked about every object.
func (c *closure) doubts() bool { return c.suspect && (c.s.req.Replica || c.s.sound) }

// goesBelow reports whether the descent must look below the live object id: when
// in doubt, and for a replica's session unless all that is below it is visible
// already, and so was whole once.
func (c *closure) goesBelow(id object.ID) (bool, error) {
	if !c.s.req.Replica || c.doubts() {
		return c.doubts(), nil
	}
	visible, err := c.s.visible.has(id)
	return !visible, err
}

func (c *closure) miss(id object.ID) {
	if len(c.missing.IDs) == object.MaxMissing {
		c.missing.More = true
		return
	}
	c.missing.IDs = append(c.missing.IDs, id)
}

func (c *closure) sorter() (*table.Sorter, error) {
	c.sorters++
	s, err := table.NewSorter(c.s.r.fs, c.s.scratch.file("waning"+string(rune('a'+c.sorters%2))), rootLayout, descendMemory)
	if err != nil {
		return nil, storeError("sorting in", c.s.scratch.dir, err)
	}
	return s, nil
}

// descend checks what condemned objects reach, level by level: a condemned
// object keeps nothing alive, so what is below it may be half gone. A replica's
// session also looks below what is live and no sender of the job could rely on;
// what it meets is to become visible.
func (c *closure) descend(ctx context.Context) error {
	seen, err := table.NewSorter(c.s.r.fs, c.s.scratch.file("seen"), rootLayout, descendMemory)
	if err != nil {
		return storeError("sorting in", c.s.scratch.dir, err)
	}
	for err == nil && c.waning.Len() > 0 {
		var next *table.Sorter
		if next, err = c.sorter(); err != nil {
			break
		}
		err = c.level(ctx, seen, next)
		err = errors.Join(err, c.waning.Close())
		c.waning = next
	}
	return errors.Join(err, seen.Close())
}

// level looks below every object of c.waning that isn't in seen.
func (c *closure) level(ctx context.Context, seen, next *table.Sorter) error {
	for row, err := range table.Dedup(c.waning.Rows()) {
		if err != nil {
			return storeError("sorting in", c.s.scratch.dir, err)
		}
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		before, err := seen.Has(row)
		if err == nil && !before {
			err = seen.Add(row)
		}
		if err != nil {
			return storeError("sorting in", c.s.scratch.dir, err)
		}
		if before {
			continue
		}
		if c.s.req.Replica {
			if err := c.s.met.Add(row); err != nil {
				return storeError("sorting in", c.s.scratch.dir, err)
			}
		}
		if err := c.below(object.ID(row), next); err != nil {
			return err
		}
	}
	return nil
}

// below checks what the object id refers to. Visibility was decided at the top;
// here only presence counts.
func (c *closure) below(id object.ID, next *table.Sorter) error {
	p, found, err := c.v.presence(id)
	if err != nil || p == absent || p == present && !c.s.req.Replica && !c.doubts() {
		return err
	}
	refs, err := c.v.refs(id, found)
	switch {
	case errors.Is(err, fs.ErrNotExist), err != nil && p == present && c.s.req.Replica:
		return err
	case err != nil && p == present:
		return nil // nobody has found this out yet: no commit of a sender's looks for rot
	case err != nil:
		c.miss(id) // it is condemned, so it can be put anew
		return nil
	}
	for _, ref := range refs {
		own, err := c.s.stored(ref)
		if err != nil {
			return err
		}
		if own {
			continue
		}
		if err := c.meet(ref, next); err != nil {
			return err
		}
	}
	return nil
}

// meet looks at one ref of something that is descended.
func (c *closure) meet(ref object.ID, next *table.Sorter) error {
	p, _, err := c.v.presence(ref)
	if err != nil {
		return err
	}
	further := p == waning
	switch p {
	case absent:
		c.miss(ref)
	case present:
		if further, err = c.goesBelow(ref); err != nil {
			return err
		}
	}
	if !further {
		return nil
	}
	if err := next.Add(ref[:]); err != nil {
		return storeError("sorting in", c.s.scratch.dir, err)
	}
	return nil
}

// refs returns what the object id refers to, its key object included, from its
// location f. Lists and directories are read whole and verified: a rotten ref
// would say that nothing needs what it should have named. Of a chunk or bundle
// only the header is read; it refers to its key object alone, and one whose
// header has rotted is lost with or without that.
func (v *view) refs(id object.ID, f index.Found) ([]object.ID, error) {
	if f.Kind.HasRefs() {
		rec, err := v.metadata(id, f)
		if err != nil {
			return nil, err
		}
		return append(rec.Refs, rec.Key), nil
	}
	t := pack.TypeOf(f.Kind)
	b, err := v.r.files.Read(nil, f.Pack, t, f.Offset, object.HeaderSize)
	if err != nil {
		return nil, unreadable(id, f, err)
	}
	h, err := object.ParseHeader(b)
	if err == nil && (h.Size() != int(f.Length) || h.ID != id) {
		err = fmt.Errorf("%w: another object than the index says", object.ErrMalformed)
	}
	if err != nil {
		return nil, unreadable(id, f, err)
	}
	if h.Key.IsZero() {
		return nil, nil
	}
	return []object.ID{h.Key}, nil
}

// metadata returns the whole record of the list, directory or key id at f.
func (v *view) metadata(id object.ID, f index.Found) (*object.Record, error) {
	rec, err := v.r.files.Record(f.Pack, pack.TypeOf(f.Kind), f.Offset, f.Length)
	if err == nil && rec.ID != id {
		err = fmt.Errorf("%w: another object than the index says", object.ErrMalformed)
	}
	if err != nil {
		return nil, unreadable(id, f, err)
	}
	return rec, nil
}

// unreadable says that an object can't be read. That its pack is gone stays
// visible to errors.Is: a newer CURRENT may explain it.
func unreadable(id object.ID, f index.Found, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return object.CodeDamaged.Errorf("%s: object %s at offset %d can't be read: %w; run `packnback check --read-data`, then `packnback repair packs`", f.Pack.Path(f.Type()), id.Short(), f.Offset, err)
}
