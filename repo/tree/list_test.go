package tree

import (
	"errors"
	"math"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// manyExtents returns the extents of a large file: chunks, some of them
// repeated, holes, and slices of a bundle.
func manyExtents(n int) []Extent {
	xs := make([]Extent, n)
	for i := range xs {
		switch {
		case i%50 == 49:
			xs[i] = Extent{Kind: ExtentHole, Length: 1 << 30}
		case i%50 == 48:
			xs[i] = Extent{Kind: ExtentBundle, ID: numberID(1), Offset: 10, Length: uint64(i%7 + 1)}
		case i%100 == 7:
			xs[i] = Extent{Kind: ExtentChunk, ID: numberID(2), Length: 4 << 20}
		default:
			xs[i] = Extent{Kind: ExtentChunk, ID: numberID(uint64(i + 100)), Length: 1<<20 + uint64(i)}
		}
	}
	return xs
}

func writeList(t testing.TB, m *memory, xs []Extent) Extent {
	t.Helper()
	w := NewListWriter(m.emit)
	for _, x := range xs {
		if err := w.Add(x); err != nil {
			t.Fatalf("Add(%+v): %v", x, err)
		}
	}
	x, err := w.Close()
	if err != nil {
		t.Fatalf("Close: %v", err)
	}
	return x
}

func TestLists(t *testing.T) {
	for _, n := range []int{1, 2, 31, 33, 1000, 50_000} {
		m := newMemory()
		xs := manyExtents(n)
		list := writeList(t, m, xs)
		var at uint64
		i := 0
		for x, err := range ReadExtents(m.load, []Extent{list}, 0) {
			if err != nil {
				t.Fatalf("%d extents: %v", n, err)
			}
			if x.Extent != xs[i] || x.At != at {
				t.Fatalf("%d extents: extent %d is %+v, want %+v at %d", n, i, x, xs[i], at)
			}
			at += x.Length
			i++
		}
		if i != n || list.Length != at {
			t.Errorf("read %d extents of %d bytes, want %d of %d", i, at, n, list.Length)
		}
	}
}

func TestListReuse(t *testing.T) {
	m := newMemory()
	w := NewListWriter(m.emit)
	var ids []object.ID
	for range 2 {
		for _, x := range manyExtents(3000) {
			if err := w.Add(x); err != nil {
				t.Fatal(err)
			}
		}
		x, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, x.ID)
	}
	if ids[0] != ids[1] {
		t.Errorf("the same extents written twice are %s and %s", ids[0].Short(), ids[1].Short())
	}
	if _, err := w.Close(); err == nil {
		t.Error("Close of an empty list: no error")
	}
}

func TestReadExtentsFrom(t *testing.T) {
	m := newMemory()
	xs := manyExtents(20_000)
	list := writeList(t, m, xs)
	extents := []Extent{{Kind: ExtentHole, Length: 1000}, list, {Kind: ExtentHole, Length: 5}}
	loads := 0
	load := func(kind object.Kind, id object.ID) ([]object.ID, []byte, error) {
		loads++
		return m.load(kind, id)
	}
	at, want := uint64(1000), 15_000
	for _, x := range xs[:want] {
		at += x.Length
	}
	for x, err := range ReadExtents(load, extents, at+xs[want].Length-1) {
		if err != nil {
			t.Fatal(err)
		}
		if x.At != at || x.Extent != xs[want] {
			t.Errorf("got %+v, want %+v at %d", x, xs[want], at)
		}
		break
	}
	if loads > 3 {
		t.Errorf("%d list objects loaded for one extent", loads)
	}
	n := 0
	for x, err := range ReadExtents(load, extents, 1000+list.Length) {
		if err != nil || x.Length != 5 {
			t.Errorf("behind the list: %+v, %v", x, err)
		}
		n++
	}
	for range ReadExtents(load, extents, math.MaxInt64) {
		n++
	}
	if n != 1 {
		t.Errorf("%d extents behind the list, want 1", n)
	}
}

// TestListInsertion shows that an insertion changes few list objects.
func TestListInsertion(t *testing.T) {
	m := newMemory()
	xs := manyExtents(50_000)
	writeList(t, m, xs)
	before := m.fresh
	changed := append([]Extent{{Kind: ExtentChunk, ID: numberID(77), Length: 3}}, xs...)
	writeList(t, m, changed)
	if n := m.fresh - before; n > 6 {
		t.Errorf("one more extent made %d new objects of %d", n, before)
	}
}

func TestListRefuses(t *testing.T) {
	m := newMemory()
	w := NewListWriter(m.emit)
	for _, x := range []Extent{
		{},
		{Kind: ExtentList, ID: numberID(1), Length: 1},
		{Kind: ExtentChunk, Length: 1},
		{Kind: ExtentChunk, ID: numberID(1), Length: object.MaxPlaintext + 1},
		{Kind: ExtentHole, Length: 1 << 63},
	} {
		if err := w.Add(x); err == nil {
			t.Errorf("Add(%+v): no error", x)
		}
	}
	if err := w.Add(Extent{Kind: ExtentHole, Length: math.MaxInt64}); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(Extent{Kind: ExtentHole, Length: 1}); err == nil {
		t.Error("a file of 2^63 bytes: no error")
	}
	full := errors.New("full")
	w = NewListWriter(func(object.Kind, []object.ID, []byte) (object.ID, error) { return object.ID{}, full })
	_ = w.Add(Extent{Kind: ExtentHole, Length: 1})
	if _, err := w.Close(); !errors.Is(err, full) {
		t.Errorf("Close: got %v, want %v", err, full)
	}
}
