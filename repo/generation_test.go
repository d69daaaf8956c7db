package repo

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// publishList does what a prune does with locations that it has found out to be
// unreached (condemned) or to be deleted, with empty I0 and R3.
func publishList(t *testing.T, r *Repository, isDeleting bool, ids ...object.ID) {
	t.Helper()
	ctx := context.Background()
	scratch, err := r.newScratch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.close()
	var rows [][]byte
	for _, id := range ids {
		found, err := r.mustFind(t, id)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, appendLocation(nil, found.Location))
	}
	slices.SortFunc(rows, slices.Compare)
	_, err = r.updateCurrent(ctx, func(cur *current) error {
		cur.lists = lists{quarantine: cur.lists.quarantine}
		for _, l := range []struct {
			number *uint64
			layout table.Layout
			rows   [][]byte
		}{{&cur.lists.condemned, locationLayout, rows}, {&cur.lists.packs, packLayout, nil}, {&cur.lists.roots, rootLayout, nil}} {
			tmp := scratch.file("list")
			err := r.writeList(tmp, l.layout, func(yield func([]byte, error) bool) {
				for _, row := range l.rows {
					if !yield(row, nil) {
						return
					}
				}
			})
			if err != nil {
				return err
			}
			if *l.number, err = r.publishNumbered(cur, tmp, "gc", listName); err != nil {
				return err
			}
		}
		if isDeleting {
			cur.lists.condemned, cur.lists.deleting = 0, cur.lists.condemned
		}
		cur.published = r.now()
		cur.generation++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reliance is a session on a repository of one snapshot, and an upload whose
// root refers to the first snapshot's.
func reliance(t *testing.T) (r *Repository, d *crashdisk.Disk, s *Session, before, u *upload) {
	t.Helper()
	d, committed := uploadsBefore(t, 1)
	r = openRepository(t, d.Process())
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
	return r, d, s, committed[0], newUpload(9, committed[0])
}

func wantMissing(t *testing.T, err error, want ...object.ID) {
	t.Helper()
	var missing *object.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want missing objects", err)
	}
	got := slices.Clone(missing.IDs)
	slices.SortFunc(got, object.ID.Compare)
	slices.SortFunc(want, object.ID.Compare)
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("missing are %v, want %v", got, want)
	}
}

