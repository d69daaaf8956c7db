package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// maxSkew is how far a copied time may be ahead of this store's clock: what two
// machines' clocks are apart. Until the clock has come so far nothing can be
// forgotten here, and a source whose clock has run away must not decide that.
const maxSkew = 5 * time.Minute

// CommitReplica makes a snapshot that another repository of the same id has one
// of this repository, too, with the time and the remarks that it has there:
// packnback-repository(5), "Replicas". The session must have been opened with
// Replica. CodeHeadMoved says that the job's chain here doesn't lead to the
// snapshot, CodeClock that it would have been received in the future, CodeExists
// that it lies in the trash; otherwise it is like Commit.
func (s *Session) CommitReplica(ctx context.Context, snap *object.Snapshot) (object.Receipt, error) {
	if !s.req.Replica {
		return object.Receipt{}, object.CodeInvalid.Errorf("this session does not copy to a replica")
	}
	if err := s.checkManifest(snap.Manifest, snap.Sealed); err != nil {
		return object.Receipt{}, err
	}
	if snap.Flags&(object.FlagForgotten|object.FlagLeftOut) != 0 || snap.Forgotten != 0 {
		return object.Receipt{}, object.CodeInvalid.Errorf("snapshot %s is forgotten or left out where it is copied from", snap.ID().Short())
	}
	if err := s.r.checkTimes(snap); err != nil {
		return object.Receipt{}, err
	}
	return s.makeSnapshot(ctx, &publication{s: s, m: snap.Manifest, sealed: snap.Sealed, id: snap.ID(), envelope: snap})
}

// checkTimes refuses an envelope whose times are ahead of the clock.
func (r *Repository) checkTimes(snap *object.Snapshot) error {
	if snap.Received <= 0 || snap.Forgotten < 0 {
		return object.CodeMalformed.Errorf("snapshot %s has a time before 1970", snap.ID().Short())
	}
	now := r.now()
	if t := max(snap.Received, snap.Forgotten); t > now+int64(maxSkew) {
		return object.CodeClock.Errorf("snapshot %s was received or forgotten on %s, and the clock of the replica says %s; set the clock that is wrong", snap.ID().Short(),
			time.Unix(0, t).UTC().Format(time.RFC3339), time.Unix(0, now).UTC().Format(time.RFC3339))
	}
	return nil
}

// alreadyCopied returns the snapshot when it is live here.
func (p *publication) alreadyCopied() (*object.Snapshot, error) {
	snap, err := p.s.r.readSnapshot("snapshots", p.id)
	if !errors.Is(err, fs.ErrNotExist) {
		return snap, err
	}
	trashed, err := exists(p.s.r.fs, snapshotName("trash", p.id))
	if err != nil || !trashed {
		return nil, err
	}
	return nil, object.CodeExists.Errorf("snapshot %s lies in the trash of the replica; `packnback unforget` brings it back", p.id.Short())
}

// buildMet writes the visible set of a copied snapshot: what the session has
// put, and what its check met that was not visible.
func (p *publication) buildMet() error {
	if err := p.noteTimes(); err != nil {
		return err
	}
	if p.visible != "" {
		if err := p.s.r.fs.Remove(p.visible); err != nil {
			return storeError("removing", p.visible, err)
		}
		p.visible = ""
	}
	if p.s.own.Len() == 0 && p.s.met.Len() == 0 {
		return nil
	}
	tmp := p.s.scratch.file("visible")
	ids, err := p.s.r.writeVisible(tmp, table.Merge(ownIDs(p.s.own), p.s.met.Rows()))
	p.visible, p.ids = tmp, ids
	return err
}

// checkPlace says where in the chain of head h a copied snapshot belongs. The
// caller holds head.lock.
func (p *publication) checkPlace(h *head) error {
	r, m := p.s.r, p.m
	if m.Seq <= h.seq {
		kept, err := r.readSnapshot("links", p.id)
		if errors.Is(err, fs.ErrNotExist) {
			return diverged(h, m)
		}
		if err != nil {
			return err
		}
		p.kept = kept
		return h.checkRoom()
	}
	if h.id != m.Prev || h.seq+1 != m.Seq {
		return diverged(h, m)
	}
	if err := r.checkRises(h, p.envelope); err != nil {
		return err
	}
	return h.checkRoom()
}

// diverged refuses what the chain of h doesn't lead to.
func diverged(h *head, m *object.Manifest) error {
	return object.CodeHeadMoved.Errorf("the replica's newest snapshot of %s/%s is number %d (%s), which does not lead to number %d (%s)",
		h.client, h.job, h.seq, h.id.Short(), m.Seq, m.ID().Short())
}

// checkRises refuses a snapshot or link that would follow h and was received
// before it.
func (r *Repository) checkRises(h *head, next *object.Snapshot) error {
	if h.seq == 0 {
		return nil
	}
	before, err := r.findSnapshot(h.id)
	if err != nil {
		return err
	}
	if next.Received <= before.Received {
		return object.CodeMalformed.Errorf("snapshot %s was received before number %d of the same job: the times of the repository that it is copied from are wrong", next.ID().Short(), h.seq)
	}
	return nil
}

// receive returns the time with which a copied snapshot is recorded.
func (p *publication) receive(cur *current) int64 {
	t := p.envelope.Received
	if p.kept != nil {
		t = p.kept.Received
	}
	for p.times[t] {
		t++ // another one was received in that nanosecond
	}
	cur.time = max(cur.time, t)
	return t
}

// unlinkKept publishes a snapshot of which there was only the link. A crash
// leaves one of them or both, of which the snapshot counts. What it reaches
// becomes visible, as that of earlier snapshots may be until the next prune: so
// the check of the next one before the head finds most of it visible. The caller
// holds head.lock.
func (p *publication) unlinkKept(h *head) error {
	r := p.s.r
	if p.visible != "" {
		h = h.clone()
		if err := r.publishVisible(h, p.visible, p.ids); err != nil {
			return err
		}
		if err := r.writeHead(h); err != nil {
			return err
		}
	}
	name := snapshotName("snapshots", p.id)
	if err := r.fs.Publish(p.snapshot, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return storeError("publishing", name, err)
	}
	if err := r.syncDirs("snapshots"); err != nil {
		return err
	}
	link := snapshotName("links", p.id)
	if err := r.fs.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", link, err)
	}
	return r.syncDirs("links")
}

// snapshotTimes remembers when snapshots were received: 40 bytes for each, like
// putting them into order takes, so that a copy of many reads each file once.
type snapshotTimes struct {
	mu sync.Mutex
	at map[object.ID]int64
}

// noteTimes finds out when all other snapshots were received. It needs no lock:
// what a sender commits meanwhile comes after CURRENT's time.
func (p *publication) noteTimes() error {
	r := p.s.r
	r.times.mu.Lock()
	defer r.times.mu.Unlock()
	if r.times.at == nil {
		r.times.at = map[object.ID]int64{}
	}
	p.times = map[int64]bool{}
	for _, folder := range []string{"snapshots", "trash"} {
		entries, err := list(r.fs, folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, err := object.ParseID(e.Name)
			if err != nil {
				continue
			}
			t, known := r.times.at[id]
			if !known {
				t = r.timeOf(folder + "/" + e.Name)
				r.times.at[id] = t
			}
			p.times[t] = true
		}
	}
	return nil
}

// timeOf returns when the snapshot in a file was received, as the file says it,
// and 0 where it can't be read: check reports that.
func (r *Repository) timeOf(name string) int64 {
	f, err := r.fs.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	var b [16]byte // magic and time
	if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b[8:]))
}
