package object

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// snapshotMagic begins a snapshot file; its last byte is the version.
const snapshotMagic = "PNBsnap\x01"

// MaxSnapshot is the largest length of an encoded Snapshot.
const MaxSnapshot = len(snapshotMagic) + 8 + 4 + 8*8 + 4 + MaxLink + 4 + MaxSealedPart + 8

// Flags are the store's remarks on a snapshot.
type Flags uint32

// The flags of packnback-repository(5), "Snapshot files".
const (
	FlagMostlyNew Flags = 1 << 0 // most of the snapshot's bytes were not in the one before
	FlagMostlyOld Flags = 1 << 1 // most of the snapshot before is gone
	FlagRate      Flags = 1 << 2 // far above the client's median growth
	FlagNewSigner Flags = 1 << 3 // signed by another key than the one before
	FlagCleared   Flags = 1 << 4 // an administrator has acknowledged the snapshot
	FlagForgotten Flags = 1 << 5 // only the signed link is left (see Snapshot.Forgotten)
	FlagLeftOut   Flags = 1 << 6 // not copied to this replica; only the signed link is here
	flagsKnown    Flags = 1<<7 - 1
)

// Unusual reports whether a snapshot with flags f brakes retention.
func (f Flags) Unusual() bool {
	return f&FlagCleared == 0 && f&(FlagMostlyNew|FlagMostlyOld|FlagRate|FlagNewSigner) != 0
}

// Measures are what the store counted when a snapshot was committed, without
// any key. All are in bytes of stored records or in numbers of objects.
type Measures struct {
	NewObjects  uint64 // objects this upload put
	NewBytes    uint64 // bytes of their records
	NewContent  uint64 // bytes of those that are chunks or bundles
	AllObjects  uint64 // objects reachable from the snapshot, as far as the store counted
	AllBytes    uint64 // bytes of their records
	GoneObjects uint64 // objects reachable from the snapshot before and not from this one
	GoneBytes   uint64 // bytes of their records
}

// Snapshot is one committed snapshot: the store's envelope around the signed
// manifest and its sealed part. Only Manifest and Sealed come from the sender.
type Snapshot struct {
	Received  int64 // the store's clock at commit, nanoseconds since 1970; strictly rising in a repository
	Flags     Flags
	Forgotten int64 // store's clock when it was forgotten; 0 while it is not
	Measures  Measures
	Manifest  *Manifest
	Sealed    []byte // the manifest's sealed part; nil where only the link is left
}

// ID returns the snapshot's id.
func (s *Snapshot) ID() ID { return s.Manifest.ID() }

// Append appends the encoding of s. UnmarshalSnapshot is its inverse.
func (s *Snapshot) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Received))
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Flags))
	m := &s.Measures
	for _, v := range [...]uint64{uint64(s.Forgotten), m.NewObjects, m.NewBytes, m.NewContent, m.AllObjects, m.AllBytes, m.GoneObjects, m.GoneBytes} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	link := s.Manifest.Append(nil)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(link)))
	dst = append(dst, link...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.Sealed)))
	dst = append(dst, s.Sealed...)
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// UnmarshalSnapshot reads the one snapshot that b is, no byte more. It checks
// the checksum, the limits, the manifest's form and that the sealed part is
// the one the manifest names; it does not verify the signature.
func UnmarshalSnapshot(b []byte) (*Snapshot, error) {
	if len(b) > MaxSnapshot || len(b) < len(snapshotMagic)+8 {
		return nil, fmt.Errorf("%w snapshot: %d bytes", ErrMalformed, len(b))
	}
	body := b[:len(b)-8]
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w snapshot: not a version 1 snapshot file", ErrMalformed)
	}
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return nil, fmt.Errorf("snapshot: %w", ErrChecksum)
	}
	d := decoder{b: body[len(snapshotMagic):]}
	s := &Snapshot{Received: int64(d.uint64()), Flags: Flags(d.uint32())}
	s.Forgotten = int64(d.uint64())
	m := &s.Measures
	for _, v := range [...]*uint64{&m.NewObjects, &m.NewBytes, &m.NewContent, &m.AllObjects, &m.AllBytes, &m.GoneObjects, &m.GoneBytes} {
		*v = d.uint64()
	}
	link := d.take(int(d.uint32()))
	sealed := d.take(int(d.uint32()))
	if err := d.end("snapshot"); err != nil {
		return nil, err
	}
	if s.Flags&^flagsKnown != 0 || (s.Flags&FlagForgotten != 0) != (s.Forgotten != 0) || s.Flags&FlagLeftOut != 0 && s.Forgotten != 0 {
		return nil, fmt.Errorf("%w snapshot: unknown or contradictory flags %#x", ErrMalformed, uint32(s.Flags))
	}
	var err error
	if s.Manifest, err = UnmarshalManifest(link); err != nil {
		return nil, err
	}
	if len(sealed) > MaxSealedPart {
		return nil, fmt.Errorf("%w snapshot: sealed part of %d bytes", ErrMalformed, len(sealed))
	}
	if len(sealed) > 0 {
		if s.Flags&FlagLeftOut != 0 {
			return nil, fmt.Errorf("%w snapshot: left out, with a sealed part", ErrMalformed)
		}
		if HashID(sealed) != s.Manifest.SealedHash {
			return nil, fmt.Errorf("%w snapshot: sealed part is not the one the manifest names", ErrMalformed)
		}
		s.Sealed = sealed
	} else if s.Flags&(FlagForgotten|FlagLeftOut) == 0 {
		return nil, fmt.Errorf("%w snapshot: no sealed part", ErrMalformed)
	}
	return s, nil
}
