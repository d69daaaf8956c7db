package repo

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// atOnce prunes without grace and leaves nothing unused.
var atOnce = PruneOptions{Grace: -1, MaxUnused: -1, Yes: true}

// newGCDisk is newDisk with a repository that forgets at once.
func newGCDisk(t testing.TB) *crashdisk.Disk {
	t.Helper()
	d := newDisk(t)
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	if err := r.SetSetting(context.Background(), settingMinAge, "0s"); err != nil {
		t.Fatal(err)
	}
	return d
}

// sendAll commits n uploads that share nothing, or that each hold all before.
func sendAll(t testing.TB, r *Repository, n int, chained bool) []*upload {
	t.Helper()
	var ups []*upload
	var last *upload
	for i := range n {
		u := newUpload(uint64(i), last)
		if chained {
			last = u
		}
		if _, err := u.send(context.Background(), r); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
		ups = append(ups, u)
	}
	return ups
}

// wantTrees checks the repository and that each upload is complete by itself.
func wantTrees(r *Repository, ups ...*upload) error {
	ctx := context.Background()
	var problems []error
	_, err := r.Check(ctx, CheckOptions{ReadData: true}, func(p Problem) {
		problems = append(problems, fmt.Errorf("check: %s %s %s: %s", p.What, p.Name, p.ID.Short(), p.Detail))
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		return err
	}
	for i, u := range ups {
		if _, err := r.Snapshot(ctx, u.manifest.ID()); err != nil {
			return fmt.Errorf("upload %d: %w", i, err)
		}
		if err := wantTree(r, u.root, []*upload{u}); err != nil {
			return fmt.Errorf("upload %d: %w", i, err)
		}
	}
	return nil
}

// rows returns how many locations CURRENT has, and how many packs there are.
func rows(t testing.TB, r *Repository) (locations, packs int) {
	t.Helper()
	v, err := r.acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer v.release()
	folders, err := list(r.fs, "packs")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		files, err := list(r.fs, "packs/"+f.Name)
		if err != nil {
			t.Fatal(err)
		}
		packs += len(files)
	}
	return v.set.Len(), packs
}

