package view

import (
	"context"
	"iter"
	"sort"
	"unsafe"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Dirs finds entries by name, for a mount: it keeps the directory objects that
// were used most recently in parsed form, because a listing is followed by a
// lookup of every name in it. Safe for concurrent use.
type Dirs struct {
	reader *Reader
	cache  *cache[parsedDir]
}

// parsedDir is a directory with all its entries, unless they are too many.
type parsedDir struct {
	entries []*tree.Entry
	large   bool // look entries up one by one
	bytes   int
}

func (p parsedDir) size() int { return p.bytes }

// entryBytes is what an entry takes in memory beside its name and extents.
const entryBytes = 320

// NewDirs returns a Dirs that keeps up to about budget bytes.
func NewDirs(r *Reader, budget int) *Dirs {
	return &Dirs{reader: r, cache: newCache[parsedDir](budget)}
}

// Entries iterates over the entries of the directory id in ascending order.
// They are the caller's to keep. After an error it stops.
func (d *Dirs) Entries(ctx context.Context, id object.ID) iter.Seq2[*tree.Entry, error] {
	return tree.ReadDir(d.reader.load(ctx), id)
}

// Find returns the entry called name in the directory id, and false when there
// is none. The entry must not be changed.
func (d *Dirs) Find(ctx context.Context, id object.ID, name string) (*tree.Entry, bool, error) {
	p, ok := d.cache.find(id)
	if !ok {
		var err error
		if p, err = d.parse(ctx, id); err != nil {
			return nil, false, err
		}
	}
	if p.large {
		return tree.Lookup(d.reader.load(ctx), id, name)
	}
	i := sort.Search(len(p.entries), func(i int) bool { return p.entries[i].Name >= name })
	if i == len(p.entries) || p.entries[i].Name != name {
		return nil, false, nil
	}
	return p.entries[i], true, nil
}

// parse reads the directory id as far as it fits into the cache.
func (d *Dirs) parse(ctx context.Context, id object.ID) (parsedDir, error) {
	p := parsedDir{bytes: entryBytes}
	for e, err := range d.Entries(ctx, id) {
		if err != nil {
			return p, err
		}
		p.entries = append(p.entries, e)
		p.bytes += entryBytes + len(e.Name) + len(e.Target) + len(e.Extents)*int(unsafe.Sizeof(tree.Extent{}))
		if p.bytes > d.cache.budget/4 {
			p = parsedDir{large: true, bytes: entryBytes}
			break
		}
	}
	d.cache.add(id, p)
	return p, nil
}
