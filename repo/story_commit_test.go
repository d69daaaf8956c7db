package repo

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

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
	var waited atomic.Bool // two goroutines come by
	st.d.After(func(op crashdisk.Op) {
		if op.Kind == crashdisk.OpCreate && strings.HasSuffix(op.Name, "/segment") && waited.CompareAndSwap(false, true) {
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

// TestAdoptingTwice has a session that lists the dead ones just before another
// one of them adopts a third and is killed: that one's packs are not to be
// adopted from both.
func TestAdoptingTwice(t *testing.T) {
	st := newStory(t)
	r, dead := st.mortal()
	s := st.open(r)
	u := newUpload(60, nil)
	st.put(s, u.records()[:4]...)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	name := sessionName(s.file.id)
	dead.Kill()

	second, dies := st.mortal()
	third := st.process()
	third.tune.adoptWait = time.Minute // for the second to be killed
	number := func(r *Repository) (n int) {
		st.d.After(func(op crashdisk.Op) { n = op.Process })
		defer st.d.After(nil)
		if _, err := r.fs.Stat("config"); err != nil {
			t.Fatal(err)
		}
		return n
	}
	two, three := number(second), number(third)
	has, listed := make(chan struct{}), make(chan struct{})
	reads, stats := 0, 0 // of the dead one's file, by those who count the living, list the dead, and hold its lock
	st.d.After(func(op crashdisk.Op) {
		switch {
		case op.Process == two && op.Kind == crashdisk.OpRead && op.Name == name:
			if reads++; reads == 3 {
				close(has)
				<-listed
			}
		case op.Process == two && reads >= 3 && op.Kind == crashdisk.OpSync && strings.HasPrefix(op.Name, "sessions/"):
			dies.Kill()
		case op.Process == three && op.Kind == crashdisk.OpStat && op.Name == name:
			if stats++; stats == 4 {
				close(listed)
			}
		}
	})
	ended := make(chan error, 1)
	go func() {
		_, err := second.OpenSession(st.ctx, SessionRequest{Client: "web1", Job: "default"})
		ended <- err
	}()
	<-has
	s = st.open(third)
	if err := <-ended; err == nil {
		t.Error("the second session was not killed")
	}
	st.d.After(nil)
	if got := s.Standing().Adopted; len(got) != 2 || got[0].Session == got[1].Session {
		t.Errorf("adopted: %v, want two that are not the same", got)
	}
	if err := st.commit(s, u); err != nil {
		t.Fatal(err)
	}
	st.end(s, u)
}
