package object

import (
	"encoding/binary"
	"fmt"
)

// decoder takes fields off the front of b. After the first field that is not
// there every further one is zero; end reports it.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if d.short || n < 0 || n > len(d.b) {
		d.short = true
		return nil
	}
	f := d.b[:n:n]
	d.b = d.b[n:]
	return f
}

func (d *decoder) uint8() uint8 {
	if f := d.take(1); f != nil {
		return f[0]
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

// end reports whether exactly all of b was taken.
func (d *decoder) end(what string) error {
	if d.short {
		return fmt.Errorf("%w %s: truncated", ErrMalformed, what)
	}
	if len(d.b) > 0 {
		return fmt.Errorf("%w %s: %d bytes too many", ErrMalformed, what, len(d.b))
	}
	return nil
}
