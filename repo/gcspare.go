package repo

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

const (
	// ackPoll is how often step 4 looks whether the sessions have followed.
	ackPoll = 50 * time.Millisecond
	// fewNew is how many packs and snapshots may have come since the last round
	// without a lock for step 5 to deal with them under it.
	fewNew = 16
	// fewBytes is how much they may have to read: some ten milliseconds.
	fewBytes = 16 << 20
)

// sparing is steps 4 and 5 under way: what of the condemned is taken off the
// list because something newer than the mark reaches it. It is in sorters, so
// memory is flat.
type sparing struct {
	p        *pruning
	v        *view         // with the condemned list
	i0, r3   *table.Table  // published with it
	spared   *table.Sorter // locations
	seen     *table.Sorter // snapshots and, as padded names, packs that were dealt with
	pending  *table.Sorter // objects to look below; replaced level by level
	levels   int
	deleting string // list written for what is spared now; "" when it must be written anew
}

// spare is steps 4 and 5.
func (p *pruning) spare(ctx context.Context, generation uint64) (err error) {
	p.say("waiting for running uploads to take notice")
	if err := p.awaitAcknowledged(ctx, generation); err != nil {
		return err
	}
	p.say("sparing what was committed meanwhile")
	s := &sparing{p: p}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		return err
	}
	for round := 1; round <= pruneRounds; round++ {
		if err := s.uploads(); err != nil {
			return err
		}
		if _, err := s.newer(ctx, math.MaxInt); err != nil {
			return err
		}
		if err := s.write(); err != nil {
			return err
		}
		done, err := s.publish(ctx, round == pruneRounds)
		if err != nil || done {
			return err
		}
	}
	return nil // not reached: the last round publishes whatever has come
}

// awaitAcknowledged gives live sessions time to take notice of a generation.
// This spares refused commits; nothing depends on it.
func (p *pruning) awaitAcknowledged(ctx context.Context, generation uint64) error {
	deadline := time.NewTimer(p.r.tune.acknowledge)
	defer deadline.Stop()
	tick := time.NewTicker(ackPoll)
	defer tick.Stop()
	for {
		behind, err := p.sessionsBehind(generation)
		if err != nil || !behind {
			return err
		}
		select {
		case <-ctx.Done():
			return interrupted(ctx.Err())
		case <-deadline.C:
			return nil
		case <-tick.C:
		}
	}
}

func (p *pruning) sessionsBehind(generation uint64) (bool, error) {
	behind := false
	err := p.r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err != nil || behind || s.generation >= generation {
			return nil
		}
		behind, err = p.r.alive(sessionName(id))
		return err
	})
	return behind, err
}

func (s *sparing) open(ctx context.Context) (err error) {
	if s.v, err = s.p.r.acquire(ctx); err != nil {
		return err
	}
	l := &s.v.cur.lists
	if s.i0, err = table.Open(s.p.r.fs, listName(l.packs), packLayout); err == nil {
		s.r3, err = table.Open(s.p.r.fs, listName(l.roots), rootLayout)
	}
	if err != nil {
		return damaged("a list in gc", err, repairCommand)
	}
	for _, x := range []struct {
		sorter **table.Sorter
		name   string
		layout table.Layout
	}{{&s.spared, "spared", locationLayout}, {&s.seen, "dealt", rootLayout}, {&s.pending, "pending", rootLayout}} {
		if *x.sorter, err = s.p.sorter(x.name, x.layout); err != nil {
			return err
		}
	}
	return nil
}

func (s *sparing) close() error {
	var errs []error
	for _, t := range []*table.Table{s.i0, s.r3} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	for _, x := range []*table.Sorter{s.spared, s.seen, s.pending} {
		if x != nil {
			errs = append(errs, x.Close())
		}
	}
	if s.v != nil {
		errs = append(errs, s.v.release())
	}
	return errors.Join(errs...)
}

// uploads spares what running and resumable uploads rely on, as far as their
// last checkpoint tells. It spares refused commits: each commit checks again,
// and so this needs no lock.
func (s *sparing) uploads() error {
	sessions, _, err := s.p.r.namedSessions()
	if err != nil {
		return err
	}
	for _, u := range sessions {
		if s.p.r.now()-u.opened >= int64(longSession) {
			continue
		}
		if !u.base.IsZero() {
			if err := s.snapshot(u.base); err != nil {
				return err
			}
		}
		if err := s.p.r.uploadRefs(u, func(ref, _ object.ID) error { return s.reach(ref) }); err != nil {
			return err
		}
	}
	return nil
}

