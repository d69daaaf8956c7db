package index

import (
	"fmt"
	"iter"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// Collector gathers the entries of an upload under way, or of a scan of packs,
// in any order and in flat memory. It may be used by several goroutines at
// once until it is closed.
type Collector struct{ rows *table.Sorter }

// NewCollector returns an empty Collector that uses about memBytes of memory
// and temporary files whose names begin with prefix.
func NewCollector(fsys disk.FS, prefix string, memBytes int) (*Collector, error) {
	rows, err := table.NewSorter(fsys, prefix, collectLayout, memBytes)
	if err != nil {
		return nil, err
	}
	return &Collector{rows}, nil
}

// Add adds an entry.
func (c *Collector) Add(e Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("collecting object %s: %w", e.ID.Short(), err)
	}
	var buf [collectRow]byte
	return c.rows.Add(appendCollectRow(buf[:0], e))
}

// Find returns a location of an object; ok is false when none was added.
func (c *Collector) Find(id object.ID) (l Location, ok bool, err error) {
	var buf [collectRow]byte
	row, ok, err := c.rows.Find(buf[:0], id[:])
	if err != nil || !ok {
		return Location{}, false, err
	}
	return parseCollectRow(row).Location, true, nil
}

// Len returns how many entries were added.
func (c *Collector) Len() int { return c.rows.Len() }

// Entries yields what was added in the order of Entry.Compare; what was added
// several times comes once. Add waits until it is done and must not be called
// from its loop.
func (c *Collector) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for row, err := range table.Dedup(c.rows.Rows()) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(parseCollectRow(row), nil) {
				return
			}
		}
	}
}

// Close gives up memory and temporary files.
func (c *Collector) Close() error { return c.rows.Close() }
