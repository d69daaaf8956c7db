package copier

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// memory is a repository: what a copy needs of either side.
type memory struct {
	mu        sync.Mutex
	objects   map[object.ID]*object.Record
	snapshots []*object.Snapshot
	links     []*object.Snapshot
	order     []object.ID        // of the puts
	promises  map[object.ID]bool // ids that it says it has until a commit
	sessions  int
}

func newMemory() *memory {
	return &memory{objects: map[object.ID]*object.Record{}, promises: map[object.ID]bool{}}
}

func (m *memory) Snapshots(_ context.Context, yield func(*object.Snapshot) error) error {
	return all(m.snapshots, yield)
}

func (m *memory) Links(_ context.Context, yield func(*object.Snapshot) error) error {
	return all(m.links, yield)
}

func all(list []*object.Snapshot, yield func(*object.Snapshot) error) error {
	for _, s := range list {
		c := *s
		if err := yield(&c); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Snapshot(_ context.Context, id object.ID) (*object.Snapshot, error) {
	for _, s := range m.snapshots {
		if s.ID() == id {
			return s, nil
		}
	}
	return nil, object.CodeNotFound.Errorf("no snapshot %s", id.Short())
}

func (m *memory) Fetch(_ context.Context, ids []object.ID, yield func(*object.Record) error) error {
	var missing object.MissingError
	for _, id := range ids {
		m.mu.Lock()
		rec := m.objects[id]
		m.mu.Unlock()
		if rec == nil {
			missing.IDs = append(missing.IDs, id)
			continue
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	if len(missing.IDs) > 0 {
		return &missing
	}
	return nil
}

func (m *memory) AddLinks(_ context.Context, links []*object.Snapshot) (int, error) {
	m.links = append(m.links, links...)
	return len(links), nil
}

func (m *memory) OpenReplica(context.Context, string, string) (Session, error) {
	m.sessions++
	return m, nil
}

func (m *memory) Close() error { return nil }

func (m *memory) Have(_ context.Context, ids []object.ID) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := make([]bool, len(ids))
	for i, id := range ids {
		have[i] = m.objects[id] != nil || m.promises[id]
	}
	return have, nil
}

func (m *memory) Put(_ context.Context, rec *object.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[rec.ID] = rec
	m.order = append(m.order, rec.ID)
	return nil
}

// CommitReplica wants everything below the snapshot.
func (m *memory) CommitReplica(_ context.Context, snap *object.Snapshot) (object.Receipt, error) {
	clear(m.promises)
	missing := m.lacks(snap.Manifest.Roots())
	if len(missing) > 0 {
		return object.Receipt{}, &object.MissingError{IDs: missing}
	}
	m.snapshots = append(m.snapshots, snap)
	m.links = slices.DeleteFunc(m.links, func(l *object.Snapshot) bool { return l.ID() == snap.ID() })
	return object.Receipt{Snapshot: snap.ID(), Received: snap.Received}, nil
}

func (m *memory) lacks(from []object.ID) (missing []object.ID) {
	for seen := map[object.ID]bool{}; len(from) > 0; {
		id := from[0]
		from = from[1:]
		if seen[id] || id.IsZero() {
			continue
		}
		seen[id] = true
		if rec := m.objects[id]; rec == nil {
			missing = append(missing, id)
		} else {
			from = append(append(from, rec.Refs...), rec.Key)
		}
	}
	return missing
}

// world is a source with chains, and a replica.
type world struct {
	t        *testing.T
	from, to *memory
	problems []Problem
	copied   []object.ID
	c        *Copier
	seeds    uint64
}

var repository = object.RepositoryID{4}

func newWorld(t *testing.T) *world {
	w := &world{t: t, from: newMemory(), to: newMemory()}
	w.c = &Copier{
		From: w.from, To: w.to, Repository: repository, Scratch: t.TempDir(),
		Report: func(p Problem) { w.problems = append(w.problems, p) },
		Copied: func(s *object.Snapshot) { w.copied = append(w.copied, s.ID()) },
	}
	return w
}

// snapshot adds one to a job's chain in the source; tree makes what is below it.
func (w *world) snapshot(job string, tree func(u *storetest.Upload) []*object.Record) *object.Snapshot {
	w.seeds++
	u := storetest.NewUpload("web1", w.seeds)
	recs := tree(u)
	for _, rec := range append(recs, u.Metadata, u.Content) {
		w.from.objects[rec.ID] = rec
	}
	st := object.Standing{Repository: repository}
	for _, s := range slices.Concat(w.from.links, w.from.snapshots) {
		if s.Manifest.Job == job && s.Manifest.Seq > st.Seq {
			st.Seq, st.Head = s.Manifest.Seq, s.ID()
		}
	}
	m, sealed := u.Manifest(st, "web1", job, recs[len(recs)-1].ID)
	s := &object.Snapshot{Received: int64(w.seeds), Manifest: m, Sealed: sealed}
	w.from.snapshots = append(w.from.snapshots, s)
	return s
}

func plain(u *storetest.Upload) []*object.Record { return u.Tree(9, 100, 3) }

func (w *world) run(choice Choice) error {
	w.t.Helper()
	w.problems, w.copied = nil, nil
	p, err := w.c.Plan(w.t.Context(), choice)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.c.Run(w.t.Context(), p)
}

// want checks what was copied, and that the replica has all of that.
func (w *world) want(snaps ...*object.Snapshot) {
	w.t.Helper()
	var ids []object.ID
	for _, s := range snaps {
		ids = append(ids, s.ID())
		if missing := w.to.lacks(s.Manifest.Roots()); len(missing) > 0 {
			w.t.Errorf("the replica lacks %d objects of snapshot %d", len(missing), s.Manifest.Seq)
		}
	}
	if !slices.Equal(w.copied, ids) {
		w.t.Errorf("copied %v, want %v", w.copied, ids)
	}
}

// forget leaves the link of a snapshot in the source.
func (w *world) forget(s *object.Snapshot) {
	w.from.snapshots = slices.DeleteFunc(w.from.snapshots, func(o *object.Snapshot) bool { return o == s })
	link := *s
	link.Sealed, link.Flags, link.Forgotten = nil, object.FlagForgotten, 99
	w.from.links = append(w.from.links, &link)
}
