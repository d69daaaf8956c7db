package repo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// The steps of a prune between which a story goes on, by what Progress is told.
// No lock but prune's own is held there.
const (
	beforeMark   = "marking what snapshots need"                // I0 and R0 are chosen
	condemnedNow = "waiting for running uploads to take notice" // step 3 is over
	beforeSpare  = "sparing what was committed meanwhile"
	deletingNow  = "deleting" // step 5 is over
)

// story is a repository with one job whose newest snapshot is forgotten: the
// job's visible set still has its objects, and nothing else needs them.
type story struct {
	t    *testing.T
	d    *crashdisk.Disk
	r    *Repository // of the process that prunes
	old  *upload     // the forgotten one
	ctx  context.Context
	now  func() time.Time // everybody's clock
	kept []*upload        // live ones that must stay whole
}

func newStory(t *testing.T) *story {
	t.Helper()
	d := newGCDisk(t)
	st := &story{t: t, d: d, ctx: t.Context(), now: testTuning().now}
	st.r = st.process()
	st.kept = sendAll(t, st.r, 1, false)
	st.old = newUpload(50, nil)
	if _, err := st.old.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	st.forget(st.old)
	return st
}

// process opens the repository in a process of its own, which ends with the
// test.
func (st *story) process() *Repository {
	st.t.Helper()
	r, p := st.mortal()
	st.t.Cleanup(p.Kill)
	return r
}

// mortal is process with the handle that kills it.
func (st *story) mortal() (*Repository, *crashdisk.Process) {
	st.t.Helper()
	p := st.d.Process()
	r := openRepository(st.t, p)
	r.tune.now = st.now
	return r, p
}

func (st *story) forget(u *upload) {
	st.t.Helper()
	if err := st.process().Forget(st.ctx, []object.ID{u.manifest.ID()}, ForgetOptions{IgnoreUnusual: true}); err != nil {
		st.t.Fatal(err)
	}
}

func (st *story) open(r *Repository) *Session {
	st.t.Helper()
	s, err := r.OpenSession(st.ctx, SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		st.t.Fatalf("opening a session: %v", err)
	}
	return s
}

// prune prunes at once, and calls at each of the steps what steps has for it.
func (st *story) prune(steps map[string]func()) PruneResult {
	st.t.Helper()
	opt := atOnce
	opt.Progress = func(step string) {
		if do := steps[step]; do != nil {
			delete(steps, step)
			do()
		}
	}
	res, err := st.r.Prune(st.ctx, opt)
	if err != nil {
		st.t.Fatalf("prune: %v", err)
	}
	for step := range steps {
		st.t.Fatalf("the prune had no step %q", step)
	}
	return res
}

// relying is an upload that sends only a new root over parts of another one.
func relying(n uint64, parts ...*object.Record) *upload {
	u := newUpload(n, nil)
	u.tree = nil
	var ids []object.ID
	for _, p := range parts {
		ids = append(ids, p.ID)
	}
	root := u.Object(object.KindDir, 80, ids...)
	u.tree, u.root = []*object.Record{root}, root.ID
	return u
}

// wantHave checks what the store answers.
func (st *story) wantHave(s *Session, want bool, rec *object.Record) {
	st.t.Helper()
	have, err := s.Have(st.ctx, []object.ID{rec.ID})
	if err != nil || have[0] != want {
		st.t.Fatalf("have %s: got %v, %v; want %v", rec.ID.Short(), have, err, want)
	}
}

func (st *story) put(s *Session, recs ...*object.Record) {
	st.t.Helper()
	for _, rec := range recs {
		if err := s.Put(st.ctx, rec); err != nil {
			st.t.Fatalf("put: %v", err)
		}
	}
}

// commit puts what u has and commits it.
func (st *story) commit(s *Session, u *upload) error {
	st.t.Helper()
	st.put(s, u.records()...)
	u.manifest, u.sealed = u.Manifest(s.Standing(), "web1", "default", u.root)
	_, err := s.Commit(st.ctx, u.manifest, u.sealed)
	return err
}

// end closes the session and wants everything whole, with u's snapshot, whose
// tree has the parts beside u's own; and again after another prune.
func (st *story) end(s *Session, u *upload, parts ...*object.Record) {
	st.t.Helper()
	if s != nil {
		if err := s.Close(); err != nil {
			st.t.Error(err)
		}
	}
	whole := *u
	whole.tree = append(append([]*object.Record{}, u.tree...), parts...)
	for range 2 {
		r := st.process()
		if err := wantTrees(r, append(st.kept, &whole)...); err != nil {
			st.t.Fatal(err)
		}
		st.prune(nil)
	}
	for _, folder := range []string{"sessions", "tmp", "trash"} {
		if left, err := list(st.r.fs, folder); err != nil || len(left) > 0 {
			st.t.Errorf("left in %s: %v, %v", folder, left, err)
		}
	}
	lists, err := list(st.r.fs, "gc")
	for _, e := range lists {
		if strings.HasSuffix(e.Name, ".list") {
			st.t.Errorf("left in gc: %s, %v", e.Name, err)
		}
	}
}

