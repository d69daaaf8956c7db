package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

const (
	// scanWindow is how much a scan reads at a time.
	scanWindow = 1 << 20
	// sparseWindow is how much it reads when it skips the sealed bytes of large
	// records.
	sparseWindow = 4 << 10
	// MaxDamage is how many damaged ranges a scan lists one by one.
	MaxDamage = 1000
)

// Scanned is what a scan found out about a whole pack.
type Scanned struct {
	Sealed  bool   // the pack ends with its seal
	Records uint32 // whole records
	End     int64  // just behind the last whole record; HeaderSize when there is none
	Size    int64  // of the file
	// Torn is how many bytes of a pack that is not sealed follow its last whole
	// record: what a crash left of an append. A sealed pack has none.
	Torn int64
	// Damage lists the ranges in front of End (or of the seal) that hold no whole
	// record, in order. Beyond MaxDamage of them the last one covers the rest.
	Damage []Damage
}

// Damage is a range of a pack that is not what the format says.
type Damage struct {
	Offset, Length int64
	Err            error // why the range's first byte begins no record
}

// Error says where and why.
func (d Damage) Error() string {
	return fmt.Sprintf("%d bytes at offset %d: %v", d.Length, d.Offset, d.Err)
}

// Unwrap returns Err.
func (d Damage) Unwrap() error { return d.Err }

// Scan reads the pack n of type t from f and yields its records in order, with
// their offsets. Checksums are verified. A record is valid until yield
// returns. What is damaged is left out, listed in the result, and skipped up
// to the next whole record; that such a range could hide a record inside
// another one's sealed bytes is no danger, since every reader checks ids. An
// error is returned when f can't be read or yield fails; damage is none.
func Scan(f disk.File, n Name, t Type, yield func(offset uint32, r *object.Record) error) (Scanned, error) {
	s := scanner{file: f, name: n, typ: t, full: true}
	return s.scan(func(off int64, _ object.Header) error { return yield(uint32(off), s.record) })
}

// ScanHeaders is Scan without the checksums: it reads no sealed bytes, and
// yields headers. It finds only damage that shows in them.
func ScanHeaders(f disk.File, n Name, t Type, yield func(offset uint32, h object.Header) error) (Scanned, error) {
	s := scanner{file: f, name: n, typ: t}
	return s.scan(func(off int64, h object.Header) error { return yield(uint32(off), h) })
}

// scanner is one scan under way.
type scanner struct {
	file disk.File
	name Name
	typ  Type
	full bool // read and verify whole records

	out    Scanned
	limit  int64 // where the records end at the latest
	count  uint32
	record *object.Record // the one just parsed, when full

	window []byte // bytes of the file from offset at on
	at     int64
	large  bool  // the record before was larger than a window is worth
	budget int64 // bytes that may still be read in search of whole records
}

// errDamaged marks what is wrong with the bytes and not with reading them.
type errDamaged struct{ error }

func damaged(format string, args ...any) error {
	return errDamaged{fmt.Errorf("%w pack: "+format, append([]any{object.ErrMalformed}, args...)...)}
}

func (s *scanner) scan(yield func(off int64, h object.Header) error) (Scanned, error) {
	if err := s.begin(); err != nil {
		return s.out, s.wrap(err)
	}
	for off := s.out.End; off < s.limit; {
		h, err := s.parse(off)
		var bad errDamaged
		if errors.As(err, &bad) {
			next, err := s.resync(off + 1)
			if err != nil {
				return s.out, s.wrap(err)
			}
			s.damage(Damage{off, next - off, bad.error})
			off = next
			continue
		}
		if err != nil {
			return s.out, s.wrap(err)
		}
		if err := yield(off, h); err != nil {
			return s.out, err
		}
		s.large = h.Size() > scanWindow/32
		off += int64(h.Size())
		s.out.Records++
		s.out.End = off
	}
	s.finish()
	return s.out, nil
}

func (s *scanner) wrap(err error) error {
	return fmt.Errorf("scanning pack %s: %w", s.name, err)
}

// begin looks at the two ends of the pack.
func (s *scanner) begin() error {
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	s.out.Size, s.limit = size, min(size, MaxSize)
	s.out.End = HeaderSize
	s.budget = 4*s.limit + 64<<20
	if size < HeaderSize {
		s.out.End, s.out.Torn, s.limit = size, size, size
		return nil
	}
	head, err := s.bytes(0, HeaderSize)
	if err != nil {
		return err
	}
	if err := checkHeader(head, s.name, s.typ); err != nil {
		s.damage(Damage{0, HeaderSize, err})
	}
	if size > MaxSize || size < HeaderSize+SealSize {
		return nil
	}
	end, err := s.bytes(size-SealSize, SealSize)
	if err != nil {
		return err
	}
	if s.count, s.out.Sealed = parseSeal(end, s.name, s.typ, size-SealSize); s.out.Sealed {
		s.limit = size - SealSize
	}
	return nil
}

