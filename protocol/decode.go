package protocol

import (
	"encoding/binary"

	"github.com/packnback/packnback/repo/object"
)

// decoder takes fields off the front of b. After the first that is missing or
// not allowed all further ones are zero; end says which it was.
type decoder struct {
	b   []byte
	bad string
}

func (d *decoder) take(n int) []byte {
	if d.bad != "" {
		return nil
	}
	if n > len(d.b) {
		d.bad = "truncated"
		return nil
	}
	f := d.b[:n:n]
	d.b = d.b[n:]
	return f
}

// rest takes what remains, which must be min to max bytes long.
func (d *decoder) rest(min, max int) []byte {
	if d.bad == "" && (len(d.b) < min || len(d.b) > max) {
		d.bad = "body of a wrong length"
	}
	return d.take(len(d.b))
}

func (d *decoder) uint8() uint8 {
	if f := d.take(1); f != nil {
		return f[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if f := d.take(2); f != nil {
		return binary.BigEndian.Uint16(f)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if f := d.take(4); f != nil {
		return binary.BigEndian.Uint32(f)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if f := d.take(8); f != nil {
		return binary.BigEndian.Uint64(f)
	}
	return 0
}

func (d *decoder) id() (id object.ID) {
	copy(id[:], d.take(object.IDSize))
	return id
}

// number takes the number of a request, which is never 0.
func (d *decoder) number() uint32 {
	n := d.uint32()
	d.require(n != 0, "request number 0")
	return n
}

// window takes a number of bytes that a stream may send.
func (d *decoder) window() uint32 {
	w := d.uint32()
	d.require(w != 0 && w <= MaxWindow, "window out of range")
	return w
}

// flag takes a byte that is 0 or 1.
func (d *decoder) flag() bool {
	v := d.uint8()
	d.require(v <= 1, "flag is neither 0 nor 1")
	return v == 1
}

// name takes a client or job name; the empty one only where it is optional.
func (d *decoder) name(what string, optional bool) string {
	s := string(d.take(int(d.uint8())))
	if s == "" && optional {
		return s
	}
	d.require(object.CheckName(what, s) == nil, "bad "+what+" name")
	return s
}

// program takes the version text of a program.
func (d *decoder) program() string {
	b := d.take(int(d.uint8()))
	d.require(len(b) <= MaxProgram && printable(b), "program version is not printable")
	return string(b)
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// ids takes what remains as 1 to max ids.
func (d *decoder) ids(max int) []object.ID {
	b := d.rest(object.IDSize, max*object.IDSize)
	d.require(len(b)%object.IDSize == 0, "ids are cut")
	if d.bad != "" {
		return nil
	}
	return object.ParseRefs(b, len(b)/object.IDSize)
}

// require marks the message as bad unless ok, or it already is.
func (d *decoder) require(ok bool, reason string) {
	if !ok && d.bad == "" {
		d.bad = reason
	}
}

// end reports whether exactly all of the payload of a t was taken and allowed.
func (d *decoder) end(t Type) error {
	d.require(len(d.b) == 0, "too long")
	if d.bad != "" {
		return malformed("%s: %s", t, d.bad)
	}
	return nil
}

func appendShort(dst []byte, s string) []byte {
	return append(append(dst, byte(len(s))), s...)
}

func appendFlag(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendIDs(dst []byte, ids []object.ID) []byte {
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}
