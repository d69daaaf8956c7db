package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
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
	committing := false
	armed := false
	st.d.After(func(op crashdisk.Op) {
		switch {
		case armed && !committing && op.Kind == crashdisk.OpSync && op.Name == currentName+newSuffix:
			committing = true
			go func() { done <- st.commitOnly(s, u) }()
			<-waiting
		case committing && waiting != nil && op.Kind == crashdisk.OpLock && op.Name == currentLock:
			close(waiting) // it can't get it before the prune is done
			waiting = nil
		}
	})
	// The one that ends step 6 isn't made under gc.lock.
	st.prune(map[string]func(){deletingNow: func() { armed = true }})
	if !committing {
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

// TestFullDiskAtEachWrite fails every write of a prune once as a full disk does.
// Nothing is lost, and the next prune ends.
func TestFullDiskAtEachWrite(t *testing.T) {
	for n := 1; ; n++ {
		st := newStory(t)
		x := st.inner()
		if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
			t.Fatal(err)
		}
		u := relying(60, x)
		s := st.open(st.r)
		if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
			t.Fatal(err)
		}
		st.forget(st.old)
		count := 0
		st.d.Fail(func(op crashdisk.Op) error {
			if op.Kind != crashdisk.OpWrite && op.Kind != crashdisk.OpCreate && op.Kind != crashdisk.OpMkdir {
				return nil
			}
			if count++; count == n {
				return syscall.ENOSPC
			}
			return nil
		})
		res, err := st.r.Prune(st.ctx, atOnce)
		st.d.Fail(nil)
		if err != nil {
			t.Fatalf("write %d: %v", n, err) // the reserve was given up for it
		}
		if count >= n && res.ObjectsDeleted == 0 {
			t.Errorf("write %d: %+v", n, res)
		}
		st.end(nil, u, below(st.old.tree, x)...)
		if t.Failed() {
			t.Fatalf("write %d failed", n)
		}
		if count < n {
			return
		}
	}
}

// TestPruneOnFullDisk prunes, forgets and lists with no byte free, in a
// repository whose lists don't fit into the smallest reserve.
func TestPruneOnFullDisk(t *testing.T) {
	st := newStory(t)
	u := newUpload(60, nil)
	u.tree = nil
	var ids []object.ID
	for range 40 {
		var refs []object.ID
		for range 800 {
			rec := u.Object(object.KindChunk, 40)
			u.tree = append(u.tree, rec)
			refs = append(refs, rec.ID)
		}
		dir := u.Object(object.KindDir, 40, refs...)
		u.tree = append(u.tree, dir)
		ids = append(ids, dir.ID)
	}
	root := u.Object(object.KindDir, 40, ids...)
	u.tree, u.root = append(u.tree, root), root.ID
	if _, err := u.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	st.prune(nil) // makes the reserve as large as it should be
	e, err := st.r.fs.Stat(reserveName)
	if err != nil || e.Size < st.r.wantedReserve()/4*3 || st.r.wantedReserve() < reserveSize+2*48*int64(len(u.tree)) {
		t.Fatalf("the reserve has %d bytes, want %d: %v", e.Size, st.r.wantedReserve(), err)
	}
	st.d.SetCapacity(st.d.Used())
	st.forget(u)
	if err := st.r.Snapshots(st.ctx, func(*object.Snapshot) error { return nil }); err != nil {
		t.Error(err)
	}
	res := st.prune(nil)
	if res.ObjectsDeleted < len(u.tree) || res.BytesFreed == 0 {
		t.Errorf("got %+v", res)
	}
	st.d.SetCapacity(1<<63 - 1)
	if err := wantTrees(st.process(), st.kept...); err != nil {
		t.Error(err)
	}
}

// flip changes one byte of the record's place in its pack, behind skip bytes.
func (st *story) flip(rec *object.Record, skip uint32) {
	st.t.Helper()
	v, err := st.process().acquire(st.ctx)
	if err != nil {
		st.t.Fatal(err)
	}
	defer v.release()
	found, err := v.find(nil, rec.ID)
	if err != nil || len(found) != 1 {
		st.t.Fatalf("%s: %d locations, %v", rec.ID.Short(), len(found), err)
	}
	f := found[0]
	if err := st.d.Corrupt(f.Pack.Path(pack.TypeOf(f.Kind)), func(b []byte) []byte {
		b[f.Offset+skip] ^= 1
		return b
	}); err != nil {
		st.t.Fatal(err)
	}
}

