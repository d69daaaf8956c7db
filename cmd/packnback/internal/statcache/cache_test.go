package statcache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

var binding = Binding{Repository: object.RepositoryID{1}, SendKey: id(2), Client: "web1", Job: "default"}

func open(t *testing.T, dir string, b Binding) (*Cache, *[]string) {
	t.Helper()
	notes := new([]string)
	c, err := Open(dir, b, func(s string) { *notes = append(*notes, s) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, notes
}

// paths are in walk order; every third is a folder's.
func paths() []string {
	var p []string
	for d := range 40 {
		for f := range 50 {
			p = append(p, fmt.Sprintf("home/dir%02d/file-with-a-name-%02d", d, f))
		}
		p = append(p, fmt.Sprintf("home/dir%02d", d))
	}
	return append(p, "home", "")
}

func recordFor(path string) *Record {
	if !strings.Contains(path, "file") {
		return &Record{Entry: tree.Entry{Type: tree.TypeDir, Subtree: object.HashID([]byte(path))}}
	}
	return &Record{
		Entry: tree.Entry{Type: tree.TypeFile, Size: 10, User: path, Extents: []tree.Extent{
			{Kind: tree.ExtentBundle, ID: id(7), Offset: 5, Length: 10}}},
		Content: object.HashID([]byte("content of " + path)),
	}
}

// build writes a generation of all paths.
func build(t *testing.T, c *Cache, base object.ID) {
	t.Helper()
	b, err := c.NewBuild(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, b, paths())
	if err := b.Finish(base, id(99)); err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, b *Build, paths []string) {
	t.Helper()
	for _, p := range paths {
		r := recordFor(p)
		if err := b.Add([]byte(p), r); err != nil {
			t.Fatal(err)
		}
		var err error
		if r.Content.IsZero() {
			err = errors.Join(b.AddObject(object.KindDir, r.Entry.Subtree, 1), b.Inner([]byte(p), bytes.Repeat([]byte{1}, 64)))
		} else {
			err = b.AddContent(r.Content, Place{Bundle: id(7), Offset: 5, Length: 10}, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The same place again and again, and one at the end of the bundle.
	if err := b.AddContent(id(70), Place{Bundle: id(7), Offset: 99_990, Length: 10}, 1); err != nil {
		t.Fatal(err)
	}
}

func walked(t *testing.T, w *Walk) []string {
	t.Helper()
	var got []string
	err := w.Rest(func(path []byte, raw Raw) error {
		r, err := raw.Decode()
		if err != nil {
			return err
		}
		if d := cmp.Diff(recordFor(string(path)), r); d != "" {
			t.Errorf("record of %q (-want +got):\n%s", path, d)
		}
		got = append(got, string(path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestGeneration(t *testing.T) {
	dir := t.TempDir()
	c, _ := open(t, dir, binding)
	if g := c.Generation(); g != nil {
		t.Fatalf("new cache has a generation of base %s", g.Base)
	}
	build(t, c, id(50))
	if c.Generation() != nil {
		t.Fatal("a finished generation is in use before Settle")
	}
	if got := c.Next(); got != id(50) {
		t.Fatalf("Next() = %s, want %s", got, id(50))
	}
	if err := c.Settle(id(50)); err != nil {
		t.Fatal(err)
	}
	c.Close()

	c, notes := open(t, dir, binding)
	g := c.Generation()
	if g == nil {
		t.Fatalf("no generation after reopening: %q", *notes)
	}
	if g.Base != id(50) || g.Root != id(99) {
		t.Errorf("base %s root %s, want %s and %s", g.Base, g.Root, id(50), id(99))
	}
	if d := cmp.Diff(paths(), walked(t, g.Walk())); d != "" {
		t.Errorf("paths (-want +got):\n%s", d)
	}
	for _, o := range []struct {
		id   object.ID
		want bool
	}{{object.HashID([]byte("home")), true}, {id(7), true}, {id(8), false}} {
		if got, err := g.Has(o.id); got != o.want || err != nil {
			t.Errorf("Has(%s) = %v, %v, want %v", o.id.Short(), got, err, o.want)
		}
	}
	var places []Place
	if err := g.Places(recordFor(paths()[0]).Content, func(p Place) bool { places = append(places, p); return true }); err != nil {
		t.Fatal(err)
	}
	if want := []Place{{id(7), 5, 10}}; !cmp.Equal(places, want) {
		t.Errorf("places %v, want %v", places, want)
	}
	sparse := map[object.ID]int64{}
	if err := g.Sparse(func(b object.ID, live int64) bool { sparse[b] = live; return true }); err != nil {
		t.Fatal(err)
	}
	if want := map[object.ID]int64{id(7): 20_010}; !cmp.Equal(sparse, want) {
		t.Errorf("sparse bundles %v, want %v", sparse, want)
	}
}

// A second generation is the first with what changed; tables that did not
// change are not written again.
func TestChanges(t *testing.T) {
	c, _ := open(t, t.TempDir(), binding)
	build(t, c, id(50))
	if err := c.Settle(id(50)); err != nil {
		t.Fatal(err)
	}
	first := *c.Generation().header

	b, err := c.NewBuild(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths() {
		if err := b.Add([]byte(p), recordFor(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Finish(id(51), id(99)); err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(id(51)); err != nil {
		t.Fatal(err)
	}
	second := *c.Generation().header
	if second.content != first.content || second.objects != first.objects || second.walk == first.walk {
		t.Errorf("unchanged generation: files %+v, before %+v", second, first)
	}

	if b, err = c.NewBuild(nil, false); err != nil {
		t.Fatal(err)
	}
	gone, stays := recordFor(paths()[0]), recordFor(paths()[1])
	place := Place{Bundle: id(7), Offset: 5, Length: 10}
	for _, err := range []error{
		b.AddContent(gone.Content, place, -1),
		b.AddContent(stays.Content, place, +1), b.AddContent(stays.Content, place, -1),
		b.AddContent(id(60), Place{id(61), 0, 20}, 1),
		b.AddObject(object.KindDir, object.HashID([]byte("home")), -1),
		b.Finish(id(52), id(98)), c.Settle(id(52)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g := c.Generation()
	for _, o := range []struct {
		id   object.ID
		want bool
	}{{object.HashID([]byte("home")), false}, {object.HashID([]byte("")), true}, {id(7), true}, {id(61), true}} {
		if got, err := g.Has(o.id); got != o.want || err != nil {
			t.Errorf("Has(%s) = %v, %v, want %v", o.id.Short(), got, err, o.want)
		}
	}
	for _, content := range []struct {
		id   object.ID
		want int
	}{{gone.Content, 0}, {stays.Content, 1}, {id(60), 1}} {
		n := 0
		if err := g.Places(content.id, func(Place) bool { n++; return true }); err != nil || n != content.want {
			t.Errorf("%s is in %d places (%v), want %d", content.id.Short(), n, err, content.want)
		}
	}
	err = g.Sparse(func(b object.ID, live int64) bool {
		if b != id(7) || live != 20_000 {
			t.Errorf("sparse bundle %s with %d bytes", b.Short(), live)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Rows that may not be trusted are left behind when the tables are rewritten.
func TestUntrusted(t *testing.T) {
	c, _ := open(t, t.TempDir(), binding)
	build(t, c, id(50))
	if err := c.Settle(id(50)); err != nil {
		t.Fatal(err)
	}
	b, err := c.NewBuild(func(o object.ID) (bool, error) { return o != id(7), nil }, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Finish(id(51), id(99)), c.Settle(id(51))); err != nil {
		t.Fatal(err)
	}
	g := c.Generation()
	if has, err := g.Has(id(7)); has || err != nil {
		t.Errorf("an untrusted bundle was carried over (%v)", err)
	}
	if has, err := g.Has(object.HashID([]byte("home"))); !has || err != nil {
		t.Errorf("a trusted directory was not carried over (%v)", err)
	}
	if g.content.Len() != 0 {
		t.Errorf("%d contents of an untrusted bundle were carried over", g.content.Len())
	}
}

func TestSeek(t *testing.T) {
	c, _ := open(t, t.TempDir(), binding)
	build(t, c, id(50))
	if err := c.Settle(id(50)); err != nil {
		t.Fatal(err)
	}
	var gone []string
	note := func(p []byte, _ Raw) error { gone = append(gone, string(p)); return nil }
	w := c.Generation().Walk()
	for i := range paths()[:20] {
		if _, ok, err := w.Seek([]byte(paths()[i]+"!new"), note); ok || err != nil {
			t.Fatalf("Seek of a new path: %v, %v", ok, err)
		}
	}
	if d := cmp.Diff(paths()[:20], gone); d != "" {
		t.Errorf("passed over (-want +got):\n%s", d)
	}

	w, gone = c.Generation().Walk(), nil
	inner := 0
	for i, p := range paths() {
		if i%2 == 0 {
			continue
		}
		if _, ok, err := w.Seek([]byte(p), note); !ok || err != nil {
			t.Fatalf("Seek(%q): %v, %v", p, ok, err)
		}
		if err := w.Inner(func(ids []byte) error { inner += len(ids) / 32; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Rest(note); err != nil {
		t.Fatal(err)
	}
	var want []string
	dirs := 0
	for i, p := range paths() {
		if i%2 == 0 {
			want = append(want, p)
		} else if !strings.Contains(p, "file") {
			dirs++
		}
	}
	if d := cmp.Diff(want, gone); d != "" {
		t.Errorf("gone (-want +got):\n%s", d)
	}
	if inner != 2*dirs {
		t.Errorf("%d inner ids, want %d", inner, 2*dirs)
	}
}

// Whatever is wrong with a file of the cache, it is noticed when the cache is
// opened or read, and nothing wrong ever comes out of it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	c, _ := open(t, dir, binding)
	build(t, c, id(50))
	if err := c.Settle(id(50)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files of the cache: %q, %v", files, err)
	}
	for _, f := range append(files, filepath.Join(dir, currentName)) {
		good, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		header, err := os.ReadFile(filepath.Join(dir, currentName))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 1 + len(good)/97 {
			for _, bad := range [][]byte{good[:i], append(append(append([]byte(nil), good[:i]...), good[i]^0x20), good[i+1:]...)} {
				if err := os.WriteFile(f, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				c, notes := open(t, dir, binding)
				if g := c.Generation(); g == nil {
					if len(*notes) != 1 {
						t.Errorf("%s damaged at %d: notes %q, want one", filepath.Base(f), i, *notes)
					}
				} else if err := errors.Join(g.content.Verify(), g.objects.Verify()); err == nil {
					t.Errorf("%s damaged at %d of %d, to %d bytes: not noticed", filepath.Base(f), i, len(good), len(bad))
				}
				c.Close()
				if err := errors.Join(os.WriteFile(filepath.Join(dir, currentName), header, 0o600), os.WriteFile(f, good, 0o600)); err != nil {
					t.Fatal(err)
				}
				for _, other := range files {
					if _, err := os.Stat(other); err != nil {
						t.Fatalf("%s damaged at %d: %v", filepath.Base(f), i, err)
					}
				}
			}
		}
	}
}

func TestForeign(t *testing.T) {
	for _, other := range []Binding{
		{object.RepositoryID{9}, id(2), "web1", "default"},
		{object.RepositoryID{1}, id(9), "web1", "default"},
		{object.RepositoryID{1}, id(2), "web2", "default"},
		{object.RepositoryID{1}, id(2), "web1", "defaults"},
	} {
		dir := t.TempDir()
		c, _ := open(t, dir, binding)
		build(t, c, id(50))
		if err := c.Settle(id(50)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		c, notes := open(t, dir, other)
		if c.Generation() != nil || len(*notes) != 1 {
			t.Errorf("%+v: generation %v, notes %q; want none and one", other, c.Generation(), *notes)
		}
		c.Close()
	}
}

func TestBusy(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, binding)
	if _, err := Open(dir, binding, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("second Open: %v, want %v", err, ErrBusy)
	}
}

func TestTemporary(t *testing.T) {
	c, _ := open(t, "", binding)
	build(t, c, id(50))
	dir := c.dir
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Close: %v, want it gone", dir, err)
	}
}

// A run that is cut off leaves the walk so far and its log; the next run finds
// in them what the store has adopted, and no more.
func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	one, two := object.SessionID{1}, object.SessionID{2}
	for run, n := range []int{1500, 700} {
		c, _ := open(t, dir, binding)
		b, err := c.NewBuild(nil, false)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, b, paths()[:n])
		l, err := c.NewLog([]object.SessionID{one, two}[run])
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3000 {
			if err := l.Put(object.HashID([]byte{byte(run), byte(i), byte(i >> 8)})); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(l.Close(), b.Abandon()); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}

	c, notes := open(t, dir, binding)
	a, err := c.Adopt([]object.Adopted{{Session: one, Durable: 2000}, {Session: two, Durable: 5}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if !a.Complete || a.Durable.Len() != 2005 {
		t.Errorf("complete %v with %d ids, want true with 2005 (notes %q)", a.Complete, a.Durable.Len(), *notes)
	}
	for _, o := range []struct {
		run, i int
		want   bool
	}{{0, 0, true}, {0, 1999, true}, {0, 2000, false}, {1, 4, true}, {1, 5, false}} {
		has, err := a.Durable.Has(object.HashID([]byte{byte(o.run), byte(o.i), byte(o.i >> 8)}))
		if has != o.want || err != nil {
			t.Errorf("put %d of run %d durable: %v, %v, want %v", o.i, o.run, has, err, o.want)
		}
	}
	got := walked(t, a.Walk())
	if len(got) < 1000 || !cmp.Equal(got, paths()[:len(got)]) {
		t.Errorf("the cut-off walks give %d paths, or not the first ones", len(got))
	}

	if a, err = c.Adopt([]object.Adopted{{Session: two, Durable: 3001}}); err != nil {
		t.Fatal(err)
	}
	if a.Complete || a.Durable.Len() != 3000 {
		t.Errorf("log of 3000 with 3001 durable: complete %v with %d ids", a.Complete, a.Durable.Len())
	}
	a.Close()
	if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("puts-%x", one[:]))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("log of an upload that is not adopted: %v, want it gone", err)
	}
	if a, err = c.Adopt(nil); err != nil {
		t.Fatal(err)
	}
	if !a.Complete || a.Walk() != nil || a.Durable.Len() != 0 {
		t.Errorf("nothing adopted: complete %v, walk %v, %d ids", a.Complete, a.Walk(), a.Durable.Len())
	}
	a.Close()
	if left, _ := filepath.Glob(filepath.Join(dir, "p*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
