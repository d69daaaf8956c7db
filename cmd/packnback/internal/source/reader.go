package source

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// Reader reads one open file. It is not safe for concurrent use, but for
// ReadAt.
type Reader struct {
	fd     int // of a regular file, so no poller is needed
	source string
	stat   Stat
}

func newReader(fd int, source string) (*Reader, error) {
	r := &Reader{fd: fd, source: source}
	var err error
	if r.stat, err = r.Restat(); err == nil && r.stat.Type != tree.TypeFile {
		err = fmt.Errorf("opening %q: %w", source, ErrChanged)
	}
	if err != nil {
		_ = r.Close() // only read from
		return nil, err
	}
	return r, nil
}

// Stat returns what the file's metadata were when it was opened; they are
// fresher than the Item's.
func (r *Reader) Stat() Stat { return r.stat }

// Restat asks for the file's metadata again, to see whether it changed while
// it was read.
func (r *Reader) Restat() (Stat, error) {
	f := folder{fd: r.fd}
	s, err := f.self()
	if err != nil && !errors.Is(err, errSocket) {
		return s, fmt.Errorf("examining %q: %w", r.source, err)
	}
	return s, nil
}

// Read reads on from where the last Read ended.
func (r *Reader) Read(p []byte) (int, error) {
	return r.read(p, func() (int, error) { return unix.Read(r.fd, p) })
}

// ReadAt reads at an offset.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		rest := p[done:]
		n, err := r.read(rest, func() (int, error) { return unix.Pread(r.fd, rest, off+int64(done)) })
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (r *Reader) read(p []byte, call func() (int, error)) (int, error) {
	var n int
	err := retry(func() (err error) { n, err = call(); return err })
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading %q: %w", r.source, err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Close closes the file.
func (r *Reader) Close() error {
	fd := r.fd
	r.fd = -1
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}

// Segment is a run of a file: data, or a hole that reads as zeros.
type Segment struct {
	Offset, Length uint64
	Hole           bool
}

// Section returns a reader of one segment's bytes.
func (r *Reader) Section(s Segment) *io.SectionReader {
	return io.NewSectionReader(r, int64(s.Offset), int64(s.Length))
}

// Segments yields the file's first size bytes in order as runs of data and
// holes; neighbours differ, and holes shorter than minHole count as data. A
// file system that can't tell gives one run of data. The file's read position
// moves.
func (r *Reader) Segments(size, minHole uint64, yield func(Segment) error) error {
	var at uint64 // all before is yielded
	for pos := uint64(0); pos < size; {
		hole, data, err := r.nextHole(pos, size)
		if err != nil {
			return err
		}
		if data-hole >= max(minHole, 1) {
			if hole > at {
				if err := yield(Segment{Offset: at, Length: hole - at}); err != nil {
					return err
				}
			}
			if err := yield(Segment{Offset: hole, Length: data - hole, Hole: true}); err != nil {
				return err
			}
			at = data
		}
		pos = data
	}
	if at < size {
		return yield(Segment{Offset: at, Length: size - at})
	}
	return nil
}

// nextHole returns the first hole at or after pos as [hole, data), both size
// when there is none.
func (r *Reader) nextHole(pos, size uint64) (hole, data uint64, err error) {
	hole, err = r.seek(pos, size, unix.SEEK_HOLE)
	if err != nil || hole >= size {
		return size, size, err
	}
	data, err = r.seek(hole, size, unix.SEEK_DATA)
	return hole, data, err
}

// seek is lseek(2), bounded by size. ENXIO is the end of the file: what it
// lacks is no hole in it, since the caller reads until EOF.
func (r *Reader) seek(pos, size uint64, whence int) (uint64, error) {
	n, err := unix.Seek(r.fd, int64(pos), whence)
	switch {
	case err == unix.ENXIO:
		return size, nil
	case err == unix.EINVAL || err == unix.EOPNOTSUPP:
		return size, nil // a file system without holes
	case err != nil:
		return 0, fmt.Errorf("looking for holes in %q: %w", r.source, err)
	}
	return min(uint64(n), size), nil
}