// below returns a record and all records of tree that it reaches.
func below(tree []*object.Record, top *object.Record) []*object.Record {
	all := []*object.Record{top}
	for _, ref := range top.Refs {
		for _, rec := range tree {
			if rec.ID == ref {
				all = append(all, below(tree, rec)...)
			}
		}
	}
	return all
}

// inner is a directory of the forgotten snapshot with something below it.
func (st *story) inner() *object.Record {
	for _, rec := range st.old.tree {
		if rec.Kind == object.KindDir && rec.ID != st.old.root {
			return rec
		}
	}
	st.t.Fatal("no inner directory")
	return nil
}

// has reports whether the store has a location of rec that nothing is after.
func (st *story) has(rec *object.Record) bool {
	st.t.Helper()
	v, err := st.process().acquire(st.ctx)
	if err != nil {
		st.t.Fatal(err)
	}
	defer v.release()
	p, _, err := v.presence(rec.ID)
	if err != nil {
		st.t.Fatal(err)
	}
	return p == present
}

func TestRelianceOnCondemned(t *testing.T) {
	for _, commitAt := range []string{condemnedNow, beforeSpare} {
		t.Run(commitAt, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			x := st.inner()
			var s *Session
			u := relying(60, x)
			st.prune(map[string]func(){
				beforeMark: func() {
					s = st.open(r)
					st.wantHave(s, true, x)
				},
				commitAt: func() {
					if err := st.commit(s, u); err != nil {
						t.Fatalf("commit: %v", err)
					}
				},
			})
			st.end(s, u, below(st.old.tree, x)...)
		})
	}
}

// TestRelianceOnDeleted comes too late with its commit: it is told what is
// missing, and puts that.
func TestRelianceOnDeleted(t *testing.T) {
	st := newStory(t)
	r := st.process()
	x := st.inner()
	var s *Session
	u := relying(60, x)
	st.prune(map[string]func(){
		beforeMark: func() {
			s = st.open(r)
			st.wantHave(s, true, x)
		},
		deletingNow: func() {
			err := st.commit(s, u)
			var missing *object.MissingError
			if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != x.ID {
				t.Fatalf("commit: got %v, want that %s is missing", err, x.ID.Short())
			}
		},
	})
	st.put(s, st.old.Metadata, st.old.Content)
	st.put(s, below(st.old.tree, x)...)
	if _, err := s.Commit(st.ctx, u.manifest, u.sealed); err != nil {
		t.Fatalf("second commit: %v", err)
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestRelianceAllThePruneLong has a session that was open before: what it pins
// stays for as long as it is young.
func TestRelianceAllThePruneLong(t *testing.T) {
	st := newStory(t)
	x := st.inner()
	if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
		t.Fatal(err)
	}
	r := st.process()
	s := st.open(r)
	st.wantHave(s, true, x)
	st.forget(st.old) // in mid-upload
	for range 3 {
		if res := st.prune(nil); res.ObjectsDeleted > 0 {
			t.Errorf("deleted %d objects that a running upload may rely on", res.ObjectsDeleted)
		}
	}
	if _, err := r.Snapshot(st.ctx, st.old.manifest.ID()); !errors.Is(err, object.CodeNotFound) {
		t.Errorf("the base is still there: %v", err)
	}
	u := relying(60, x)
	if err := st.commit(s, u); err != nil {
		t.Fatalf("commit: %v", err)
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestLongSession has one that is a day old: it holds nothing back any more, and
// its commit finds out.
func TestLongSession(t *testing.T) {
	st := newStory(t)
	x := st.inner()
	if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
		t.Fatal(err)
	}
	r := st.process()
	s := st.open(r)
	st.wantHave(s, true, x)
	u := relying(60, x)
	st.put(s, u.Metadata)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	st.forget(st.old)
	st.r.tune.now = func() time.Time { return st.now().Add(longSession) }
	if res := st.prune(nil); res.ObjectsDeleted == 0 || res.Strays > 0 || res.Sessions > 0 {
		t.Errorf("got %+v; want deleted objects, and the session's packs left alone", res)
	}
	if err := st.commit(s, u); !errors.Is(err, object.CodeMissing) {
		t.Fatalf("commit: got %v, want that something is missing", err)
	}
	st.put(s, st.old.Metadata, st.old.Content)
	st.put(s, below(st.old.tree, x)...)
	if _, err := s.Commit(st.ctx, u.manifest, u.sealed); err != nil {
		t.Fatalf("second commit: %v", err)
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestPutOfCondemned stores an object anew whose only location is condemned.
func TestPutOfCondemned(t *testing.T) {
	st := newStory(t)
	r := st.process()
	x := st.old.tree[0]
	var s *Session
	u := relying(60, x)
	res := st.prune(map[string]func(){
		beforeMark: func() { s = st.open(r) },
		beforeSpare: func() {
			if err := s.follow(st.ctx); err != nil {
				t.Fatal(err)
			}
			st.wantHave(s, false, x)
			st.put(s, st.old.Content, x)
			if err := st.commit(s, u); err != nil {
				t.Fatalf("commit: %v", err)
			}
		},
	})
	if want := len(st.old.records()); res.ObjectsDeleted != want {
		t.Errorf("deleted %d locations, want all %d of the forgotten snapshot", res.ObjectsDeleted, want)
	}
	st.end(s, u, x)
}