// TestCondemnedReliance commits what relies on objects that are condemned,
// whole below: it is let through, and the prune will see the new root.
func TestCondemnedReliance(t *testing.T) {
	r, _, s, before, u := reliance(t)
	var ids []object.ID
	for _, rec := range before.records() {
		ids = append(ids, rec.ID)
	}
	publishList(t, r, false, ids...)
	if _, err := u.sendTo(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := wantTree(r, u.root, []*upload{before, u}); err != nil {
		t.Error(err)
	}
}

// TestDeletingReliance relies on what a prune is about to unlink.
func TestDeletingReliance(t *testing.T) {
	r, _, s, before, u := reliance(t)
	publishList(t, r, true, before.root)
	_, err := u.sendTo(t.Context(), s)
	wantMissing(t, err, before.root)
	// What is put now is stored, although there is a location of that id.
	for _, rec := range before.records() {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(t.Context(), u.manifest, u.sealed); err != nil {
		t.Fatal(err)
	}
}

// TestHalfDeleted relies on a condemned directory of which a leaf, two levels
// below, is being deleted.
func TestHalfDeleted(t *testing.T) {
	r, _, s, before, u := reliance(t)
	leaf := before.tree[0].ID
	publishList(t, r, true, leaf)
	deleting, err := r.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	number := deleting.cur.lists.deleting
	deleting.release()
	// A condemned list beside the deleting one can't be in CURRENT, so the
	// directories are condemned in the view alone.
	v := viewWith(t, r, number, before.root, before.tree[len(before.tree)-2].ID, before.tree[5].ID, before.tree[6].ID)
	if err := putAll(s, u); err != nil {
		t.Fatal(err)
	}
	wantMissing(t, s.checkClosure(t.Context(), v, u.manifest), leaf)
	// Once the upload brings it itself, nothing is missing.
	if err := s.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), before.tree[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.checkClosure(t.Context(), v, u.manifest); err != nil {
		t.Errorf("with the leaf put again: %v", err)
	}
}

func putAll(s *Session, u *upload) error {
	u.manifest, u.sealed = u.Manifest(s.Standing(), "web1", "default", u.root)
	for _, rec := range u.records() {
		if err := s.Put(context.Background(), rec); err != nil {
			return err
		}
	}
	return nil
}

// viewWith returns the view of CURRENT with ids condemned beside the deleting
// list of that number.
func viewWith(t *testing.T, r *Repository, number uint64, ids ...object.ID) *view {
	t.Helper()
	list, err := table.Open(r.fs, listName(number), locationLayout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Close() })
	publishList(t, r, false, ids...)
	v, err := r.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.deleting = list
	t.Cleanup(func() { v.release() })
	return v
}

// TestCondemnedPut puts an id whose only location is condemned: it is stored
// anew, so that the old location may go.
func TestCondemnedPut(t *testing.T) {
	r, _, _, before, _ := reliance(t)
	publishList(t, r, false, before.tree[0].ID)
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	have, err := s.Have(t.Context(), []object.ID{before.tree[0].ID, before.tree[1].ID})
	if err != nil || have[0] || !have[1] {
		t.Errorf("have a condemned object and a live one: %v, %v", have, err)
	}
	for _, rec := range before.tree[:2] {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.own.Len(); got != 1 {
		t.Errorf("%d of the two objects were stored, want the condemned one only", got)
	}
}

// TestGenerationMoves lets a prune publish a deleting list after a commit has
// checked and before it has gc.lock, once or again and again: the commit must
// notice.
func TestGenerationMoves(t *testing.T) {
	for _, rounds := range []int{1, maxRechecks, maxRechecks + 1} {
		_, d, s, before, u := reliance(t)
		pruner := openRepository(t, d.Process())
		if err := putAll(s, u); err != nil {
			t.Fatal(err)
		}
		gates := 0
		var prune func(op crashdisk.Op)
		prune = func(op crashdisk.Op) {
			if op.Kind != crashdisk.OpLock || op.Name != gateLock {
				return
			}
			// The first gate is for the question whether the manifest is the head
			// already; each later one comes between a check and its lock.
			if gates++; gates == 1 || gates > rounds+1 {
				return
			}
			d.After(nil)
			publishList(t, pruner, gates == rounds+1, before.root)
			d.After(prune)
		}
		d.After(prune)
		_, err := s.Commit(t.Context(), u.manifest, u.sealed)
		d.After(nil)
		wantMissing(t, err, before.root)
		if gates <= rounds {
			t.Errorf("only %d of %d rounds were seen", gates-1, rounds)
		}
		if err := pruner.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAcknowledge shows that a running session follows the generation.
func TestAcknowledge(t *testing.T) {
	r, _, s, before, _ := reliance(t)
	publishList(t, r, false, before.root)
	if have, err := s.Have(t.Context(), []object.ID{before.root}); err != nil || !have[0] {
		t.Errorf("before it looks: %v, %v", have, err)
	}
	if err := s.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have, err := s.Have(t.Context(), []object.ID{before.root}); err != nil || have[0] {
		t.Errorf("after it has looked: %v, %v", have, err)
	}
	state, err := r.readSession(s.file.name)
	if err != nil {
		t.Fatal(err)
	}
	if state.generation != s.view.cur.generation || state.base != s.standing.Head {
		t.Errorf("the file says generation %d and base %s, want %d and %s", state.generation, state.base.Short(), s.view.cur.generation, s.standing.Head.Short())
	}
}