// packFiles returns the names of all packs.
func (st *story) packFiles() (names []string) {
	st.t.Helper()
	folders, err := list(st.r.fs, pack.Dir)
	for _, f := range folders {
		files, e := list(st.r.fs, pack.Dir+"/"+f.Name)
		err = errors.Join(err, e)
		for _, file := range files {
			names = append(names, file.Name)
		}
	}
	if err != nil {
		st.t.Fatal(err)
	}
	return names
}

// TestPruneRefusesDamage deletes nothing when something that snapshots need
// can't be read, until an administrator has marked it as bad.
func TestPruneRefusesDamage(t *testing.T) {
	st := newStory(t)
	dir := st.kept[0].tree[len(st.kept[0].tree)-2]
	if dir.Kind != object.KindDir {
		t.Fatal("not a directory")
	}
	st.flip(dir, object.HeaderSize+3)
	before := fmt.Sprint(st.packFiles())
	for range 2 {
		if _, err := st.process().Prune(st.ctx, atOnce); !errors.Is(err, object.CodeDamaged) {
			t.Fatalf("prune: got %v, want a refusal", err)
		}
		if now := fmt.Sprint(st.packFiles()); now != before {
			t.Errorf("packs before: %s\nafter: %s", before, now)
		}
	}
	if err := st.r.MarkBad(st.ctx, []object.ID{dir.ID}); err != nil {
		t.Fatal(err)
	}
	if res, err := st.process().Prune(st.ctx, atOnce); err != nil || res.ObjectsDeleted == 0 {
		t.Errorf("after it was marked as bad: %+v, %v", res, err)
	}
}

// TestMissingPackAndTheWayOut forgets the snapshot that lacks something.
func TestMissingPackAndTheWayOut(t *testing.T) {
	st := newStory(t)
	bad := newUpload(60, nil)
	if _, err := bad.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	v, err := st.r.acquire(st.ctx)
	if err != nil {
		t.Fatal(err)
	}
	found, err := v.find(nil, bad.root)
	v.release()
	if err != nil || len(found) != 1 {
		t.Fatal(err)
	}
	if err := st.r.fs.Remove(found[0].Pack.Path(pack.Meta)); err != nil {
		t.Fatal(err)
	}
	if _, err := st.process().Prune(st.ctx, atOnce); !errors.Is(err, object.CodeDamaged) {
		t.Fatalf("prune: got %v, want a refusal", err)
	}
	st.forget(bad)
	if _, err := st.process().Prune(st.ctx, atOnce); err != nil {
		t.Fatal(err)
	}
	if err := wantTrees(st.process(), st.kept...); err != nil {
		t.Error(err)
	}
}

