package tree

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packnback/packnback/repo/object"
)

// oneOfEach returns entries that use every field and every column.
func oneOfEach() []Entry {
	acl := []Xattr{{"system.posix_acl_access", []byte{2, 0, 0, 0, 1}}, {"user.empty", []byte{}}}
	es := []Entry{
		{Name: "\x01\n\xff", Type: TypeFIFO, Mode: 0o600, User: "root", Group: "root"},
		{Name: "bundle1", Type: TypeFile, Mode: 0o644, UID: 1000, GID: 1000, User: "u", Group: "g", Size: 30,
			Extents: []Extent{{Kind: ExtentBundle, ID: numberID(1), Offset: 100, Length: 30}}, Xattrs: acl},
		{Name: "bundle2", Type: TypeFile, Mode: 0o644, UID: 1000, GID: 1000, User: "u", Group: "g", Size: 5,
			Extents: []Extent{{Kind: ExtentBundle, ID: numberID(1), Offset: 130, Length: 5}}, Xattrs: acl},
		{Name: "char", Type: TypeChar, Mode: 0o666, Rdev: 0x103},
		{Name: "disk", Type: TypeBlock, Mode: 0o660, Rdev: math.MaxUint64, LinkID: 7},
		{Name: "empty", Type: TypeFile, Mode: 0o7777, UID: math.MaxUint32, GID: math.MaxUint32},
		{Name: "folder", Type: TypeDir, Mode: 0o755, Subtree: numberID(2), Xattrs: []Xattr{{"user.x", []byte("1")}}},
		{Name: "large", Type: TypeFile, Mode: 0o644, Size: 3<<20 + 1<<40 + 1, Extents: []Extent{
			{Kind: ExtentChunk, ID: numberID(3), Length: 1 << 20},
			{Kind: ExtentHole, Length: 1 << 40},
			{Kind: ExtentChunk, ID: numberID(4), Length: 1 << 20},
			{Kind: ExtentChunk, ID: numberID(3), Length: 1 << 20},
			{Kind: ExtentBundle, ID: numberID(1), Offset: 0, Length: 1}}},
		{Name: "largest", Type: TypeFile, LinkID: math.MaxUint64, Size: math.MaxInt64, Extents: []Extent{{Kind: ExtentList, ID: numberID(5), Length: math.MaxInt64}}},
		{Name: "link", Type: TypeSymlink, Mode: 0o777, Target: "../x\xfe\n", Size: 6},
		{Name: strings.Repeat("n", 255), Type: TypeSymlink, Mode: 0o777, Target: strings.Repeat("t", MaxTarget), Size: MaxTarget},
	}
	times := []Time{{-1, 999_999_999}, {0, 0}, {1 << 40, 1}, {math.MinInt64, 5}, {math.MaxInt64, 0}}
	for i := range es {
		es[i].Mtime = times[i%len(times)]
		if i%3 == 0 {
			es[i].HasAtime, es[i].Atime = true, times[(i+1)%len(times)]
		}
	}
	sort.Slice(es, func(i, j int) bool { return es[i].Name < es[j].Name })
	return es
}

