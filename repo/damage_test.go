package repo

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// files returns the names of all files below a folder.
func files(t *testing.T, fsys disk.FS, folder string) []string {
	t.Helper()
	entries, err := fsys.List(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := strings.TrimPrefix(folder+"/"+e.Name, "./")
		if e.Dir {
			names = append(names, files(t, fsys, name)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

func problems(t *testing.T, r *Repository) []Problem {
	t.Helper()
	var all []Problem
	result, err := r.Check(context.Background(), CheckOptions{ReadData: true}, func(p Problem) { all = append(all, p) })
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if result.Problems != len(all) {
		t.Errorf("check counts %d problems and reported %d", result.Problems, len(all))
	}
	return all
}

// isEvidence reports whether a file is one whose rot check must name.
func isEvidence(name string) bool {
	for _, folder := range []string{"packs/", "index/", "snapshots/", "heads/", "quota/"} {
		if strings.HasPrefix(name, folder) && !strings.HasSuffix(name, "/lock") {
			return true
		}
	}
	return name == currentName || name == configName
}

// TestRot changes a byte here and there in every file, truncates and removes
// it: check must name it, and nothing altered may ever be read.
func TestRot(t *testing.T) {
	base, committed := uploadsBefore(t, 2)
	for _, name := range files(t, base.Process(), ".") {
		if !isEvidence(name) {
			continue
		}
		e, err := base.Process().Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size := int(e.Size)
		if strings.HasPrefix(name, "packs/") {
			size -= 24 // the seal says nothing that the index doesn't
		}
		for at := 0; at < size; at += 1 + size/40 {
			rot(t, base, committed, name, func(b []byte) []byte { b[at] ^= 0x10; return b })
		}
		for _, n := range []int{0, 1, size / 2, size - 1} {
			rot(t, base, committed, name, func(b []byte) []byte { return b[:n] })
		}
	}
}

func rot(t *testing.T, base *crashdisk.Disk, committed []*upload, name string, change func([]byte) []byte) {
	t.Helper()
	d := base.Crash(crashdisk.KeepAll)
	if err := d.Corrupt(name, change); err != nil {
		t.Fatal(err)
	}
	r, err := openFS(context.Background(), d.Process(), "test", testMachine, testTuning())
	if name == configName {
		if err == nil {
			t.Errorf("a damaged config was opened")
			r.Close()
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	named := false
	all := problems(t, r)
	for _, p := range all {
		named = named || p.Name == name || strings.Contains(p.Detail, name) || p.What == "CURRENT" && name == currentName
	}
	if !named {
		t.Errorf("%s is damaged and check doesn't name it: %+v", name, all)
	}
	readsRight(t, r, committed)
}

// readsRight reads whatever can be read of all snapshots, and fails when any of
// it is not what was put.
func readsRight(t *testing.T, r *Repository, committed []*upload) {
	t.Helper()
	want := map[object.ID]*object.Record{}
	var ids []object.ID
	for _, u := range committed {
		for _, rec := range u.records() {
			want[rec.ID] = rec
			ids = append(ids, rec.ID)
		}
	}
	same := func(rec *object.Record) error {
		if w := want[rec.ID]; w == nil || string(w.Append(nil)) != string(rec.Append(nil)) {
			t.Errorf("read %s %s, which nobody put like that", rec.Kind, rec.ID)
		}
		return nil
	}
	for _, u := range committed {
		wantRefusal(t, r.Push(context.Background(), u.root, same))
	}
	wantRefusal(t, r.Fetch(context.Background(), ids, same))
}

func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, object.CodeMissing) && !errors.Is(err, object.CodeDamaged) {
		t.Errorf("got %v, want it to say that something is missing or damaged", err)
	}
}

// TestRepairIndex takes away or damages CURRENT, segments, heads and visible
// sets; the repair must bring all of it back.
func TestRepairIndex(t *testing.T) {
	base, committed := uploadsBefore(t, 3)
	truncate := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for _, test := range []struct {
		names  []string
		change func([]byte) []byte // nil: remove
	}{
		{[]string{"CURRENT"}, nil},
		{[]string{"CURRENT"}, truncate},
		{[]string{"CURRENT"}, flip},
		{[]string{"index/1.idx"}, nil},
		{[]string{"index/2.idx"}, truncate},
		{[]string{"index/3.idx"}, flip},
		{[]string{"CURRENT", "index/1.idx", "index/2.idx", "index/3.idx"}, nil},
		{[]string{"heads/web1/default/head"}, nil},
		{[]string{"heads/web1/default/head"}, flip},
		{[]string{"heads/web1/default/2.visible"}, nil},
		{[]string{"CURRENT", "heads/web1/default/head"}, truncate},
	} {
		d := base.Crash(crashdisk.KeepAll)
		p := d.Process()
		for _, name := range test.names {
			var err error
			if test.change == nil {
				err = p.Remove(name)
			} else {
				err = d.Corrupt(name, test.change)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r := openRepository(t, p)
		var reported []Problem
		if _, err := r.RepairIndex(t.Context(), func(p Problem) { reported = append(reported, p) }); err != nil {
			t.Fatalf("%s: %v", test.names, err)
		}
		if len(reported) == 0 {
			t.Errorf("%s: the repair reported nothing", test.names)
		}
		if err := wantSound(r, committed...); err != nil {
			t.Errorf("%s: after the repair: %v", test.names, err)
		}
		r.Close()
		// And with the power cut right after it.
		for _, seed := range []uint64{crashdisk.LoseAll, 5} {
			next := newUpload(50, committed[2])
			if err := afterCrash(t, d.Crash(seed), committed, next, false); err != nil {
				t.Errorf("%s: after the repair and a power cut, seed %d: %v", test.names, seed, err)
			}
		}
	}
}

// TestRepairCut cuts the power after each step of a repair; a second repair
// must get there.
func TestRepairCut(t *testing.T) {
	base, committed := uploadsBefore(t, 2)
	if err := base.Corrupt(currentName, func(b []byte) []byte { return b[:20] }); err != nil {
		t.Fatal(err)
	}
	if err := base.Process().Remove("heads/web1/default/head"); err != nil {
		t.Fatal(err)
	}
	d := base.Crash(crashdisk.KeepAll)
	r := openRepository(t, d.Process())
	step := 0
	d.After(func(op crashdisk.Op) {
		if !op.Kind.Changes() || t.Failed() {
			return
		}
		step++
		for _, seed := range seedsFor(step) {
			again := openRepository(t, d.Crash(seed).Process())
			if _, err := again.RepairIndex(context.Background(), nil); err != nil {
				t.Errorf("repair after a cut at step %d, seed %d: %v", step, seed, err)
			} else if err := wantSound(again, committed...); err != nil {
				t.Errorf("after a cut at step %d and a second repair, seed %d: %v", step, seed, err)
			}
			again.Close()
		}
	})
	if _, err := r.RepairIndex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	d.After(nil)
	if err := wantSound(r, committed...); err != nil {
		t.Error(err)
	}
	if step < 15 {
		t.Errorf("the repair had only %d steps", step)
	}
}

// TestMarkBad marks an object that a backup relies on: the next commit finds
// the gap, and what is put again heals the old snapshot.
func TestMarkBad(t *testing.T) {
	d, committed := uploadsBefore(t, 2)
	r := openRepository(t, d.Process())
	defer r.Close()
	victim := committed[0].tree[0]
	found, err := r.mustFind(t, victim.ID)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte) []byte { b[int(found.Offset)+object.HeaderSize+50] ^= 1; return b }
	if err := d.Corrupt(found.Pack.Path(found.Type()), flip); err != nil {
		t.Fatal(err)
	}
	if err := r.MarkBad(t.Context(), []object.ID{victim.ID, object.HashID([]byte("absent"))}); err != nil {
		t.Fatal(err)
	}
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if have, err := s.Have(t.Context(), []object.ID{victim.ID, committed[0].tree[1].ID}); err != nil || have[0] || !have[1] {
		t.Errorf("have what is bad, and what isn't: %v, %v", have, err)
	}
	u := newUpload(9, committed[1])
	u.tree = append(u.tree, u.Object(object.KindDir, 60, u.root, victim.ID))
	u.root = u.tree[len(u.tree)-1].ID
	_, err = u.sendTo(t.Context(), s)
	var missing *object.MissingError
	if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != victim.ID {
		t.Fatalf("relying on a bad object: got %v, want it missing", err)
	}
	// Its key object is visible and whole, so the object alone is enough.
	if err := s.Put(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), u.manifest, u.sealed); err != nil {
		t.Fatal(err)
	}
	if err := wantTree(r, committed[0].root, committed[:1]); err != nil {
		t.Errorf("the old snapshot has not healed: %v", err)
	}
	for _, p := range problems(t, r) {
		if p.What == "snapshot" || p.What == "object" {
			t.Errorf("after healing: %+v", p)
		}
	}
}

// mustFind returns where an object is.
func (r *Repository) mustFind(t *testing.T, id object.ID) (found index.Found, err error) {
	t.Helper()
	v, err := r.acquire(t.Context())
	if err != nil {
		return found, err
	}
	defer v.release()
	all, err := v.find(nil, id)
	if err != nil || len(all) != 1 {
		t.Fatalf("%s is at %d locations, %v", id, len(all), err)
	}
	return all[0], nil
}
