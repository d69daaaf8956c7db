package statcache

import (
	"fmt"
	"sync"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// IDSet is a growing set of object ids of any size in bounded memory. It is
// safe for concurrent use.
type IDSet struct {
	mu   sync.Mutex
	rows *table.Sorter
}

// NewIDSet returns an empty set. What does not fit into memBytes of memory goes
// into files in c's folder.
func (c *Cache) NewIDSet(memBytes int) (*IDSet, error) {
	rows, err := c.Sorter("ids", idLayout, memBytes)
	if err != nil {
		return nil, err
	}
	return &IDSet{rows: rows}, nil
}

// Sorter returns a sorter whose files are in c's folder, for what a run must
// remember beyond memBytes of memory.
func (c *Cache) Sorter(what string, l table.Layout, memBytes int) (*table.Sorter, error) {
	s, err := table.NewSorter(c.fsys, c.temp(what), l, memBytes)
	if err != nil {
		return nil, fmt.Errorf("cache: %s: %w", what, err)
	}
	return s, nil
}

// Has reports whether id is in s.
func (s *IDSet) Has(id object.ID) (bool, error) { return s.rows.Has(id[:]) }

// Claim puts id into s and reports whether it was not there before: exactly one
// of several goroutines that claim an id gets it.
func (s *IDSet) Claim(id object.ID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if had, err := s.rows.Has(id[:]); had || err != nil {
		return false, err
	}
	return true, s.rows.Add(id[:])
}

// Len returns how many ids were added.
func (s *IDSet) Len() int { return s.rows.Len() }

// All calls yield for every id in ascending order, until it returns false.
func (s *IDSet) All(yield func(object.ID) bool) error {
	for row, err := range s.rows.Rows() {
		if err != nil {
			return err
		}
		if !yield(object.ID(row)) {
			return nil
		}
	}
	return nil
}

// Close removes what s keeps on disk.
func (s *IDSet) Close() error { return s.rows.Close() }
