package table

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/internal/disk"
)

// writeBuffer is how much a Writer gathers before it calls the file system.
const writeBuffer = 128 << 10

func checksum(b []byte) uint64 { return xxhash.Sum64(b) }

// Writer writes one table from rows that come in order. It holds a counter for
// each of 65,536 key prefixes and 8 bytes for each block, about 1 MiB for fifty
// million rows. A Writer is for one goroutine.
type Writer struct {
	layout Layout
	out    *bufio.Writer
	block  []byte // rows that don't fill a block yet
	last   []byte // the row before; empty before the first
	rows   int
	sums   []byte
	counts []uint32 // rows for each value of the key's first 16 bits
	err    error    // the first failure; every later call returns it

	fsys FS // nil when the Writer was given an io.Writer
	name string
	file disk.File
}

// NewWriter returns a Writer that appends a table to w, where other things may
// stand before and after it. Close then leaves w open.
func NewWriter(w io.Writer, l Layout) (*Writer, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	tw := &Writer{
		layout: l,
		out:    bufio.NewWriterSize(w, writeBuffer),
		block:  make([]byte, 0, l.perBlock()*l.Row),
		last:   make([]byte, 0, l.Row),
		counts: make([]uint32, 1<<maxFanBits),
	}
	tw.write(l.appendHead(nil))
	return tw, nil
}

// Create returns a Writer of the new file name. The file is not durable and
// must not be read by others before Close; publishing it under its final name
// is the caller's.
func Create(fsys FS, name string, l Layout) (*Writer, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	f, err := fsys.Create(name)
	if err != nil {
		return nil, fmt.Errorf("creating table: %w", err)
	}
	w, err := NewWriter(f, l)
	if err != nil {
		return nil, errors.Join(err, f.Close(), fsys.Remove(name))
	}
	w.fsys, w.name, w.file = fsys, name, f
	return w, nil
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	if _, err := w.out.Write(b); err != nil {
		w.err = fmt.Errorf("writing table %q: %w", w.name, err)
	}
}

// Add appends a row, which is copied. Rows must come in ascending order of all
// their bytes; equal ones may repeat.
func (w *Writer) Add(row []byte) error {
	switch {
	case w.err != nil:
	case len(row) != w.layout.Row:
		w.err = fmt.Errorf("writing table %q: row of %d bytes, want %d", w.name, len(row), w.layout.Row)
	case bytes.Compare(w.last, row) > 0:
		w.err = fmt.Errorf("writing table %q: row %d is out of order", w.name, w.rows)
	case uint64(w.rows) == MaxRows:
		w.err = fmt.Errorf("writing table %q: more than %d rows", w.name, uint64(MaxRows))
	default:
		w.last = append(w.last[:0], row...)
		w.rows++
		w.counts[prefix(row[:w.layout.Key])>>(64-maxFanBits)]++
		w.block = append(w.block, row...)
		if len(w.block) == cap(w.block) {
			w.flushBlock()
		}
	}
	return w.err
}

func (w *Writer) flushBlock() {
	if len(w.block) == 0 {
		return
	}
	w.sums = binary.BigEndian.AppendUint64(w.sums, checksum(w.block))
	w.write(w.block)
	w.block = w.block[:0]
}

// Len returns how many rows were added.
func (w *Writer) Len() int { return w.rows }

// Size returns the length of the table in bytes if it were closed now.
func (w *Writer) Size() int64 {
	l := w.layout
	return headSize + int64(w.rows)*int64(l.Row) + int64(l.blocks(w.rows))*sumSize + countSize<<fanBits(w.rows) + tailSize
}

// Close completes the table. A file that Create made is synced and closed, and
// removed when anything failed.
func (w *Writer) Close() error { return w.close(true) }

// close leaves out the sync for files that nobody needs after a crash.
func (w *Writer) close(sync bool) error {
	w.flushBlock()
	w.write(w.appendEnd(nil))
	if w.err == nil {
		if err := w.out.Flush(); err != nil {
			w.err = fmt.Errorf("writing table %q: %w", w.name, err)
		}
	}
	if w.err == nil && w.file != nil && sync {
		if err := w.file.Sync(); err != nil {
			w.err = fmt.Errorf("syncing table %q: %w", w.name, err)
		}
	}
	if w.err != nil {
		return errors.Join(w.err, w.Discard())
	}
	w.err = errors.New("table is closed")
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return errors.Join(fmt.Errorf("closing table %q: %w", w.name, err), w.fsys.Remove(w.name))
	}
	return nil
}

// appendEnd appends what follows the rows: block checksums, fan-out and tail.
func (w *Writer) appendEnd(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, w.sums...)
	bits := fanBits(w.rows)
	total, width := uint32(0), len(w.counts)>>bits
	for i, n := range w.counts {
		total += n
		if (i+1)%width == 0 {
			dst = binary.BigEndian.AppendUint32(dst, total)
		}
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(w.rows))
	dst = binary.BigEndian.AppendUint32(dst, uint32(bits))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = append(dst, w.layout.Magic[:]...)
	return binary.BigEndian.AppendUint64(dst, checksum(dst[start:]))
}

// Discard removes the unfinished file. After Close it does nothing, so it may
// be deferred.
func (w *Writer) Discard() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	if w.err == nil {
		w.err = errors.New("table was discarded")
	}
	return errors.Join(f.Close(), w.fsys.Remove(w.name))
}
