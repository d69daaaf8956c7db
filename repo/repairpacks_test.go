package repo

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// TestRepairPacks rots one object in each pack of a snapshot, and loses a whole
// pack of another one.
func TestRepairPacks(t *testing.T) {
	d, committed := uploadsBefore(t, 2)
	r := openRepository(t, d.Process())
	defer r.Close()
	lost := map[object.ID]bool{}
	rotten := map[string][]byte{}
	for _, rec := range []*object.Record{committed[0].tree[0], committed[0].tree[5]} {
		found, err := r.mustFind(t, rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		name := found.Pack.Path(found.Type())
		flip := func(b []byte) []byte {
			b[int(found.Offset)+object.HeaderSize+30] ^= 4
			rotten[path.Base(name)] = b
			return b
		}
		if err := d.Corrupt(name, flip); err != nil {
			t.Fatal(err)
		}
		lost[rec.ID] = true
	}
	found, err := r.mustFind(t, committed[1].tree[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.fs.Remove(found.Pack.Path(found.Type())); err != nil {
		t.Fatal(err)
	}
	for _, rec := range committed[1].tree {
		if at, err := r.mustFind(t, rec.ID); err == nil && at.Pack == found.Pack {
			lost[rec.ID] = true
		}
	}
	before := d.Crash(crashdisk.KeepAll)
	repairPacks(t, r, lost)
	for name, want := range rotten {
		got, err := disk.ReadFile(r.fs, "damaged/"+name, 1<<20)
		if err != nil || string(got) != string(want) {
			t.Errorf("the damaged pack %s was not kept as it was: %v", name, err)
		}
	}
	healed(t, r, committed, lost)

	// The same with the power cut after each step, and a second repair.
	r = openRepository(t, before.Process())
	defer r.Close()
	step := 0
	before.After(func(op crashdisk.Op) {
		if step++; !op.Kind.Changes() || t.Failed() {
			return
		}
		for _, seed := range []uint64{crashdisk.LoseAll, uint64(step) + 10} {
			again := openRepository(t, before.Crash(seed).Process())
			if _, err := again.RepairPacks(context.Background(), nil); err != nil {
				t.Errorf("after a power cut at step %d: %v", step, err)
			}
			healed(t, again, committed, lost)
			again.Close()
		}
	})
	repairPacks(t, r, lost)
	before.After(nil)
}

func repairPacks(t *testing.T, r *Repository, lost map[object.ID]bool) {
	t.Helper()
	reported := map[object.ID]bool{}
	_, err := r.RepairPacks(t.Context(), func(p Problem) {
		if p.What == "object" {
			reported[p.ID] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range lost {
		if !reported[id] {
			t.Errorf("%s is lost, and the repair doesn't say so", id.Short())
		}
	}
	if len(reported) != len(lost) {
		t.Errorf("%d objects are said to be lost, want %d", len(reported), len(lost))
	}
}

// healed checks that nothing but lost is gone, that no damage is left, and that
// an upload which brings it again makes everything whole.
func healed(t *testing.T, r *Repository, committed []*upload, lost map[object.ID]bool) {
	t.Helper()
	for _, p := range problems(t, r) {
		if p.What != "snapshot" && !(p.What == "object" && lost[p.ID] && strings.HasPrefix(p.Detail, "missing")) {
			t.Errorf("after the repair: %+v", p)
		}
	}
	s, err := r.OpenSession(context.Background(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	u := newUpload(30, committed[1])
	for _, c := range committed {
		u.tree = append(c.records(), u.tree...)
	}
	_, err = u.sendTo(context.Background(), s)
	if err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, p := range problems(t, r) {
		t.Errorf("after everything was put again: %+v", p)
	}
}

// damageOne flips a bit in the first object of each upload, and returns their
// ids and the files that they are in.
func damageOne(t *testing.T, d *crashdisk.Disk, r *Repository, ups []*upload) (lost map[object.ID]bool, files map[string]bool) {
	t.Helper()
	lost, files = map[object.ID]bool{}, map[string]bool{}
	for _, u := range ups {
		found, err := r.mustFind(t, u.tree[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		name := found.Pack.Path(found.Type())
		flip := func(b []byte) []byte { b[int(found.Offset)+object.HeaderSize+3] ^= 4; return b }
		if err := d.Corrupt(name, flip); err != nil {
			t.Fatal(err)
		}
		lost[u.tree[0].ID], files[name] = true, true
	}
	return lost, files
}

// TestRepairOutOfFiles has no more files to open when a repair opens a damaged
// pack for the first, second and third time: nothing is taken for lost that the
// next repair finds.
func TestRepairOutOfFiles(t *testing.T) {
	for n := 1; n <= 3; n++ {
		d, committed := uploadsBefore(t, 2)
		r := openRepository(t, d.Process())
		lost, files := damageOne(t, d, r, committed[:1])
		opened := 0
		d.Fail(func(op crashdisk.Op) error {
			if op.Kind != crashdisk.OpOpen || !files[op.Name] {
				return nil
			}
			if opened++; opened != n {
				return nil
			}
			return syscall.EMFILE
		})
		_, err := r.RepairPacks(t.Context(), func(p Problem) {
			if p.What == "object" && !lost[p.ID] || strings.Contains(p.Detail, "open files; what it held") {
				t.Errorf("open %d: %+v", n, p)
			}
		})
		d.Fail(nil)
		if opened < n || n > 1 && object.CodeOf(err) != object.CodeInternal || n == 1 && err != nil {
			t.Errorf("open %d of %d: %v", n, opened, err)
		}
		if _, err := r.RepairPacks(t.Context(), nil); err != nil {
			t.Errorf("open %d: the next repair: %v", n, err)
		}
		healed(t, r, committed, lost)
		r.Close()
	}
}

// TestRepairOneByOne repairs three packs: each new one is durable before the
// next is begun.
func TestRepairOneByOne(t *testing.T) {
	d, committed := uploadsBefore(t, 3)
	r := openRepository(t, d.Process())
	defer r.Close()
	lost, _ := damageOne(t, d, r, committed)
	made, synced := 0, 0
	d.After(func(op crashdisk.Op) {
		switch {
		case !strings.HasPrefix(op.Name, "packs/") || path.Ext(op.Name) == "":
		case op.Kind == crashdisk.OpCreate:
			if made++; made-synced > 1 {
				t.Errorf("%d packs are being written at once", made-synced)
			}
		case op.Kind == crashdisk.OpSync:
			synced++
		}
	})
	repairPacks(t, r, lost)
	d.After(nil)
	if made != 3 || synced != 3 {
		t.Errorf("%d packs were made and %d synced, want 3", made, synced)
	}
	healed(t, r, committed, lost)
}

// inQuarantine returns the packs on the quarantine list.
func inQuarantine(t *testing.T, r *Repository) (packs []pack.Name) {
	t.Helper()
	v, err := r.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.release()
	if v.quarantine == nil {
		return nil
	}
	for row, err := range v.quarantine.Rows(0) {
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, pack.Name(row[:pack.NameSize]))
	}
	return packs
}

// TestQuarantineEnds marks an object of each of three packs as bad. What a
// repair takes away is on the list no more, and so it is when a pack went by
// itself.
func TestQuarantineEnds(t *testing.T) {
	d, committed := uploadsBefore(t, 3)
	r := openRepository(t, d.Process())
	defer r.Close()
	at := make([]index.Found, 3)
	for i, u := range committed {
		id := u.tree[0].ID
		var err error
		if at[i], err = r.mustFind(t, id); err != nil {
			t.Fatal(err)
		}
		if err := r.MarkBad(t.Context(), []object.ID{id}); err != nil {
			t.Fatal(err)
		}
	}
	if got := inQuarantine(t, r); len(got) != 3 {
		t.Fatalf("in quarantine are %v", got)
	}
	want := func(after string, left ...index.Found) {
		t.Helper()
		var names []pack.Name
		for _, f := range left {
			names = append(names, f.Pack)
		}
		slices.SortFunc(names, pack.Name.Compare)
		if got := inQuarantine(t, r); !slices.Equal(got, names) {
			t.Errorf("after %s in quarantine is %v, want %v", after, got, names)
		}
	}
	flip := func(b []byte) []byte { b[int(at[0].Offset)+object.HeaderSize+3] ^= 4; return b }
	if err := d.Corrupt(at[0].Pack.Path(at[0].Type()), flip); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RepairPacks(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want("a repair of packs", at[1], at[2])
	if lists, err := list(r.fs, "gc"); err != nil || len(lists) != 1 {
		t.Errorf("in gc are %v, %v; want the new list", lists, err)
	}
	if err := r.fs.Remove(at[1].Pack.Path(at[1].Type())); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RepairIndex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want("a repair of the index", at[2])
}

// TestRepairOfAMissingPack has nothing to put aside, and no sender is told all
// the same that its base is whole.
func TestRepairOfAMissingPack(t *testing.T) {
	d, committed := uploadsBefore(t, 2)
	r := openRepository(t, d.Process())
	defer r.Close()
	told := func(want bool) {
		t.Helper()
		s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Base: committed[1].manifest.ID()})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Standing().Based; got != want {
			t.Errorf("told that the base is whole: %v, want %v", got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	told(true)
	found, err := r.mustFind(t, committed[0].tree[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.fs.Remove(found.Pack.Path(found.Type())); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RepairPacks(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	told(false)
}

// TestRepairWhileCopying loses something that is deep below what a copy relies
// on, in a repair that begins and ends while its session is open: the copy is
// told what is missing, and puts that.
func TestRepairWhileCopying(t *testing.T) {
	c := newCopying(t, 2)
	first, second := c.uploads[0], c.uploads[1]
	if err := c.replicate(c.to, first); err != nil {
		t.Fatal(err)
	}
	s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	lost := first.tree[0]
	other := c.process()
	found, err := other.mustFind(t, lost.ID)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte) []byte { b[int(found.Offset)+object.HeaderSize+30] ^= 4; return b }
	if err := c.d.Corrupt(found.Pack.Path(found.Type()), flip); err != nil {
		t.Fatal(err)
	}
	if _, err := other.RepairPacks(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.replicateIn(t.Context(), s, second)
	var missing *object.MissingError
	if !errors.As(err, &missing) || !slices.Equal(missing.IDs, []object.ID{lost.ID}) {
		t.Fatalf("commit: got %v, want that %s is missing", err, lost.ID.Short())
	}
	for _, rec := range []*object.Record{first.Metadata, first.Content, lost} {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CommitReplica(t.Context(), c.snapshot(second)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	c.wantCopies(c.to, first, second)
}
