package repo

import (
	"context"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

const (
	// freeEvery is how many bytes are stored at most between two looks at the
	// free space, and maxBuffered what two packs' writers hold back at most.
	freeEvery   = 4 << 20
	maxBuffered = 512 << 10
	// maxFull is how many full packs may wait for being sealed before a put
	// waits, so that the files held open are bounded.
	maxFull = 3
)

// Put stores one object, unless the upload may rely on one of that id already.
// It is durable once Durable has reached the number of the call. CodeMalformed,
// CodeQuota and CodeNoSpace refuse an object; after any other error the session
// can only be closed. Put keeps nothing of rec. Safe for concurrent use.
func (s *Session) Put(ctx context.Context, rec *object.Record) error {
	if err := ctx.Err(); err != nil {
		return interrupted(err)
	}
	if err := rec.Validate(); err != nil {
		return object.CodeMalformed.Errorf("refused an object: %w", err)
	}
	v, err := s.viewNow()
	if err != nil {
		return err
	}
	known, err := s.known(v, rec.ID)
	v.release()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.charge(ctx, uint64(rec.Size())); err != nil {
		return err
	}
	if !known {
		if known, err = s.stored(rec.ID); err != nil {
			return err
		}
	}
	if !known {
		if err := s.store(rec); err != nil {
			return err
		}
	}
	s.refused = false
	s.puts++
	s.received += uint64(rec.Size())
	if s.unsaved += int64(rec.Size()); s.unsaved >= s.r.tune.checkpointBytes {
		select {
		case s.kick <- struct{}{}:
		default: // one is on its way
		}
	}
	return nil
}

// store appends rec to a pack. The caller holds s.mu.
func (s *Session) store(rec *object.Record) error {
	if err := s.checkFree(uint64(rec.Size())); err != nil {
		return err
	}
	p, err := s.packFor(pack.TypeOf(rec.Kind), rec.Size())
	if err != nil {
		return err
	}
	offset, length, err := p.w.Append(rec)
	if err != nil {
		return s.poison(storeError("writing", p.name.Path(p.typ), err))
	}
	err = s.note(index.Entry{ID: rec.ID, Key: rec.Key, Location: index.Location{Pack: p.name, Offset: offset, Length: length, Kind: rec.Kind}}, rec.Key, rec.Refs)
	if err != nil {
		return s.poison(err)
	}
	return nil
}

// note remembers an own object and what it refers to. The caller holds s.mu.
func (s *Session) note(e index.Entry, key object.ID, refs []object.ID) error {
	if err := s.own.Add(e); err != nil {
		return storeError("sorting in", s.scratch.dir, err)
	}
	s.sums.NewObjects++
	s.sums.NewBytes += uint64(e.Length)
	if e.Kind.Class() == object.ClassContent {
		s.sums.NewContent += uint64(e.Length)
	}
	// Almost every object has the key of the one before; a hostile sender's
	// other ones cost disk space, not memory.
	if class := e.Kind.Class(); !key.IsZero() && s.lastKeys[class] != key {
		s.lastKeys[class] = key
		if err := s.needs.Add(key[:]); err != nil {
			return storeError("sorting in", s.scratch.dir, err)
		}
	}
	for i := range refs {
		if err := s.needs.Add(refs[i][:]); err != nil {
			return storeError("sorting in", s.scratch.dir, err)
		}
	}
	return nil
}

// packFor returns the pack of that type that a record of size bytes goes to.
// The caller holds s.mu, which may be given up in between.
func (s *Session) packFor(t pack.Type, size int) (*ownPack, error) {
	for {
		p := s.open[t]
		if p == nil {
			return s.newPack(t)
		}
		if p.w.Records() == 0 || p.w.Size()+int64(size) <= s.r.tune.packSize {
			return p, nil
		}
		if len(s.full) < maxFull {
			s.full = append(s.full, p)
			s.open[t] = nil
			continue
		}
		select {
		case s.kick <- struct{}{}:
		default:
		}
		s.room.Wait()
		if err := s.usable(); err != nil {
			return nil, err
		}
	}
}

func (s *Session) newPack(t pack.Type) (*ownPack, error) {
	s.counter++
	p := &ownPack{packState: packState{name: pack.NewName(s.file.id, s.counter), typ: t}}
	var err error
	if p.w, err = pack.Create(s.r.fs, p.name, t); err != nil {
		return nil, s.poison(storeError("creating", p.name.Path(t), err))
	}
	s.fresh[p.name.Folder()] = true
	s.packs = append(s.packs, p)
	s.open[t] = p
	return p, nil
}

// poison makes the session refuse everything from now on: after a failed write
// or sync nobody knows what the file holds. What was durable stays so. The
// caller holds s.mu.
func (s *Session) poison(err error) error {
	if s.err == nil {
		s.err = err
	}
	s.room.Broadcast()
	return s.err
}

// checkFree stops the upload before the disk is full. It looks the more often,
// the closer that is. The caller holds s.mu.
func (s *Session) checkFree(size uint64) error {
	if size <= s.margin {
		s.margin -= size
		return nil
	}
	free, total, err := s.r.fs.Free()
	if err != nil {
		return storeError("looking at the free space of", s.r.dir, err)
	}
	// What the packs' writers still hold comes on top.
	least := s.r.minFree(total) + min(uint64(s.unsaved), maxBuffered)
	if free < least+size {
		s.margin = 0
		return object.CodeNoSpace.Errorf("the store's disk has %d MiB free and keeps %d MiB (setting min-free); free some space, forget snapshots or prune; earlier snapshots are unharmed",
			free>>20, least>>20)
	}
	s.margin = min(freeEvery, (free-least-size)/2)
	return nil
}
