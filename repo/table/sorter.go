package table

import (
	"errors"
	"fmt"
	"iter"
	"sync"
)

// tierRuns is how many runs of one tier are merged into one of the next. Four
// keeps both the rewriting (each row log4 times) and the runs a lookup must
// try (three a tier) low.
const tierRuns = 4

// Sorter takes rows in any order, holds at most its budget of them in memory
// and the rest in sorted runs on disk, and finds a row by its key at any time.
// All methods but Close may be called by several goroutines at once; a caller
// of Add waits while rows are written out, a caller of Find does not.
type Sorter struct {
	fsys   FS
	prefix string
	layout Layout

	add    sync.Mutex // held by whoever changes mem or tiers, from beginning to end
	serial int        // names of runs
	err    error      // first failure of a spill; sticks

	mu    sync.RWMutex // guards what follows; never held while a file is written
	mem   memory
	tiers [][]*Table // runs by tier, oldest first
	rows  int
}

// NewSorter returns an empty Sorter whose rows and their lookup table use at
// most about memBytes of memory. Runs are files whose names begin with prefix;
// each is unlinked as soon as it is open, so that only a crash leaves any.
func NewSorter(fsys FS, prefix string, l Layout, memBytes int) (*Sorter, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	return &Sorter{fsys: fsys, prefix: prefix, layout: l, mem: newMemory(l, memBytes)}, nil
}

// Add adds a row, which is copied. Equal rows are kept.
func (s *Sorter) Add(row []byte) error {
	if len(row) != s.layout.Row {
		return fmt.Errorf("sorting %q: row of %d bytes, want %d", s.prefix, len(row), s.layout.Row)
	}
	s.add.Lock()
	defer s.add.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.mem.full() {
		if s.err = s.spill(); s.err != nil {
			return s.err
		}
	}
	s.mu.Lock()
	s.mem.insert(row)
	s.rows++
	s.mu.Unlock()
	return nil
}

// Len returns how many rows were added.
func (s *Sorter) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rows
}

// Find appends a copy of one row with the given key to dst; ok is false when
// there is none.
func (s *Sorter) Find(dst, key []byte) (row []byte, ok bool, err error) {
	if len(key) != s.layout.Key {
		return dst, false, fmt.Errorf("sorting %q: looking for a key of %d bytes, keys have %d", s.prefix, len(key), s.layout.Key)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if row := s.mem.find(key); row != nil {
		return append(dst, row...), true, nil
	}
	for _, tier := range s.tiers {
		for _, run := range tier {
			i, ok, err := run.Find(key)
			if err != nil {
				return dst, false, err
			}
			if ok {
				row, err := run.Row(i)
				return append(dst, row...), err == nil, err
			}
		}
	}
	return dst, false, nil
}

// Has reports whether a row with the given key was added.
func (s *Sorter) Has(key []byte) (bool, error) {
	var buf [256]byte
	_, ok, err := s.Find(buf[:0], key)
	return ok, err
}

// Rows yields all rows in ascending order of all their bytes. A row is valid
// until the next one is asked for. Add and a second Rows wait until it is
// done, so neither may be called from its loop; Find may.
func (s *Sorter) Rows() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		s.add.Lock()
		defer s.add.Unlock()
		if s.err != nil {
			yield(nil, s.err)
			return
		}
		sources := []*source{s.mem.source()}
		for _, tier := range s.tiers {
			for _, run := range tier {
				sources = append(sources, run.source())
			}
		}
		merge(sources, yield)
	}
}

// WriteTo adds all rows to w in order. It does not close w.
func (s *Sorter) WriteTo(w *Writer) error {
	for row, err := range s.Rows() {
		if err != nil {
			return err
		}
		if err := w.Add(row); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up memory and runs. No other method may be running or follow.
func (s *Sorter) Close() error {
	var errs []error
	for _, tier := range s.tiers {
		for _, run := range tier {
			errs = append(errs, run.Close())
		}
	}
	s.tiers, s.mem = nil, memory{}
	s.err = errors.New("sorter is closed")
	return errors.Join(errs...)
}

// spill writes the rows in memory to a run, and merges runs where a tier is
// full. The caller holds add.
func (s *Sorter) spill() error {
	run, err := s.writeRun([]*source{s.mem.source()})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mem.clear()
	s.push(0, run)
	s.mu.Unlock()
	for tier := 0; tier < len(s.tiers); tier++ {
		if len(s.tiers[tier]) < tierRuns {
			continue
		}
		if err := s.mergeTier(tier); err != nil {
			return err
		}
	}
	return nil
}

// push adds a run to a tier. The caller holds mu.
func (s *Sorter) push(tier int, run *Table) {
	if tier == len(s.tiers) {
		s.tiers = append(s.tiers, nil)
	}
	s.tiers[tier] = append(s.tiers[tier], run)
}

func (s *Sorter) mergeTier(tier int) error {
	old := s.tiers[tier]
	sources := make([]*source, len(old))
	for i, run := range old {
		sources[i] = run.source()
	}
	run, err := s.writeRun(sources)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.tiers[tier] = nil
	s.push(tier+1, run)
	s.mu.Unlock()
	var errs []error
	for _, t := range old {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// writeRun merges sources into a new run. It is not synced: after a crash
// nobody wants it.
func (s *Sorter) writeRun(sources []*source) (run *Table, err error) {
	name := fmt.Sprintf("%s%d.run", s.prefix, s.serial)
	s.serial++
	w, err := Create(s.fsys, name, s.layout)
	if err != nil {
		return nil, err
	}
	merge(sources, func(row []byte, e error) bool {
		if err = e; err == nil {
			err = w.Add(row)
		}
		return err == nil
	})
	if err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	if err := w.close(false); err != nil {
		return nil, err
	}
	run, err = Open(s.fsys, name, s.layout)
	if rm := s.fsys.Remove(name); rm != nil && err == nil {
		err = errors.Join(rm, run.Close())
	}
	return run, err
}

// source returns the rows of t as an input of a merge.
func (t *Table) source() *source {
	i := 0
	return &source{next: func() ([]byte, error, bool) {
		if i == t.n {
			return nil, nil, false
		}
		row, err := t.Row(i)
		i++
		return row, err, err == nil
	}}
}
