package statcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// walkMagic begins a walk file; its last byte is the version.
const walkMagic = "PNBwalk\x01"

const (
	walkHeader  = len(walkMagic) + bindingSize
	blockHeader = 4 + 4 + 8
	// blockTarget is the payload length at which a block is written out. It is
	// what a run that is killed forgets at most, and small enough that checking
	// a block's sum happens in the processor's cache.
	blockTarget = 64 << 10
	// maxBlock bounds a block, and so a record: a block has at least one.
	maxBlock = 64 << 20
	// maxWalkPath bounds a path, which a descent makes longer than PATH_MAX.
	maxWalkPath = 4 << 20
)

// ErrDamaged is wrapped by every error that says a walk file is not what was
// written. Damage to tables wraps table.ErrDamaged.
var ErrDamaged = errors.New("damaged walk file")

// The types of record in a walk file.
const (
	recordEntry = 1 // a path: stat section and the rest
	recordInner = 2 // further object ids that belong to the entry before
)

// walkFile is what a walk file needs of an open file of table.FS.
type walkFile interface {
	io.Writer
	io.Closer
	Sync() error
	Size() (int64, error)
	Map() ([]byte, error)
}

// walkWriter writes records in walk order. Blocks are written as they fill and
// stand on their own, so that a cut-off file is good up to its last one.
type walkWriter struct {
	f       walkFile
	payload []byte
	scratch []byte
	path    []byte // of the record before, for the shared prefix
	count   uint32 // records in payload
	total   uint64
}

func createWalk(fsys table.FS, name string, b bindingHash) (*walkWriter, error) {
	f, err := fsys.Create(name)
	if err != nil {
		return nil, fmt.Errorf("cache: creating %q: %w", name, err)
	}
	w := &walkWriter{f: f}
	if _, err := f.Write(append([]byte(walkMagic), b[:]...)); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cache: writing %q: %w", name, err)
	}
	return w, nil
}

// add appends one record whose body is the given pieces end to end.
func (w *walkWriter) add(path []byte, typ byte, body ...[]byte) error {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	if n > maxBlock-maxWalkPath-64 || len(path) > maxWalkPath {
		return fmt.Errorf("cache: record of %d bytes for a path of %d is too long", n, len(path))
	}
	if len(w.payload) > 0 && len(w.payload)+n > blockTarget {
		if err := w.flush(); err != nil {
			return err
		}
	}
	shared := 0
	if w.count > 0 {
		m := min(len(path), len(w.path))
		for shared < m && path[shared] == w.path[shared] {
			shared++
		}
	}
	p := binary.AppendUvarint(w.payload, uint64(shared))
	p = binary.AppendUvarint(p, uint64(len(path)-shared))
	p = append(p, path[shared:]...)
	p = append(p, typ)
	p = binary.AppendUvarint(p, uint64(n))
	for _, b := range body {
		p = append(p, b...)
	}
	w.payload = p
	w.path = append(w.path[:0], path...)
	w.count++
	w.total++
	return nil
}

func (w *walkWriter) flush() error {
	if w.count == 0 {
		return nil
	}
	err := w.block(w.count, w.payload)
	w.payload, w.count = w.payload[:0], 0
	return err
}

func (w *walkWriter) block(count uint32, payload []byte) error {
	b := append(w.scratch[:0], make([]byte, blockHeader)...)
	binary.BigEndian.PutUint32(b, uint32(len(payload)))
	binary.BigEndian.PutUint32(b[4:], count)
	b = append(b, payload...)
	binary.BigEndian.PutUint64(b[8:], blockSum(b))
	w.scratch = b
	if _, err := w.f.Write(b); err != nil {
		return fmt.Errorf("cache: writing walk file: %w", err)
	}
	return nil
}

// blockSum is the checksum of the encoded block b: its two lengths and its
// payload.
func blockSum(b []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(b[:8]) // a Digest never fails
	_, _ = d.Write(b[blockHeader:])
	return d.Sum64()
}

// finish ends the file with the block that says it is complete: no records,
// and their total.
func (w *walkWriter) finish(sync bool) error {
	err := w.flush()
	if err == nil {
		err = w.block(0, binary.BigEndian.AppendUint64(nil, w.total))
	}
	if err == nil && sync {
		err = w.f.Sync()
	}
	return errors.Join(err, w.f.Close())
}

// abandon closes the file as it is; complete blocks stay readable.
func (w *walkWriter) abandon() error { return w.f.Close() }

// walkReader reads the records of a mapped walk file.
type walkReader struct {
	f        walkFile
	data     []byte // the whole file
	end      int    // end of the last good block
	complete bool   // the end block is there
	last     []byte // path of the last record

	next    int    // offset of the next block
	payload []byte // what is left of the current block
	path    []byte
	typ     byte
	body    []byte
}

