package repo

import (
	"context"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// mark is step 2: first what snapshots need, of which nothing may be missing,
// then what uploads rely on.
func (p *pruning) mark(ctx context.Context, s *started) (*marker, error) {
	m, err := p.markSnapshots(ctx, s.v, s.names, s.snapshots)
	if err != nil {
		return nil, err
	}
	return m, p.markUploads(ctx, s, m)
}

// markSnapshots marks what snapshots need, in packs that outside doesn't name. It
// refuses where something is missing or can't be read.
func (p *pruning) markSnapshots(ctx context.Context, v *view, outside func(pack.Name) bool, ids []object.ID) (*marker, error) {
	lost := 0
	var example object.ID
	m, err := newMarker(v, func(id, _ object.ID) { lost, example = lost+1, id })
	if err != nil {
		return nil, err
	}
	for i := range m.packs {
		if outside(m.packs[i].Name) {
			m.packs[i].outside, m.outside = true, true
		}
	}
	for _, id := range ids {
		// markSnapshot passes over what can't be read; here that would make
		// garbage of all it needs.
		if _, err := p.r.findSnapshot(id); err != nil {
			return nil, object.CodeDamaged.Errorf("%w; nothing was deleted", err)
		}
		if err := m.markSnapshot(id); err != nil {
			return nil, err
		}
	}
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	if lost > 0 {
		return nil, object.CodeDamaged.Errorf("%d objects that snapshots need are missing (%s among them), so it can't be told what else they need; nothing was deleted; `packnback check` names the snapshots: forget those, and they no longer count once their grace is over", lost, example.Short())
	}
	return m, p.unreadable(m)
}

// markUploads marks what uploads rely on. It spares refused commits: each checks
// again what it relies on. So what is missing there stops nobody.
func (p *pruning) markUploads(ctx context.Context, s *started, m *marker) error {
	m.missing = func(object.ID, object.ID) {}
	for _, u := range s.sessions {
		if p.r.now()-u.opened >= int64(longSession) {
			continue
		}
		if err := m.markUpload(u); err != nil {
			return err
		}
	}
	return m.run(ctx)
}

// unreadable refuses to go on when something that is needed can't be read: what
// it refers to would be taken for garbage. What an administrator has marked bad
// is known to be lost.
func (p *pruning) unreadable(m *marker) error {
	for position := range m.reached.All(0, m.v.set.Len()) {
		if m.expanded.Has(position) {
			continue
		}
		e, err := m.v.set.Entry(position)
		if err != nil {
			return damaged("the index", err, repairCommand)
		}
		c, err := m.v.condition(e.Location)
		if err != nil {
			return err
		}
		if c != quarantined {
			return object.CodeDamaged.Errorf("%s: object %s at offset %d can't be read, so it can't be told what it needs; nothing was deleted; run `packnback check --read-data`, then `packnback repair packs`", e.Pack.Path(e.Type()), e.ID.Short(), e.Offset)
		}
	}
	return nil
}
