package view

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

func TestParseSelector(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for _, tt := range []struct{ in, prefix, path, err string }{
		{in: "latest"},
		{in: "latest:/", path: "/"},
		{in: "latest://etc//ssh/./", path: "/etc/ssh"},
		{in: "ABCD", prefix: "abcd"},
		{in: id, prefix: id},
		{in: id + ":/a:b/c", prefix: id, path: "/a:b/c"},
		{in: "abcd:/a\xff\x1b", prefix: "abcd", path: "/a\xff\x1b"},
		{in: "", err: "neither"},
		{in: "abc", err: "neither"},
		{in: id + "0", err: "neither"},
		{in: "ghij", err: "neither"},
		{in: "Latest", err: "neither"},
		{in: "latest:", err: "slash"},
		{in: "latest:etc", err: "slash"},
		{in: "latest:/a/../../etc", err: "goes up"},
		{in: "latest:/a\x00b", err: "NUL"},
	} {
		sel, err := ParseSelector(tt.in)
		if tt.err != "" {
			if !errors.Is(err, ErrSelector) || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ParseSelector(%q) = %v, %v; want an ErrSelector with %q", tt.in, sel, err, tt.err)
			}
			continue
		}
		if want := (Selector{tt.prefix, tt.path}); err != nil || sel != want {
			t.Errorf("ParseSelector(%q) = %+v, %v; want %+v", tt.in, sel, err, want)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"latest", "latest:/etc", "0123abcd:/a/b", "ABCDEF01", "latest:/../x", ":", "12:/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		sel, err := ParseSelector(in)
		if err != nil {
			return
		}
		again, err := ParseSelector(sel.String())
		if err != nil || again != sel {
			t.Fatalf("%q gives %+v, whose String %q gives %+v, %v", in, sel, sel.String(), again, err)
		}
		for name := range strings.SplitSeq(sel.Path, "/") {
			if name == ".." || name == "." {
				t.Fatalf("%q gives the path %q", in, sel.Path)
			}
		}
	})
}

func TestResolve(t *testing.T) {
	a, b := newSigner(1), newSigner(2)
	store := &fakeStore{}
	a1 := store.add(a, "alpha", "default", 100)
	a2 := store.add(a, "alpha", "db", 300)
	b1 := store.add(b, "beta", "default", 200)

	for _, tt := range []struct {
		sel  Selector
		only Narrow
		want object.ID
		err  string
	}{
		{sel: Selector{}, err: "snapshots of several clients: alpha, beta"},
		{sel: Selector{}, only: Narrow{Client: "alpha"}, want: a2},
		{sel: Selector{}, only: Narrow{Client: "alpha", Job: "default"}, want: a1},
		{sel: Selector{}, only: Narrow{Job: "db"}, want: a2},
		{sel: Selector{}, only: Narrow{Client: "gamma"}, err: `no snapshot matches "latest" of client "gamma"`},
		{sel: Selector{Prefix: b1.String()[:10]}, want: b1},
		{sel: Selector{Prefix: b1.String()}, want: b1},
		{sel: Selector{Prefix: strings.Repeat("f", 64)}, err: "no snapshot matches"},
	} {
		got, _, err := Resolve(context.Background(), store, tt.sel, tt.only)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Resolve(%v, %v): got %v, want an error with %q", tt.sel, tt.only, err, tt.err)
			}
		case err != nil || got.ID() != tt.want:
			t.Errorf("Resolve(%v, %v): got %v, want %v", tt.sel, tt.only, err, tt.want)
		}
	}

	store.snapshots[2].Manifest.Time++ // beta's signature is wrong now
	if _, _, err := Resolve(context.Background(), store, Selector{}, Narrow{Client: "beta"}); !errors.Is(err, object.ErrSignature) {
		t.Errorf("Resolve of an altered manifest: got %v, want ErrSignature", err)
	}
}

func TestResolveAmbiguousPrefix(t *testing.T) {
	store := &fakeStore{}
	s := newSigner(1)
	first := map[string]object.ID{}
	for i := range 600 { // some two of them share two bytes, near enough
		id := store.add(s, "alpha", "default", int64(i))
		p := id.String()[:4]
		if other, ok := first[p]; ok {
			_, _, err := Resolve(context.Background(), store, Selector{Prefix: p}, Narrow{})
			var amb *AmbiguousError
			if !errors.As(err, &amb) || len(amb.IDs) != 2 || amb.IDs[0] != other || amb.IDs[1] != id {
				t.Fatalf("Resolve(%q) = %v, want both %s and %s", p, err, other, id)
			}
			return
		}
		first[p] = id
	}
	t.Fatal("no two ids share a prefix; the test shows nothing")
}

func TestResolveBoundsClients(t *testing.T) {
	store := &fakeStore{}
	for i := range 100 {
		store.add(newSigner(1), fmt.Sprintf("c%03d", i), "default", int64(i))
	}
	_, _, err := Resolve(context.Background(), store, Selector{}, Narrow{})
	var amb *AmbiguousError
	if !errors.As(err, &amb) || len(amb.Clients) != maxNamed || !amb.More {
		t.Fatalf("got %v, want an AmbiguousError of %d clients and more", err, maxNamed)
	}
}

// rotten is a store of which a file can't be read: its listing says so when all
// others have been yielded.
type rotten struct{ *fakeStore }

func (r rotten) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return errors.Join(r.fakeStore.Snapshots(ctx, yield), object.CodeDamaged.Errorf("snapshots/x is damaged"))
}

func TestResolveBesideDamage(t *testing.T) {
	store := rotten{&fakeStore{}}
	id := store.add(newSigner(1), "alpha", "default", 100)
	for _, sel := range []Selector{{}, {Prefix: id.String()}} {
		got, unread, err := Resolve(context.Background(), store, sel, Narrow{})
		if err != nil || got.ID() != id || !errors.Is(unread, object.CodeDamaged) {
			t.Errorf("Resolve(%v): got %v, %v; want the snapshot, and what could not be read", sel, unread, err)
		}
		if got, err := Find(context.Background(), store, sel, Narrow{}); !errors.Is(err, object.CodeDamaged) {
			t.Errorf("Find(%v): got %v, %v; want the damage", sel, got, err)
		}
	}
	if _, _, err := Resolve(context.Background(), store, Selector{}, Narrow{Client: "beta"}); !errors.Is(err, object.CodeDamaged) {
		t.Errorf("Resolve of a client that has nothing: got %v, want the damage", err)
	}
}
