package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// The lists of packnback-repository(5), "LISTS".
var (
	locationLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'l', 'o', 'c', 'a', 1}, Key: locationSize, Row: locationSize}
	packLayout     = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'p', 'n', 'a', 'm', 1}, Key: pack.NameSize, Row: pack.NameSize}
	rootLayout     = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'r', 'o', 'o', 't', 1}, Key: object.IDSize, Row: object.IDSize}
)

const locationSize = pack.NameSize + 4

// appendLocation appends the row of a location list.
func appendLocation(dst []byte, l index.Location) []byte {
	return binary.BigEndian.AppendUint32(append(dst, l.Pack[:]...), l.Offset)
}

// held is an open segment or list that several views share. Repository.mu
// guards users.
type held struct {
	file  io.Closer
	users int
}

// view is one state of CURRENT with everything it names open. It stays usable
// while newer states replace it, even when their makers have unlinked its
// files. Whoever has one from acquire or retain releases it.
type view struct {
	r   *Repository
	raw []byte // CURRENT as it was read
	cur *current
	set *index.Set

	condemned, deleting, quarantine *table.Table // nil: none

	names []string // in r.shared
	users int      // guarded by r.mu
}

// readCurrent reads and checks CURRENT.
func (r *Repository) readCurrent() ([]byte, *current, error) {
	b, err := disk.ReadFile(r.fs, currentName, maxCurrent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, object.CodeDamaged.Errorf("the file CURRENT is missing; %s", repairCommand)
	}
	if err != nil {
		return nil, nil, storeError("reading", currentName, err)
	}
	cur, err := unmarshalCurrent(b)
	if err != nil {
		return nil, nil, damaged(currentName, err, repairCommand)
	}
	if cur.repository != r.id {
		return nil, nil, object.CodeDamaged.Errorf("CURRENT belongs to repository %s, the config to %s; %s", cur.repository, r.id, repairCommand)
	}
	return b, cur, nil
}

// acquire returns a view of CURRENT as it is now.
func (r *Repository) acquire(ctx context.Context) (*view, error) {
	var last []byte
	for {
		if err := ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		raw, cur, err := r.readCurrent()
		if err != nil {
			return nil, err
		}
		v, err := r.viewOf(raw, cur)
		if err == nil {
			return v, nil
		}
		// A file that is gone was replaced by a merge or a prune, which have
		// written a new CURRENT before. One that doesn't come is damage.
		if !errors.Is(err, fs.ErrNotExist) || bytes.Equal(raw, last) {
			return nil, damaged("the index", err, repairCommand)
		}
		last = raw
	}
}

// viewOf returns the newest view if it is still of that CURRENT, and else
// makes it the newest.
func (r *Repository) viewOf(raw []byte, cur *current) (*view, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.newest; v != nil && bytes.Equal(v.raw, raw) {
		v.users++
		return v, nil
	}
	v := &view{r: r, raw: raw, cur: cur, users: 1}
	if err := v.open(); err != nil {
		return nil, errors.Join(err, v.closeFiles())
	}
	old := r.newest
	r.newest = v
	v.users++
	if old != nil {
		return v, old.drop()
	}
	return v, nil
}

// open opens what v.cur names. The caller holds r.mu.
func (v *view) open() error {
	segments := make([]*index.Segment, 0, len(v.cur.segments))
	for _, ref := range v.cur.segments {
		f, err := v.hold(segmentName(ref.number), func(name string) (io.Closer, error) { return index.OpenSegment(v.r.fs, name) })
		if err != nil {
			return err
		}
		s := f.(*index.Segment)
		if uint64(s.Len()) != ref.rows {
			return object.CodeDamaged.Errorf("%s has %d rows, CURRENT says %d", s.Name(), s.Len(), ref.rows)
		}
		segments = append(segments, s)
	}
	v.set = index.NewSet(segments)
	for _, l := range []struct {
		number uint64
		list   **table.Table
	}{{v.cur.lists.condemned, &v.condemned}, {v.cur.lists.deleting, &v.deleting}, {v.cur.lists.quarantine, &v.quarantine}} {
		if l.number == 0 {
			continue
		}
		f, err := v.hold(listName(l.number), func(name string) (io.Closer, error) { return table.Open(v.r.fs, name, locationLayout) })
		if err != nil {
			return err
		}
		*l.list = f.(*table.Table)
	}
	return nil
}

// hold returns the open file of that name, which opens it unless another view
// has it open. The caller holds r.mu.
func (v *view) hold(name string, open func(string) (io.Closer, error)) (io.Closer, error) {
	h := v.r.shared[name]
	if h == nil {
		f, err := open(name)
		if err != nil {
			return nil, err
		}
		h = &held{file: f}
		v.r.shared[name] = h
	}
	h.users++
	v.names = append(v.names, name)
	return h.file, nil
}

// retain gives v one more user.
func (v *view) retain() *view {
	v.r.mu.Lock()
	v.users++
	v.r.mu.Unlock()
	return v
}

// release takes one user away; with the last one the view closes.
func (v *view) release() error {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	return v.drop()
}

// drop is release for a caller that holds r.mu.
func (v *view) drop() error {
	if v.users--; v.users > 0 {
		return nil
	}
	return v.closeFiles()
}

func (v *view) closeFiles() error {
	var errs []error
	for _, name := range v.names {
		h := v.r.shared[name]
		if h.users--; h.users == 0 {
			delete(v.r.shared, name)
			errs = append(errs, h.file.Close())
		}
	}
	v.names = nil
	return errors.Join(errs...)
}

// condition is what the lists of CURRENT say of one location.
type condition int

const (
	live condition = iota
	condemned
	deleting
	quarantined
)

// condition looks a location up in the lists. The worst one wins.
func (v *view) condition(l index.Location) (condition, error) {
	if v.condemned == nil && v.deleting == nil && v.quarantine == nil {
		return live, nil
	}
	var row [locationSize]byte
	key := appendLocation(row[:0], l)
	for _, c := range []struct {
		list *table.Table
		is   condition
	}{{v.quarantine, quarantined}, {v.deleting, deleting}, {v.condemned, condemned}} {
		if c.list == nil {
			continue
		}
		on, err := c.list.Has(key)
		if err != nil {
			return live, damaged("a list in gc", err, repairCommand)
		}
		if on {
			return c.is, nil
		}
	}
	return live, nil
}

// find appends the locations of id to dst in the order of CURRENT.
func (v *view) find(dst []index.Found, id object.ID) ([]index.Found, error) {
	dst, err := v.set.Find(dst, id)
	if err != nil {
		return nil, damaged("the index", err, repairCommand)
	}
	return dst, nil
}

// presence is what an upload may know of an id that it relies on.
type presence int

const (
	absent  presence = iota // nowhere, or only where it is being deleted or bad
	waning                  // only at condemned locations
	present                 // at a live location
)

// presence says how present an id is, and gives a location of the best kind.
func (v *view) presence(id object.ID) (presence, index.Found, error) {
	var few [4]index.Found
	found, err := v.find(few[:0], id)
	if err != nil {
		return absent, index.Found{}, err
	}
	best, where := absent, index.Found{}
	for _, f := range found {
		c, err := v.condition(f.Location)
		if err != nil {
			return absent, where, err
		}
		switch {
		case c == live:
			return present, f, nil
		case c == condemned && best == absent:
			best, where = waning, f
		}
	}
	return best, where, nil
}
