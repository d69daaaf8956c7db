package statcache

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// Memory that the changes of a run take before they go to disk, in bytes.
const (
	foundMemory  = 8 << 20
	lostMemory   = 4 << 20
	objectMemory = 4 << 20
)

// Build is the next generation while it grows. The walk is written as it goes;
// of the two tables only the changes are collected, so a run that changes
// nothing writes neither. AddContent, AddObject and Place may be called by
// several goroutines at once, the rest by one.
type Build struct {
	c       *Cache
	old     *Generation // nil when there is none
	trusted func(id object.ID) (bool, error)
	walk    *walkWriter // nil for a dry run, and after a failure
	failed  error       // of writing the walk
	number  uint64
	found   *table.Sorter // content rows of paths that came
	lost    *table.Sorter // and of paths that went
	objects *table.Sorter
	stat    []byte // scratch
	rest    []byte
}

// NewBuild begins a generation that follows c's current one. Trusted says which
// of that one's object ids may be carried over; nil means all of them. A dry
// build writes no walk and can't be finished.
func (c *Cache) NewBuild(trusted func(id object.ID) (bool, error), dry bool) (*Build, error) {
	c.number++
	b := &Build{c: c, old: c.gen, trusted: trusted, number: c.number}
	var err error
	if b.found, err = c.Sorter("found", contentLayout, foundMemory); err != nil {
		return nil, err
	}
	if b.lost, err = c.Sorter("lost", contentLayout, lostMemory); err != nil {
		return nil, err
	}
	if b.objects, err = c.Sorter(objectsKind, objectLayout, objectMemory); err != nil {
		return nil, err
	}
	if !dry {
		// The name tells a later run that this walk was not finished.
		b.walk, err = createWalk(c.fsys, stored{number: b.number}.name(partialKind), c.binding)
	}
	return b, err
}

// Add writes the record of path. Paths come in walk order.
func (b *Build) Add(path []byte, r *Record) error {
	b.stat, b.rest = r.AppendStat(b.stat[:0]), r.AppendRest(b.rest[:0])
	return b.Copy(path, Raw{Stat: b.stat, Rest: b.rest})
}

// Copy writes a record that has been read from the generation before.
func (b *Build) Copy(path []byte, raw Raw) error {
	var n [binary.MaxVarintLen64]byte
	return b.write(path, recordEntry, binary.AppendUvarint(n[:0], uint64(len(raw.Stat))), raw.Stat, raw.Rest)
}

// write writes a record of the walk. The first failure, such as a full disk, is
// returned; after it there is no walk any more, and Finish fails. A backup
// needs neither.
func (b *Build) write(path []byte, typ byte, body ...[]byte) error {
	if b.walk == nil {
		return nil
	}
	err := b.walk.add(path, typ, body...)
	if err != nil {
		b.failed = errors.Join(err, b.walk.abandon())
		b.walk = nil
	}
	return err
}

// maxInner is how many bytes of ids stand in one record.
const maxInner = 1024 * object.IDSize

// Inner writes further object ids, end to end, of the path that was added last.
func (b *Build) Inner(path, ids []byte) error {
	for b.walk != nil && len(ids) > 0 {
		n := min(len(ids), maxInner)
		if err := b.write(path, recordInner, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// AddContent counts one more (or with refs -1, one less) path whose contents,
// of that content id, are in that place.
func (b *Build) AddContent(content object.ID, p Place, refs int64) error {
	rows := b.found
	if refs < 0 {
		rows = b.lost
	}
	return rows.Add(appendContentRow(make([]byte, 0, contentLayout.Row), content, p, refs))
}

// AddObject counts one more (or with refs -1, one less) place that refers to
// an object that is no bundle. What is live of bundles follows from AddContent.
func (b *Build) AddObject(kind object.Kind, id object.ID, refs int64) error {
	return b.objects.Add(appendObjectRow(make([]byte, 0, objectLayout.Row), kind, id, 0, refs))
}

// Place returns a place that AddContent was told of with positive refs.
func (b *Build) Place(content object.ID) (Place, bool, error) {
	var buf [80]byte
	row, ok, err := b.found.Find(buf[:0], content[:])
	if !ok || err != nil {
		return Place{}, false, err
	}
	return contentRowPlace(row), true, nil
}

// Finish writes what is left and makes the generation durable under the name
// that Settle looks for. base is the snapshot about to be committed.
func (b *Build) Finish(base, root object.ID) (err error) {
	defer func() { err = errors.Join(err, b.close()) }()
	if b.failed != nil {
		return b.failed
	}
	h := &header{binding: b.c.binding, base: base, root: root}
	h.walk, h.content, h.objects = stored{number: b.number}, stored{number: b.number}, stored{number: b.number}
	if b.old != nil && b.trusted == nil && b.found.Len() == 0 && b.lost.Len() == 0 && b.objects.Len() == 0 {
		h.content, h.objects = b.old.header.content, b.old.header.objects
	} else if err := b.writeTables(h); err != nil {
		return err
	}
	w := b.walk
	b.walk = nil
	if err := w.finish(true); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	fsys := b.c.fsys
	if err := fsys.Replace(h.walk.name(partialKind), h.walk.name(walkKind)); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	for s, kind := range map[*stored]string{&h.walk: walkKind, &h.content: contentKind, &h.objects: objectsKind} {
		entry, err := fsys.Stat(s.name(kind))
		if err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		s.size = uint64(entry.Size)
	}
	return writeHeader(fsys, nextName, h)
}

// Abandon ends a build that is not finished. What it has written of the walk
// stays for the next run.
func (b *Build) Abandon() error { return b.close() }

func (b *Build) close() error {
	var errs []error
	if b.walk != nil {
		errs = append(errs, b.walk.abandon())
		b.walk = nil
	}
	for _, s := range [...]**table.Sorter{&b.found, &b.lost, &b.objects} {
		if *s != nil {
			errs = append(errs, (*s).Close())
			*s = nil
		}
	}
	return errors.Join(errs...)
}
