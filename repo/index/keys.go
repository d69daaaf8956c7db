package index

import (
	"errors"
	"fmt"
	"iter"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// noKey stands for the key object of a key object, which has none.
const noKey = 1<<32 - 1

// keysMemory is what sorting the key objects of a segment may use; more are
// sorted on disk. An honest upload has two, one that wants to do harm as many
// as it has objects.
const keysMemory = 256 << 10

// recentKeys is how many key objects are remembered so that the entries of one
// upload, which have two between them, need no search.
const recentKeys = 256

// keyNumbers is the table of key objects of a segment that is being written. It
// lives in a file without a name. Not safe for concurrent use.
type keyNumbers struct {
	table  *table.Table
	recent [recentKeys]struct {
		id     object.ID
		number uint32
		known  bool
	}
}

// newKeyNumbers writes ascending, distinct rows to the new file tmp, which is
// gone when it returns.
func newKeyNumbers(fsys disk.FS, tmp string, rows iter.Seq2[[]byte, error]) (*keyNumbers, error) {
	f, err := fsys.Create(tmp)
	if err != nil {
		return nil, fmt.Errorf("creating the table of key objects: %w", err)
	}
	_, err = writeTable(f, keyLayout, rows, func([]byte) {})
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the table of key objects: %w", err), fsys.Remove(tmp))
	}
	t, err := table.Open(fsys, tmp, keyLayout)
	if err = errors.Join(err, fsys.Remove(tmp)); err != nil {
		return nil, fmt.Errorf("opening the table of key objects: %w", err)
	}
	if int64(t.Len()) >= noKey {
		return nil, errors.Join(fmt.Errorf("%d key objects are too many for one index segment", t.Len()), t.Close())
	}
	return &keyNumbers{table: t}, nil
}

// collectKeys returns the table of the key objects that entries name.
func collectKeys(fsys disk.FS, tmp string, entries iter.Seq2[Entry, error]) (*keyNumbers, error) {
	sorter, err := table.NewSorter(fsys, tmp, keyLayout, keysMemory)
	if err != nil {
		return nil, err
	}
	var recent [recentKeys]object.ID
	for e, err := range entries {
		if err != nil {
			return nil, errors.Join(err, sorter.Close())
		}
		seen := &recent[e.Key[0]]
		if *seen == e.Key { // the zero of a key object too
			continue
		}
		*seen = e.Key
		if err := sorter.Add(e.Key[:]); err != nil {
			return nil, errors.Join(err, sorter.Close())
		}
	}
	rows := func(yield func([]byte, error) bool) {
		for row, err := range table.Dedup(sorter.Rows()) {
			if err == nil && object.ID(row).IsZero() {
				continue // others with the same first byte came before it
			}
			if !yield(row, err) {
				return
			}
		}
	}
	k, err := newKeyNumbers(fsys, tmp, rows)
	return k, errors.Join(err, sorter.Close())
}

// number returns the row of the key object id, noKey for the zero id.
func (k *keyNumbers) number(id object.ID) (uint32, error) {
	if id.IsZero() {
		return noKey, nil
	}
	r := &k.recent[id[0]]
	if r.known && r.id == id {
		return r.number, nil
	}
	row, ok, err := k.table.Find(id[:])
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("key object %s is not in the table", id.Short())
	}
	r.id, r.number, r.known = id, uint32(row), true
	return r.number, nil
}

func (k *keyNumbers) close() error { return k.table.Close() }

// uniteKeys yields the key objects that are used by any segment, ascending and
// each once.
func uniteKeys(segments []*Segment, used []Bitmap) iter.Seq2[[]byte, error] {
	inputs := make([]iter.Seq2[[]byte, error], len(segments))
	for i, s := range segments {
		inputs[i] = func(yield func([]byte, error) bool) {
			number := 0
			for row, err := range s.keys.Rows(0) {
				wanted := err != nil || used[i].Has(number)
				number++
				if wanted && !yield(row, err) {
					return
				}
			}
		}
	}
	return table.Dedup(table.Merge(inputs...))
}
