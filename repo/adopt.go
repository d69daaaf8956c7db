package repo

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// adopt takes over the uploads of this client and job whose sessions have
// ended without a commit.
func (s *Session) adopt(ctx context.Context) error {
	var dead []*sessionState
	err := s.r.eachSession(func(id object.SessionID, other *sessionState, err error) error {
		// A lock of another machine may not be seen here: its uploads are left to
		// expire. One that can't be read names nothing that could be adopted.
		if err != nil || id == s.file.id || other.client != s.req.Client || other.job != s.req.Job || (other.sort == copyingSession) != s.req.Replica || other.machine != s.r.machine {
			return nil
		}
		dead = append(dead, other)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(dead, func(a, b *sessionState) int { return cmp.Compare(a.opened, b.opened) })
	for _, other := range dead {
		if err := s.adoptOne(ctx, other.id); err != nil {
			return err
		}
	}
	return nil
}

// adoptOne adopts the upload of one session if that has ended.
func (s *Session) adoptOne(ctx context.Context, id object.SessionID) error {
	name := sessionName(id)
	if there, err := exists(s.r.fs, name); err != nil || !there {
		return err
	}
	lock, ok, err := s.r.lockSoon(ctx, name)
	if err != nil || !ok {
		return err
	}
	defer lock.Unlock()
	linked, err := lock.Linked()
	if err != nil {
		return storeError("looking at", name, err)
	}
	if !linked {
		return nil // committed or adopted meanwhile
	}
	other, err := s.r.readSession(name)
	if errors.Is(err, errEmptySession) {
		return nil // between its making and its first word, or for prune to remove
	}
	if err != nil {
		return damaged(name, err, "move it away; its upload is lost, snapshots are not concerned")
	}
	superseded, err := s.r.superseded(id)
	if err != nil {
		return err
	}
	if superseded {
		return s.r.removeSessionFile(name)
	}
	done, err := s.finished(ctx, other)
	if err != nil || done {
		return err
	}
	return s.takeOver(ctx, other)
}

// superseded reports whether another session has adopted this one and died before
// it could remove the file. The caller holds the lock of that file, as whoever
// adopts it must: so nobody does meanwhile, and what was read before is too old.
func (r *Repository) superseded(id object.SessionID) (found bool, err error) {
	err = r.eachSession(func(_ object.SessionID, other *sessionState, err error) error {
		found = found || err == nil && slices.ContainsFunc(other.adopted, func(a object.Adopted) bool { return a.Session == id })
		return nil
	})
	return found, err
}

// finished deals with a session that was cut off after its snapshot was there.
func (s *Session) finished(ctx context.Context, other *sessionState) (bool, error) {
	if other.committing.IsZero() {
		return false, nil
	}
	_, err := s.r.findSnapshot(other.committing)
	if errors.Is(err, object.CodeNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := s.r.settle(ctx, other.client, other.id, other.received); err != nil {
		return false, err
	}
	return true, s.r.removeSessionFile(sessionName(other.id))
}

// takeOver makes other's durable packs this session's. Their scan needs no
// lock but other's own: its file names them until this session's does.
func (s *Session) takeOver(ctx context.Context, other *sessionState) error {
	whole := true
	var packs []*ownPack
	for _, state := range other.packs {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		ok, err := s.takePack(state)
		if err != nil {
			return err
		}
		if !ok {
			whole = false
			continue
		}
		packs = append(packs, &ownPack{packState: state})
	}
	a := object.Adopted{Session: other.id, Durable: other.puts}
	if !whole {
		a.Durable = 0 // what is left still spares sending, but nothing is promised
	}
	adopted := append(slices.Clone(other.adopted), a)
	if err := s.logAdopted(ctx, other, adopted, packs); err != nil {
		return err
	}
	s.standing.Adopted = append(s.standing.Adopted, adopted...)
	return nil
}

// logAdopted makes the adoption durable and only then removes the other file,
// so that at every moment one of the two names the packs.
func (s *Session) logAdopted(ctx context.Context, other *sessionState, adopted []object.Adopted, packs []*ownPack) error {
	gc, err := s.r.lockGC(ctx, shared)
	if err != nil {
		return err
	}
	defer gc.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	received := s.received + other.received
	var records []logRecord
	for i, a := range adopted {
		var states []packState
		if i == len(adopted)-1 {
			for _, p := range packs {
				states = append(states, p.packState)
			}
		}
		records = append(records, adoptedRecords(a, states)...)
	}
	sums := binary.BigEndian.AppendUint64(make([]byte, 8), received)
	records = append(records, logRecord{recordCheckpoint, sums})
	if err := s.file.append(records...); err != nil {
		return err
	}
	s.received = received
	s.packs = append(s.packs, packs...)
	return s.r.removeSessionFile(sessionName(other.id))
}

// takePack scans one pack of another session up to its durable size, twice: a
// pack that isn't whole adds nothing. ok is false for such a one.
func (s *Session) takePack(state packState) (ok bool, err error) {
	name := state.name.Path(state.typ)
	f, err := s.r.fs.Open(name)
	if err != nil {
		return false, nil // gone or unreadable: the commit finds what is missing
	}
	defer f.Close()
	whole, err := scanPack(f, state, func(uint32, object.Header, []object.ID) error { return nil })
	if err != nil || !whole {
		return false, nil
	}
	_, err = scanPack(f, state, func(offset uint32, h object.Header, refs []object.ID) error {
		l := index.Location{Pack: state.name, Offset: offset, Length: uint32(h.Size()), Kind: h.Kind}
		return s.note(index.Entry{ID: h.ID, Key: h.Key, Location: l}, h.Key, refs)
	})
	if err != nil {
		return false, storeError("reading", name, err)
	}
	return true, nil
}

// errScanned ends a scan that has seen what counts.
var errScanned = errors.New("scanned")

// scanPack yields the records below state.size, with the refs of metadata
// packs. whole is false when they are not those that were made durable.
func scanPack(f disk.File, state packState, yield func(offset uint32, h object.Header, refs []object.ID) error) (whole bool, err error) {
	end, records := uint32(0), uint32(0)
	each := func(offset uint32, h object.Header, refs []object.ID) error {
		if uint64(offset)+uint64(h.Size()) > uint64(state.size) {
			return errScanned
		}
		if records > 0 && offset != end {
			return fmt.Errorf("%w: gap before offset %d", object.ErrMalformed, offset)
		}
		end, records = offset+uint32(h.Size()), records+1
		return yield(offset, h, refs)
	}
	if state.typ == pack.Meta {
		_, err = pack.Scan(f, state.name, state.typ, func(offset uint32, r *object.Record) error {
			h := object.Header{Kind: r.Kind, ID: r.ID, Key: r.Key, Refs: len(r.Refs), Sealed: len(r.Sealed)}
			return each(offset, h, r.Refs)
		})
	} else {
		_, err = pack.ScanHeaders(f, state.name, state.typ, func(offset uint32, h object.Header) error { return each(offset, h, nil) })
	}
	if err != nil && !errors.Is(err, errScanned) {
		return false, err
	}
	return end == state.size && records == state.records, nil
}
