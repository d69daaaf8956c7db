package copier

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

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
