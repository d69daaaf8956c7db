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

// TestLinkOfForgottenAgain brings a snapshot back before a prune writes its link,
// and forgets it again before the trash is emptied: it must not go before its
// link is there.
func TestLinkOfForgottenAgain(t *testing.T) {
	st := newStory(t)
	r := st.process()
	id := st.old.manifest.ID()
	opened, again, busy := 0, false, false
	st.d.After(func(op crashdisk.Op) {
		switch {
		case busy || again:
		case op.Kind == crashdisk.OpOpen && op.Name == snapshotName("trash", id):
			// The second time it is read to see whether its grace is over.
			if opened++; opened == 2 {
				busy = true
				if err := r.Unforget(st.ctx, id); err != nil {
					t.Errorf("unforget: %v", err)
				}
				busy = false
			}
		case opened >= 2 && op.Kind == crashdisk.OpSyncDir && op.Name == "links":
			again = true
			if err := r.Forget(st.ctx, []object.ID{id}, ForgetOptions{IgnoreUnusual: true}); err != nil {
				t.Errorf("forget: %v", err)
			}
		}
	})
	st.prune(nil)
	st.d.After(nil)
	if !again {
		t.Fatal("the snapshot was not forgotten again")
	}
	for range 2 {
		links := 0
		if err := st.r.Links(st.ctx, func(s *object.Snapshot) error { links++; return nil }); err != nil || links != 1 {
			t.Errorf("%d links of the forgotten snapshot, want one: %v", links, err)
		}
		st.prune(nil)
	}
	if there, err := exists(st.r.fs, snapshotName("links", id)); err != nil || !there {
		t.Errorf("the next prune has written no link: %v", err)
	}
}
