package repo

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

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
	// It may have been brought back when its link was to be written, and forgotten
	// again since: then it waits for the next prune.
	linked, err := exists(p.r.fs, snapshotName("links", id))
	if err != nil || !linked {
		return err
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