// TestRotInCondemned lets an object rot on which a commit relies after it was
// condemned: the commit is told, or the prune refuses; what is below it stays.
func TestRotInCondemned(t *testing.T) {
	t.Run("before the commit", func(t *testing.T) {
		st := newStory(t)
		r := st.process()
		x := st.inner()
		u := relying(60, x)
		var s *Session
		st.prune(map[string]func(){
			beforeMark: func() { s = st.open(r) },
			condemnedNow: func() {
				st.flip(x, object.HeaderSize+3) // a ref
				err := st.commit(s, u)
				var missing *object.MissingError
				if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != x.ID {
					t.Fatalf("commit: got %v, want that %s is missing", err, x.ID.Short())
				}
				st.put(s, st.old.Metadata, st.old.Content)
				st.put(s, below(st.old.tree, x)...)
				if _, err := s.Commit(st.ctx, u.manifest, u.sealed); err != nil {
					t.Fatal(err)
				}
			},
		})
		st.end(s, u, below(st.old.tree, x)...)
	})
	t.Run("after the commit", func(t *testing.T) {
		st := newStory(t)
		r := st.process()
		x := st.inner()
		u := relying(60, x)
		var s *Session
		opt := atOnce
		opt.Progress = func(step string) {
			switch step {
			case beforeMark:
				s = st.open(r)
			case condemnedNow:
				if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
					t.Fatal(err)
				}
				st.flip(x, object.HeaderSize+3)
			}
		}
		if _, err := st.r.Prune(st.ctx, opt); !errors.Is(err, object.CodeDamaged) {
			t.Fatalf("prune: got %v, want a refusal", err)
		}
		for _, rec := range below(st.old.tree, x)[1:] {
			if v, err := st.process().acquire(st.ctx); err != nil {
				t.Fatal(err)
			} else if p, _, err := v.presence(rec.ID); p == absent || err != nil {
				t.Errorf("%s %s is gone: %v", rec.Kind, rec.ID.Short(), err)
			}
		}
		if err := st.r.MarkBad(st.ctx, []object.ID{x.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := st.process().Prune(st.ctx, atOnce); err != nil {
			t.Errorf("after it was marked as bad: %v", err)
		}
	})
}

// TestRotInNewPack has rot in what was committed while a prune was running.
func TestRotInNewPack(t *testing.T) {
	for _, how := range []string{"rot", "gone"} {
		t.Run(how, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			x := st.inner()
			u := relying(60, x)
			var s *Session
			opt := atOnce
			opt.Progress = func(step string) {
				switch step {
				case beforeMark:
					s = st.open(r)
				case condemnedNow:
					if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
						t.Fatal(err)
					}
					if how == "rot" {
						st.flip(u.tree[0], object.HeaderSize+3)
						return
					}
					v, err := r.acquire(st.ctx)
					if err != nil {
						t.Fatal(err)
					}
					found, err := v.find(nil, u.root)
					v.release()
					if err != nil || len(found) != 1 {
						t.Fatal(err)
					}
					if err := r.fs.Remove(found[0].Pack.Path(pack.Meta)); err != nil {
						t.Fatal(err)
					}
				}
			}
			before := len(st.packFiles())
			if _, err := st.r.Prune(st.ctx, opt); !errors.Is(err, object.CodeDamaged) {
				t.Fatalf("prune: got %v, want a refusal", err)
			}
			if now := len(st.packFiles()); now < before {
				t.Errorf("%d packs, before the prune %d", now, before)
			}
		})
	}
}

// TestRotInOldSnapshot must not stop the next backup, which has no use for what
// has rotted.
func TestRotInOldSnapshot(t *testing.T) {
	st := newStory(t)
	first := newUpload(60, nil)
	if _, err := first.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	for _, rec := range first.tree {
		if rec.Kind == object.KindDir {
			st.flip(rec, object.HeaderSize+3)
		}
	}
	second := newUpload(61, nil)
	if _, err := second.send(st.ctx, st.process()); err != nil {
		t.Errorf("the next backup: %v", err)
	}
}

// TestHalfReadablePack rewrites no pack of which something that lives can't be
// read, and leaves no half of it elsewhere.
func TestHalfReadablePack(t *testing.T) {
	st := newStory(t)
	leaves := below(st.old.tree, st.inner())[1:]
	if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
		t.Fatal(err)
	}
	u := relying(60, leaves...)
	s := st.open(st.r)
	if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
		t.Fatal(err)
	}
	st.forget(st.old)
	bad := leaves[len(leaves)-1]
	st.flip(bad, object.HeaderSize+3)
	st.prune(nil)
	st.prune(nil)
	var problems []Problem
	if _, err := st.process().Check(st.ctx, CheckOptions{ReadData: true}, func(p Problem) { problems = append(problems, p) }); err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.What == "index" {
			t.Errorf("check: %s %s: %s", p.What, p.Name, p.Detail)
		}
	}
	if len(problems) == 0 {
		t.Error("check didn't find the rot")
	}
	for _, rec := range leaves[:len(leaves)-1] {
		if err := st.process().Fetch(st.ctx, []object.ID{rec.ID}, func(*object.Record) error { return nil }); err != nil {
			t.Error(err)
		}
	}
}

