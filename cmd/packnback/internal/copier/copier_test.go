package copier

import (
	"context"
	"errors"
	"fmt"
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

func TestEachObjectOnce(t *testing.T) {
	w := newWorld(t)
	var snaps []*object.Snapshot
	for range 2*groupSize + 3 {
		snaps = append(snaps, w.snapshot("default", plain))
	}
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want(snaps...)
	if n := w.c.Counts(); int(n.Objects) != len(w.from.objects) || len(w.to.order) != len(w.from.objects) {
		t.Errorf("put %d objects, want the %d that there are", n.Objects, len(w.from.objects))
	}
	if w.to.sessions != len(snaps) {
		t.Errorf("%d sessions for %d snapshots", w.to.sessions, len(snaps))
	}
	// In a plain tree everything comes after what it needs.
	seen := map[object.ID]bool{}
	for _, id := range w.to.order {
		rec := w.to.objects[id]
		for _, ref := range append(slices.Clone(rec.Refs), rec.Key) {
			if !ref.IsZero() && !seen[ref] {
				t.Fatalf("%s %s was put before %s", rec.Kind, id.Short(), ref.Short())
			}
		}
		seen[id] = true
	}
	if err := w.run(Choice{}); err != nil || len(w.copied) > 0 || int(w.c.Counts().Objects) != len(w.from.objects) {
		t.Errorf("a second run: %v, copied %v", err, w.copied)
	}
}

// TestLostBelowAShared has an object that the source can't give, below a
// directory that is met before one of those that need it.
func TestLostBelowAShared(t *testing.T) {
	w := newWorld(t)
	var lost, shared *object.Record
	first := w.snapshot("default", func(u *storetest.Upload) []*object.Record {
		lost = u.Object(object.KindChunk, 50)
		shared = u.Object(object.KindDir, 50, lost.ID)
		a := u.Object(object.KindDir, 50, shared.ID)
		b := u.Object(object.KindDir, 50, a.ID)
		late := u.Object(object.KindDir, 50, shared.ID)
		far := u.Object(object.KindDir, 50, late.ID)
		farther := u.Object(object.KindDir, 50, far.ID)
		return []*object.Record{lost, shared, a, b, late, far, farther, u.Object(object.KindDir, 50, shared.ID, b.ID, farther.ID)}
	})
	second := w.snapshot("default", plain)
	third := w.snapshot("default", func(u *storetest.Upload) []*object.Record {
		return []*object.Record{u.Object(object.KindDir, 50, shared.ID)}
	})
	fourth := w.snapshot("default", plain)
	delete(w.from.objects, lost.ID)
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want(second, fourth)
	if len(w.problems) != 2 || w.problems[0].Snapshot != first.ID() || !errors.Is(w.problems[0].Err, object.CodeDamaged) || w.problems[1].Snapshot != third.ID() {
		t.Errorf("problems: %+v", w.problems)
	}
	for _, rec := range w.to.objects {
		if missing := w.to.lacks([]object.ID{rec.ID}); len(missing) > 0 {
			t.Errorf("%s %s was put, and %s, which it needs, was not", rec.Kind, rec.ID.Short(), missing[0].Short())
		}
	}
	if len(w.to.links) != 2 || w.to.links[0].Flags != object.FlagLeftOut {
		t.Errorf("links: %+v", w.to.links)
	}
	w.from.objects[lost.ID] = lost // put back
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want(first, third)
	if len(w.to.links) != 0 || len(w.problems) > 0 {
		t.Errorf("left: %+v, %+v", w.to.links, w.problems)
	}
}

// TestLostKey has no key object for contents: they are not put either.
func TestLostKey(t *testing.T) {
	w := newWorld(t)
	s := w.snapshot("default", plain)
	delete(w.from.objects, s.Manifest.ContentKey)
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want()
	for _, rec := range w.to.objects {
		if rec.Kind != object.KindKey {
			t.Errorf("%s %s was put", rec.Kind, rec.ID.Short())
		}
	}
}

// TestBrokenPromise has a replica that loses what it said it had, to a prune.
func TestBrokenPromise(t *testing.T) {
	w := newWorld(t)
	s := w.snapshot("default", plain)
	for id := range w.from.objects {
		w.to.promises[id] = true
	}
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want(s)
}

// stubborn says that it lacks what it says it has.
type stubborn struct{ *memory }

func (s stubborn) OpenReplica(context.Context, string, string) (Session, error) { return s, nil }
func (s stubborn) Have(_ context.Context, ids []object.ID) ([]bool, error) {
	have := make([]bool, len(ids))
	for i := range have {
		have[i] = true
	}
	return have, nil
}

func TestStubbornReplica(t *testing.T) {
	w := newWorld(t)
	w.snapshot("default", plain)
	w.c.To = stubborn{w.to}
	if err := w.run(Choice{}); err == nil || len(w.copied) > 0 {
		t.Errorf("got %v, want an end", err)
	}
}

func TestForgottenMeanwhile(t *testing.T) {
	w := newWorld(t)
	a, b := w.snapshot("default", plain), w.snapshot("default", plain)
	p, err := w.c.Plan(t.Context(), Choice{})
	if err != nil {
		t.Fatal(err)
	}
	w.forget(a)
	if err := w.c.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.want(b)
	if len(w.problems) != 1 || !errors.Is(w.problems[0].Err, object.CodeNotFound) || len(w.to.links) != 1 {
		t.Errorf("problems %+v, links %+v", w.problems, w.to.links)
	}
}

func TestPlan(t *testing.T) {
	w := newWorld(t)
	var s []*object.Snapshot
	for i := range 6 {
		s = append(s, w.snapshot("default", plain))
		if i == 1 {
			w.forget(s[1])
		}
	}
	other := w.snapshot("other", plain)
	id := func(i int) object.ID { return s[i].ID() }
	link := func(of *object.Snapshot, flags object.Flags) *object.Snapshot {
		l := *of
		l.Sealed, l.Flags, l.Forgotten = nil, flags, 0
		if flags == object.FlagForgotten {
			l.Forgotten = 5
		}
		return &l
	}
	trashed := link(s[2], object.FlagForgotten)
	trashed.Sealed = s[2].Sealed
	forked := *s[1].Manifest
	forked.Time++
	for _, test := range []struct {
		name        string
		has, links  []*object.Snapshot // of the replica
		named       []int
		want        string // numbers to copy, and - before those of which the link is added
		present     int
		damaged, no bool
	}{
		{name: "empty", want: "[1 -2 3 4 5 6]"},
		{name: "one named", named: []int{3}, want: "[-1 -2 -3 4]"},
		{name: "two there", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten)}, want: "[3 4 5 6]", present: 1},
		{name: "one left out", has: s[2:4], links: []*object.Snapshot{link(s[0], object.FlagLeftOut), link(s[1], object.FlagForgotten)}, want: "[1 5 6]", present: 2},
		{name: "one forgotten there", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), link(s[2], object.FlagForgotten)}, want: "[4 5 6]", present: 1},
		{name: "one forgotten there and named", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), link(s[2], object.FlagForgotten)}, named: []int{2}, want: "[3]"},
		{name: "one in the trash", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), trashed}, want: "[4 5 6]", present: 1},
		{name: "one in the trash and named", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), trashed}, named: []int{2}, want: "[3]"},
		{name: "one forgotten here only", has: []*object.Snapshot{s[0], s[1], s[2]}, want: "[4 5 6]", present: 2},
		{name: "ahead", has: s, want: "[]", present: 5},
		{name: "diverged", has: []*object.Snapshot{s[0], {Manifest: &forked, Sealed: s[1].Sealed}}, no: true, present: 1},
		{name: "a hole there", has: []*object.Snapshot{s[0], s[2]}, no: true, damaged: true, present: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.to.snapshots, w.to.links, w.problems = append([]*object.Snapshot{other}, test.has...), test.links, nil
			choice := Choice{}
			for _, n := range test.named {
				if choice.IDs == nil {
					choice.IDs = map[object.ID]bool{}
				}
				choice.IDs[id(n)] = true
			}
			p, err := w.c.Plan(t.Context(), choice)
			if err != nil {
				t.Fatal(err)
			}
			if choice.IDs == nil {
				p.Present-- // other's
			}
			if p.Present != test.present {
				t.Errorf("%d are there, want %d", p.Present, test.present)
			}
			if test.no {
				if len(p.Jobs) > 0 || len(w.problems) != 1 || errors.Is(w.problems[0].Err, object.CodeDamaged) != test.damaged {
					t.Errorf("got %d jobs and the problems %+v", len(p.Jobs), w.problems)
				}
				return
			}
			got := []int{}
			for _, j := range p.Jobs {
				for _, it := range j.items {
					n := int(it.snap.Manifest.Seq)
					if it.link {
						n = -n
					}
					got = append(got, n)
				}
			}
			if fmt.Sprint(got) != test.want || len(w.problems) > 0 {
				t.Errorf("got %v and the problems %+v, want %s", got, w.problems, test.want)
			}
		})
	}
}

