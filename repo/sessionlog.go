package repo

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

const (
	sessionMagic      = "PNBsess\x01"
	maxSessionHeader  = len(sessionMagic) + 16 + 16 + 16 + 8 + 1 + 2*(1+object.MaxName) + 8
	maxSessionRecord  = 1 << 16
	sessionRecordSize = 4 + 1 + 8 // of a record without its payload
	packStateSize     = pack.NameSize + 1 + 4 + 4
	// packsPerRecord keeps the longest record below maxSessionRecord.
	packsPerRecord = 2000
)

// Types of a session file's records.
const (
	recordLease      = 1
	recordGeneration = 2
	recordCheckpoint = 3
	recordAdopted    = 4
	recordCommitting = 5
)

// machineID says on which machine a session runs: packnback-repository(5),
// "SESSIONS".
type machineID [16]byte

// sessionSort says what a session may rely on.
type sessionSort uint8

const (
	plainSession   sessionSort = 0 // what the job's head makes visible
	blindSession   sessionSort = 1 // nothing but its own puts
	copyingSession sessionSort = 2 // whatever is live: it copies to a replica
)

// sessionHeader begins a session file.
type sessionHeader struct {
	repository  object.RepositoryID
	id          object.SessionID
	machine     machineID
	opened      int64
	sort        sessionSort
	client, job string
}

// packState is how much of a pack counts.
type packState struct {
	name    pack.Name
	typ     pack.Type
	size    uint32 // bytes that are durable, up to the end of a record
	records uint32
}

// sessionState is what a session file says, all records taken together.
type sessionState struct {
	sessionHeader
	lease      uint64
	generation uint64
	base       object.ID
	puts       uint64
	received   uint64
	packs      []packState // in the order of their first mention; adopted ones too
	adopted    []object.Adopted
	committing object.ID

	end   int64             // where the next record goes
	sum   uint64            // checksum of the last record
	place map[pack.Name]int // in packs
}

func sessionName(id object.SessionID) string { return "sessions/" + hex.EncodeToString(id[:]) }

// parseSessionName reads a session file's base name.
func parseSessionName(base string) (id object.SessionID, ok bool) {
	if len(base) != 2*len(id) {
		return id, false
	}
	raw, err := hex.DecodeString(base)
	if err != nil || hex.EncodeToString(raw) != base {
		return id, false
	}
	copy(id[:], raw)
	return id, true
}

func (h *sessionHeader) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, sessionMagic...)
	dst = append(dst, h.repository[:]...)
	dst = append(dst, h.id[:]...)
	dst = append(dst, h.machine[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.opened))
	dst = append(dst, byte(h.sort))
	dst = appendName(dst, h.client)
	dst = appendName(dst, h.job)
	return appendSum(dst, start)
}

// unmarshalSessionHeader reads a header from the start of b and returns its
// length and checksum. A power cut before the header was durable leaves a file
// of any bytes up to its length: that is errEmptySession. A longer one had a
// header once.
func unmarshalSessionHeader(b []byte) (h sessionHeader, size int, sum uint64, err error) {
	const fixed = len(sessionMagic) + 16 + 16 + 16 + 8 + 1
	bad := errEmptySession
	if len(b) > maxSessionHeader {
		bad = object.ErrChecksum
	}
	if len(b) < fixed+2 {
		return h, 0, 0, bad
	}
	size = fixed + 1 + int(b[fixed])
	if len(b) > size {
		size += 1 + int(b[size]) + 8
	}
	if len(b) < size || size < fixed+2+8 {
		return h, 0, 0, bad
	}
	sum = binary.BigEndian.Uint64(b[size-8:])
	if xxhash.Sum64(b[:size-8]) != sum {
		return h, 0, 0, bad
	}
	if err := checkMagic(b, sessionMagic); err != nil {
		return h, 0, 0, err
	}
	f := &fields{b: b[len(sessionMagic) : size-8]}
	copy(h.repository[:], f.take(len(h.repository)))
	h.id = f.session()
	copy(h.machine[:], f.take(len(h.machine)))
	h.opened = int64(f.uint64())
	h.sort = sessionSort(f.uint8())
	if h.client, err = f.name("client"); err != nil {
		return h, 0, 0, err
	}
	if h.job, err = f.name("job"); err != nil {
		return h, 0, 0, err
	}
	if err := f.end(); err != nil {
		return h, 0, 0, err
	}
	if h.sort > copyingSession {
		return h, 0, 0, fmt.Errorf("%w: session of sort %d", object.ErrMalformed, h.sort)
	}
	return h, size, sum, nil
}

