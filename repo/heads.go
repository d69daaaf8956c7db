package repo

import (
	"context"
	"errors"
	"io/fs"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// readHead returns the head of a client and job; where none was committed yet,
// an empty one.
func (r *Repository) readHead(client, job string) (*head, error) {
	name := headName(client, job)
	b, err := disk.ReadFile(r.fs, name, maxHead)
	if errors.Is(err, fs.ErrNotExist) {
		return &head{repository: r.id, client: client, job: job, nextVisible: 1}, nil
	}
	if err != nil {
		return nil, storeError("reading", name, err)
	}
	h, err := unmarshalHead(b)
	if err != nil {
		return nil, damaged(name, err, "put back a copy of it, or move it away and begin a new chain of snapshots")
	}
	if h.repository != r.id || h.client != client || h.job != job {
		return nil, object.CodeDamaged.Errorf("%s is the head of %s/%s in repository %s; put back a copy of the right file", name, h.client, h.job, h.repository)
	}
	return h, nil
}

// lockHead takes the head.lock of a client and job.
func (r *Repository) lockHead(ctx context.Context, client, job string) (disk.Lock, error) {
	return r.lockIn(ctx, headFolder(client, job), headLock(client, job))
}

// writeHead replaces the head durably. The caller holds its lock.
func (r *Repository) writeHead(h *head) error {
	return r.replaceFile(headName(h.client, h.job), h.append(nil))
}

// syncHeadFolders makes the folders above a head's durable. Only the first
// commit of a job needs it, but that one even where somebody else made them.
func (r *Repository) syncHeadFolders(h *head) error {
	return r.syncDirs("heads", "heads/"+h.client, headFolder(h.client, h.job))
}

// currentHead returns the head after taking it forward to the snapshot that a
// commit published before it was cut off, if there was one. The caller holds
// head.lock and, because a snapshot's standing depends on it, gc.lock.
func (r *Repository) currentHead(client, job string) (*head, error) {
	h, err := r.readHead(client, job)
	if err != nil || h.next.IsZero() {
		return h, err
	}
	snap, err := r.findSnapshot(h.next)
	if errors.Is(err, object.CodeNotFound) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	m := snap.Manifest
	if m.Client != client || m.Job != job || m.Seq != h.seq+1 || m.Prev != h.id {
		return nil, object.CodeDamaged.Errorf("%s: snapshot %s is not the one that follows %s", headName(client, job), h.next, h.id)
	}
	// The process that published it may have died before it was durable.
	if err := r.syncDirs("snapshots", "links"); err != nil {
		return nil, err
	}
	h.advance(snap)
	return h, r.writeHead(h)
}

// advance makes snap the head's newest snapshot.
func (h *head) advance(snap *object.Snapshot) {
	h.seq = snap.Manifest.Seq
	h.id = snap.ID()
	h.next = object.ID{}
	h.signer = snap.Manifest.Signer
	h.history = remember(h.history, snap)
}