func TestEveryField(t *testing.T) {
	m := newMemory()
	want := oneOfEach()
	got := readDir(t, m, writeDir(t, m, want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if m.puts != 1 {
		t.Errorf("%d objects for %d entries, want 1", m.puts, len(want))
	}
}

func TestEmptyDirectory(t *testing.T) {
	m := newMemory()
	id := writeDir(t, m, nil)
	if got := readDir(t, m, id); len(got) != 0 {
		t.Errorf("empty directory has %d entries", len(got))
	}
	if _, ok, err := Lookup(m.load, id, "x"); ok || err != nil {
		t.Errorf("Lookup in an empty directory: %v, %v", ok, err)
	}
}

// smallFile returns the i-th of many files.
func smallFile(i int, name string) Entry {
	return Entry{Name: name, Type: TypeFile, Mode: 0o644, UID: 1000, GID: 1000, User: "user", Group: "group", Mtime: Time{1.7e9 + int64(i%7), uint32(i*7919) % 1e9},
		Size: uint64(i%4096 + 1), Extents: []Extent{{Kind: ExtentBundle, ID: numberID(uint64(i / 500)), Offset: uint32(i%500) * 4096, Length: uint64(i%4096 + 1)}}}
}

func manyFiles(n int) []Entry {
	es := make([]Entry, n)
	for i := range es {
		es[i] = smallFile(i, fmt.Sprintf("file-%08d.txt", i))
	}
	return es
}

func TestLargeDirectory(t *testing.T) {
	m := newMemory()
	es := manyFiles(120_000)
	id := writeDir(t, m, es)
	i := 0
	for e, err := range ReadDir(m.load, id) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Name != es[i].Name || e.Size != es[i].Size {
			t.Fatalf("entry %d: got %q of %d, want %q of %d", i, e.Name, e.Size, es[i].Name, es[i].Size)
		}
		i++
	}
	if i != len(es) {
		t.Errorf("%d entries read, want %d", i, len(es))
	}
	if m.puts < 40 || m.puts > 240 {
		t.Errorf("%d nodes for %d entries", m.puts, len(es))
	}
	for _, i := range []int{0, 1, 511, 60_000, len(es) - 1} {
		e, ok, err := Lookup(m.load, id, es[i].Name)
		if err != nil || !ok || cmp.Diff(*e, es[i]) != "" {
			t.Errorf("Lookup(%q): %v, %v, %v", es[i].Name, e, ok, err)
		}
	}
	for _, name := range []string{"", "a", "file-00060000", "file-00060000.txt ", "z"} {
		if e, ok, err := Lookup(m.load, id, name); ok || err != nil {
			t.Errorf("Lookup(%q) = %v, %v, %v", name, e, ok, err)
		}
	}

	// One name more near the front changes one leaf and the nodes above it.
	fresh := m.fresh
	changed := append([]Entry(nil), es[:1000]...)
	changed = append(changed, smallFile(1, es[999].Name+"x"))
	changed = append(changed, es[1000:]...)
	writeDir(t, m, changed)
	if n := m.fresh - fresh; n > 6 {
		t.Errorf("one more name made %d new objects of %d", n, fresh)
	}
}

// TestForcedSplits goes through the limits that split a directory where no
// name does.
func TestForcedSplits(t *testing.T) {
	value := make([]byte, 60000)
	for _, c := range []struct {
		name string
		n    int
		edit func(i int, e *Entry)
	}{
		{"bytes", 60, func(i int, e *Entry) {
			v := append([]byte(nil), value...)
			v[0] = byte(i)
			e.Xattrs = []Xattr{{"user.a", v}, {"user.b", v}, {"user.c", v}, {"user.d", v}}
		}},
		{"refs", 600, func(i int, e *Entry) {
			e.Size, e.Extents = 0, nil
			for j := range MaxExtents {
				e.Extents = append(e.Extents, Extent{Kind: ExtentChunk, ID: numberID(uint64(i*100 + j)), Length: 1})
			}
			e.Size = MaxExtents
		}},
		{"kinds", 4000, func(i int, e *Entry) {
			e.UID, e.User, e.Group = uint32(i), strings.Repeat("u", 255), strings.Repeat("g", 255)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory()
			es := manyFiles(c.n)
			for i := range es {
				c.edit(i, &es[i])
			}
			got := readDir(t, m, writeDir(t, m, es))
			if !reflect.DeepEqual(es, got) { // cmp takes a minute here
				t.Errorf("%d entries read back are not the %d written", len(got), len(es))
			}
			if m.puts < 3 || m.largest > softLeafSize {
				t.Errorf("%d nodes, the largest of %d bytes", m.puts, m.largest)
			}
		})
	}
}

func TestAddRefuses(t *testing.T) {
	file := func(edit func(*Entry)) Entry {
		e := smallFile(1, "m")
		edit(&e)
		return e
	}
	big := make([]byte, MaxXattrValue)
	for _, c := range []struct {
		name  string
		limit bool
		e     Entry
	}{
		{"no name", false, file(func(e *Entry) { e.Name = "" })},
		{"dot", false, file(func(e *Entry) { e.Name = "." })},
		{"dot dot", false, file(func(e *Entry) { e.Name = ".." })},
		{"slash", false, file(func(e *Entry) { e.Name = "a/b" })},
		{"nul", false, file(func(e *Entry) { e.Name = "a\x00" })},
		{"same name", false, file(func(e *Entry) { e.Name = "a" })},
		{"long name", true, file(func(e *Entry) { e.Name = strings.Repeat("n", MaxName+1) })},
		{"type", false, file(func(e *Entry) { e.Type = 7 })},
		{"mode", false, file(func(e *Entry) { e.Mode = 1 << 15 })},
		{"size", false, file(func(e *Entry) { e.Size++ })},
		{"nanoseconds", false, file(func(e *Entry) { e.Mtime.Nsec = 1e9 })},
		{"atime unasked", false, file(func(e *Entry) { e.Atime.Sec = 1 })},
		{"target of a file", false, file(func(e *Entry) { e.Target = "x" })},
		{"subtree of a file", false, file(func(e *Entry) { e.Subtree = numberID(1) })},
		{"user name", true, file(func(e *Entry) { e.User = strings.Repeat("u", 256) })},
		{"zero extent", false, file(func(e *Entry) { e.Extents = []Extent{{Kind: ExtentHole}}; e.Size = 0 })},
		{"bundle's end", false, file(func(e *Entry) { e.Extents[0].Offset = object.MaxPlaintext })},
		{"hole's object", false, file(func(e *Entry) { e.Extents[0].Kind = ExtentHole })},
		{"chunk's offset", false, file(func(e *Entry) { e.Extents[0].Kind = ExtentChunk })},
		{"extents", true, file(func(e *Entry) { e.Extents = make([]Extent, MaxExtents+1) })},
		{"attribute value", true, file(func(e *Entry) { e.Xattrs = []Xattr{{"user.a", make([]byte, MaxXattrValue+1)}} })},
		{"attribute name", true, file(func(e *Entry) { e.Xattrs = []Xattr{{strings.Repeat("a", 256), nil}} })},
		{"attribute order", false, file(func(e *Entry) { e.Xattrs = []Xattr{{"b", nil}, {"a", nil}} })},
		{"attribute total", true, file(func(e *Entry) { e.Xattrs = []Xattr{{"a", big}, {"b", big}, {"c", big}, {"d", big}} })},
		{"directory without subtree", false, Entry{Name: "m", Type: TypeDir}},
		{"directory with link id", false, Entry{Name: "m", Type: TypeDir, Subtree: numberID(1), LinkID: 1}},
		{"symlink without target", false, Entry{Name: "m", Type: TypeSymlink}},
		{"long target", true, Entry{Name: "m", Type: TypeSymlink, Target: strings.Repeat("x", MaxTarget+1)}},
		{"fifo with device number", false, Entry{Name: "m", Type: TypeFIFO, Rdev: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory()
			w := NewDirWriter(m.emit)
			first, last := smallFile(0, "a"), smallFile(2, "z")
			if err := w.Add(&first); err != nil {
				t.Fatal(err)
			}
			err := w.Add(&c.e)
			var limit *LimitError
			if err == nil || errors.As(err, &limit) != c.limit {
				t.Fatalf("Add: got %v, want an error, about a limit: %v", err, c.limit)
			}
			if err := w.Add(&last); err != nil {
				t.Fatalf("Add of a good entry afterwards: %v", err)
			}
			id, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]Entry{first, last}, readDir(t, m, id)); diff != "" {
				t.Errorf("the others (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFitXattrs(t *testing.T) {
	big := make([]byte, MaxXattrValue)
	var many []Xattr
	for i := range MaxXattrs + 5 {
		many = append(many, Xattr{fmt.Sprintf("user.%05d", i), nil})
	}
	for _, c := range []struct {
		name string
		xs   []Xattr
		want int
	}{
		{"none", nil, 0},
		{"two", []Xattr{{"a", nil}, {"b", big}}, 2},
		{"long value", []Xattr{{"a", nil}, {"b", append(big, 0)}, {"c", nil}}, 2},
		{"total", []Xattr{{"a", big}, {"b", big}, {"c", big}, {"d", big}, {"e", nil}}, 4},
		{"many", many, MaxXattrs},
	} {
		got, err := FitXattrs(c.xs)
		var limit *LimitError
		if len(got) != c.want || errors.As(err, &limit) != (c.want < len(c.xs)) || checkXattrs(got) != nil {
			t.Errorf("%s: %d of %d, %v; want %d", c.name, len(got), len(c.xs), err, c.want)
		}
	}
}

func TestEmitFails(t *testing.T) {
	full := errors.New("disk full")
	left := 3
	m := newMemory()
	w := NewDirWriter(func(kind object.Kind, refs []object.ID, b []byte) (object.ID, error) {
		if left == 0 {
			return object.ID{}, full
		}
		left--
		return m.emit(kind, refs, b)
	})
	var err error
	es := manyFiles(40_000)
	for i := range es {
		if err = w.Add(&es[i]); err != nil {
			break
		}
	}
	if !errors.Is(err, full) {
		t.Fatalf("Add: got %v, want %v", err, full)
	}
	if _, err := w.Close(); !errors.Is(err, full) {
		t.Errorf("Close: got %v, want %v", err, full)
	}
	left = 1
	if _, err := w.Close(); err != nil {
		t.Errorf("Close of an empty directory afterwards: %v", err)
	}
}

// TestMillionEntries shows that neither side's memory grows with a directory.
// Its nodes are kept in a file, so that the heap holds nothing else.
func TestMillionEntries(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "nodes")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type place struct {
		at   int64
		size int
		refs []object.ID
	}
	nodes := make(map[object.ID]place)
	end := int64(0)
	w := NewDirWriter(func(kind object.Kind, refs []object.ID, b []byte) (object.ID, error) {
		id := testID(kind, refs, b)
		nodes[id] = place{end, len(b), append([]object.ID(nil), refs...)}
		n, err := f.Write(b)
		end += int64(n)
		return id, err
	})
	before, peak := heap(), uint64(0)
	const n = 1_000_000
	name := make([]byte, 0, 64)
	for i := range n {
		e := smallFile(i, string(fmt.Appendf(name, "%09d-file", i)))
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
		if i%250_000 == 249_999 {
			peak = max(peak, heap())
		}
	}
	id, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for e, err := range ReadDir(func(_ object.Kind, id object.ID) ([]object.ID, []byte, error) {
		p := nodes[id]
		b := make([]byte, p.size)
		_, err := f.ReadAt(b, p.at)
		return p.refs, b, err
	}, id) {
		if err != nil || e.Size != uint64(i%4096+1) {
			t.Fatalf("entry %d: %+v, %v", i, e, err)
		}
		if i++; i%250_000 == 0 {
			peak = max(peak, heap())
		}
	}
	if i != n {
		t.Errorf("%d entries read, want %d", i, n)
	}
	if grown := int64(peak) - int64(before); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	t.Logf("%d nodes, %d bytes, heap grew from %d to %d", len(nodes), end, before, peak)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