// openWalk maps a walk file and checks all of it. A file without its end block
// is good up to the last whole block; with complete set it is refused.
func openWalk(fsys table.FS, name string, b bindingHash, complete bool) (*walkReader, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cache: opening %q: %w", name, err)
	}
	data, err := f.Map()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cache: mapping %q: %w", name, err)
	}
	r := &walkReader{f: f, data: data}
	if err = r.check(b); err == nil && complete && !r.complete {
		err = fmt.Errorf("%w: not complete", ErrDamaged)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cache: %q: %w", name, err)
	}
	r.rewind()
	return r, nil
}

// check verifies every block and the form of every record in it, so that
// reading in step with the walk can't fail.
func (r *walkReader) check(b bindingHash) error {
	if len(r.data) < walkHeader || string(r.data[:len(walkMagic)]) != walkMagic {
		return fmt.Errorf("%w: not a version 1 walk file", ErrDamaged)
	}
	if bindingHash(r.data[len(walkMagic):walkHeader]) != b {
		return fmt.Errorf("%w: it belongs to another repository, key, client or job", ErrDamaged)
	}
	r.end = walkHeader
	total := uint64(0)
	for off := walkHeader; off < len(r.data); {
		block, count, ok := blockAt(r.data[off:])
		if !ok || r.complete {
			break
		}
		payload := block[blockHeader:]
		if count == 0 {
			if len(payload) != 8 || binary.BigEndian.Uint64(payload) != total {
				return fmt.Errorf("%w: its end block does not fit", ErrDamaged)
			}
			r.complete = true
		}
		r.payload, r.path = payload, r.path[:0]
		n := uint32(0)
		for count > 0 && len(r.payload) > 0 {
			if !r.parse(n == 0) {
				return fmt.Errorf("%w: record %d", ErrDamaged, total)
			}
			if !r.follows(total == 0) {
				return fmt.Errorf("%w: record %d is out of order", ErrDamaged, total)
			}
			r.last = append(r.last[:0], r.path...)
			n, total = n+1, total+1
		}
		if n != count {
			return fmt.Errorf("%w: %d records in a block of %d", ErrDamaged, n, count)
		}
		off += len(block)
		if count > 0 {
			r.end = off
		}
	}
	return nil
}

// follows reports whether the record just parsed may stand after r.last: inner
// ids right after their path, everything else in walk order. It checks the
// form of the body too.
func (r *walkReader) follows(first bool) bool {
	if r.typ == recordInner {
		return !first && string(r.path) == string(r.last) && len(r.body)%object.IDSize == 0
	}
	_, err := splitRaw(r.body)
	return err == nil && (first || Compare(r.last, r.path) < 0)
}

// blockAt returns the whole block at the start of b if there is a good one.
func blockAt(b []byte) (block []byte, count uint32, ok bool) {
	if len(b) < blockHeader {
		return nil, 0, false
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxBlock || int(n) > len(b)-blockHeader {
		return nil, 0, false
	}
	block = b[: blockHeader+int(n) : blockHeader+int(n)]
	return block, binary.BigEndian.Uint32(b[4:]), blockSum(block) == binary.BigEndian.Uint64(b[8:])
}

func (r *walkReader) rewind() { r.next, r.payload = walkHeader, nil }

// read moves to the next record: r.path, r.typ and r.body. The body stays valid
// until close, the path until the next read. io.EOF ends it.
func (r *walkReader) read() error {
	first := false
	if len(r.payload) == 0 {
		if r.next >= r.end {
			return io.EOF
		}
		n := int(binary.BigEndian.Uint32(r.data[r.next:]))
		r.payload = r.data[r.next+blockHeader:][:n:n]
		r.next += blockHeader + n
		r.path = r.path[:0]
		first = true
	}
	if !r.parse(first) {
		return fmt.Errorf("cache: %w: it changed while it was read", ErrDamaged)
	}
	return nil
}

// parse takes one record off r.payload.
func (r *walkReader) parse(first bool) bool {
	b := r.payload
	shared, b, ok1 := uvarint(b)
	n, b, ok2 := uvarint(b)
	if !ok1 || !ok2 || first && shared != 0 || shared > uint64(len(r.path)) || n > uint64(len(b)) || shared+n > maxWalkPath {
		return false
	}
	r.path = append(r.path[:shared], b[:n]...)
	if b = b[n:]; len(b) == 0 {
		return false
	}
	r.typ = b[0]
	n, b, ok := uvarint(b[1:])
	if !ok || n > uint64(len(b)) || r.typ != recordEntry && r.typ != recordInner {
		return false
	}
	r.body, r.payload = b[:n:n], b[n:]
	return true
}

func (r *walkReader) close() error { return r.f.Close() }

// uvarint takes an unsigned varint off b.
func uvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
