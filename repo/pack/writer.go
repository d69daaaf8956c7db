package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

const (
	// writeBuffer is how much of small records a Writer gathers before it calls
	// the file system.
	writeBuffer = 256 << 10
	// directWrite is the length from which sealed bytes go to the file from where
	// they are, since copying them costs more than a call.
	directWrite = 32 << 10
)

// ErrFull says that a record does not fit below MaxSize.
var ErrFull = errors.New("pack is full")

var errClosed = errors.New("pack is closed")

// Writer appends records to one pack. Its methods may be called by several
// goroutines at once; Append does not wait for a Sync under way. After a write
// or a sync that failed every method but Close fails with the same error,
// because nothing is known about the file then.
type Writer struct {
	name Name
	typ  Type
	file disk.File

	syncing sync.Mutex // one sync at a time; taken before mu

	mu      sync.Mutex
	buf     []byte // appended and not yet written
	size    int64  // appended, buf included
	records uint32
	err     error
}

// Create makes the file of a new pack and its folder, and writes the pack's
// header. Making the names durable (SyncDir of Dir and of the name's Folder)
// is the caller's.
func Create(fsys disk.FS, name Name, t Type) (*Writer, error) {
	if !t.Valid() {
		return nil, fmt.Errorf("creating pack %s: unknown %s", name, t)
	}
	if err := fsys.Mkdir(name.Folder()); err != nil {
		return nil, fmt.Errorf("creating pack: %w", err)
	}
	f, err := fsys.Create(name.Path(t))
	if err != nil {
		return nil, fmt.Errorf("creating pack: %w", err)
	}
	buf := make([]byte, 0, writeBuffer)
	return &Writer{name: name, typ: t, file: f, buf: appendHeader(buf, name, t), size: HeaderSize}, nil
}

// Name returns the pack's name.
func (w *Writer) Name() Name { return w.name }

// Type returns the pack's type.
func (w *Writer) Type() Type { return w.typ }

// Size returns the pack's length as if all that was appended were written.
func (w *Writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

// Records returns how many records were appended.
func (w *Writer) Records() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records
}

// Append appends a record and returns where it stands. It is in the file only
// after Flush, and durable only after Sync. A record that breaks the rules of
// object.Record.Validate or belongs in the other type of pack is refused.
func (w *Writer) Append(r *object.Record) (offset, length uint32, err error) {
	if err := r.Validate(); err != nil {
		return 0, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admit(r.Kind, r.Size()); err != nil {
		return 0, 0, err
	}
	if len(r.Sealed) < directWrite {
		w.reserve(r.Size())
		w.buf = r.Append(w.buf)
		return w.appended(r.Size())
	}
	w.reserve(r.Size() - len(r.Sealed))
	start := len(w.buf)
	w.buf = object.AppendHeader(w.buf, r.Kind, r.ID, r.Key, r.Refs, len(r.Sealed))
	sum := xxhash.New()
	sum.Write(w.buf[start:])
	sum.Write(r.Sealed)
	w.flush()
	w.write(r.Sealed)
	w.buf = binary.BigEndian.AppendUint64(w.buf, sum.Sum64())
	return w.appended(r.Size())
}

// AppendEncoded appends one encoded record as it is, after the checks that
// object.UnmarshalRecord makes. It is for copying from pack to pack.
func (w *Writer) AppendEncoded(rec []byte) (offset, length uint32, err error) {
	r, err := object.UnmarshalRecord(rec)
	if err != nil {
		return 0, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admit(r.Kind, len(rec)); err != nil {
		return 0, 0, err
	}
	w.reserve(len(rec))
	if len(rec) > cap(w.buf)-len(w.buf) {
		w.write(rec)
	} else {
		w.buf = append(w.buf, rec...)
	}
	return w.appended(len(rec))
}

// admit checks that a record of kind k and size bytes may be appended now.
func (w *Writer) admit(k object.Kind, size int) error {
	switch {
	case w.err != nil:
		return w.err
	case TypeOf(k) != w.typ:
		return fmt.Errorf("appending to %s pack %s: a %s does not belong there", w.typ, w.name, k)
	case w.size+int64(size)+SealSize > MaxSize:
		return fmt.Errorf("appending to pack %s: %w", w.name, ErrFull)
	}
	return nil
}

// reserve makes room for n bytes in the buffer; where that can't be, it is at
// least empty.
func (w *Writer) reserve(n int) {
	if n > cap(w.buf)-len(w.buf) {
		w.flush()
	}
}

func (w *Writer) appended(size int) (offset, length uint32, err error) {
	if w.err != nil {
		return 0, 0, w.err
	}
	offset = uint32(w.size)
	w.size += int64(size)
	w.records++
	return offset, uint32(size), nil
}

// write writes past the buffer, which must be empty.
func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	if _, err := w.file.Write(b); err != nil {
		w.err = fmt.Errorf("writing pack %s: %w", w.name, err)
	}
}

func (w *Writer) flush() {
	if len(w.buf) > 0 {
		w.write(w.buf)
		w.buf = w.buf[:0]
	}
}

// Flush writes what is buffered to the file, so that those who read the file
// see it. Nothing is durable by that.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.err
}

// Sync makes durable what was appended before it was called, and returns how
// many bytes of the pack those are. The file's name has to be durable, too.
func (w *Writer) Sync() (durable int64, err error) {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.mu.Lock()
	w.flush()
	size, err := w.size, w.err
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if err := w.file.Sync(); err != nil {
		return 0, w.fail(fmt.Errorf("syncing pack %s: %w", w.name, err))
	}
	return size, nil
}

// fail remembers err unless there was an earlier one, and returns what is
// remembered.
func (w *Writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// Seal ends the pack, makes it durable and closes it.
func (w *Writer) Seal() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.mu.Lock()
	w.reserve(SealSize)
	if w.err == nil {
		w.buf = appendSeal(w.buf, w.name, w.typ, w.records, w.size)
		w.flush()
	}
	err := w.err
	if err == nil {
		w.err = errClosed // no record may follow the seal
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("syncing pack %s: %w", w.name, err)
	}
	return w.closeFile()
}

// Close writes what is buffered and closes the file without sealing or syncing
// it. After Seal it does nothing.
func (w *Writer) Close() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.mu.Lock()
	if w.err == nil {
		w.flush()
	}
	err := w.err
	w.err = errClosed
	w.mu.Unlock()
	if errors.Is(err, errClosed) {
		err = nil
	}
	return errors.Join(err, w.closeFile())
}

// closeFile closes the file once. The caller holds syncing.
func (w *Writer) closeFile() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing pack %s: %w", w.name, err)
	}
	return nil
}