// TestGapInTheSource has a source that has lost one of its own.
func TestGapInTheSource(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.snapshot("default", plain)
	}
	ok := w.snapshot("other", plain)
	w.from.snapshots = slices.Delete(w.from.snapshots, 1, 2)
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want(ok)
	if len(w.problems) != 1 || !errors.Is(w.problems[0].Err, object.CodeDamaged) {
		t.Errorf("problems: %+v", w.problems)
	}
}

// TestForkedSource has a source that has one number twice.
func TestForkedSource(t *testing.T) {
	w := newWorld(t)
	s := w.snapshot("default", plain)
	fork := *s.Manifest
	fork.Time++
	w.from.snapshots = append(w.from.snapshots, &object.Snapshot{Received: 9, Manifest: &fork, Sealed: s.Sealed})
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want()
	if len(w.problems) != 1 || !errors.Is(w.problems[0].Err, object.CodeDamaged) {
		t.Errorf("problems: %+v", w.problems)
	}
}

// TestForgedSource has manifests that no store may copy.
func TestForgedSource(t *testing.T) {
	for name, forge := range map[string]func(m *object.Manifest){
		"signature":  func(m *object.Manifest) { m.Time++ },
		"repository": func(m *object.Manifest) { m.Repository[0]++ },
	} {
		w := newWorld(t)
		s := w.snapshot("default", plain)
		forge(s.Manifest)
		ok := w.snapshot("other", plain)
		if err := w.run(Choice{}); err != nil {
			t.Fatal(err)
		}
		w.want(ok)
		if len(w.problems) != 1 {
			t.Errorf("%s: problems %+v", name, w.problems)
		}
	}
}
