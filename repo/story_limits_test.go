package repo

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

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
	for range 60 {
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
	if err != nil || e.Size < st.r.wantedReserve()/4*3 || st.r.wantedReserve() < max(reserveSize, reserveBase+2*48*int64(len(u.tree))) {
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

// TestForgetOnFullDisk fails each call of a forget of two snapshots, and of
// bringing them back, once as a full disk does: with the reserve given up it
// goes on where it was.
func TestForgetOnFullDisk(t *testing.T) {
	for n := 1; ; n++ {
		st := newStory(t)
		u := newUpload(60, nil)
		if _, err := u.send(st.ctx, st.r); err != nil {
			t.Fatal(err)
		}
		count := 0
		st.d.Fail(func(op crashdisk.Op) error {
			if !op.Kind.Changes() {
				return nil
			}
			if count++; count == n {
				return syscall.ENOSPC
			}
			return nil
		})
		ids := []object.ID{st.kept[0].manifest.ID(), u.manifest.ID()}
		if err := st.r.Forget(st.ctx, ids, ForgetOptions{IgnoreUnusual: true}); err != nil {
			t.Fatalf("call %d: forget: %v", n, err)
		}
		for _, id := range ids {
			if there, err := exists(st.r.fs, snapshotName("trash", id)); err != nil || !there {
				t.Fatalf("call %d: snapshot %s is not in the trash: %v", n, id.Short(), err)
			}
			if err := st.r.Unforget(st.ctx, id); err != nil {
				t.Fatalf("call %d: unforget: %v", n, err)
			}
		}
		st.d.Fail(nil)
		if err := wantTrees(st.process(), st.kept[0], u); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		if count < n {
			return
		}
	}
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
	// Its root and what that reaches, and the key objects of both uploads.
	want := uint64(len(last.tree) + len(parts) + 4)
	if n := st.visibleIDs(); n != want {
		t.Errorf("%d ids are visible, the newest snapshot reaches %d", n, want)
	}
	bytes := 0
	for _, rec := range append(append(append([]*object.Record{}, last.records()...), parts...), st.old.Metadata, st.old.Content) {
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

// TestFullDiskAtSweep takes the last byte, and the reserve, when nothing is left
// to do but to delete: what is unlinked first makes the room for the new index.
func TestFullDiskAtSweep(t *testing.T) {
	st := newStory(t)
	st.prune(map[string]func(){deletingNow: func() {
		if err := st.r.fs.Remove(reserveName); err != nil {
			t.Fatal(err)
		}
		st.d.SetCapacity(st.d.Used())
	}})
	st.d.SetCapacity(1<<63 - 1)
	last := newUpload(61, nil)
	if _, err := last.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	st.end(nil, last)
}

// TestSessionFileIsBounded fills a session's log: the upload ends, and the next
// session goes on with it.
func TestSessionFileIsBounded(t *testing.T) {
	st := newStory(t)
	s := st.open(st.process())
	u := newUpload(60, nil)
	st.put(s, u.records()...)
	if err := s.Checkpoint(st.ctx); err != nil {
		t.Fatal(err)
	}
	s.file.size = maxSessionFile - 10
	st.put(s, newUpload(61, nil).Metadata)
	if err := s.Checkpoint(st.ctx); !errors.Is(err, object.CodeBusy) {
		t.Errorf("checkpoint: got %v, want a refusal", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = st.open(st.process())
	for _, rec := range u.records() {
		st.wantHave(s, true, rec)
	}
	if err := st.commit(s, u); err != nil {
		t.Fatal(err)
	}
	st.end(s, u)
}
