package repo

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// publication is a commit's way from built files to a durable head.
type publication struct {
	s      *Session
	m      *object.Manifest
	sealed []byte
	id     object.ID

	segment  string // built segment, "" when the upload has nothing to add to the index
	rows     int    // of the segment
	visible  string // built visible set, "" when it has no new ids
	ids      uint64 // of the visible set
	snapshot string // built snapshot file, "" while there is none
	gone     gone

	envelope *object.Snapshot // of a snapshot that is copied from another repository; else nil
	kept     *object.Snapshot // its link, when it stands in the chain before the head
	times    map[int64]bool   // at which others were received, as far as that matters
}

// already returns the snapshot if it is the job's head: the answer to an
// earlier commit was lost. A copied one may be anywhere in the chain.
func (p *publication) already(ctx context.Context) (*object.Snapshot, error) {
	gc, err := p.s.r.lockGC(ctx, shared)
	if err != nil {
		return nil, err
	}
	defer gc.Unlock()
	lock, err := p.s.r.lockHead(ctx, p.m.Client, p.m.Job)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	h, err := p.s.r.currentHead(p.m.Client, p.m.Job)
	switch {
	case err != nil:
		return nil, err
	case p.envelope != nil:
		return p.alreadyCopied()
	case h.id != p.id:
		return nil, nil
	}
	return p.s.r.findSnapshot(p.id)
}

// build writes the segment and the visible set of the session's own puts, once
// for all attempts.
func (p *publication) build(ctx context.Context, v *view) error {
	built := p.segment != "" || p.visible != ""
	if p.envelope != nil {
		if err := p.buildMet(); err != nil {
			return err
		}
	}
	if built || p.s.own.Len() == 0 {
		return nil
	}
	if err := p.buildSegment(ctx, v); err != nil || p.envelope != nil {
		return err
	}
	tmp := p.s.scratch.file("visible")
	ids, err := p.s.r.writeVisible(tmp, ownIDs(p.s.own))
	p.visible, p.ids = tmp, ids
	return err
}

func (p *publication) buildSegment(ctx context.Context, v *view) error {
	var packs []index.Pack
	published := map[pack.Name]bool{}
	records := 0
	// Packs take their numbers now and not when they were begun: of two copies of
	// an object the one that came into the repository first is the one that counts,
	// however long the other one's upload was held open.
	sequence := uint64(max(p.s.r.now(), v.cur.time+1))
	for _, own := range p.s.packs {
		// A commit that was cut off may have come as far as CURRENT with packs
		// that this session has adopted since.
		_, there, err := v.set.FindPack(own.name)
		if err != nil {
			return damaged("the index", err, repairCommand)
		}
		if there {
			published[own.name] = true
			continue
		}
		packs = append(packs, index.Pack{Name: own.name, Type: own.typ, Sequence: sequence, Size: own.size, Records: own.records})
		sequence++
		records += int(own.records)
	}
	if records == 0 {
		return nil
	}
	tmp := p.s.scratch.file("segment")
	err := index.Write(p.s.r.fs, tmp, packs, func(yield func(index.Entry, error) bool) {
		for e, err := range p.s.own.Entries() {
			if err == nil && ctx.Err() != nil {
				err = interrupted(ctx.Err())
			}
			if err == nil && published[e.Pack] {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	})
	if err != nil {
		return storeError("writing", tmp, err)
	}
	p.segment, p.rows = tmp, records
	return nil
}

// ownIDs yields the ids of a collector in ascending order.
func ownIDs(c *index.Collector) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for e, err := range c.Entries() {
			if !yield(e.ID[:], err) {
				return
			}
		}
	}
}

// discard removes what was built and not published.
func (p *publication) discard() {
	for _, name := range []string{p.segment, p.visible, p.snapshot} {
		if name != "" {
			p.s.r.fs.Remove(name) // published ones are gone; the scratch folder goes anyway
		}
	}
}

