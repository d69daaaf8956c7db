package object

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Limits of a record. They keep the largest record, refs included, below the
// 16 MiB that one protocol frame may carry, and below what a reader must be
// ready to allocate for one object.
const (
	// MaxRefs is the largest number of refs of one object.
	MaxRefs = 1 << 16
	// MaxSealed is the largest length of an object's sealed bytes.
	MaxSealed = 12 << 20
	// MaxPlaintext is the largest length of an object's plaintext before
	// compression. It leaves room for 12 % of padding below MaxSealed.
	MaxPlaintext = 8 << 20
	// MaxKeyObject is the largest length of a key object's sealed bytes.
	MaxKeyObject = 256 << 10
	// HeaderSize is the length of a record before its refs.
	HeaderSize = 80
	// TrailerSize is the length of the checksum that ends a record.
	TrailerSize = 8
	// MaxRecord is the largest length of a record.
	MaxRecord = HeaderSize + MaxRefs*IDSize + MaxSealed + TrailerSize
)

// RecordMagic begins every record, so that a scan of a damaged pack can find
// the next whole one.
const RecordMagic = "PNBo"

// ErrMalformed is wrapped by every error that says bytes from a disk or a wire
// are not what the format allows.
var ErrMalformed = errors.New("malformed")

// ErrChecksum is wrapped when a record's xxhash64 does not match its bytes.
var ErrChecksum = errors.New("checksum mismatch")

// Record is one object as it is stored and sent: what the store may read
// (kind, id, key object, refs) and the sealed bytes it may not.
type Record struct {
	Kind   Kind
	ID     ID
	Key    ID   // id of the key object; an implicit ref; zero for KindKey only
	Refs   []ID // in the order of first use, without repeats; nil unless Kind.HasRefs
	Sealed []byte
}

// Header is the fixed part of a record, parsed without its refs and sealed
// bytes.
type Header struct {
	Kind   Kind
	ID     ID
	Key    ID
	Refs   int // number of refs, at most MaxRefs
	Sealed int // length of the sealed bytes, at most MaxSealed
}

// Size returns the length of the whole record that h begins.
func (h Header) Size() int {
	return HeaderSize + h.Refs*IDSize + h.Sealed + TrailerSize
}

// Size returns the length of r when encoded.
func (r *Record) Size() int {
	return HeaderSize + len(r.Refs)*IDSize + len(r.Sealed) + TrailerSize
}

// AppendHeader appends the record's first HeaderSize bytes and its refs for an
// object whose sealed bytes will be sealed bytes long. These are also the
// associated data under which the object is sealed (packnback-key(5)), so
// nothing in them can be changed without the restorer noticing.
func AppendHeader(dst []byte, kind Kind, id, key ID, refs []ID, sealed int) []byte {
	dst = append(dst, RecordMagic...)
	dst = append(dst, byte(kind), 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(refs)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(sealed))
	dst = append(dst, id[:]...)
	dst = append(dst, key[:]...)
	for i := range refs {
		dst = append(dst, refs[i][:]...)
	}
	return dst
}

// Append appends the encoding of r, checksum included, to dst. UnmarshalRecord
// is its inverse. It does not check r's limits; Validate does.
func (r *Record) Append(dst []byte) []byte {
	start := len(dst)
	dst = AppendHeader(dst, r.Kind, r.ID, r.Key, r.Refs, len(r.Sealed))
	dst = append(dst, r.Sealed...)
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// Validate checks what can be checked without a key: the kind, the limits,
// that refs stand only where they may and never name the object itself or
// nothing, and that a key object's id is the hash of its bytes.
func (r *Record) Validate() error {
	if err := checkHeader(Header{r.Kind, r.ID, r.Key, len(r.Refs), len(r.Sealed)}); err != nil {
		return err
	}
	for i := range r.Refs {
		if r.Refs[i].IsZero() || r.Refs[i] == r.ID {
			return fmt.Errorf("%w record %s: ref %d names itself or nothing", ErrMalformed, r.ID.Short(), i)
		}
	}
	if r.Kind == KindKey && HashID(r.Sealed) != r.ID {
		return fmt.Errorf("%w key object %s: its id is not the SHA-256 of its bytes", ErrMalformed, r.ID.Short())
	}
	return nil
}

// ParseHeader reads the fixed part of a record from the first HeaderSize bytes
// of b and checks it against the limits. It does not see the checksum.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w record: %d bytes, want at least %d", ErrMalformed, len(b), HeaderSize)
	}
	if string(b[:4]) != RecordMagic {
		return Header{}, fmt.Errorf("%w record: begins with %q, not %q", ErrMalformed, b[:4], RecordMagic)
	}
	if b[5] != 0 || b[6] != 0 || b[7] != 0 {
		return Header{}, fmt.Errorf("%w record: reserved bytes are not zero", ErrMalformed)
	}
	nrefs, sealed := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	if nrefs > MaxRefs || sealed > MaxSealed {
		return Header{}, fmt.Errorf("%w record: %d refs and %d sealed bytes, limits are %d and %d",
			ErrMalformed, nrefs, sealed, MaxRefs, MaxSealed)
	}
	h := Header{Kind: Kind(b[4]), ID: ID(b[16:48]), Key: ID(b[48:80]), Refs: int(nrefs), Sealed: int(sealed)}
	return h, checkHeader(h)
}

func checkHeader(h Header) error {
	switch {
	case !h.Kind.Valid():
		return fmt.Errorf("%w record: unknown %s", ErrMalformed, h.Kind)
	case h.ID.IsZero():
		return fmt.Errorf("%w record: zero id", ErrMalformed)
	case h.Refs < 0 || h.Refs > MaxRefs || (h.Refs > 0 && !h.Kind.HasRefs()):
		return fmt.Errorf("%w record %s: a %s can't have %d refs", ErrMalformed, h.ID.Short(), h.Kind, h.Refs)
	case h.Sealed <= 0 || h.Sealed > MaxSealed || (h.Kind == KindKey && h.Sealed > MaxKeyObject):
		return fmt.Errorf("%w record %s: a %s can't have %d sealed bytes", ErrMalformed, h.ID.Short(), h.Kind, h.Sealed)
	case h.Key.IsZero() != (h.Kind == KindKey) || h.Key == h.ID:
		return fmt.Errorf("%w record %s: wrong key object %s for a %s", ErrMalformed, h.ID.Short(), h.Key.Short(), h.Kind)
	}
	return nil
}

// UnmarshalRecord reads the one record that b is, no byte more, and checks its
// checksum and Validate's rules. The record's Sealed bytes share b's memory.
func UnmarshalRecord(b []byte) (*Record, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if len(b) != h.Size() {
		return nil, fmt.Errorf("%w record %s: %d bytes, its header says %d", ErrMalformed, h.ID.Short(), len(b), h.Size())
	}
	body := len(b) - TrailerSize
	if xxhash.Sum64(b[:body]) != binary.BigEndian.Uint64(b[body:]) {
		return nil, fmt.Errorf("record %s: %w", h.ID.Short(), ErrChecksum)
	}
	r := &Record{Kind: h.Kind, ID: h.ID, Key: h.Key, Refs: ParseRefs(b[HeaderSize:], h.Refs)}
	r.Sealed = b[HeaderSize+h.Refs*IDSize : body : body]
	return r, r.Validate()
}

// ParseRefs returns the n ids at the start of b, which must hold them all, or
// nil for n = 0.
func ParseRefs(b []byte, n int) []ID {
	if n == 0 {
		return nil
	}
	refs := make([]ID, n)
	for i := range refs {
		copy(refs[i][:], b[i*IDSize:])
	}
	return refs
}
