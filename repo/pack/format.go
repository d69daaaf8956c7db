package pack

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
)

// Sizes of the format and its limits.
const (
	// HeaderSize is the length of what stands before the first record.
	HeaderSize = 40
	// SealSize is the length of what ends a sealed pack.
	SealSize = 24
	// TargetSize is the length at which a pack should be sealed: large enough
	// that a disk streams it, small enough to be rewritten by a prune in a second.
	TargetSize = 64 << 20
	// MaxSize is the largest length of a pack, far above TargetSize and far below
	// what a 32-bit offset can say.
	MaxSize = 1 << 30
)

// The magics that begin and end a pack; their last byte is the version. They
// differ from a record's in the fourth byte.
const (
	packMagic = "PNBpack\x01"
	sealMagic = "PNBseal\x01"
)

// appendHeader appends a pack's header.
func appendHeader(dst []byte, n Name, t Type) []byte {
	start := len(dst)
	dst = append(dst, packMagic...)
	dst = append(dst, byte(t), 0, 0, 0)
	dst = append(dst, n[:]...)
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// checkHeader checks that b is the header of the pack n of type t.
func checkHeader(b []byte, n Name, t Type) error {
	if string(b) == string(appendHeader(nil, n, t)) {
		return nil
	}
	if len(b) < HeaderSize || string(b[:len(packMagic)]) != packMagic {
		return fmt.Errorf("%w pack header: not a version 1 pack", object.ErrMalformed)
	}
	if xxhash.Sum64(b[:HeaderSize-8]) != binary.BigEndian.Uint64(b[HeaderSize-8:]) {
		return fmt.Errorf("pack header: %w", object.ErrChecksum)
	}
	return fmt.Errorf("%w pack header: it is %s pack %x", object.ErrMalformed, Type(b[8]), b[12:12+NameSize])
}

// appendSeal appends the seal of a pack with that header, whose records end at
// end. The header goes into its checksum, so that it seals no other pack.
func appendSeal(dst []byte, n Name, t Type, records uint32, end int64) []byte {
	start := len(dst)
	dst = append(dst, sealMagic...)
	dst = binary.BigEndian.AppendUint32(dst, records)
	dst = binary.BigEndian.AppendUint32(dst, uint32(end))
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(append(appendHeader(nil, n, t), dst[start:]...)))
}

// parseSeal reports whether b is the seal of the pack n of type t that stands
// at offset end, and how many records it counts.
func parseSeal(b []byte, n Name, t Type, end int64) (records uint32, ok bool) {
	if len(b) != SealSize {
		return 0, false
	}
	records = binary.BigEndian.Uint32(b[8:])
	return records, string(b) == string(appendSeal(nil, n, t, records, end))
}
