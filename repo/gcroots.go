package repo

import (
	"context"
	"errors"
	"io/fs"
	"path"
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
	old, err := p.r.readSnapshot("links", id)
	switch {
	case err == nil && old.Flags&object.FlagLeftOut == 0:
		return nil // a prune that was cut off has come as far
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, object.CodeDamaged):
		return err // one that has rotted is written anew
	}
	return p.r.replaceFile(snapshotName("links", id), s.Append(nil))
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