// TestSecondCopyOfQuarantined keeps the good one of two copies.
func TestSecondCopyOfQuarantined(t *testing.T) {
	st := newStory(t)
	u := st.kept[0]
	x := u.tree[0]
	if err := st.r.MarkBad(st.ctx, []object.ID{x.ID}); err != nil {
		t.Fatal(err)
	}
	other := relying(60, x)
	s := st.open(st.r)
	st.put(s, u.Content, x)
	if err := errors.Join(st.commit(s, other), s.Close()); err != nil {
		t.Fatal(err)
	}
	st.prune(nil)
	v, err := st.r.acquire(st.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer v.release()
	found, err := v.find(nil, x.ID)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d copies, %v; want the good one", len(found), err)
	}
	if c, err := v.condition(found[0].Location); err != nil || c != live {
		t.Errorf("the copy that is left is %d, %v", c, err)
	}
	st.end(nil, other, x)
}

// TestBoundedUnderLock has many commits come between step 5's last look and its
// lock: they are not dealt with while it holds that.
func TestBoundedUnderLock(t *testing.T) {
	st := newStory(t)
	r := st.process()
	const pruner = 3 // the disk and its repository were made by two others
	armed, sent, opened, held := false, false, 0, false
	st.d.After(func(op crashdisk.Op) {
		switch {
		case !armed || op.Process != pruner:
		case !sent && op.Kind == crashdisk.OpLock && op.Name == gateLock:
			sent = true
			for n := range uint64(fewNew) {
				u := newUpload(200+n, nil)
				if _, err := u.send(st.ctx, r); err != nil {
					t.Fatal(err)
				}
				st.kept = append(st.kept, u)
			}
		case op.Kind == crashdisk.OpLock && op.Name == gcLock:
			held, opened = true, 0
		case op.Kind == crashdisk.OpUnlock && op.Name == gcLock:
			held = false
		case held && op.Kind == crashdisk.OpOpen && strings.HasPrefix(op.Name, "packs/"):
			if opened++; opened == fewNew+1 {
				t.Errorf("more than %d packs were read under the lock", fewNew)
			}
		}
	})
	st.prune(map[string]func(){beforeSpare: func() { armed = true }})
	st.d.After(nil)
	if !sent {
		t.Error("step 5 took no lock")
	}
	st.end(nil, st.kept[len(st.kept)-1])
}

