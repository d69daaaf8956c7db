package repo

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
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
