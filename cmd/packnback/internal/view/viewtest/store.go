package viewtest

import (
	"context"
	"slices"
	"sync"

	"github.com/packnback/packnback/repo/object"
)

// Store is a store in memory. Its fields may be changed between calls. Safe for
// concurrent use otherwise.
type Store struct {
	mu        sync.Mutex
	records   map[object.ID]*object.Record
	Committed []*object.Snapshot
	Forgotten []*object.Snapshot

	// Fetched counts how often each object was fetched; Calls counts Fetches.
	Fetched map[object.ID]int
	Calls   int
	Pushes  int
	// Before, when set, is called before a record is yielded, and may replace
	// it, or end the call with an error. Readers ask from several goroutines:
	// what has a state is wrapped by OneAtATime.
	Before func(rec *object.Record) (*object.Record, error)
	// Delay, when set, is called at the beginning of every Push and Fetch: the
	// way there and back to a distant store.
	Delay func()
}

// NewStore returns an empty Store.
func NewStore() *Store {
	return &Store{records: map[object.ID]*object.Record{}, Fetched: map[object.ID]int{}}
}

// OneAtATime returns a Before that calls f in one goroutine at a time. f must
// not wait for another.
func OneAtATime(f func(*object.Record) (*object.Record, error)) func(*object.Record) (*object.Record, error) {
	var mu sync.Mutex
	return func(rec *object.Record) (*object.Record, error) {
		mu.Lock()
		defer mu.Unlock()
		return f(rec)
	}
}

// Put adds a record.
func (s *Store) Put(rec *object.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[rec.ID] == nil {
		s.records[rec.ID] = rec
	}
}

// Drop makes the store lose objects.
func (s *Store) Drop(ids ...object.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.records, id)
	}
}

// Replace puts rec in place of the object id.
func (s *Store) Replace(id object.ID, rec *object.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[id] = rec
}

// Record returns a copy of the record of id, or nil.
func (s *Store) Record(id object.ID) *object.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.records[id]
	if rec == nil {
		return nil
	}
	c := *rec
	c.Refs, c.Sealed = slices.Clone(rec.Refs), slices.Clone(rec.Sealed)
	return &c
}

// Each calls f with every record, key objects first.
func (s *Store) Each(f func(*object.Record) error) error {
	for kind := object.KindKey; kind >= object.KindChunk; kind-- {
		for _, id := range s.IDs(kind) {
			if err := f(s.Record(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// IDs returns the ids of all objects of a kind, sorted.
func (s *Store) IDs(kind object.Kind) []object.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []object.ID
	for id, rec := range s.records {
		if rec.Kind == kind {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, object.ID.Compare)
	return ids
}

// Snapshots yields the committed snapshots.
func (s *Store) Snapshots(_ context.Context, yield func(*object.Snapshot) error) error {
	return each(s.Committed, yield)
}

// Snapshot returns the committed snapshot id.
func (s *Store) Snapshot(_ context.Context, id object.ID) (*object.Snapshot, error) {
	for _, snap := range s.Committed {
		if snap.ID() == id {
			return snap, nil
		}
	}
	return nil, object.CodeNotFound.Errorf("no snapshot %s", id.Short())
}

// Links yields the forgotten snapshots.
func (s *Store) Links(_ context.Context, yield func(*object.Snapshot) error) error {
	return each(s.Forgotten, yield)
}

func each(list []*object.Snapshot, yield func(*object.Snapshot) error) error {
	for _, snap := range list {
		if err := yield(snap); err != nil {
			return err
		}
	}
	return nil
}

// Push yields lists and directories from root on, depth first, as a repository
// does; it breaks off at the first that is missing.
func (s *Store) Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error {
	s.mu.Lock()
	s.Pushes++
	s.mu.Unlock()
	if s.Delay != nil {
		s.Delay()
	}
	return s.push(ctx, root, yield)
}

func (s *Store) push(ctx context.Context, id object.ID, yield func(*object.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rec := s.Record(id)
	if rec == nil {
		return &object.MissingError{IDs: []object.ID{id}}
	}
	if !rec.Kind.HasRefs() {
		return nil
	}
	if err := s.yield(rec, yield); err != nil {
		return err
	}
	for _, ref := range rec.Refs {
		if err := s.push(ctx, ref, yield); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) yield(rec *object.Record, yield func(*object.Record) error) error {
	if s.Before != nil {
		var err error
		if rec, err = s.Before(rec); err != nil {
			return err
		}
	}
	return yield(rec)
}

// Fetch yields the records of ids in the order of the ids themselves, which is
// none that a caller could expect.
func (s *Store) Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	s.mu.Lock()
	s.Calls++
	s.mu.Unlock()
	if s.Delay != nil {
		s.Delay()
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, object.ID.Compare)
	var missing []object.ID
	for _, id := range slices.Compact(ids) {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec := s.Record(id)
		if rec == nil {
			missing = append(missing, id)
			continue
		}
		s.mu.Lock()
		s.Fetched[id]++
		s.mu.Unlock()
		if err := s.yield(rec, yield); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return &object.MissingError{IDs: missing}
	}
	return nil
}
