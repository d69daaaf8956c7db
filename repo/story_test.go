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

// TestCommitBeforeCondemned commits between the mark and the publication of what
// it hasn't reached.
func TestCommitBeforeCondemned(t *testing.T) {
	st := newStory(t)
	r := st.process()
	x := st.inner()
	u := relying(60, x)
	var s *Session
	once := false
	st.d.After(func(op crashdisk.Op) {
		if once || op.Kind != crashdisk.OpCreate || !strings.HasSuffix(op.Name, "/condemned.list") {
			return
		}
		once = true
		if err := st.commit(s, u); err != nil {
			t.Errorf("commit: %v", err)
		}
	})
	st.prune(map[string]func(){beforeMark: func() { s = st.open(r) }})
	st.d.After(nil)
	if !once {
		t.Fatal("the prune wrote no list of condemned")
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestSessionFileUnlinked lets a prune take a session's file away between its
// creation and its lock.
func TestSessionFileUnlinked(t *testing.T) {
	st := newStory(t)
	r := st.process()
	first := ""
	st.d.After(func(op crashdisk.Op) {
		if first == "" && op.Kind == crashdisk.OpLock && strings.HasPrefix(op.Name, "sessions/") {
			first = op.Name
			// Only its first step: who opens a session holds client.lock, which the
			// last one waits for.
			ctx, stop := context.WithCancel(st.ctx)
			opt := atOnce
			opt.Progress = func(step string) {
				if step == beforeMark {
					stop()
				}
			}
			if res, err := st.r.Prune(ctx, opt); res.Sessions != 1 || !errors.Is(err, object.CodeInterrupted) {
				t.Errorf("the prune removed %d session files, want the one without a lock: %v", res.Sessions, err)
			}
		}
	})
	s := st.open(r)
	st.d.After(nil)
	if first == "" || s.file.name == first {
		t.Errorf("the session's file is %q, the first one was %q", s.file.name, first)
	}
	u := newUpload(60, nil)
	st.put(s, u.records()...)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	if res := st.prune(nil); res.Strays > 0 {
		t.Errorf("the prune took %d packs of a running upload for strays", res.Strays)
	}
	if err := st.commit(s, u); err != nil {
		t.Fatal(err)
	}
	st.end(s, u)
}

// TestUnforgetDuringPrune brings a snapshot back at every step of a prune that
// has it among its roots.
func TestUnforgetDuringPrune(t *testing.T) {
	for _, at := range []string{beforeMark, condemnedNow, beforeSpare, deletingNow} {
		t.Run(at, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			kept := newUpload(71, nil)
			if _, err := kept.send(st.ctx, r); err != nil {
				t.Fatal(err)
			}
			st.forget(kept)
			age(t, st.r, st.old, time.Minute) // and so past its grace
			opt := PruneOptions{Grace: time.Second, MaxUnused: -1, Yes: true}
			done := false
			opt.Progress = func(step string) {
				if step == at && !done {
					done = true
					if err := r.Unforget(st.ctx, kept.manifest.ID()); err != nil {
						t.Errorf("unforget: %v", err)
					}
				}
			}
			if res, err := st.r.Prune(st.ctx, opt); err != nil || res.ObjectsDeleted == 0 || !done {
				t.Fatalf("prune: %+v, %v", res, err)
			}
			st.end(nil, kept)
		})
	}
}

// age makes a forgotten snapshot look as if it had been forgotten earlier.
func age(t *testing.T, r *Repository, u *upload, by time.Duration) {
	t.Helper()
	s, err := r.readSnapshot("trash", u.manifest.ID())
	if err != nil {
		t.Fatal(err)
	}
	s.Forgotten -= int64(by)
	s.Received = min(s.Received, s.Forgotten)
	if err := r.replaceFile(snapshotName("trash", s.ID()), s.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

// TestReadDuringPrune has a restore read packs that are rewritten and unlinked
// between its look at the index and its reading.
func TestReadDuringPrune(t *testing.T) {
	for _, how := range []string{"push", "fetch"} {
		t.Run(how, func(t *testing.T) {
			st := newStory(t)
			x := st.inner()
			if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
				t.Fatal(err)
			}
			u := relying(60, x)
			s := st.open(st.r)
			if err := st.commit(s, u); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			st.forget(st.old)
			reader := st.process()
			readWhilePruning(st, reader, how, u, below(st.old.tree, x))
			st.end(nil, u, below(st.old.tree, x)...)
		})
	}
}

// readWhilePruning lets a prune run when the first object has come.
func readWhilePruning(st *story, r *Repository, how string, u *upload, parts []*object.Record) {
	t := st.t
	t.Helper()
	pruned := false
	prune := func() {
		if !pruned {
			pruned = true
			if res := st.prune(nil); res.PacksRewritten == 0 {
				t.Errorf("the prune rewrote nothing: %+v", res)
			}
		}
	}
	got := map[object.ID]bool{}
	var err error
	if how == "push" {
		err = r.Push(st.ctx, u.root, func(rec *object.Record) error {
			got[rec.ID] = true
			prune()
			return nil
		})
	} else {
		var ids []object.ID
		for _, rec := range append(parts, u.tree...) {
			ids = append(ids, rec.ID)
		}
		err = r.Fetch(st.ctx, ids, func(rec *object.Record) error {
			got[rec.ID] = true
			prune()
			return nil
		})
	}
	if err != nil {
		t.Error(err)
	}
	for _, rec := range append(parts, u.tree...) {
		if !got[rec.ID] && (how == "fetch" || rec.Kind.HasRefs()) {
			t.Errorf("%s %s was not read", rec.Kind, rec.ID.Short())
		}
	}
}

// TestAdoptDuringPrune continues an upload that was cut off, at every step.
func TestAdoptDuringPrune(t *testing.T) {
	for _, at := range []string{beforeMark, condemnedNow, beforeSpare, deletingNow} {
		t.Run(at, func(t *testing.T) {
			st := newStory(t)
			r, p := st.mortal()
			u := newUpload(60, nil)
			s := st.open(r)
			st.put(s, u.records()...)
			if err := s.Checkpoint(st.ctx); err != nil {
				t.Fatal(err)
			}
			p.Kill()
			r = st.process()
			res := st.prune(map[string]func(){at: func() { s = st.open(r) }})
			if res.Strays > 0 {
				t.Errorf("the prune removed %d packs of an upload that can be continued", res.Strays)
			}
			if len(s.Standing().Adopted) != 1 {
				t.Fatalf("adopted: %+v", s.Standing().Adopted)
			}
			for _, rec := range u.records() {
				st.wantHave(s, true, rec)
			}
			if err := st.commit(s, u); err != nil {
				t.Fatal(err)
			}
			st.end(s, u)
		})
	}
}

// TestKilledCommitOnCondemned kills a commit between CURRENT and the snapshot,
// whose new directory relies on something condemned: what CURRENT lists and
// isn't condemned must be whole.
func TestKilledCommitOnCondemned(t *testing.T) {
	st := newStory(t)
	r, p := st.mortal()
	x := st.inner()
	u := relying(60, x)
	var s *Session
	st.prune(map[string]func(){
		beforeMark: func() { s = st.open(r) },
		beforeSpare: func() {
			replaced := false
			st.d.After(func(op crashdisk.Op) {
				if op.Kind == crashdisk.OpReplace && op.Name == currentName {
					replaced = true
				} else if replaced && op.Kind == crashdisk.OpSyncDir {
					p.Kill()
				}
			})
			if err := st.commit(s, u); err == nil {
				t.Error("the commit was not killed")
			}
			st.d.After(nil)
		},
	})
	for _, rec := range append(below(st.old.tree, x), u.tree...) {
		if !st.has(rec) {
			t.Errorf("%s %s is gone, and CURRENT lists what refers to it", rec.Kind, rec.ID.Short())
		}
	}
	// Nobody has it as a snapshot: whoever continues the upload is told what it
	// can't see any more, and puts that.
	s = st.open(st.process())
	if err := st.commit(s, u); !errors.Is(err, object.CodeMissing) {
		t.Errorf("commit: got %v, want that something is missing", err)
	}
	st.put(s, st.old.Metadata, st.old.Content)
	st.put(s, below(st.old.tree, x)...)
	if _, err := s.Commit(st.ctx, u.manifest, u.sealed); err != nil {
		t.Fatal(err)
	}
	st.end(s, u, below(st.old.tree, x)...)
}

func TestTwoCommitsOnOneHead(t *testing.T) {
	st := newStory(t)
	a, b := st.open(st.process()), st.open(st.process())
	first, second := newUpload(60, nil), newUpload(61, nil)
	if err := st.commit(a, first); err != nil {
		t.Fatal(err)
	}
	if err := st.commit(b, second); !errors.Is(err, object.CodeHeadMoved) {
		t.Fatalf("the second commit: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	// It may be continued, and is.
	c := st.open(st.process())
	if err := st.commit(c, second); err != nil {
		t.Fatal(err)
	}
	st.kept = append(st.kept, first)
	st.end(c, second)
}

// TestMergeDuringPrune has enough commits while a prune runs for segments to be
// merged, before and after the lists are published.
func TestMergeDuringPrune(t *testing.T) {
	for _, at := range []string{beforeMark, condemnedNow, beforeSpare, deletingNow} {
		t.Run(at, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			var last *upload
			st.prune(map[string]func(){at: func() {
				for n := range uint64(mergeLeast + 1) {
					last = newUpload(100+n, nil)
					if _, err := last.send(st.ctx, r); err != nil {
						t.Fatal(err)
					}
					st.kept = append(st.kept, last)
				}
			}})
			if st.has(st.old.tree[0]) {
				t.Error("what was forgotten is still there")
			}
			st.end(nil, last)
		})
	}
}

// TestCommitBeforeDeleting commits between step 5's last look and its lock.
func TestCommitBeforeDeleting(t *testing.T) {
	st := newStory(t)
	r := st.process()
	x := st.inner()
	u := relying(60, x)
	var s *Session
	armed, once := false, false
	st.d.After(func(op crashdisk.Op) {
		if !armed || once || op.Kind != crashdisk.OpLock || op.Name != gateLock {
			return
		}
		once = true
		if err := st.commit(s, u); err != nil {
			t.Errorf("commit: %v", err)
		}
	})
	st.prune(map[string]func(){
		beforeMark:  func() { s = st.open(r) },
		beforeSpare: func() { armed = true },
	})
	st.d.After(nil)
	if !once {
		t.Fatal("step 5 took no lock")
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestGenerationMovesDuringCommit lets a prune come as far as deleting between a
// commit's check and its lock: it must look again.
func TestGenerationMovesDuringCommit(t *testing.T) {
	st := newStory(t)
	r := st.process()
	x := st.inner()
	u := relying(60, x)
	var s *Session
	built, goOn, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	// Old enough that step 5 doesn't spare what it relies on.
	st.r.tune.now = func() time.Time { return st.now().Add(longSession) }
	waited := false
	st.d.After(func(op crashdisk.Op) {
		if !waited && op.Kind == crashdisk.OpCreate && strings.HasSuffix(op.Name, "/segment") {
			waited = true
			close(built)
			<-goOn
		}
	})
	st.prune(map[string]func(){
		beforeMark: func() { s = st.open(r) },
		beforeSpare: func() {
			go func() { result <- st.commit(s, u) }()
			<-built
		},
		deletingNow: func() { close(goOn) },
	})
	if err := <-result; !errors.Is(err, object.CodeMissing) {
		t.Fatalf("commit: got %v, want that something is missing", err)
	}
	st.d.After(nil)
	st.put(s, st.old.Metadata, st.old.Content)
	st.put(s, below(st.old.tree, x)...)
	if _, err := s.Commit(st.ctx, u.manifest, u.sealed); err != nil {
		t.Fatal(err)
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestOlderCopy has an upload that was begun early and ends late put what
// another one has committed meanwhile: that one's copy is the first, and a prune
// keeps it.
func TestOlderCopy(t *testing.T) {
	st := newStory(t)
	r := st.process()
	early, err := r.OpenSession(st.ctx, SessionRequest{Client: "web1", Job: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	x := newUpload(60, nil)
	if _, err := x.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	where := func() object.SessionID {
		v, err := st.process().acquire(st.ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer v.release()
		found, err := v.find(nil, x.tree[0].ID)
		if err != nil || len(found) == 0 {
			t.Fatalf("%d copies, %v", len(found), err)
		}
		return found[0].Pack.Session()
	}
	first := where()
	u := relying(61, x.tree[0])
	st.put(early, append(u.records(), x.Content, x.tree[0])...)
	u.manifest, u.sealed = u.Manifest(early.Standing(), "web1", "slow", u.root)
	if _, err := early.Commit(st.ctx, u.manifest, u.sealed); err != nil {
		t.Fatal(err)
	}
	if where() != first {
		t.Error("the copy that came later goes first")
	}
	st.prune(nil)
	if where() != first {
		t.Error("the prune kept the copy that came later")
	}
	st.kept = append(st.kept, x)
	st.end(early, u, x.tree[0])
}
