package repo

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
)

// errVersion is wrapped by errors about files of a version, feature or setting
// that this program does not know.
var errVersion = errors.New("made by a newer packnback")

// fields takes fixed-width fields off the front of b. After the first one that
// is not there every further one is zero; end reports it.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if f.short || n < 0 || n > len(f.b) {
		f.short = true
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) uint8() uint8 {
	if v := f.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if v := f.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if v := f.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (f *fields) id() (id object.ID) {
	copy(id[:], f.take(object.IDSize))
	return id
}

func (f *fields) session() (id object.SessionID) {
	copy(id[:], f.take(len(id)))
	return id
}

// name takes a length byte and a client's or job's name.
func (f *fields) name(what string) (string, error) {
	s := string(f.take(int(f.uint8())))
	if f.short {
		return "", nil
	}
	if err := object.CheckName(what, s); err != nil {
		return "", fmt.Errorf("%w: %w", object.ErrMalformed, err)
	}
	return s, nil
}

// end reports whether exactly all of b was taken.
func (f *fields) end() error {
	if f.short {
		return fmt.Errorf("%w: truncated", object.ErrMalformed)
	}
	if len(f.b) > 0 {
		return fmt.Errorf("%w: %d bytes too many", object.ErrMalformed, len(f.b))
	}
	return nil
}

func appendName(dst []byte, name string) []byte {
	return append(append(dst, byte(len(name))), name...)
}

// appendSum appends the xxhash of dst[start:].
func appendSum(dst []byte, start int) []byte {
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// openSummed checks the magic and the checksum of a whole file and returns the
// fields between them. The magic's last byte is the version: one that differs
// in nothing else is refused as newer, before its checksum is looked at.
func openSummed(b []byte, magic string, limit int) (*fields, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit is %d", object.ErrMalformed, len(b), limit)
	}
	if len(b) < len(magic)+8 {
		return nil, fmt.Errorf("%w: only %d bytes", object.ErrMalformed, len(b))
	}
	if err := checkMagic(b, magic); err != nil {
		return nil, err
	}
	body := b[:len(b)-8]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return nil, object.ErrChecksum
	}
	return &fields{b: body[len(magic):]}, nil
}

func checkMagic(b []byte, magic string) error {
	last := len(magic) - 1
	switch {
	case len(b) < len(magic) || string(b[:last]) != magic[:last]:
		return fmt.Errorf("%w: doesn't begin with %q", object.ErrMalformed, magic[:last])
	case b[last] > magic[last]:
		return fmt.Errorf("%w: version %d", errVersion, b[last])
	case b[last] != magic[last]:
		return fmt.Errorf("%w: version %d", object.ErrMalformed, b[last])
	}
	return nil
}

// damaged turns a failure to understand the file name into an error for the
// caller, with what to do about it.
func damaged(name string, err error, advice string) error {
	if errors.Is(err, errVersion) {
		return object.CodeVersion.Errorf("%s: %w; use that one", name, err)
	}
	if advice != "" {
		advice = "; " + advice
	}
	return object.CodeDamaged.Errorf("%s is damaged: %w%s", name, err, advice)
}