// publish makes the snapshot: packnback-repository(5), "Commit", from the log
// record on. The caller holds gc.lock and has checked the closure against the
// generation that CURRENT has now.
func (p *publication) publish(ctx context.Context) (*object.Snapshot, error) {
	r := p.s.r
	if err := p.s.file.append(committingRecord(p.id)); err != nil {
		return nil, err
	}
	lock, err := r.lockHead(ctx, p.m.Client, p.m.Job)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	h, err := r.currentHead(p.m.Client, p.m.Job)
	if err != nil {
		return nil, err
	}
	if p.envelope != nil {
		err = p.checkPlace(h)
	} else {
		err = p.checkHead(h)
	}
	if err != nil {
		return nil, err
	}
	if h.seq == 0 {
		if err := r.syncHeadFolders(h); err != nil {
			return nil, err
		}
	}
	// From here on a cancelled caller must not leave a half-published snapshot
	// where a whole one is milliseconds away.
	snap, err := p.enterCurrent(context.WithoutCancel(ctx), h)
	if err != nil {
		return nil, err
	}
	return snap, p.link(h, snap)
}

func (p *publication) checkHead(h *head) error {
	if h.id == p.m.Prev && h.seq+1 == p.m.Seq {
		return h.checkRoom()
	}
	return object.CodeHeadMoved.Errorf("the newest snapshot of %s/%s is number %d (%s), and this one would follow number %d (%s); run the backup again",
		h.client, h.job, h.seq, h.id.Short(), p.m.Seq-1, p.m.Prev.Short())
}

// checkRoom refuses one more visible set than a head may have.
func (h *head) checkRoom() error {
	if len(h.visible) >= maxVisible {
		return object.CodeBusy.Errorf("job %s/%s has %d visible sets, the limit is %d; run `packnback prune`", h.client, h.job, len(h.visible), maxVisible)
	}
	return nil
}

// enterCurrent makes the upload's packs part of the repository and gives the
// snapshot its time.
func (p *publication) enterCurrent(ctx context.Context, h *head) (*object.Snapshot, error) {
	snap := &object.Snapshot{Manifest: p.m, Sealed: p.sealed}
	_, err := p.s.r.updateCurrent(ctx, func(cur *current) error {
		if p.segment != "" {
			ref, err := p.s.r.publishSegment(cur, p.segment, p.rows)
			if err != nil {
				return err
			}
			cur.segments = append(cur.segments, ref)
		}
		if p.envelope != nil {
			snap.Received = p.receive(cur)
		} else {
			snap.Received = cur.receive(p.s.r.now())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.envelope != nil {
		snap.Flags, snap.Measures = p.envelope.Flags, p.envelope.Measures
	} else {
		p.measure(h, snap)
	}
	p.snapshot = p.s.scratch.file("snapshot")
	return snap, createFile(p.s.r.fs, p.snapshot, snap.Append(nil))
}

// link publishes the snapshot between two states of the head: the first one
// says what is about to come, the second that it has. The caller holds
// head.lock.
func (p *publication) link(h *head, snap *object.Snapshot) error {
	if p.kept != nil {
		return p.unlinkKept(h)
	}
	r := p.s.r
	h = h.clone()
	h.next = p.id
	if p.visible != "" {
		if err := r.publishVisible(h, p.visible, p.ids); err != nil {
			return err
		}
	}
	if err := r.writeHead(h); err != nil {
		return err
	}
	name := snapshotName("snapshots", p.id)
	if err := r.fs.Publish(p.snapshot, name); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return object.CodeDamaged.Errorf("%s is there already, but the head of %s/%s doesn't know it; put back a copy of the head", name, h.client, h.job)
		}
		return storeError("publishing", name, err)
	}
	if err := r.syncDirs("snapshots"); err != nil {
		return err
	}
	h.advance(snap)
	return r.writeHead(h)
}