func TestPruneFrees(t *testing.T) {
	d := newGCDisk(t)
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	ctx := context.Background()
	ups := sendAll(t, r, 4, false)
	before, _ := rows(t, r)
	for _, u := range ups[:3] {
		if err := r.Forget(ctx, []object.ID{u.manifest.ID()}, ForgetOptions{IgnoreUnusual: true}); err != nil {
			t.Fatal(err)
		}
	}
	dry := atOnce
	dry.DryRun = true
	guess, err := r.Prune(ctx, dry)
	if err != nil {
		t.Fatal(err)
	}
	if now, _ := rows(t, r); now != before {
		t.Errorf("a dry run left %d of %d locations", now, before)
	}
	res, err := r.Prune(ctx, atOnce)
	if err != nil {
		t.Fatal(err)
	}
	if guess.BytesFreed != res.BytesFreed || guess.Snapshots != 3 || res.Snapshots != 3 {
		t.Errorf("dry run: %+v\n    real: %+v", guess, res)
	}
	if err := wantTrees(r, ups[3]); err != nil {
		t.Error(err)
	}
	if n, _ := rows(t, r); n != len(ups[3].records()) {
		t.Errorf("%d locations are left, the one snapshot needs %d", n, len(ups[3].records()))
	}
	again, err := r.Prune(ctx, atOnce)
	if err != nil || again.BytesFreed != 0 || again.ObjectsDeleted != 0 {
		t.Errorf("a second prune freed %+v, %v", again, err)
	}
	links := 0
	if err := r.Links(ctx, func(s *object.Snapshot) error { links++; return s.Manifest.Verify() }); err != nil || links != 3 {
		t.Errorf("%d links of forgotten snapshots, want 3: %v", links, err)
	}
	next := newUpload(9, ups[3])
	if _, err := next.send(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := wantTrees(r, ups[3]); err != nil {
		t.Error(err)
	}
}

func TestGraceAndUnforget(t *testing.T) {
	d := newGCDisk(t)
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	ctx := context.Background()
	ups := sendAll(t, r, 2, false)
	id := ups[0].manifest.ID()
	if err := r.Forget(ctx, []object.ID{id}, ForgetOptions{IgnoreUnusual: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prune(ctx, PruneOptions{MaxUnused: -1}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Snapshot(ctx, id); !errors.Is(err, object.CodeNotFound) {
		t.Errorf("a forgotten snapshot is still there: %v", err)
	}
	if err := r.Unforget(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := wantTrees(r, ups...); err != nil {
		t.Error(err)
	}
	if err := r.Unforget(ctx, id); !errors.Is(err, object.CodeNotFound) {
		t.Errorf("brought back twice: %v", err)
	}
	if err := r.SetSetting(ctx, settingMinAge, "7d"); err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(ctx, []object.ID{id}, ForgetOptions{IgnoreUnusual: true}); !errors.Is(err, object.CodeBraked) {
		t.Errorf("forgetting a young snapshot: %v", err)
	}
}

// TestPrunePowerCut cuts the power after every step of a forget and a prune
// that rewrites packs. Whatever is left, the repository is sound, every live
// snapshot is whole, and the next prune ends with nothing too much.
func TestPrunePowerCut(t *testing.T) {
	d := newGCDisk(t)
	p := d.Process()
	r := openRepository(t, p)
	ups := sendAll(t, r, 2, false)
	// The third holds a part of the second, so that packs are half used.
	part := newUpload(2, &upload{root: ups[1].tree[0].ID})
	if _, err := part.send(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	step, failed := 0, 0
	d.After(func(op crashdisk.Op) {
		if !op.Kind.Changes() || failed > 2 {
			return
		}
		step++
		for _, seed := range crashSeeds {
			if seed > 1 {
				seed += uint64(step) << 8
			}
			if err := afterPruneCrash(t, d.Crash(seed), part); err != nil {
				failed++
				t.Errorf("step %d (%s), seed %d: %v", step, op, seed, err)
			}
		}
	})
	ctx := context.Background()
	err := r.Forget(ctx, []object.ID{ups[0].manifest.ID(), ups[1].manifest.ID()}, ForgetOptions{IgnoreUnusual: true})
	if err == nil {
		var res PruneResult
		if res, err = r.Prune(ctx, atOnce); err == nil && (res.PacksRewritten == 0 || res.PacksDeleted == 0) {
			t.Errorf("the prune rewrote %d packs and deleted %d: it tests too little", res.PacksRewritten, res.PacksDeleted)
		}
	}
	d.After(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps", step)
	p.Kill()
}

func afterPruneCrash(t *testing.T, d *crashdisk.Disk, last *upload) error {
	t.Helper()
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	ctx := context.Background()
	whole := func(when string) error {
		if err := wantTrees(r); err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
		return nil
	}
	if err := whole("after the crash"); err != nil {
		return err
	}
	if _, err := r.Prune(ctx, atOnce); err != nil {
		return fmt.Errorf("the next prune: %w", err)
	}
	if err := whole("after the next prune"); err != nil {
		return err
	}
	next := newUpload(77, last)
	_, err := next.send(ctx, r)
	if errors.Is(err, object.CodeMissing) {
		// It has adopted what relies on what is gone; a new one begins with nothing,
		// and what was refused is garbage.
		if _, err = next.send(ctx, r); err == nil {
			_, err = r.Prune(ctx, atOnce)
		}
	}
	if err != nil {
		return fmt.Errorf("the next upload: %w", err)
	}
	if err := whole("after the next upload"); err != nil {
		return err
	}
	again, err := r.Prune(ctx, atOnce)
	if err != nil || again.ObjectsDeleted > 0 || again.Strays > 0 {
		return fmt.Errorf("a third prune still found something to do: %+v, %v", again, err)
	}
	return nil
}