// bad returns the first location of id that is condemned and quarantined, too:
// of what is known to be lost the place stays, as mark leaves it, so that it can
// still be told from what is missing without anybody knowing.
func (v *view) bad(id object.ID) (presence, index.Found, error) {
	if v.quarantine == nil {
		return absent, index.Found{}, nil
	}
	found, err := v.find(nil, id)
	if err != nil {
		return absent, index.Found{}, err
	}
	for _, f := range found {
		on, err := v.condemned.Has(appendLocation(nil, f.Location))
		if err != nil {
			return absent, f, damaged(v.condemned.Name(), err, repairCommand)
		}
		if on {
			return waning, f, nil
		}
	}
	return absent, index.Found{}, nil
}

// reach spares the object id if it is only at condemned locations: at the
// first of them. Where it has a live one everything below is safe.
func (s *sparing) reach(id object.ID) error {
	p, found, err := s.v.presence(id)
	if err == nil && p == absent {
		p, found, err = s.v.bad(id)
	}
	if err != nil || p != waning {
		return err
	}
	row := appendLocation(nil, found.Location)
	on, err := s.spared.Has(row)
	if err == nil && !on {
		s.deleting = ""
		if err = s.spared.Add(row); err == nil {
			err = s.pending.Add(id[:])
		}
	}
	if err != nil {
		return s.p.sorting(err)
	}
	return nil
}

// descend spares what the spared objects reach, level by level.
func (s *sparing) descend(ctx context.Context) error {
	for s.pending.Len() > 0 {
		level := s.pending
		s.levels++
		var err error
		if s.pending, err = s.p.sorter("pending"+string(rune('a'+s.levels%2)), rootLayout); err != nil {
			s.pending = level
			return err
		}
		if err := errors.Join(s.level(ctx, level), level.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *sparing) level(ctx context.Context, level *table.Sorter) error {
	for row, err := range table.Dedup(level.Rows()) {
		if err != nil {
			return s.p.sorting(err)
		}
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		p, found, err := s.v.presence(object.ID(row))
		lost := err == nil && p == absent // all that is known of it is that it is bad
		if lost {
			_, found, err = s.v.bad(object.ID(row))
		}
		if err != nil {
			return err
		}
		refs, err := s.v.refs(object.ID(row), found)
		if err != nil && !lost {
			return notFoundIsDamage(err)
		}
		for _, ref := range refs {
			if err := s.reach(ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes the list of what is condemned and not spared.
func (s *sparing) write() error {
	if s.deleting != "" {
		return nil
	}
	name := s.p.scratch.file("deleting.list")
	if there, err := exists(s.p.r.fs, name); err != nil {
		return err
	} else if there {
		if err := s.p.r.fs.Remove(name); err != nil {
			return storeError("removing", name, err)
		}
	}
	err := s.p.r.writeList(name, locationLayout, func(yield func([]byte, error) bool) {
		for row, err := range s.v.condemned.Rows(0) {
			spared := false
			if err == nil {
				spared, err = s.spared.Has(row)
			}
			if spared && err == nil {
				continue
			}
			if !yield(row, err) {
				return
			}
		}
	})
	if err == nil {
		s.deleting = name
	}
	return err
}

// publish makes the last round under the lock and publishes the deleting list.
// done is false when more has come than may be dealt with under the lock,
// unless it is the last try.
func (s *sparing) publish(ctx context.Context, last bool) (done bool, err error) {
	gc, err := s.p.r.lockGC(ctx, exclusive)
	if err != nil {
		return false, err
	}
	defer gc.Unlock()
	limit := fewNew
	if last {
		limit = math.MaxInt
	}
	if more, err := s.newer(ctx, limit); more || err != nil {
		return false, err
	}
	if s.deleting == "" {
		if !last {
			return false, nil // the list must be written anew, which takes time
		}
		if err := s.write(); err != nil {
			return false, err
		}
	}
	old := s.v.cur.lists
	rows := s.v.condemned.Len() - s.spared.Len()
	_, err = s.p.r.updateCurrent(ctx, func(cur *current) error {
		l := &cur.lists
		l.condemned = 0
		cur.generation++
		if rows == 0 {
			l.packs, l.roots, cur.published = 0, 0, 0
			return nil
		}
		n, err := s.p.r.publishNumbered(cur, s.deleting, "gc", listName)
		l.deleting = n
		return err
	})
	if err != nil {
		return false, err
	}
	if rows == 0 {
		return true, s.p.r.removeLists(old.condemned, old.packs, old.roots)
	}
	return true, s.p.r.removeLists(old.condemned)
}
