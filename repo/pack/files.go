package pack

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// MaxRead is the largest number of bytes that Files reads at once: the largest
// record, or a range of smaller ones.
const MaxRead = 16 << 20

// Files reads from packs and keeps the files it used last open. Its methods
// may be called by several goroutines at once. A pack that is gone gives an
// error that wraps fs.ErrNotExist: it may have been rewritten, and the caller
// looks into the index again.
type Files struct {
	fsys disk.FS
	max  int

	mu    sync.Mutex
	open  map[fileKey]*list.Element // of *openFile
	order list.List                 // most recently used first
}

type fileKey struct {
	name Name
	typ  Type
}

// openFile is closed when nobody uses it and the cache has let go of it.
type openFile struct {
	key   fileKey
	file  disk.File
	users int
	gone  bool // no longer in the cache
}

// NewFiles returns a Files that keeps at most max files open beside those that
// are being read at the moment.
func NewFiles(fsys disk.FS, max int) *Files {
	return &Files{fsys: fsys, max: max, open: make(map[fileKey]*list.Element)}
}

// Record returns the record of length bytes at offset. Its checksum and form
// are verified, and that it belongs in a pack of type t; that it has the id it
// should have is for the caller to check. The record has its memory to itself.
func (f *Files) Record(n Name, t Type, offset, length uint32) (*object.Record, error) {
	b, err := f.Read(nil, n, t, offset, length)
	if err != nil {
		return nil, err
	}
	r, err := object.UnmarshalRecord(b)
	if err != nil {
		return nil, fmt.Errorf("reading at %d of pack %s: %w", offset, n, err)
	}
	if TypeOf(r.Kind) != t {
		return nil, fmt.Errorf("reading at %d of pack %s: %w record: a %s in a %s pack", offset, n, object.ErrMalformed, r.Kind, t)
	}
	return r, nil
}

// Read appends length bytes from offset on to dst, whatever they are; at most
// MaxRead. A pack that ends before them is malformed.
func (f *Files) Read(dst []byte, n Name, t Type, offset, length uint32) ([]byte, error) {
	if length > MaxRead || int64(offset)+int64(length) > MaxSize {
		return dst, fmt.Errorf("%w range of pack %s: %d bytes at %d", object.ErrMalformed, n, length, offset)
	}
	of, err := f.acquire(fileKey{n, t})
	if err != nil {
		return dst, fmt.Errorf("opening pack: %w", err)
	}
	defer f.release(of)
	start := len(dst)
	dst = append(dst, make([]byte, length)...)
	if got, err := of.file.ReadAt(dst[start:], int64(offset)); got < int(length) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w pack: it ends after %d of them", object.ErrMalformed, got)
		}
		return dst[:start], fmt.Errorf("reading %d bytes at %d of pack %s: %w", length, offset, n, err)
	}
	return dst, nil
}

// Drop lets go of a pack's file, so that the disk space of a pack that is
// unlinked next becomes free. Reads under way end undisturbed.
func (f *Files) Drop(n Name, t Type) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if el, ok := f.open[fileKey{n, t}]; ok {
		f.evict(el)
	}
}

// Close lets go of all files. Reading again opens them again.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for f.order.Len() > 0 {
		errs = append(errs, f.evict(f.order.Back()))
	}
	return errors.Join(errs...)
}

// acquire returns the open file of a pack. The lock is not held while a file
// is opened, so two may open the same one; the second then uses the first's.
func (f *Files) acquire(k fileKey) (*openFile, error) {
	if of := f.lookup(k); of != nil {
		return of, nil
	}
	file, err := f.fsys.Open(k.name.Path(k.typ))
	if err != nil {
		return nil, err
	}
	if of := f.lookup(k); of != nil {
		return of, file.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	of := &openFile{key: k, file: file, users: 1}
	if old, ok := f.open[k]; ok {
		f.evict(old)
	}
	f.open[k] = f.order.PushFront(of)
	for f.order.Len() > f.max {
		f.evict(f.order.Back())
	}
	return of, nil
}

func (f *Files) lookup(k fileKey) *openFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	el, ok := f.open[k]
	if !ok {
		return nil
	}
	f.order.MoveToFront(el)
	of := el.Value.(*openFile)
	of.users++
	return of
}

func (f *Files) release(of *openFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of.users--
	if of.users == 0 && of.gone {
		of.file.Close() // only ever read from: nothing can be lost
	}
}

// evict takes a file out of the cache and closes it unless it is in use. The
// caller holds mu.
func (f *Files) evict(el *list.Element) error {
	of := f.order.Remove(el).(*openFile)
	delete(f.open, of.key)
	of.gone = true
	if of.users > 0 {
		return nil
	}
	return of.file.Close()
}
