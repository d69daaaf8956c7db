package repo

import (
	"context"
	"errors"

	"github.com/packnback/packnback/repo/object"
)

// AddLinks adds the links of snapshots that are not copied to this replica, so
// that the chains of their jobs have no gap: packnback-repository(5), "Replicas".
// Those of one job come in the order of their numbers. A link that is there
// already, or whose snapshot is, is left alone. It returns how many it has added,
// also with an error; CodeHeadMoved says that the job's chain here doesn't lead to
// a link.
func (r *Repository) AddLinks(ctx context.Context, links []*object.Snapshot) (added int, err error) {
	newest := int64(0)
	for _, l := range links {
		if err := r.checkLink(l); err != nil {
			return added, err
		}
		entered, err := r.addLink(ctx, l)
		if err != nil {
			return added, err
		}
		if entered {
			added++
			newest = max(newest, l.Received)
		}
	}
	if newest == 0 {
		return added, nil
	}
	// What is received next comes after all that the repository tells of.
	_, err = r.updateCurrent(context.WithoutCancel(ctx), func(cur *current) error {
		cur.time = max(cur.time, newest)
		return nil
	})
	return added, err
}

// checkLink checks what needs no look into the repository.
func (r *Repository) checkLink(l *object.Snapshot) error {
	m := l.Manifest
	switch {
	case m.Repository != r.id:
		return object.CodeDenied.Errorf("the link is of repository %s; this is %s", m.Repository, r.id)
	case len(l.Sealed) > 0 || l.Flags&(object.FlagForgotten|object.FlagLeftOut) == 0:
		return object.CodeMalformed.Errorf("snapshot %s is neither forgotten nor left out: it is no link", l.ID().Short())
	}
	if _, err := object.UnmarshalSnapshot(l.Append(nil)); err != nil {
		return object.CodeMalformed.Errorf("refused a link: %w", err)
	}
	if err := m.Verify(); err != nil {
		return object.CodeDenied.Errorf("refused a link: %w", err)
	}
	return r.checkTimes(l)
}

// addLink publishes one link between two states of the job's head.
func (r *Repository) addLink(ctx context.Context, l *object.Snapshot) (bool, error) {
	gc, err := r.lockGC(ctx, shared)
	if err != nil {
		return false, err
	}
	defer gc.Unlock()
	m, id := l.Manifest, l.ID()
	lock, err := r.lockHead(ctx, m.Client, m.Job)
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	h, err := r.currentHead(m.Client, m.Job)
	if err != nil {
		return false, err
	}
	if m.Seq <= h.seq {
		_, err := r.findSnapshot(id)
		if errors.Is(err, object.CodeNotFound) {
			return false, diverged(h, m)
		}
		return false, err
	}
	if h.id != m.Prev || h.seq+1 != m.Seq {
		return false, diverged(h, m)
	}
	if err := r.checkRises(h, l); err != nil {
		return false, err
	}
	return true, r.publishLink(h, l)
}

// publishLink makes l the newest of head h's chain. The caller holds gc.lock and
// head.lock. It isn't interrupted: these are a few small files.
func (r *Repository) publishLink(h *head, l *object.Snapshot) error {
	if h.seq == 0 {
		if err := r.syncHeadFolders(h); err != nil {
			return err
		}
	}
	if err := r.fs.Mkdir("links"); err != nil { // a copy of the repository may lack an empty folder
		return storeError("making the folder", "links", err)
	}
	h = h.clone()
	h.next = l.ID()
	if err := r.writeHead(h); err != nil {
		return err
	}
	if err := r.replaceFile(snapshotName("links", l.ID()), l.Append(nil)); err != nil {
		return err
	}
	h.advance(l)
	return r.writeHead(h)
}
