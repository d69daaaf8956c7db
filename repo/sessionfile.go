package repo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// maxSessionFile bounds a session file, which others read whole: a checkpoint
// every five seconds for a month, or a hundred terabytes. An upload that comes to
// its end is continued by the next session, whose file begins short.
const maxSessionFile = 64 << 20

// errEmptySession says that a session file has no whole header: its maker ended
// before it did anything.
var errEmptySession = errors.New("empty session file")

// sessionFile is a session's own file, locked and open for appending.
type sessionFile struct {
	r    *Repository
	name string
	id   object.SessionID
	lock disk.Lock
	f    disk.File

	mu   sync.Mutex // leases and checkpoints come from different goroutines
	sum  uint64     // of the last record
	size int        // of the file
}

// createSessionFile makes, locks and begins a session file, durably.
func (r *Repository) createSessionFile(ctx context.Context, h sessionHeader) (*sessionFile, error) {
	for {
		rand.Read(h.id[:])
		s := &sessionFile{r: r, name: sessionName(h.id), id: h.id}
		var err error
		if s.lock, err = r.lock(ctx, s.name, exclusive); err != nil {
			return nil, err
		}
		// Between its creation and the lock a prune may have found the file dead
		// and empty, and unlinked it: a lock on that protects nothing.
		linked, err := s.lock.Linked()
		if err != nil {
			return nil, errors.Join(storeError("looking at", s.name, err), s.lock.Unlock())
		}
		if !linked {
			s.lock.Unlock()
			continue
		}
		if err := s.begin(h); err != nil {
			return nil, errors.Join(err, s.remove())
		}
		return s, nil
	}
}

func (s *sessionFile) begin(h sessionHeader) error {
	var err error
	if s.f, err = s.r.fs.Append(s.name); err != nil {
		return storeError("opening", s.name, err)
	}
	b := h.append(nil)
	if _, err = s.f.Write(b); err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		return storeError("writing", s.name, err)
	}
	s.sum, s.size = binary.BigEndian.Uint64(b[len(b)-8:]), len(b)
	return syncDir(s.r.fs, "sessions")
}

// logRecord is one record to be appended.
type logRecord struct {
	typ     byte
	payload []byte
}

// append writes records durably, all of them or the log ends before them.
func (s *sessionFile) append(records ...logRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	sum := s.sum
	for _, rec := range records {
		b, sum = appendRecord(b, sum, rec.typ, rec.payload)
	}
	if s.size+len(b) > maxSessionFile {
		return object.CodeBusy.Errorf("the upload has made so many checkpoints that its log is full; run the backup again, which goes on where this one ends")
	}
	_, err := s.f.Write(b)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		return storeError("writing", s.name, err)
	}
	s.sum = sum
	s.size += len(b)
	return nil
}

// close gives the lock up; the file stays for whoever adopts the upload.
func (s *sessionFile) close() error {
	var err error
	if s.f != nil {
		err = s.f.Close()
	}
	return errors.Join(err, s.lock.Unlock())
}

// remove unlinks the file while the lock is held, and closes it.
func (s *sessionFile) remove() error {
	err := s.r.removeSessionFile(s.name)
	return errors.Join(err, s.close())
}

func (r *Repository) removeSessionFile(name string) error {
	if err := r.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", name, err)
	}
	return syncDir(r.fs, "sessions")
}

func leaseRecord(bytes uint64) logRecord {
	return logRecord{recordLease, binary.BigEndian.AppendUint64(nil, bytes)}
}

func generationRecord(generation uint64, base object.ID) logRecord {
	return logRecord{recordGeneration, append(binary.BigEndian.AppendUint64(nil, generation), base[:]...)}
}

func committingRecord(id object.ID) logRecord { return logRecord{recordCommitting, id[:]} }

// checkpointRecords need several records when many packs have grown; only the
// last one counts the puts.
func checkpointRecords(before, puts, received uint64, packs []packState) []logRecord {
	var records []logRecord
	for {
		n := min(len(packs), packsPerRecord)
		count := before
		if n == len(packs) {
			count = puts
		}
		p := binary.BigEndian.AppendUint64(nil, count)
		p = binary.BigEndian.AppendUint64(p, received)
		records = append(records, logRecord{recordCheckpoint, appendPackStates(p, packs[:n])})
		if packs = packs[n:]; len(packs) == 0 {
			return records
		}
	}
}

func adoptedRecords(a object.Adopted, packs []packState) []logRecord {
	var records []logRecord
	for {
		n := min(len(packs), packsPerRecord)
		p := append([]byte(nil), a.Session[:]...)
		p = binary.BigEndian.AppendUint64(p, a.Durable)
		records = append(records, logRecord{recordAdopted, appendPackStates(p, packs[:n])})
		if packs = packs[n:]; len(packs) == 0 {
			return records
		}
	}
}

// readSession reads what a session file says. A file without a whole header
// gives errEmptySession, a missing one fs.ErrNotExist.
func (r *Repository) readSession(name string) (*sessionState, error) {
	b, err := disk.ReadFile(r.fs, name, maxSessionFile)
	if err != nil {
		return nil, err
	}
	s, err := unmarshalSession(b)
	if err != nil {
		return nil, err
	}
	if s.repository != r.id || sessionName(s.id) != name {
		return nil, fmt.Errorf("%w: another session's file", object.ErrMalformed)
	}
	return s, nil
}

// unmarshalSession reads a whole session file up to where its log ends.
func unmarshalSession(b []byte) (*sessionState, error) {
	h, size, sum, err := unmarshalSessionHeader(b)
	if err != nil {
		return nil, err
	}
	s := &sessionState{sessionHeader: h}
	at := size
	for {
		typ, payload, next, ok := nextRecord(b[at:], sum)
		if !ok {
			break
		}
		if err := s.apply(typ, payload); err != nil {
			return nil, err
		}
		at += sessionRecordSize + len(payload)
		sum = next
	}
	s.end, s.sum = int64(at), sum
	return s, nil
}

// eachSession calls yield with every session file. Where one can't be read, s
// is nil and err says why; its id is known from its name all the same.
func (r *Repository) eachSession(yield func(id object.SessionID, s *sessionState, err error) error) error {
	entries, err := list(r.fs, "sessions")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, ok := parseSessionName(e.Name)
		if !ok || e.Dir {
			continue
		}
		s, err := r.readSession(path.Join("sessions", e.Name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // committed, adopted or removed meanwhile
		}
		if err := yield(id, s, err); err != nil {
			return err
		}
	}
	return nil
}

// alive reports whether the session of that file is still running.
func (r *Repository) alive(name string) (bool, error) {
	if there, err := exists(r.fs, name); err != nil || !there {
		return false, err
	}
	lock, ok, err := r.tryLock(name, shared)
	if err != nil {
		return false, err
	}
	if !ok {
		return true, nil
	}
	// The file may have vanished before the lock was tried, which made a new,
	// empty one: nobody's, and prune removes it like any other.
	return false, lock.Unlock()
}
