package repo

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// strayPack is a pack that neither CURRENT nor a session file named when it was
// looked for.
type strayPack struct {
	name pack.Name
	typ  pack.Type
	size int64
}

// started is what step 1 chose under the lock: the view whose packs are I0
// (but for those that sessions name), and R0.
type started struct {
	v         *view
	sessions  []*sessionState // a few for each client
	named     map[object.SessionID]bool
	snapshots []object.ID // live and in trash
}

// names reports whether a session file names the pack.
func (s *started) names(n pack.Name) bool { return s.named[n.Session()] }

// prepare does what of step 1 needs no lock: it finds the snapshots whose grace
// is over and writes their links, and looks for stray packs.
func (p *pruning) prepare(ctx context.Context) error {
	if err := p.findExpired(ctx); err != nil {
		return err
	}
	if err := p.checkShare(ctx); err != nil {
		return err
	}
	if !p.opt.DryRun {
		for _, id := range p.expired {
			if err := p.writeLink(id); err != nil {
				return err
			}
		}
		if err := syncDir(p.r.fs, "links"); err != nil {
			return err
		}
	}
	return p.findStrays(ctx)
}

func (p *pruning) grace() time.Duration {
	switch g := p.opt.Grace; {
	case g < 0:
		return 0
	case g > 0:
		return g
	}
	return p.r.duration(settingGrace)
}

// over reports whether the grace of a forgotten snapshot is over. Without any
// grace it is, even where the clock is a little behind what it was.
func (p *pruning) over(s *object.Snapshot) bool {
	grace := p.grace()
	return grace == 0 || p.r.now()-s.Forgotten >= int64(grace)
}

func (p *pruning) findExpired(ctx context.Context) error {
	p.expired = p.expired[:0]
	return p.r.eachSnapshot(ctx, "trash", func(s *object.Snapshot) error {
		if p.over(s) {
			p.expired = append(p.expired, s.ID())
		}
		return nil
	})
}

// writeLink keeps the signed link of a snapshot that is about to go for good.
func (p *pruning) writeLink(id object.ID) error {
	s, err := p.r.readSnapshot("trash", id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // brought back meanwhile
	}
	if err != nil {
		return err
	}
	s.Sealed = nil
	name := snapshotName("links", id)
	there, err := exists(p.r.fs, name)
	if err != nil || there {
		return err
	}
	return p.r.replaceFile(name, s.Append(nil))
}

// findStrays looks through the pack folders for files that CURRENT doesn't name;
// those of uploads are sorted out by confirmStrays, when dead ones are gone.
func (p *pruning) findStrays(ctx context.Context) error {
	p.strays = p.strays[:0]
	v, err := p.r.acquire(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	_, named, err := p.r.namedSessions()
	if err != nil {
		return err
	}
	folders, err := list(p.r.fs, pack.Dir)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		files, err := list(p.r.fs, path.Join(pack.Dir, folder.Name))
		if err != nil {
			return err
		}
		for _, f := range files {
			name, typ, err := pack.ParseFile(f.Name)
			if err != nil || p.opt.DryRun && named[name.Session()] {
				continue // not ours, or an upload's
			}
			if _, ok, err := v.set.FindPack(name); err != nil {
				return damaged("the index", err, repairCommand)
			} else if !ok {
				p.strays = append(p.strays, strayPack{name, typ, f.Size})
			}
		}
	}
	return nil
}

// namedSessions returns the sessions that have a file, and the ids of all whose
// packs those files name. A file that can't be read names at least its own.
func (r *Repository) namedSessions() ([]*sessionState, map[object.SessionID]bool, error) {
	var all []*sessionState
	named := map[object.SessionID]bool{}
	err := r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		named[id] = true
		if err != nil {
			return nil
		}
		all = append(all, s)
		for _, a := range s.adopted {
			named[a.Session] = true
		}
		return nil
	})
	return all, named, err
}

// start is the part of step 1 that is under the lock: everything in it is
// bounded by what expires and by the number of sessions and snapshots.
func (p *pruning) start(ctx context.Context) (*started, error) {
	mode := exclusive
	if p.opt.DryRun {
		mode = shared
	}
	gc, err := p.r.lockGC(ctx, mode)
	if err != nil {
		return nil, err
	}
	defer gc.Unlock()
	if !p.opt.DryRun {
		if err := p.clear(ctx); err != nil {
			return nil, err
		}
	}
	s := new(started)
	if s.sessions, s.named, err = p.r.namedSessions(); err != nil {
		return nil, err
	}
	if s.snapshots, err = p.r.rootSnapshots(p.opt.DryRun, p.expired); err != nil {
		return nil, err
	}
	s.v, err = p.r.acquire(ctx)
	return s, err
}

