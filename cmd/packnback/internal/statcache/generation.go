package statcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// The kinds of file of a generation, which begin their names.
const (
	walkKind    = "walk"
	contentKind = "content"
	objectsKind = "objects"
)

// Generation is what one finished backup left. Its lookups are safe for
// concurrent use.
type Generation struct {
	Base object.ID // the snapshot it describes
	Root object.ID // the snapshot's root directory

	header  *header
	walk    *walkReader
	content *table.Table
	objects *table.Table
}

// openGeneration opens the three files and checks all of the walk; the blocks
// of tables are checked as they are touched.
func openGeneration(fsys table.FS, h *header) (g *Generation, err error) {
	g = &Generation{Base: h.base, Root: h.root, header: h}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
			g = nil
		}
	}()
	for _, part := range [...]struct {
		stored stored
		kind   string
	}{{h.walk, walkKind}, {h.content, contentKind}, {h.objects, objectsKind}} {
		entry, err := fsys.Stat(part.stored.name(part.kind))
		if err != nil {
			return g, err
		}
		if uint64(entry.Size) != part.stored.size {
			return g, fmt.Errorf("%q has %d bytes, not %d", entry.Name, entry.Size, part.stored.size)
		}
	}
	if g.walk, err = openWalk(fsys, h.walk.name(walkKind), h.binding, true); err != nil {
		return g, err
	}
	if g.content, err = table.Open(fsys, h.content.name(contentKind), contentLayout); err != nil {
		return g, err
	}
	g.objects, err = table.Open(fsys, h.objects.name(objectsKind), objectLayout)
	return g, err
}

func (g *Generation) close() error {
	var errs []error
	if g.walk != nil {
		errs = append(errs, g.walk.close())
	}
	for _, t := range [...]*table.Table{g.content, g.objects} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	return errors.Join(errs...)
}

// Has reports whether the base snapshot reaches the object id.
func (g *Generation) Has(id object.ID) (bool, error) { return g.objects.Has(id[:]) }

// Objects calls yield for every object that the base snapshot reaches, in
// ascending order of ids, until it returns false.
func (g *Generation) Objects(yield func(id object.ID) bool) error {
	for row, err := range g.objects.Rows(0) {
		if err != nil {
			return err
		}
		if !yield(object.ID(row[:object.IDSize])) {
			return nil
		}
	}
	return nil
}

// Sparse calls yield for every bundle of which less than half is still
// some file's contents, with the number of bytes that are, until it returns
// false. Half, because what is dead then costs as much as sending the rest again
// would; sooner, and old snapshots would keep both for longer than it pays.
func (g *Generation) Sparse(yield func(bundle object.ID, live int64) bool) error {
	for row, err := range g.objects.Rows(0) {
		if err != nil {
			return err
		}
		if objectRowKind(row) == object.KindBundle && rowCount(row) < int64(objectRowLength(row))/2 {
			if !yield(object.ID(row[:object.IDSize]), rowCount(row)) {
				return nil
			}
		}
	}
	return nil
}

// Places calls yield for every place where the base snapshot has the contents
// of that content id, until it returns false.
func (g *Generation) Places(content object.ID, yield func(Place) bool) error {
	i, ok, err := g.content.Find(content[:])
	for ; ok && err == nil && i < g.content.Len(); i++ {
		var row []byte
		row, err = g.content.Row(i)
		if err != nil || object.ID(row[:object.IDSize]) != content || !yield(contentRowPlace(row)) {
			break
		}
	}
	return err
}

// Walk returns a cursor at the first record.
func (g *Generation) Walk() *Walk { return newWalk(g.walk) }

// Walk reads walk files in step with a walk. It is for one goroutine.
type Walk struct {
	files []*walkReader // the rest of them, in order; each goes on where the one before ended
	after []byte        // what the file before ended with; records up to it are skipped
	held  bool          // path and raw are a record that nobody has asked for yet
	path  []byte
	raw   Raw
}

func newWalk(files ...*walkReader) *Walk {
	for _, f := range files {
		f.rewind()
	}
	return &Walk{files: files}
}

// hold makes path and raw the next record unless they are one already. io.EOF
// says that there is none. Inner ids that nobody asked for are skipped.
func (w *Walk) hold() error {
	for !w.held {
		if len(w.files) == 0 {
			return io.EOF
		}
		r := w.files[0]
		err := r.read()
		if err == io.EOF {
			w.after = append(w.after[:0], r.last...)
			w.files = w.files[1:]
			continue
		}
		if err != nil {
			return err
		}
		if r.typ != recordEntry || len(w.after) > 0 && Compare(r.path, w.after) <= 0 {
			continue
		}
		if w.raw, err = splitRaw(r.body); err != nil {
			return err
		}
		w.path, w.held = r.path, true
	}
	return nil
}

// Seek moves forward to path and returns its record; ok is false when there is
// none. Every record passed over belongs to a path that is gone, and is handed
// to gone, which may be nil. The path given to gone is valid during the call.
func (w *Walk) Seek(path []byte, gone func(path []byte, raw Raw) error) (raw Raw, ok bool, err error) {
	for {
		if err := w.hold(); err == io.EOF {
			return Raw{}, false, nil
		} else if err != nil {
			return Raw{}, false, err
		}
		cmp := Compare(w.path, path)
		if cmp > 0 {
			return Raw{}, false, nil
		}
		w.held = false
		if cmp == 0 {
			return w.raw, true, nil
		}
		if gone != nil {
			if err := gone(w.path, w.raw); err != nil {
				return Raw{}, false, err
			}
		}
	}
}

// Rest hands all that is left to gone, as Seek does.
func (w *Walk) Rest(gone func(path []byte, raw Raw) error) error {
	for {
		if err := w.hold(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		w.held = false
		if err := gone(w.path, w.raw); err != nil {
			return err
		}
	}
}

// Inner calls yield for the further object ids of the record that Seek found or
// handed to gone: lists and their chunks, and the parts of a large directory.
// They come as slices of ids end to end, good until the files are closed. It
// may be called once for a record.
func (w *Walk) Inner(yield func(ids []byte) error) error {
	r := w.files[0]
	for r.ahead() == recordInner {
		if err := r.read(); err != nil {
			return err
		}
		if err := yield(r.body); err != nil {
			return err
		}
	}
	return nil
}

// ahead returns the type of the next record of the same path, 0 when there is
// none.
func (r *walkReader) ahead() byte {
	b := r.payload
	if len(b) == 0 { // inner ids may have begun a new block
		if r.next >= r.end {
			return 0
		}
		n := int(binary.BigEndian.Uint32(r.data[r.next:]))
		b = r.data[r.next+blockHeader:][:n:n]
	}
	_, b, _ = uvarint(b)
	n, b, ok := uvarint(b)
	if !ok || n >= uint64(len(b)) {
		return 0
	}
	return b[n]
}
