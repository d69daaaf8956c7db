package tree

import (
	"errors"
	"math"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// putLeaf stores a leaf of files with these names, whatever their order.
func putLeaf(t *testing.T, m *memory, names ...string) Child {
	t.Helper()
	var l leaf
	for _, name := range names {
		l.add(&Entry{Name: name, Type: TypeFile})
	}
	b, err := l.encode()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := m.emit(object.KindDir, nil, b) // memory never fails
	return Child{First: names[0], Count: uint64(len(names)), ID: id}
}

func putInterior(m *memory, level int, children ...Child) Child {
	v := interior{level: level}
	for _, c := range children {
		v.add(c)
	}
	id, _ := m.emit(object.KindDir, v.ids, v.encode()) // memory never fails
	return Child{First: children[0].First, Count: v.total, ID: id}
}

// TestHostileDirectories puts nodes together that are fine one by one.
func TestHostileDirectories(t *testing.T) {
	m := newMemory()
	ab, bc, cd := putLeaf(t, m, "a", "b"), putLeaf(t, m, "b", "c"), putLeaf(t, m, "c", "d")
	good := putInterior(m, 1, ab, cd)
	edit := func(c Child, f func(*Child)) Child { f(&c); return c }
	empty := edit(putLeaf(t, m, "x"), func(c *Child) {
		var l leaf
		b, _ := l.encode()
		c.ID, _ = m.emit(object.KindDir, nil, b)
	})
	list, _ := m.emit(object.KindList, nil, []byte("PNl\x01"))
	for _, c := range []struct {
		name      string
		root      Child
		malformed bool // else the object is missing
	}{
		{"good", good, false},
		{"overlapping leaves", putInterior(m, 1, ab, bc), true},
		{"another first name", putInterior(m, 1, ab, edit(cd, func(c *Child) { c.First = "bb" })), true},
		{"another count", putInterior(m, 1, ab, edit(cd, func(c *Child) { c.Count = 3 })), true},
		{"empty leaf", putInterior(m, 1, ab, empty), true},
		{"leaf below level 2", putInterior(m, 2, ab, cd), true},
		{"level 1 below level 1", putInterior(m, 1, good), true},
		{"missing leaf", putInterior(m, 1, ab, edit(cd, func(c *Child) { c.ID = numberID(1) })), false},
		{"list for a leaf", putInterior(m, 1, ab, edit(cd, func(c *Child) { c.ID = list })), false},
	} {
		var err error
		n := 0
		for _, e := range ReadDir(m.load, c.root.ID) {
			if err = e; err == nil {
				n++
			}
		}
		if c.name == "good" {
			if err != nil || n != 4 {
				t.Errorf("%s: %d entries, %v", c.name, n, err)
			}
			continue
		}
		if err == nil || errors.Is(err, object.ErrMalformed) != c.malformed {
			t.Errorf("%s: %v after %d entries", c.name, err, n)
		}
	}
	if _, _, err := Lookup(m.load, putInterior(m, 2, ab, cd).ID, "c"); !errors.Is(err, object.ErrMalformed) {
		t.Errorf("Lookup through a wrong level: %v", err)
	}
}

func putList(m *memory, xs ...Extent) listChild {
	b, refs := encodeListNode(&listNode{Extents: xs})
	id, _ := m.emit(object.KindList, refs, b) // memory never fails
	c := listChild{ID: id}
	for _, x := range xs {
		c.Length += x.Length
	}
	return c
}

func putListNode(m *memory, level int, children ...listChild) listChild {
	b, refs := encodeListNode(&listNode{Level: level, Children: children})
	id, _ := m.emit(object.KindList, refs, b) // memory never fails
	c := listChild{ID: id}
	for _, x := range children {
		c.Length += x.Length
	}
	return c
}

// TestHostileLists does the same for lists.
func TestHostileLists(t *testing.T) {
	m := newMemory()
	one := putList(m, Extent{Kind: ExtentHole, Length: 10})
	huge := putList(m, Extent{Kind: ExtentHole, Length: math.MaxInt64})
	longer := one
	longer.Length++
	lost := listChild{Length: 1, ID: numberID(1)}
	for _, c := range []struct {
		name      string
		root      listChild
		malformed bool
	}{
		{"good", putListNode(m, 1, one, one), false},
		{"another length", putListNode(m, 1, one, longer), true},
		{"leaf below level 2", putListNode(m, 2, one), true},
		{"level 1 below level 1", putListNode(m, 1, putListNode(m, 1, one)), true},
		{"too much together", putListNode(m, 1, huge, one), true},
		{"root of another length", longer, true},
		{"missing", putListNode(m, 1, one, lost), false},
	} {
		var err error
		var total uint64
		for x, e := range ReadExtents(m.load, []Extent{{Kind: ExtentList, ID: c.root.ID, Length: c.root.Length}}, 0) {
			if err = e; err == nil {
				total += x.Length
			}
		}
		if c.name == "good" {
			if err != nil || total != 20 {
				t.Errorf("%s: %d bytes, %v", c.name, total, err)
			}
			continue
		}
		if err == nil || errors.Is(err, object.ErrMalformed) != c.malformed {
			t.Errorf("%s: %v after %d bytes", c.name, err, total)
		}
	}
}