// rootSnapshots returns the ids of all snapshots that are live or in the trash,
// with dry without those in expired.
func (r *Repository) rootSnapshots(dry bool, expired []object.ID) ([]object.ID, error) {
	gone := map[object.ID]bool{}
	for _, id := range expired {
		gone[id] = dry
	}
	var ids []object.ID
	for _, folder := range []string{"snapshots", "trash"} {
		entries, err := list(r.fs, folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if id, err := object.ParseID(e.Name); err == nil && !gone[id] {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// clear removes what is over: trash, dead sessions, stray packs. The caller
// holds gc.lock exclusively, so no session opens and no commit is under way.
func (p *pruning) clear(ctx context.Context) error {
	for _, id := range p.expired {
		if err := p.clearSnapshot(id); err != nil {
			return err
		}
	}
	if err := p.clearUnfinished("snapshots", "trash", "links"); err != nil {
		return err
	}
	if err := p.clearSessions(ctx); err != nil {
		return err
	}
	if err := p.r.syncDirs("snapshots", "trash", "links", "sessions", "heads", "."); err != nil {
		return err
	}
	return p.confirmStrays(ctx)
}

// confirmStrays leaves in p.strays what still is one. Who was named before may
// have been committed, and nobody comes to name a pack later: names are used
// once. So the packs can be unlinked when the lock is given back.
func (p *pruning) confirmStrays(ctx context.Context) error {
	v, err := p.r.acquire(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	_, named, err := p.r.namedSessions()
	if err != nil {
		return err
	}
	kept := p.strays[:0]
	for _, s := range p.strays {
		if _, ok, err := v.set.FindPack(s.name); err != nil {
			return damaged("the index", err, repairCommand)
		} else if !ok && !named[s.name.Session()] {
			kept = append(kept, s)
		}
	}
	p.strays = kept
	return nil
}

// removeStrays unlinks the packs that nothing names.
func (p *pruning) removeStrays() error {
	for _, s := range p.strays {
		if err := p.r.removePack(s.name, s.typ); err != nil {
			return err
		}
		p.result.Strays++
		p.result.BytesFreed += uint64(s.size)
	}
	p.strays = nil
	return nil
}

// clearSnapshot removes one snapshot from the trash, unless it has been brought
// back, or brought back and forgotten anew, since it was found expired.
func (p *pruning) clearSnapshot(id object.ID) error {
	s, err := p.r.readSnapshot("trash", id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !p.over(s) {
		return nil
	}
	if err := p.r.fs.Remove(snapshotName("trash", id)); err != nil {
		return storeError("removing", snapshotName("trash", id), err)
	}
	p.result.Snapshots++
	return nil
}

// clearUnfinished removes what a crash has left of a file that was to replace
// another. Whoever writes one in these folders holds gc.lock.
func (p *pruning) clearUnfinished(folders ...string) error {
	for _, folder := range folders {
		entries, err := list(p.r.fs, folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name, newSuffix) {
				continue
			}
			if err := p.r.fs.Remove(path.Join(folder, e.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return storeError("removing", path.Join(folder, e.Name), err)
			}
		}
	}
	return nil
}

// removePack unlinks a pack. That its going is not durable yet does no harm: a
// pack that comes back is a stray.
func (r *Repository) removePack(n pack.Name, t pack.Type) error {
	r.files.Drop(n, t)
	if err := r.fs.Remove(n.Path(t)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", n.Path(t), err)
	}
	return nil
}

// clearSessions removes the files of sessions that are dead and empty, dead
// after their commit, or dead for so long that nobody will resume them.
func (p *pruning) clearSessions(ctx context.Context) error {
	entries, err := list(p.r.fs, "sessions")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := parseSessionName(e.Name); !ok || e.Dir {
			continue
		}
		if err := p.clearSession(ctx, path.Join("sessions", e.Name), e.ModTime); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruning) clearSession(ctx context.Context, name string, touched int64) error {
	lock, ok, err := p.r.tryLock(name, exclusive)
	if err != nil || !ok {
		return err
	}
	defer lock.Unlock()
	s, err := p.r.readSession(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errEmptySession):
	case err != nil:
		if p.r.now()-touched < int64(deadSession) {
			return nil // somebody may want to look at it
		}
	default:
		over, err := p.sessionOver(ctx, s, touched)
		if err != nil || !over {
			return err
		}
	}
	p.result.Sessions++
	return p.r.removeSessionFile(name)
}

// sessionOver reports whether nobody will go on with the dead session s.
func (p *pruning) sessionOver(ctx context.Context, s *sessionState, touched int64) (bool, error) {
	if !s.committing.IsZero() {
		_, err := p.r.findSnapshot(s.committing)
		if err == nil {
			return true, p.r.settle(ctx, s.client, s.id, s.received)
		}
		if !errors.Is(err, object.CodeNotFound) {
			return false, err
		}
	}
	age := p.r.now() - max(s.opened, touched)
	if s.machine != p.r.machine {
		return age >= int64(foreignSession), nil
	}
	return len(s.packs) == 0 || age >= int64(deadSession), nil
}

// mark is step 2: first what snapshots need, of which nothing may be missing,
// then what uploads rely on.
func (p *pruning) mark(ctx context.Context, s *started) (*marker, error) {
	lost := 0
	var example object.ID
	m, err := newMarker(s.v, func(id, _ object.ID) { lost, example = lost+1, id })
	if err != nil {
		return nil, err
	}
	for i := range m.packs {
		if s.names(m.packs[i].Name) {
			m.packs[i].outside, m.outside = true, true
		}
	}
	for _, id := range s.snapshots {
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
	if err := p.unreadable(m); err != nil {
		return nil, err
	}
	return m, p.markUploads(ctx, s, m)
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
	for i := range m.reached {
		left := m.reached[i] &^ m.expanded[i]
		for bit := 0; left != 0; bit++ {
			if left&(1<<bit) == 0 {
				continue
			}
			left &^= 1 << bit
			e, err := m.v.set.Entry(i*64 + bit)
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
	}
	return nil
}