// appendRecord appends one record; prev is the checksum of the one before. It
// returns the new record's checksum.
func appendRecord(dst []byte, prev uint64, typ byte, payload []byte) ([]byte, uint64) {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(payload)))
	dst = append(dst, typ)
	dst = append(dst, payload...)
	sum := recordSum(dst[start:], prev)
	return binary.BigEndian.AppendUint64(dst, sum), sum
}

// recordSum chains records, so that one left over from an earlier life of a
// disk block is not taken for the continuation.
func recordSum(record []byte, prev uint64) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.Write(record)
	d.Write(binary.BigEndian.AppendUint64(nil, prev))
	return d.Sum64()
}

// nextRecord returns the record at the start of b, or ok false where the log
// ends: torn, or not written any more.
func nextRecord(b []byte, prev uint64) (typ byte, payload []byte, sum uint64, ok bool) {
	if len(b) < sessionRecordSize {
		return 0, nil, 0, false
	}
	n := binary.BigEndian.Uint32(b)
	if n < 1 || n > maxSessionRecord || len(b) < 4+int(n)+8 {
		return 0, nil, 0, false
	}
	sum = binary.BigEndian.Uint64(b[4+n:])
	if recordSum(b[:4+n], prev) != sum {
		return 0, nil, 0, false
	}
	return b[4], b[5 : 4+n], sum, true
}

// apply adds what one record says to s.
func (s *sessionState) apply(typ byte, payload []byte) error {
	f := &fields{b: payload}
	switch typ {
	case recordLease:
		s.lease = f.uint64()
	case recordGeneration:
		s.generation, s.base = f.uint64(), f.id()
	case recordCheckpoint:
		s.puts, s.received = f.uint64(), f.uint64()
		if err := s.applyPacks(f); err != nil {
			return err
		}
	case recordAdopted:
		a := object.Adopted{Session: f.session(), Durable: f.uint64()}
		if n := len(s.adopted); n == 0 || s.adopted[n-1] != a {
			s.adopted = append(s.adopted, a)
		}
		if err := s.applyPacks(f); err != nil {
			return err
		}
	case recordCommitting:
		s.committing = f.id()
	default:
		return fmt.Errorf("%w: record of type %d", errVersion, typ)
	}
	return f.end()
}

// applyPacks takes the rest of a record as pack states: new packs, or new sizes
// of packs that have grown.
func (s *sessionState) applyPacks(f *fields) error {
	for !f.short && len(f.b) > 0 {
		var p packState
		copy(p.name[:], f.take(pack.NameSize))
		p.typ = pack.Type(f.uint8())
		p.size, p.records = f.uint32(), f.uint32()
		if !f.short && !p.typ.Valid() {
			return fmt.Errorf("%w: pack of type %d", object.ErrMalformed, p.typ)
		}
		if i, ok := s.place[p.name]; ok {
			s.packs[i] = p
			continue
		}
		if s.place == nil {
			s.place = map[pack.Name]int{}
		}
		s.place[p.name] = len(s.packs)
		s.packs = append(s.packs, p)
	}
	return nil
}

func appendPackStates(dst []byte, packs []packState) []byte {
	for _, p := range packs {
		dst = append(dst, p.name[:]...)
		dst = append(dst, byte(p.typ))
		dst = binary.BigEndian.AppendUint32(dst, p.size)
		dst = binary.BigEndian.AppendUint32(dst, p.records)
	}
	return dst
}

// charged is what the session counts against its client's quota.
func (s *sessionState) charged() uint64 { return max(s.lease, s.received) }

// names reports whether the session keeps the pack from being removed.
func (s *sessionState) names(p pack.Name) bool {
	owner := p.Session()
	if owner == s.id {
		return true
	}
	for _, a := range s.adopted {
		if a.Session == owner {
			return true
		}
	}
	return false
}
