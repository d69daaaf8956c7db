package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/storetest"
)

// store puts records into a repository of their own and commits root.
func store(t *testing.T, u *storetest.Upload, root object.ID, recs ...*object.Record) (*Repository, *crashdisk.Disk) {
	t.Helper()
	d := newDisk(t)
	r := openRepository(t, d.Process())
	t.Cleanup(func() { r.Close() })
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, rec := range append([]*object.Record{u.Metadata, u.Content}, recs...) {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	m, sealed := u.Manifest(s.Standing(), "web1", "default", root)
	if _, err := s.Commit(t.Context(), m, sealed); err != nil {
		t.Fatal(err)
	}
	return r, d
}

// pushed returns what Push yields, in order.
func pushed(r *Repository, root object.ID) ([]object.ID, error) {
	var ids []object.ID
	err := r.Push(context.Background(), root, func(rec *object.Record) error {
		ids = append(ids, rec.ID)
		return nil
	})
	return ids, err
}

// TestPushOrder has a directory that is referred to twice, and lists.
func TestPushOrder(t *testing.T) {
	u := storetest.NewUpload("web1", 1)
	chunk := u.Object(object.KindChunk, 10)
	list := u.Object(object.KindList, 10, chunk.ID)
	low := u.Object(object.KindDir, 10, chunk.ID, list.ID)
	left := u.Object(object.KindDir, 10, low.ID, chunk.ID)
	right := u.Object(object.KindDir, 10, list.ID, low.ID)
	root := u.Object(object.KindDir, 10, right.ID, left.ID)
	r, _ := store(t, u, root.ID, chunk, list, low, left, right, root)
	got, err := pushed(r, root.ID)
	want := []object.ID{root.ID, right.ID, list.ID, low.ID, list.ID, left.ID, low.ID, list.ID}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
	if got, err := pushed(r, chunk.ID); err != nil || len(got) != 0 {
		t.Errorf("push of a chunk: %v, %v", got, err)
	}
}

// TestPushDeep pushes a chain that is deeper than any path and whose refs are
// more than the stack holds, so that it must read some again.
func TestPushDeep(t *testing.T) {
	u := storetest.NewUpload("web1", 1)
	const depth, wide = 300, 50
	var recs []*object.Record
	var leaves []object.ID
	for range wide {
		leaf := u.Object(object.KindChunk, 10)
		recs = append(recs, leaf)
		leaves = append(leaves, leaf.ID)
	}
	after := u.Object(object.KindDir, 10, leaves[0])
	dir := u.Object(object.KindDir, 10, leaves[1])
	recs = append(recs, after, dir)
	for range depth {
		// The way down comes first: all the rest is still to do when it comes back.
		dir = u.Object(object.KindDir, 10, append([]object.ID{dir.ID, after.ID}, leaves...)...)
		recs = append(recs, dir)
	}
	r, _ := store(t, u, dir.ID, recs...)
	for _, refs := range []int{pushRefs, wide * 3, 0} {
		n := 0
		err := r.pushWithin(t.Context(), dir.ID, refs, func(rec *object.Record) error { n++; return nil })
		if err != nil || n != 2*depth+1 {
			t.Errorf("with %d refs in memory: %d directories, %v; want %d", refs, n, err, 2*depth+1)
		}
	}
}

// TestPushCycle stores objects that refer to each other, which only somebody
// who doesn't compute ids honestly can make.
func TestPushCycle(t *testing.T) {
	u := storetest.NewUpload("web1", 1)
	a := u.Object(object.KindDir, 10, u.Content.ID)
	b := u.Object(object.KindDir, 10, a.ID)
	a.Refs = []object.ID{b.ID}
	r, _ := store(t, u, a.ID, a, b)
	got, err := pushed(r, a.ID)
	if !errors.Is(err, object.CodeMalformed) || len(got) > 3 {
		t.Errorf("got %d records, %v; want CodeMalformed", len(got), err)
	}
	if all := problems(t, r); len(all) > 0 {
		t.Errorf("check of a cycle, which is complete: %+v", all)
	}
}

// TestPushGap pushes around a directory that rotted away.
func TestPushGap(t *testing.T) {
	u := storetest.NewUpload("web1", 1)
	chunk := u.Object(object.KindChunk, 10)
	one := u.Object(object.KindDir, 10, chunk.ID)
	two := u.Object(object.KindDir, 20, chunk.ID)
	three := u.Object(object.KindDir, 30, two.ID)
	root := u.Object(object.KindDir, 10, one.ID, three.ID)
	r, d := store(t, u, root.ID, chunk, one, two, three, root)
	found, err := r.mustFind(t, one.ID)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Corrupt(found.Pack.Path(found.Type()), func(b []byte) []byte { b[found.Offset+100] ^= 1; return b })
	if err != nil {
		t.Fatal(err)
	}
	got, err := pushed(r, root.ID)
	wantMissing(t, err, one.ID)
	if want := []object.ID{root.ID, three.ID, two.ID}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestReadWhilePacksMove takes a pack away between a view and a read, as a prune
// does after it has copied what lives.
func TestReadWhilePacksMove(t *testing.T) {
	u := storetest.NewUpload("web1", 1)
	tree := u.Tree(40, 900, 5)
	root := tree[len(tree)-1].ID
	r, d := store(t, u, root, tree...)
	other := openRepository(t, d.Process())
	defer other.Close()
	moved := false
	var ids []object.ID
	for _, rec := range tree {
		ids = append(ids, rec.ID)
	}
	n := 0
	err := r.Fetch(t.Context(), ids, func(rec *object.Record) error {
		if n++; !moved {
			moved = true
			movePacks(t, other)
		}
		return nil
	})
	if err != nil || n != len(tree) {
		t.Errorf("fetch while packs move: %d of %d records, %v", n, len(tree), err)
	}
	moved, n = false, 0
	err = r.Push(t.Context(), root, func(rec *object.Record) error {
		if n++; !moved {
			moved = true
			movePacks(t, other)
		}
		return nil
	})
	if err != nil || n != len(tree)-40 {
		t.Errorf("push while packs move: %d of %d records, %v", n, len(tree)-40, err)
	}
}

// movePacks copies every record to packs of new names, publishes those instead
// of the old ones and unlinks these.
func movePacks(t *testing.T, r *Repository) {
	t.Helper()
	ctx := context.Background()
	scratch, err := r.newScratch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.close()
	v, err := r.acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer v.release()
	var session object.SessionID
	rand.Read(session[:])
	moved := map[pack.Name]*pack.Writer{}
	rows, err := index.NewCollector(r.fs, scratch.file("rows"), 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for position := range v.set.Len() {
		e, err := v.set.Entry(position)
		if err != nil {
			t.Fatal(err)
		}
		w := moved[e.Pack]
		if w == nil {
			if w, err = pack.Create(r.fs, pack.NewName(session, uint32(len(moved)+1)), e.Type()); err != nil {
				t.Fatal(err)
			}
			moved[e.Pack] = w
		}
		rec, err := r.files.Record(e.Pack, e.Type(), e.Offset, e.Length)
		if err != nil {
			t.Fatal(err)
		}
		offset, length, err := w.Append(rec)
		if err == nil {
			err = rows.Add(index.Entry{ID: e.ID, Key: e.Key, Location: index.Location{Pack: w.Name(), Offset: offset, Length: length, Kind: e.Kind}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var packs []index.Pack
	for _, w := range moved {
		packs = append(packs, index.Pack{Name: w.Name(), Type: w.Type(), Sequence: 1, Size: uint32(w.Size()), Records: w.Records()})
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	tmp := scratch.file("segment")
	if err := index.Write(r.fs, tmp, packs, rows.Entries()); err != nil {
		t.Fatal(err)
	}
	_, err = r.updateCurrent(ctx, func(cur *current) error {
		ref, err := r.publishSegment(cur, tmp, rows.Len())
		cur.segments = []segmentRef{ref}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range moved {
		if err := r.fs.Remove(name.Path(w.Type())); err != nil {
			t.Fatal(err)
		}
	}
}
