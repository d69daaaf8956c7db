package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

func newReader(t testing.TB, b *viewtest.Builder) *Reader {
	t.Helper()
	r, err := NewReader(b.Store, b.Opener())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rootOf(e tree.Entry) Place { return Place{Path: "/", Entry: &e} }

// walked returns what a walk meets: "> /a" entering, "/a/f", "< /a" leaving.
func walked(t *testing.T, walk func(context.Context, Place, func(*Item) error) error, from Place, skip func(string) bool) []string {
	t.Helper()
	var steps []string
	err := walk(context.Background(), from, func(it *Item) error {
		sign := [...]string{Enter: "> ", File: "", Leave: "< "}[it.Step]
		if it.Err != nil {
			sign = "! "
		}
		steps = append(steps, sign+it.Path)
		if it.Step == Enter && skip != nil && skip(it.Path) {
			return ErrSkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Walk: %v", err)
	}
	return steps
}

// sampleTree has folders that repeat, inside each other and side by side.
func sampleTree(b *viewtest.Builder) tree.Entry {
	empty := b.Folder("empty")
	inner := b.Folder("inner", b.File("x", "content"), empty)
	twin := b.Folder("twin", inner, b.Folder("other", inner))
	twin2, twin3 := twin, twin
	twin2.Name, twin3.Name = "twin2", "zzz"
	return b.Folder("", twin, twin2, b.File("uuu", "v"), b.Symlink("sym", "link"), twin3, empty)
}

func TestWalkOrder(t *testing.T) {
	b := viewtest.New(t)
	root := sampleTree(b)
	inner := func(at string) []string {
		return []string{"> " + at, "> " + at + "/empty", "< " + at + "/empty", at + "/x", "< " + at}
	}
	twin := func(at string) []string {
		return slices.Concat([]string{"> " + at}, inner(at+"/inner"), []string{"> " + at + "/other"}, inner(at+"/other/inner"), []string{"< " + at + "/other", "< " + at})
	}
	want := slices.Concat([]string{"> /", "> /empty", "< /empty", "/sym"}, twin("/twin"), twin("/twin2"), []string{"/uuu"}, twin("/zzz"), []string{"< /"})
	for name, walk := range map[string]func(*Reader) func(context.Context, Place, func(*Item) error) error{
		"Walk":    func(r *Reader) func(context.Context, Place, func(*Item) error) error { return r.Walk },
		"Explore": func(r *Reader) func(context.Context, Place, func(*Item) error) error { return r.Explore },
	} {
		if got := walked(t, walk(newReader(t, b)), rootOf(root), nil); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
}

// TestWalkIsPushed: a walk costs one Push, and fetches nothing but keys.
func TestWalkIsPushed(t *testing.T) {
	b := viewtest.New(t)
	var folders []tree.Entry
	for i := range 50 {
		var inside []tree.Entry
		for j := range 20 {
			inside = append(inside, b.Folder(fmt.Sprint(j), b.File("f", fmt.Sprint(i, j))))
		}
		folders = append(folders, b.Folder(fmt.Sprint(i), inside...))
		if i%10 == 0 {
			b.NewUpload() // their objects lie under other keys
		}
	}
	root := b.Folder("", folders...)
	walked(t, newReader(t, b).Walk, rootOf(root), nil)
	if b.Store.Pushes != 1 || b.Store.Calls > 6 {
		t.Errorf("%d pushes and %d fetches, want 1 and at most one for each key object", b.Store.Pushes, b.Store.Calls)
	}
	for id := range b.Store.Fetched {
		if rec := b.Store.Record(id); rec.Kind != object.KindKey {
			t.Errorf("a %s was fetched", rec.Kind)
		}
	}
	// What is skipped must not make the rest be asked for one by one.
	b.Store.Pushes, b.Store.Calls = 0, 0
	walked(t, newReader(t, b).Walk, rootOf(root), func(path string) bool { return len(path) == 2 && path != "/7" })
	if b.Store.Pushes != 1 || b.Store.Calls > 6 {
		t.Errorf("with folders skipped: %d pushes and %d fetches", b.Store.Pushes, b.Store.Calls)
	}
}

// TestWalkPastLists: a walk that does not ask for the contents of large files
// passes over their lists, however late they arrive.
func TestWalkPastLists(t *testing.T) {
	b := viewtest.New(t)
	var folders []tree.Entry
	for i := range 30 {
		var extents []tree.Extent
		for j := range 20 {
			extents = append(extents, b.Chunk(fmt.Sprint(i, j)))
		}
		folders = append(folders, b.Folder(fmt.Sprintf("%02d", i), b.Large("l", extents...), b.Folder("sub", b.File("f", fmt.Sprint(i)))))
	}
	root := b.Folder("", folders...)
	synctest.Test(t, func(t *testing.T) {
		b.Store.Before = func(rec *object.Record) (*object.Record, error) {
			time.Sleep(time.Millisecond) // of the bubble: every record comes alone
			return rec, nil
		}
		walked(t, newReader(t, b).Walk, rootOf(root), nil)
		if b.Store.Pushes != 1 || b.Store.Calls > 1 {
			t.Errorf("%d pushes and %d fetches", b.Store.Pushes, b.Store.Calls)
		}
	})
}

// TestWalkRandom compares walks of random trees, with random folders lost and
// skipped, against a plain recursion over what was built.
func TestWalkRandom(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b := viewtest.New(t)
		var ids []object.ID
		var build func(depth int) []tree.Entry
		build = func(depth int) []tree.Entry {
			var entries []tree.Entry
			for i := range rng.IntN(5) {
				name := fmt.Sprint(i)
				if depth == 0 || rng.IntN(3) == 0 {
					entries = append(entries, b.File(name, ""))
					continue
				}
				e := b.Folder(name, build(depth-1)...)
				ids = append(ids, e.Subtree)
				entries = append(entries, e)
			}
			return entries
		}
		root := b.Folder("", build(4)...)
		lost := map[object.ID]bool{}
		for _, id := range ids {
			if rng.IntN(6) == 0 && id != root.Subtree {
				lost[id] = true
			}
		}
		skip := func(path string) bool { return len(path)%7 == 3 && seed%2 == 0 }
		want := walked(t, newReader(t, b).Explore, rootOf(root), func(path string) bool { return skip(path) })
		for id := range lost {
			b.Store.Drop(id)
		}
		got := walked(t, newReader(t, b).Walk, rootOf(root), skip)
		alone := walked(t, newReader(t, b).Explore, rootOf(root), skip)
		if !slices.Equal(got, alone) {
			t.Fatalf("seed %d: Walk and Explore differ:\n%v\n%v", seed, got, alone)
		}
		if len(lost) == 0 && !slices.Equal(got, want) {
			t.Fatalf("seed %d:\n got %v\nwant %v", seed, got, want)
		}
		// What is there must be a part of what was there, in the same order.
		i := 0
		for _, step := range got {
			plain := strings.Replace(step, "! ", "< ", 1)
			for i < len(want) && want[i] != plain {
				i++
			}
			if i == len(want) {
				t.Fatalf("seed %d: %q is out of order in\n%v", seed, step, got)
			}
		}
	}
}

// TestLyingPush: what a store pushes is only believed when it is what comes
// next; otherwise it is asked for.
func TestLyingPush(t *testing.T) {
	b := viewtest.New(t)
	root := sampleTree(b)
	want := walked(t, newReader(t, b).Explore, rootOf(root), nil)
	other := b.Folder("evil", b.File("evil", "evil"))
	broken := errors.New("cannot push")
	for name, before := range map[string]func(*object.Record) (*object.Record, error){
		"breaks off": func() func(rec *object.Record) (*object.Record, error) {
			var n atomic.Int64
			return func(rec *object.Record) (*object.Record, error) {
				if n.Add(1) == 3 {
					return nil, broken
				}
				return rec, nil
			}
		}(),
		"other objects": func() func(rec *object.Record) (*object.Record, error) {
			var calls atomic.Int64
			return func(rec *object.Record) (*object.Record, error) {
				if n := calls.Add(1); n%2 == 0 && rec.Kind == object.KindDir && n < 20 {
					return b.Store.Record(other.Subtree), nil
				}
				return rec, nil
			}
		}(),
	} {
		b.Store.Before = before
		r := newReader(t, b)
		var steps []string
		err := r.Walk(context.Background(), rootOf(root), func(it *Item) error {
			sign := [...]string{Enter: "> ", File: "", Leave: "< "}[it.Step]
			steps = append(steps, sign+it.Path)
			return nil
		})
		b.Store.Before = nil
		// A lie in a Fetch is an error; in a Push it costs time.
		if err == nil && !slices.Equal(steps, want) {
			t.Errorf("%s: got %v", name, steps)
		}
		for _, s := range steps {
			if strings.Contains(s, "evil") {
				t.Errorf("%s: %q was met", name, s)
			}
		}
	}
}

func TestWalkOfNoFolder(t *testing.T) {
	b := viewtest.New(t)
	f := b.File("f", "x")
	if got := walked(t, newReader(t, b).Walk, Place{Path: "/a/f", Entry: &f}, nil); !slices.Equal(got, []string{"/a/f"}) {
		t.Errorf("got %v", got)
	}
	wrong := b.Folder("", b.File("f", "x"))
	wrong.Subtree = f.Extents[0].ID // a bundle
	if got := walked(t, newReader(t, b).Walk, rootOf(wrong), nil); !slices.Equal(got, []string{"> /", "! /"}) {
		t.Errorf("a folder that is a bundle: got %v", got)
	}
}

func TestWalkStops(t *testing.T) {
	b := viewtest.New(t)
	root := sampleTree(b)
	stop := errors.New("enough")
	n := 0
	err := newReader(t, b).Walk(context.Background(), rootOf(root), func(*Item) error {
		if n++; n == 5 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 5 {
		t.Errorf("got %v after %d steps", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := newReader(t, b).Walk(ctx, rootOf(root), func(*Item) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestOpenAndLookup(t *testing.T) {
	b := viewtest.New(t)
	deep := b.Folder("a", b.Folder("b", b.File("c", "found")), b.Symlink("s", "b"))
	snap := b.Commit(b.Dir(deep), tree.Summary{Hostname: "host", Root: &tree.Entry{Type: tree.TypeDir, Mode: 0o750}})
	s, err := newReader(t, b).Open(context.Background(), snap)
	if err != nil || s.Summary.Hostname != "host" || s.Root().Entry.Mode != 0o750 {
		t.Fatalf("Open: %+v, %v", s, err)
	}
	for path, want := range map[string]string{"": "/", "/": "/", "/a": "/a", "/a/b/c": "/a/b/c"} {
		if p, err := s.Lookup(context.Background(), path); err != nil || p.Path != want {
			t.Errorf("Lookup(%q) = %+v, %v", path, p, err)
		}
	}
	for _, path := range []string{"/x", "/a/b/c/d", "/a/s/c", "/a/b/cc"} {
		if _, err := s.Lookup(context.Background(), path); !errors.Is(err, object.CodeNotFound) {
			t.Errorf("Lookup(%q): %v, want CodeNotFound", path, err)
		}
	}
	var out bytes.Buffer
	p, _ := s.Lookup(context.Background(), "/a/b/c")
	if err := s.reader.WriteFile(context.Background(), &out, p.Entry); err != nil || out.String() != "found" {
		t.Errorf("WriteFile: %q, %v", &out, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	b := viewtest.New(t)
	other := viewtest.New(t)
	whole := *b.Commit(b.Dir(), tree.Summary{})
	for name, tt := range map[string]struct {
		change func(*object.Snapshot)
		opener *crypto.Opener
		want   error
	}{
		"whole":              {change: func(*object.Snapshot) {}},
		"list key":           {change: func(*object.Snapshot) {}, opener: crypto.NewOpener(b.Lister.Identities()...)},
		"another's key":      {change: func(*object.Snapshot) {}, opener: other.Opener(), want: crypto.ErrNotRecipient},
		"altered manifest":   {change: func(s *object.Snapshot) { s.Manifest.Time++ }, want: object.ErrSignature},
		"other sealed part":  {change: func(s *object.Snapshot) { s.Sealed = append([]byte{1}, s.Sealed...) }, want: crypto.ErrAuth},
		"no sealed part":     {change: func(s *object.Snapshot) { s.Sealed = nil }, want: crypto.ErrAuth},
		"unknown key object": {change: func(s *object.Snapshot) { s.Manifest.MetadataKey[0]++; _ = b.Key.Sign(s.Manifest) }, want: errMissing},
	} {
		s := whole
		m := *whole.Manifest
		s.Manifest = &m
		tt.change(&s)
		if tt.opener == nil {
			tt.opener = b.Opener()
		}
		r, err := NewReader(b.Store, tt.opener)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Open(context.Background(), &s); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
}

func TestWriteFile(t *testing.T) {
	b := viewtest.New(t)
	var extents []tree.Extent
	var want strings.Builder
	for i := range 100 {
		chunk := strings.Repeat(fmt.Sprint(i, " "), 2000)
		extents = append(extents, b.Chunk(chunk), tree.Extent{Kind: tree.ExtentHole, Length: uint64(i*1000 + 1)})
		want.WriteString(chunk)
		want.WriteString(strings.Repeat("\x00", i*1000+1))
	}
	e := b.Large("f", extents...)
	var out bytes.Buffer
	r := newReader(t, b)
	if err := r.WriteFile(context.Background(), &out, &e); err != nil || out.String() != want.String() {
		t.Errorf("%d bytes, %v; want %d", out.Len(), err, want.Len())
	}
	blobs := NewBlobs(r, 1<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		at, n := rng.IntN(want.Len()+100), rng.IntN(50000)
		buf := make([]byte, n)
		k, err := blobs.ReadAt(context.Background(), &e, buf, uint64(at))
		end := min(at+n, want.Len())
		if err != nil || at < want.Len() && string(buf[:k]) != want.String()[at:end] || at >= want.Len() && k != 0 {
			t.Fatalf("ReadAt(%d, %d): %d bytes, %v", at, n, k, err)
		}
	}
	b.Store.Drop(extents[100].ID)
	out.Reset()
	if err := newReader(t, b).WriteFile(context.Background(), &out, &e); !Lost(err) {
		t.Errorf("with a chunk missing: got %v", err)
	}
}
