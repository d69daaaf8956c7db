package copier

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/packnback/packnback/repo/object"
)

// spill is a file of records that is read in both directions: u32 length of the
// record, the record, the length again. It is gone when its process is.
type spill struct {
	f   *os.File
	end int64
	buf []byte
}

func newSpill(dir string) (*spill, error) {
	f, err := os.CreateTemp(dir, "spill-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spill{f: f}, nil
}

func (s *spill) close() error { return s.f.Close() }

// append adds a record.
func (s *spill) append(rec *object.Record) error {
	s.buf = binary.BigEndian.AppendUint32(s.buf[:0], uint32(rec.Size()))
	s.buf = rec.Append(s.buf)
	s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(rec.Size()))
	if _, err := s.f.WriteAt(s.buf, s.end); err != nil {
		return fmt.Errorf("putting a directory aside in a temporary file: %w", err)
	}
	s.end += int64(len(s.buf))
	return nil
}

// at returns the record that begins at an offset, and where the next one does.
func (s *spill) at(offset int64) (*object.Record, int64, error) {
	n, err := s.length(offset)
	if err != nil {
		return nil, 0, err
	}
	rec, err := s.record(offset+4, n)
	return rec, offset + 4 + n + 4, err
}

// backward yields all records, the last one first.
func (s *spill) backward(yield func(*object.Record) error) error {
	for end := s.end; end > 0; {
		n, err := s.length(end - 4)
		if err != nil {
			return err
		}
		rec, err := s.record(end-4-n, n)
		if err != nil {
			return err
		}
		if err := yield(rec); err != nil {
			return err
		}
		end -= 4 + n + 4
	}
	return nil
}

func (s *spill) length(offset int64) (int64, error) {
	var b [4]byte
	if _, err := s.f.ReadAt(b[:], offset); err != nil {
		return 0, fmt.Errorf("reading a temporary file: %w", err)
	}
	n := binary.BigEndian.Uint32(b[:])
	if n > object.MaxRecord {
		return 0, fmt.Errorf("reading a temporary file: a record of %d bytes", n)
	}
	return int64(n), nil
}

func (s *spill) record(offset, n int64) (*object.Record, error) {
	b := make([]byte, n)
	if _, err := s.f.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("reading a temporary file: %w", err)
	}
	return object.UnmarshalRecord(b)
}
