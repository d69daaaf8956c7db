package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// TestSwappedForSymlink replaces folders by symlinks that lead outside after
// they were seen and before they are entered.
func TestSwappedForSymlink(t *testing.T) {
	outside := t.TempDir()
	makeTree(t, outside, "f secret 123")
	dir := t.TempDir()
	makeTree(t, dir, "d a/sub", "f a/sub/x", "d m/sub", "f m/sub/x", "d z/sub", "f z/sub/x")
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	var problems []Problem
	var items []string
	opt := Options{Workers: 1, Report: func(p Problem) { problems = append(problems, p) }}
	err = p.Walk(context.Background(), opt, func(it *Item) error {
		items = append(items, it.Path)
		if it.Step == Enter && it.Path == "" {
			for _, name := range []string{"a", "m", "z"} {
				if err := os.Rename(filepath.Join(dir, name), filepath.Join(outside, name)); err != nil {
					return err
				}
				if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(items, func(s string) bool { return strings.Contains(s, "secret") }) {
		t.Errorf("the walk left the tree: %q", items)
	}
}

func TestFileSwapped(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "f a secret", "f b x", "f c x", "f d x")
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Walk(context.Background(), Options{}, func(it *Item) error {
		if it.Step != File || it.Name == "a" {
			return nil
		}
		path := filepath.Join(dir, it.Name)
		if err := os.Remove(path); err != nil {
			return err
		}
		want := ErrChanged
		switch it.Name {
		case "b":
			makeTree(t, dir, "l b a")
		case "c":
			makeTree(t, dir, "p c")
		case "d":
			want = os.ErrNotExist
		}
		r, err := it.Open()
		if err == nil {
			r.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", it.Name, err, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestVanished(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d a", "d b/c", "f b/x")
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &listing{request: request{source: dir, inside: true}, opt: &Options{}, dir: newFolder(d), read: true}
	l.names.memory = []string{"a", "gone"}
	l.batch = l.fill()
	if len(l.batch) != 2 || l.batch[0].err != nil || !errors.Is(l.batch[1].err, syscall.ENOENT) {
		t.Fatalf("batch %+v", l.batch)
	}
	var got []Problem
	w := &walk{opt: Options{Report: func(p Problem) { got = append(got, p) }}, yield: func(*Item) error { return nil }, ahead: newAhead()}
	f := &frame{list: l}
	if err := w.visit(f, &l.batch[1]); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Kind != Vanished || got[0].Path != dir+"/gone" {
		t.Errorf("problems %+v", got)
	}
	l.close()
}

// TestTreeInMotion walks a tree while somebody else renames, removes and
// replaces what is in it.
func TestTreeInMotion(t *testing.T) {
	outside := t.TempDir()
	makeTree(t, outside, "d secret", "f secret/x 1")
	dir := t.TempDir()
	build := func(i int) {
		name := fmt.Sprintf("%02d", i)
		_ = os.MkdirAll(filepath.Join(dir, name, "sub", "deep"), 0o755)
		_ = os.WriteFile(filepath.Join(dir, name, "sub", "deep", "f"), nil, 0o644)
		_ = os.WriteFile(filepath.Join(dir, name, "g"), nil, 0o644)
	}
	for i := range 40 {
		build(i)
	}
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i = (i + 7) % 40 {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(dir, fmt.Sprintf("%02d", i))
			switch i % 4 {
			case 0:
				_ = os.RemoveAll(name)
				_ = os.Symlink(outside, name)
				_ = os.Remove(name)
			case 1:
				_ = os.Rename(filepath.Join(name, "sub"), filepath.Join(name, "gus"))
				_ = os.Symlink(outside, filepath.Join(name, "sub"))
				_ = os.Remove(filepath.Join(name, "sub"))
				_ = os.Rename(filepath.Join(name, "gus"), filepath.Join(name, "sub"))
			case 2:
				_ = os.Rename(name, filepath.Join(outside, "taken"))
				_ = os.Rename(filepath.Join(outside, "taken"), name)
			default:
				_ = os.RemoveAll(name)
			}
			build(i)
		}
	}()
	for range 60 {
		err := p.Walk(context.Background(), Options{Workers: 2}, func(it *Item) error {
			if strings.Contains(it.Path, "secret") {
				return fmt.Errorf("the walk left the tree: %q", it.Path)
			}
			if it.Step == File && it.Stat.Type == tree.TypeFile {
				if r, err := it.Open(); err == nil {
					return r.Close()
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-done
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors are open, %d were before", after, before)
	}
}

// TestMovedWhileFarBelow moves folders that the walk has closed meanwhile, so
// that it can't come back to them.
func TestMovedWhileFarBelow(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	deep := filepath.Join(dir, strings.TrimPrefix(strings.Repeat("/d", 300), "/"))
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(depth int) string {
		return filepath.Join(dir, strings.TrimPrefix(strings.Repeat("/d", depth), "/"))
	}
	for _, depth := range []int{10, 20, 40, 60, 290} {
		makeTree(t, at(depth), "f z")
	}
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	var problems []Problem
	var files []int
	depth, deepest := 0, 0
	opt := Options{Report: func(p Problem) { problems = append(problems, p) }}
	err = p.Walk(context.Background(), opt, func(it *Item) error {
		switch it.Step {
		case Enter:
			depth++
			deepest = max(deepest, depth)
			if it.Depth == 300 {
				// Folder 50 goes elsewhere, and the way to what is left above
				// it from folder 30 on is another one.
				if err := os.Rename(at(50), filepath.Join(outside, "taken")); err != nil {
					return err
				}
				if err := os.Rename(at(30), filepath.Join(outside, "taken2")); err != nil {
					return err
				}
				makeTree(t, dir, "d "+strings.TrimPrefix(strings.Repeat("/d", 49), "/"))
			}
		case Leave:
			depth--
		case File:
			files = append(files, it.Depth-1)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if depth != 0 || deepest != 301 {
		t.Errorf("%d folders were not left, the deepest was %d", depth, deepest)
	}
	if diff := cmp.Diff([]int{290, 60, 20, 10}, files); diff != "" {
		t.Errorf("folders whose files were found (-want +got):\n%s", diff)
	}
	if len(problems) != 20 || !errors.Is(problems[0].Err, errMoved) || problems[0].Path != at(49) {
		t.Errorf("%d problems: %.3v", len(problems), problems)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors are open, %d were before", after, before)
	}
}
