package repo

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
)

// TestPowerCutWithUploads cuts the power after every step of a prune in which
// another process opens a session, relies on what is being condemned, and
// commits.
func TestPowerCutWithUploads(t *testing.T) {
	for _, commitAt := range []string{condemnedNow, beforeSpare} {
		t.Run(commitAt, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			x := st.inner()
			u := relying(60, x)
			var s *Session
			acked := false
			step := 0
			st.d.After(func(op crashdisk.Op) {
				if !op.Kind.Changes() || t.Failed() {
					return
				}
				step++
				for _, seed := range crashSeeds {
					if seed > 1 {
						seed += uint64(step) << 8
					}
					if err := afterStoryCrash(t, st.d.Crash(seed), u, acked); err != nil {
						t.Errorf("step %d (%s), seed %d: %v", step, op, seed, err)
					}
				}
			})
			st.prune(map[string]func(){
				beforeMark: func() { s = st.open(r) },
				commitAt: func() {
					if err := st.commit(s, u); err != nil {
						t.Errorf("commit: %v", err)
					}
					acked = true
				},
			})
			st.d.After(nil)
			st.end(s, u, below(st.old.tree, x)...)
		})
	}
}

func afterStoryCrash(t *testing.T, d *crashdisk.Disk, u *upload, acked bool) error {
	t.Helper()
	if err := afterPruneCrash(t, d, nil); err != nil || !acked {
		return err
	}
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	_, err := r.Snapshot(context.Background(), u.manifest.ID())
	return err
}

// TestRepairAfterHalfASweep kills a prune at each of its steps, builds the index
// anew, and goes on: nothing relies on what may be half gone.
func TestRepairAfterHalfASweep(t *testing.T) {
	for step := 1; ; step++ {
		st := newStory(t)
		x := st.inner()
		// Something of it lives, so that packs are rewritten.
		if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
			t.Fatal(err)
		}
		u := relying(60, x)
		s := st.open(st.r)
		if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
			t.Fatal(err)
		}
		st.forget(st.old)
		r, p := st.mortal()
		n := 0
		st.d.After(func(op crashdisk.Op) {
			if op.Kind.Changes() {
				if n++; n == step {
					p.Kill()
				}
			}
		})
		_, err := r.Prune(st.ctx, atOnce)
		st.d.After(nil)
		fresh := st.process()
		if _, err := fresh.RepairIndex(st.ctx, nil); err != nil {
			t.Fatalf("step %d: repair: %v", step, err)
		}
		// A job whose visible set is a superset puts what it can't rely on.
		all := newUpload(50, nil)
		s = st.open(fresh)
		if err := errors.Join(st.commit(s, all), s.Close()); err != nil {
			t.Fatalf("step %d: upload: %v", step, err)
		}
		st.kept = append(st.kept, all)
		st.end(nil, u, below(st.old.tree, x)...)
		if t.Failed() {
			t.Fatalf("killed after step %d", step)
		}
		if n < step {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// TestRepairWithAdoptedPacks builds the index anew while an upload goes on that
// has adopted packs of a commit that came as far as CURRENT. A prune must not
// take them away under it.
func TestRepairWithAdoptedPacks(t *testing.T) {
	st := newStory(t)
	r, p := st.mortal()
	u := newUpload(60, nil)
	s := st.open(r)
	replaced := false
	st.d.After(func(op crashdisk.Op) {
		if op.Kind == crashdisk.OpReplace && op.Name == currentName {
			replaced = true
		} else if replaced && op.Kind == crashdisk.OpSyncDir {
			p.Kill()
		}
	})
	if err := st.commit(s, u); err == nil {
		t.Fatal("the commit was not killed")
	}
	st.d.After(nil)
	s = st.open(st.process())
	if len(s.Standing().Adopted) != 1 {
		t.Fatalf("adopted: %+v", s.Standing().Adopted)
	}
	if _, err := st.process().RepairIndex(st.ctx, nil); err != nil {
		t.Fatal(err)
	}
	st.prune(nil)
	if err := st.commit(s, u); err != nil {
		t.Fatal(err)
	}
	st.end(s, u)
}

// TestCommitWhilePruneReplacesCURRENT has a commit come to CURRENT while a prune
// holds current.lock with its own new one written.
func TestCommitWhilePruneReplacesCURRENT(t *testing.T) {
	st := newStory(t)
	r := st.process()
	u := newUpload(60, nil)
	s := st.open(r)
	st.put(s, u.records()...)
	waiting, done := make(chan struct{}), make(chan error, 1)
	var armed, committing atomic.Bool // two goroutines come by
	var once sync.Once
	st.d.After(func(op crashdisk.Op) {
		switch {
		case armed.Load() && op.Kind == crashdisk.OpSync && op.Name == currentName+newSuffix && committing.CompareAndSwap(false, true):
			go func() { done <- st.commitOnly(s, u) }()
			<-waiting
		case committing.Load() && op.Kind == crashdisk.OpLock && op.Name == currentLock:
			once.Do(func() { close(waiting) }) // it can't get it before the prune is done
		}
	})
	// The one that ends step 6 isn't made under gc.lock.
	st.prune(map[string]func(){deletingNow: func() { armed.Store(true) }})
	if !committing.Load() {
		t.Fatal("the prune replaced no CURRENT")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	st.d.After(nil)
	st.end(s, u)
}

func (st *story) commitOnly(s *Session, u *upload) error {
	u.manifest, u.sealed = u.Manifest(s.Standing(), "web1", "default", u.root)
	_, err := s.Commit(st.ctx, u.manifest, u.sealed)
	return err
}

// TestKilledProcessesLeaveNothing kills uploads before anything of them counts,
// and prunes while they copy.
func TestKilledProcessesLeaveNothing(t *testing.T) {
	st := newStory(t)
	r, p := st.mortal()
	s := st.open(r)
	u := newUpload(60, nil)
	st.put(s, u.records()...) // and no checkpoint
	p.Kill()
	res := st.prune(nil)
	if res.Strays == 0 || res.Sessions != 1 {
		t.Errorf("got %+v; want the killed upload's packs and file removed", res)
	}
	// One with a checkpoint stays for three days.
	r, p = st.mortal()
	s = st.open(r)
	st.put(s, u.records()...)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if res := st.prune(nil); res.Strays > 0 || res.Sessions > 0 {
		t.Errorf("got %+v; want what can be continued left alone", res)
	}
	st.r.tune.now = func() time.Time { return st.now().Add(deadSession) }
	if res := st.prune(nil); res.Strays == 0 || res.Sessions != 1 {
		t.Errorf("got %+v; want the upload removed after three days", res)
	}
	st.r.tune.now = st.now
	last := newUpload(61, nil)
	if _, err := last.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	st.end(nil, last)
}