// TestPruneAtMinFree stops an upload before the disk is full, and lets a prune work.
func TestPruneAtMinFree(t *testing.T) {
	st := newStory(t)
	if err := st.r.SetSetting(st.ctx, settingMinFree, "1M"); err != nil {
		t.Fatal(err)
	}
	st.d.SetCapacity(st.d.Used() + 512<<10)
	r := st.process()
	s := st.open(r)
	if err := s.Put(st.ctx, newUpload(60, nil).Metadata); !errors.Is(err, object.CodeNoSpace) {
		t.Errorf("put: got %v, want that there is no space", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if res := st.prune(nil); res.ObjectsDeleted == 0 {
		t.Errorf("prune: %+v", res)
	}
	st.d.SetCapacity(1<<63 - 1)
	last := newUpload(61, nil)
	if _, err := last.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	st.end(nil, last)
}

// TestClockRefusals deletes nothing by a clock that can't be right.
func TestClockRefusals(t *testing.T) {
	for _, off := range []time.Duration{-time.Minute, maxAhead + time.Hour} {
		st := newStory(t)
		st.r.tune.now = func() time.Time { return st.now().Add(off) }
		if _, err := st.r.Prune(st.ctx, atOnce); !errors.Is(err, object.CodeClock) {
			t.Errorf("%s: prune: got %v, want a refusal", off, err)
		}
		if err := st.r.Forget(st.ctx, []object.ID{st.kept[0].manifest.ID()}, ForgetOptions{}); !errors.Is(err, object.CodeClock) {
			t.Errorf("%s: forget: got %v, want a refusal", off, err)
		}
		trusting := atOnce
		trusting.TrustClock = true
		if res, err := st.r.Prune(st.ctx, trusting); err != nil {
			t.Errorf("%s: trusted: %+v, %v", off, res, err)
		}
	}
}

// TestForeignMachine refuses to prune under another machine's upload, for as
// long as that shows life.
func TestForeignMachine(t *testing.T) {
	st := newStory(t)
	st.d.SetClock(func() int64 { return st.now().UnixNano() })
	r := st.process()
	r.machine = machineID{77}
	s := st.open(r)
	st.put(s, newUpload(60, nil).records()...)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := st.r.Prune(st.ctx, atOnce); !errors.Is(err, object.CodeUnsafeLock) {
		t.Errorf("prune: got %v, want a refusal", err)
	}
	later := st.now().Add(foreignSession - time.Hour)
	st.d.SetClock(func() int64 { return later.UnixNano() })
	st.put(s, newUpload(61, nil).records()...)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	st.r.tune.now = func() time.Time { return later.Add(2 * time.Hour) }
	if _, err := st.r.Prune(st.ctx, PruneOptions{TrustClock: true}); !errors.Is(err, object.CodeUnsafeLock) {
		t.Errorf("prune, of one that is old and shows life: got %v, want a refusal", err)
	}
	st.r.tune.now = func() time.Time { return later.Add(foreignSession + time.Hour) }
	if _, err := st.r.Prune(st.ctx, PruneOptions{TrustClock: true}); err != nil {
		t.Errorf("prune after that: %v", err)
	}
}

// visibleIDs counts what the job's visible sets hold.
func (st *story) visibleIDs() (n uint64) {
	st.t.Helper()
	h, err := st.r.readHead("web1", "default")
	if err != nil {
		st.t.Fatal(err)
	}
	for _, ref := range h.visible {
		n += ref.rows
	}
	return n
}

// TestExactAfterPrune wants visible sets and quota to be what the snapshots
// reach, but never less than a running upload was told it may rely on.
func TestExactAfterPrune(t *testing.T) {
	st := newStory(t)
	x := st.inner()
	last := relying(60, x)
	if err := st.r.Unforget(st.ctx, st.old.manifest.ID()); err != nil {
		t.Fatal(err)
	}
	s := st.open(st.r)
	if err := errors.Join(st.commit(s, last), s.Close()); err != nil {
		t.Fatal(err)
	}
	st.forget(st.old)
	superset := st.visibleIDs()
	running := st.open(st.process())
	st.prune(nil)
	if n := st.visibleIDs(); n != superset {
		t.Errorf("%d ids are visible, were %d, and an upload relies on them", n, superset)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
	st.prune(nil)
	parts := below(st.old.tree, x)
	// Its root and what that reaches, and the key objects of metadata.
	want := uint64(len(last.tree) + len(parts) + 4 - 1)
	if n := st.visibleIDs(); n != want {
		t.Errorf("%d ids are visible, the newest snapshot reaches %d", n, want)
	}
	bytes := 0
	for _, rec := range append(append(append([]*object.Record{}, last.records()...), parts...), st.old.Metadata) {
		bytes += rec.Size()
	}
	for _, rec := range st.kept[0].records() {
		bytes += rec.Size()
	}
	u, err := st.r.readUsed("web1")
	if err != nil || u.bytes != uint64(bytes) {
		t.Errorf("the client is charged %d bytes, its snapshots hold %d: %v", u.bytes, bytes, err)
	}
}

// TestNothingLeftByFailedReplacing makes leftovers as crashes do.
func TestNothingLeftByFailedReplacing(t *testing.T) {
	st := newStory(t)
	left := []string{"gc/77.list", "index/78.idx", currentName + newSuffix, headName("web1", "default") + newSuffix,
		visibleName("web1", "default", 99), usedName("web1") + newSuffix, "snapshots/x" + newSuffix}
	for _, name := range left {
		if err := createFile(st.r.fs, name, []byte("cut off")); err != nil {
			t.Fatal(err)
		}
	}
	st.prune(nil)
	for _, name := range left {
		if _, err := st.r.fs.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}
