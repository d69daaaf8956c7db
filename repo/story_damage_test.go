package repo

import (
	"errors"
	"fmt"
	"testing"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// flip changes one byte of the record's place in its pack, behind skip bytes.
func (st *story) flip(rec *object.Record, skip uint32) {
	st.t.Helper()
	f, err := st.process().mustFind(st.t, rec.ID)
	if err != nil {
		st.t.Fatal(err)
	}
	if err := st.d.Corrupt(f.Pack.Path(f.Type()), func(b []byte) []byte {
		b[f.Offset+skip] ^= 1
		return b
	}); err != nil {
		st.t.Fatal(err)
	}
}

// lose removes the pack that has the object.
func (st *story) lose(id object.ID) {
	st.t.Helper()
	r := st.process()
	f, err := r.mustFind(st.t, id)
	if err == nil {
		err = r.fs.Remove(f.Pack.Path(f.Type()))
	}
	if err != nil {
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
	st.lose(bad.root)
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

// cutOff commits u, in a session that r opened before the mark, when a prune has
// just published what is condemned; then damage is done, and the prune must
// refuse to go on.
func (st *story) cutOff(r *Repository, u *upload, damage func()) {
	st.t.Helper()
	var s *Session
	opt := atOnce
	opt.Progress = func(step string) {
		switch step {
		case beforeMark:
			s = st.open(r)
		case condemnedNow:
			if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
				st.t.Fatal(err)
			}
			damage()
		}
	}
	if _, err := st.r.Prune(st.ctx, opt); !errors.Is(err, object.CodeDamaged) {
		st.t.Fatalf("prune: got %v, want a refusal", err)
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
		st.cutOff(r, u, func() { st.flip(x, object.HeaderSize+3) })
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
			before := 0
			st.cutOff(r, u, func() {
				before = len(st.packFiles())
				if how == "rot" {
					st.flip(u.tree[0], object.HeaderSize+3)
					return
				}
				st.lose(u.root)
				before--
			})
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

// TestMarkNeedsNoData prunes while not one data pack can be read: the index
// says what key objects their records need. Nothing is copied out of such
// packs, and what isn't needed of others still goes.
func TestMarkNeedsNoData(t *testing.T) {
	st := newStory(t)
	kept := st.kept[0]
	v, err := st.process().acquire(st.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, seg := range v.set.Segments() {
		for ordinal := range seg.Packs() {
			p, err := seg.Pack(ordinal)
			if err != nil {
				t.Fatal(err)
			}
			if p.Type != pack.Data {
				continue
			}
			if err := st.d.Corrupt(p.Name.Path(p.Type), func(b []byte) []byte { return make([]byte, len(b)) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.release()
	res, err := st.process().Prune(st.ctx, atOnce)
	if err != nil || res.ObjectsDeleted == 0 {
		t.Fatalf("prune: %+v, %v", res, err)
	}
	for _, rec := range append(kept.tree, kept.Metadata, kept.Content) {
		if !st.has(rec) {
			t.Errorf("%s %s, which a snapshot needs, is gone", rec.Kind, rec.ID.Short())
		}
	}
}

// TestRottenLink has a link that a prune which was cut off has left, and that
// has rotted since: the next prune writes it anew and goes on.
func TestRottenLink(t *testing.T) {
	st := newStory(t)
	id := st.old.manifest.ID()
	if err := st.r.replaceFile(snapshotName("links", id), []byte("no link")); err != nil {
		t.Fatal(err)
	}
	st.prune(nil)
	if s, err := st.r.readSnapshot("links", id); err != nil || s.Flags&object.FlagForgotten == 0 || s.Manifest.Verify() != nil {
		t.Errorf("got %+v, %v; want the link of the forgotten snapshot", s, err)
	}
}