// finish tells a torn end from damage and compares with the seal.
func (s *scanner) finish() {
	out := &s.out
	if out.Size > s.limit && !out.Sealed {
		s.damage(Damage{s.limit, out.Size - s.limit, fmt.Errorf("%w pack: longer than %d bytes", object.ErrMalformed, MaxSize)})
	}
	if n := len(out.Damage); !out.Sealed && n > 0 && out.Damage[n-1].Offset >= out.End {
		out.Torn = out.Damage[n-1].Length
		out.Damage = out.Damage[:n-1]
	}
	if out.Sealed && len(out.Damage) == 0 && out.Records != s.count {
		s.damage(Damage{s.limit, SealSize, fmt.Errorf("%w pack: %d records, its seal says %d", object.ErrMalformed, out.Records, s.count)})
	}
}

func (s *scanner) damage(d Damage) {
	if n := len(s.out.Damage); n == MaxDamage {
		last := &s.out.Damage[n-1]
		last.Length = d.Offset + d.Length - last.Offset
		return
	}
	s.out.Damage = append(s.out.Damage, d)
}

// parse reads what is needed of the record at off.
func (s *scanner) parse(off int64) (object.Header, error) {
	left := s.limit - off
	if left < object.HeaderSize {
		return object.Header{}, damaged("%d bytes are too few for a record", left)
	}
	b, err := s.bytes(off, object.HeaderSize)
	if err != nil {
		return object.Header{}, err
	}
	h, err := object.ParseHeader(b)
	if err != nil {
		return h, errDamaged{err}
	}
	if TypeOf(h.Kind) != s.typ {
		return h, damaged("a %s in a %s pack", h.Kind, s.typ)
	}
	if int64(h.Size()) > left {
		return h, damaged("record of %d bytes, %d are left", h.Size(), left)
	}
	if !s.full {
		return h, nil
	}
	if b, err = s.bytes(off, h.Size()); err != nil {
		return h, err
	}
	if s.record, err = object.UnmarshalRecord(b); err != nil {
		return h, errDamaged{err}
	}
	return h, nil
}

// resync returns where the next whole record begins from off on, or the limit.
// Headers alone are weak evidence, so without checksums a record only counts
// when another one, or the end, follows it. Bytes read for candidates that turn
// out false are limited: a file can be made of nothing but beginnings.
func (s *scanner) resync(off int64) (int64, error) {
	s.large = false
	for off+object.HeaderSize <= s.limit && s.budget > 0 {
		if _, err := s.bytes(off, object.HeaderSize); err != nil {
			return 0, err
		}
		b := s.window[off-s.at:] // all that happens to be there
		i := bytes.Index(b, []byte(object.RecordMagic))
		if i < 0 {
			n := int64(len(b) - len(object.RecordMagic) + 1)
			s.budget -= n
			off += n
			continue
		}
		off += int64(i)
		s.budget -= int64(i) + object.HeaderSize
		ok, err := s.plausible(off)
		if ok || err != nil {
			return off, err
		}
		off++
	}
	return s.limit, nil
}

// plausible reports whether a record seems to begin at off, which may be too
// close to the limit for that.
func (s *scanner) plausible(off int64) (bool, error) {
	h, err := s.parse(off)
	if err == nil && !s.full && off+int64(h.Size()) < s.limit {
		_, err = s.parse(off + int64(h.Size()))
	}
	if h.Sealed > 0 && s.full {
		s.budget -= int64(h.Size())
	}
	var bad errDamaged
	if errors.As(err, &bad) {
		return false, nil
	}
	return err == nil, err
}

// bytes returns n bytes at off, which must be below the file's size. They are
// valid until the next call.
func (s *scanner) bytes(off int64, n int) ([]byte, error) {
	if have := s.at + int64(len(s.window)) - off; off >= s.at && have >= int64(n) {
		return s.window[off-s.at:][:n:n], nil
	}
	ahead := scanWindow
	if !s.full && s.large {
		ahead = sparseWindow
	}
	want := int(min(s.out.Size-off, int64(max(n, ahead))))
	if want < n {
		return nil, io.ErrUnexpectedEOF
	}
	kept := 0
	if off >= s.at && off < s.at+int64(len(s.window)) {
		kept = copy(s.window, s.window[off-s.at:])
	}
	if cap(s.window) < want {
		s.window = append(make([]byte, 0, want), s.window[:kept]...)
	}
	s.window = s.window[:want]
	kept = min(kept, want)
	s.at = off
	if got, err := s.file.ReadAt(s.window[kept:], off+int64(kept)); got < want-kept {
		s.window = s.window[:0]
		return nil, err
	}
	return s.window[:n:n], nil
}
