package index

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

func TestMerge(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	packs1, entries1 := testSegment(1, 4, 50)
	packs2, entries2 := testSegment(4, 9, 70)
	packs3, entries3 := testSegment(3, 6, 50) // again what others have, partly
	segments := []*Segment{
		writeOpen(t, fsys, "1", packs1, entries1),
		writeOpen(t, fsys, "2", packs2, entries2),
		writeOpen(t, fsys, "3", packs3, entries3),
	}
	unique := map[Entry]bool{}
	for _, e := range slices.Concat(entries1, entries2, entries3) {
		unique[e] = true
	}
	want := slices.SortedFunc(maps.Keys(unique), Entry.Compare)

	if err := Merge(fsys, "all", segments, nil); err != nil {
		t.Fatal(err)
	}
	merged := openSegment(t, fsys, "all")
	if got := all(t, merged.Entries(0)); !slices.Equal(got, want) {
		t.Errorf("merge of all: %d entries, want %d", len(got), len(want))
	}
	names := map[pack.Name]bool{}
	for _, p := range slices.Concat(packs1, packs2) {
		names[p.Name] = true
	}
	if merged.Packs() != len(names) {
		t.Errorf("merge of all: %d packs, want %d", merged.Packs(), len(names))
	}
	if err := merged.Verify(); err != nil {
		t.Error(err)
	}

	gone := packs1[0].Name
	keep := func(e Entry) (bool, error) { return e.Pack != gone && e.ID[0] >= 128, nil }
	if err := Merge(fsys, "some", segments, keep); err != nil {
		t.Fatal(err)
	}
	some := openSegment(t, fsys, "some")
	want = slices.DeleteFunc(want, func(e Entry) bool { ok, _ := keep(e); return !ok })
	if got := all(t, some.Entries(0)); !slices.Equal(got, want) || len(got) == 0 {
		t.Errorf("merge of some: %d entries, want %d", len(got), len(want))
	}
	if _, ok, err := some.FindPack(gone); ok || err != nil {
		t.Errorf("pack without entries: %v, %v", ok, err)
	}
	if err := some.Verify(); err != nil {
		t.Error(err)
	}

	if err := Merge(fsys, "none", segments, func(Entry) (bool, error) { return false, nil }); err != nil {
		t.Fatal(err)
	}
	none := openSegment(t, fsys, "none")
	if none.Len() != 0 || none.Packs() != 0 {
		t.Errorf("merge of none: %d entries, %d packs", none.Len(), none.Packs())
	}
	broken := errors.New("broken")
	if err := Merge(fsys, "x", segments, func(Entry) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("error of keep: %v", err)
	}
}

// TestMergeKeepsAge merges in an order that has nothing to do with age: the
// oldest location must still be found first.
func TestMergeKeepsAge(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	p1, e1 := testSegment(1, 3, 30)
	p2, e2 := testSegment(3, 5, 30)
	p3, e3 := testSegment(5, 7, 30)
	s1, s2, s3 := writeOpen(t, fsys, "1", p1, e1), writeOpen(t, fsys, "2", p2, e2), writeOpen(t, fsys, "3", p3, e3)
	if err := Merge(fsys, "m", []*Segment{s3, s1}, nil); err != nil {
		t.Fatal(err)
	}
	before, after := NewSet([]*Segment{s1, s2, s3}), NewSet([]*Segment{s2, openSegment(t, fsys, "m")})
	for _, e := range slices.Concat(e1, e2, e3) {
		a, err1 := before.Find(nil, e.ID)
		b, err2 := after.Find(nil, e.ID)
		for i := range a {
			a[i].Position = 0
		}
		for i := range b {
			b[i].Position = 0
		}
		if err := errors.Join(err1, err2); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s: %v before, %v after, %v", e.ID.Short(), a, b, err)
		}
	}
}

// TestManyKeys has a key object for each entry, as a sender makes them that
// wants to do harm: far more than are sorted in memory.
func TestManyKeys(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	const n = 2 * keysMemory / object.IDSize
	var segments []*Segment
	var want []Entry
	for s := range 2 {
		p := Pack{Name: pack.NewName(object.SessionID{byte(s)}, 1), Type: pack.Data, Size: pack.HeaderSize}
		var entries []Entry
		for i := range n {
			e := Entry{testID(uint64(i)), testID(uint64(1<<40 + s*n/2 + i)), Location{p.Name, p.Size, 200, object.KindChunk}}
			p.Size += e.Length
			p.Records++
			entries = append(entries, e)
		}
		slices.SortFunc(entries, Entry.Compare)
		segments = append(segments, writeOpen(t, fsys, string(rune('a'+s)), []Pack{p}, entries))
		want = append(want, entries...)
	}
	if err := Merge(fsys, "m", segments, nil); err != nil {
		t.Fatal(err)
	}
	merged := openSegment(t, fsys, "m")
	slices.SortFunc(want, Entry.Compare)
	if got := all(t, merged.Entries(0)); !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d, or others", len(got), len(want))
	}
	if got := merged.Keys(); got != n+n/2 {
		t.Errorf("%d key objects, want %d", got, n+n/2)
	}
	if err := merged.Verify(); err != nil {
		t.Error(err)
	}
}
