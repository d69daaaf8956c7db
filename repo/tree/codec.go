package tree

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/packnback/packnback/repo/object"
)

// magic begins a plaintext; its last byte is the version.
type magic [4]byte

var (
	magicLeaf     = magic{'P', 'N', 'd', 1}
	magicInterior = magic{'P', 'N', 'e', 1}
	magicList     = magic{'P', 'N', 'l', 1}
	magicListNode = magic{'P', 'N', 'm', 1}
	magicSummary  = magic{'P', 'N', 's', 1}
)

// maxNode is the greatest length of a directory or list object's plaintext.
const maxNode = 2 << 20

const (
	maxLeafEntries = 8192
	maxChildren    = 1024
	maxListExtents = 1024
	maxLevel       = 8
	maxFileSize    = 1<<63 - 1
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", object.ErrMalformed, fmt.Errorf(format, args...))
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// decoder takes fields off the front of b. The first field that is not there,
// or not canonical, sets err; every one after it is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed(format, args...)
		d.b = nil
	}
}

// bytes takes n bytes, which share memory with the input.
func (d *decoder) bytes(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		d.fail("truncated")
		return nil
	}
	f := d.b[:n:n]
	d.b = d.b[n:]
	return f
}

func (d *decoder) uint8() uint8 {
	if f := d.bytes(1); f != nil {
		return f[0]
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if f := d.bytes(4); f != nil {
		return binary.BigEndian.Uint32(f)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if f := d.bytes(8); f != nil {
		return binary.BigEndian.Uint64(f)
	}
	return 0
}

// uvarint takes an integer in its shortest form.
func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := uint64(d.b[0])
		d.b = d.b[1:]
		return v
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("truncated or oversized integer")
		return 0
	}
	if n != uvarintLen(v) {
		d.fail("integer %d is not in its shortest form", v)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// count takes an integer that must not exceed limit.
func (d *decoder) count(what string, limit int) int {
	v := d.uvarint()
	if v > uint64(limit) {
		d.fail("%s of %d is over the limit of %d", what, v, limit)
		return 0
	}
	return int(v)
}

// uint32var takes an integer below 2^32.
func (d *decoder) uint32var(what string) uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.fail("%s of %d is over 32 bits", what, v)
		return 0
	}
	return uint32(v)
}

// string takes a string of at most limit bytes.
func (d *decoder) string(what string, limit int) string {
	return string(d.bytes(d.count(what, limit)))
}

// magic takes the first four bytes.
func (d *decoder) magic() magic {
	if f := d.bytes(len(magic{})); f != nil {
		return magic(f)
	}
	return magic{}
}

// end returns the first error, or one about bytes that are left.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	return d.err
}

// checkObject applies the limits that every directory and list object shares.
func checkObject(refs []object.ID, plaintext []byte) error {
	if len(plaintext) > maxNode {
		return malformed("%d bytes are over the limit of %d", len(plaintext), maxNode)
	}
	if len(refs) > object.MaxRefs {
		return malformed("%d refs are over the limit of %d", len(refs), object.MaxRefs)
	}
	return checkDistinct(refs)
}

func checkDistinct(refs []object.ID) error {
	var seen map[object.ID]struct{}
	if len(refs) > linearRefs {
		seen = make(map[object.ID]struct{}, len(refs))
	}
	for i := range refs {
		if refs[i].IsZero() {
			return malformed("ref %d is zero", i)
		}
		if seen != nil {
			if _, ok := seen[refs[i]]; ok {
				return malformed("ref %d is a repetition", i)
			}
			seen[refs[i]] = struct{}{}
			continue
		}
		for j := range i {
			if refs[j] == refs[i] {
				return malformed("ref %d is a repetition", i)
			}
		}
	}
	return nil
}
