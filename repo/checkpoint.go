package repo

import (
	"context"
	"errors"
	"time"
)

// saved is what a checkpoint is about to make durable, taken under the mutex.
type saved struct {
	puts, received uint64
	full, open     []*ownPack
	states         map[*ownPack]packState
	folders        []string
}

// keepSaving makes checkpoints in the background: when enough has come in, and
// now and then while there is activity. It also follows CURRENT, so that a
// prune need not wait for a session that is only slow.
func (s *Session) keepSaving(ctx context.Context) error {
	tick := time.NewTicker(s.r.tune.checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-tick.C:
		}
		if err := errors.Join(s.follow(ctx), s.save()); err != nil {
			s.mu.Lock()
			s.poison(err)
			s.mu.Unlock()
			return nil // the next call of the sender's gets it
		}
	}
}

// Durable returns how many calls of Put, in the order they were made, are
// durable. Safe for concurrent use.
func (s *Session) Durable() uint64 { return s.durable.Load() }

// Checkpoint makes durable what was put before it. Safe for concurrent use.
func (s *Session) Checkpoint(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return interrupted(err)
	}
	s.mu.Lock()
	err := s.usable()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.save()
}

// follow acknowledges a new generation of CURRENT: from then on the session
// answers by the new lists. What it answered before is looked up again by the
// commit, which checks every ref.
func (s *Session) follow(ctx context.Context) error {
	v, err := s.r.acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.mu.Lock()
	if v.cur.generation == s.generation || s.phase != uploading {
		s.mu.Unlock()
		return v.release()
	}
	old := s.view
	s.view = v
	s.generation = v.cur.generation
	base := s.base
	s.mu.Unlock()
	if err := old.release(); err != nil {
		return err
	}
	return s.file.append(generationRecord(v.cur.generation, base))
}

// save makes a checkpoint: packs, their folders, the session file; only then
// does Durable move.
func (s *Session) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	c, err := s.collect()
	if err != nil || c == nil {
		return err
	}
	if err := s.sync(c); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.poison(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, state := range c.states {
		p.packState = state
	}
	for _, p := range c.full {
		p.w = nil
	}
	s.full = s.full[len(c.full):]
	s.durable.Store(c.puts)
	s.room.Broadcast()
	return nil
}

// collect says what is to be made durable, nil when there is nothing.
func (s *Session) collect() (*saved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.puts == s.durable.Load() && len(s.full) == 0 {
		return nil, nil
	}
	c := &saved{puts: s.puts, received: s.received, states: map[*ownPack]packState{}}
	c.full = append(c.full, s.full...)
	for _, p := range s.open {
		if p != nil {
			c.open = append(c.open, p)
		}
	}
	for _, packs := range [][]*ownPack{c.full, c.open} {
		for _, p := range packs {
			state := packState{p.name, p.typ, uint32(p.w.Size()), p.w.Records()}
			if state != p.packState {
				c.states[p] = state
			}
		}
	}
	if len(s.fresh) > 0 {
		c.folders = append(c.folders, "packs")
		for name := range s.fresh {
			c.folders = append(c.folders, name)
		}
		clear(s.fresh)
	}
	s.unsaved = 0
	return c, nil
}

// sync does a checkpoint's durable steps. Puts go on meanwhile; what they
// append is not counted.
func (s *Session) sync(c *saved) error {
	for _, p := range c.full {
		if err := p.w.Seal(); err != nil {
			return storeError("sealing", p.name.Path(p.typ), err)
		}
	}
	for _, p := range c.open {
		if _, err := p.w.Sync(); err != nil {
			return storeError("writing", p.name.Path(p.typ), err)
		}
	}
	if err := s.r.syncDirs(c.folders...); err != nil {
		return err
	}
	var grown []packState
	for _, p := range append(c.full, c.open...) {
		if state, ok := c.states[p]; ok {
			grown = append(grown, state)
		}
	}
	return s.file.append(checkpointRecords(s.durable.Load(), c.puts, c.received, grown)...)
}

// finishPacks seals every pack and makes a checkpoint, for a commit.
func (s *Session) finishPacks() error {
	s.mu.Lock()
	for t, p := range s.open {
		if p != nil {
			s.full = append(s.full, p)
			s.open[t] = nil
		}
	}
	s.mu.Unlock()
	return s.save()
}
