package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// makeTree makes files in dir, out of lines such as "d a", "f a/b contents",
// "l a/c target" and "p a/fifo".
func makeTree(t testing.TB, dir string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		kind, rest, _ := strings.Cut(line, " ")
		name, arg, _ := strings.Cut(rest, " ")
		path := filepath.Join(dir, name)
		var err error
		switch kind {
		case "d":
			err = os.MkdirAll(path, 0o755)
		case "f":
			err = os.WriteFile(path, []byte(arg), 0o644)
		case "l":
			err = os.Symlink(arg, path)
		case "p":
			err = unix.Mkfifo(path, 0o600)
		default:
			t.Fatalf("unknown line %q", line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// walked is what a walk delivered: a line for each item and for each problem.
type walked struct {
	items    []string
	problems []string
}

// walkAll walks operands, relative to dir, and checks what every walk must
// keep to.
func walkAll(t testing.TB, dir string, operands []string, opt Options) walked {
	t.Helper()
	var w walked
	p, err := NewPlan(dir, operands)
	if err != nil {
		t.Fatal(err)
	}
	opt.Report = func(p Problem) {
		w.problems = append(w.problems, fmt.Sprintf("%s %s", [...]string{"unread", "vanished", "skipped"}[p.Kind], strings.TrimPrefix(p.Path, dir+"/")))
	}
	before := openFDs(t)
	var stack []string
	last := ""
	err = p.Walk(context.Background(), opt, func(it *Item) error {
		if it.Depth != len(components(it.Path)) {
			t.Errorf("%q has depth %d", it.Path, it.Depth)
		}
		switch it.Step {
		case Enter:
			stack = append(stack, it.Path)
			w.items = append(w.items, it.Path+"/")
		case Leave:
			if n := len(stack) - 1; n < 0 || stack[n] != it.Path {
				t.Errorf("leaving %q inside %q", it.Path, stack)
			} else {
				stack = stack[:n]
			}
			return nil
		case File:
			w.items = append(w.items, it.Path)
		}
		if it.Path != "" && tree.ComparePaths(last, it.Path) >= 0 {
			t.Errorf("%q comes after %q", it.Path, last)
		}
		last = it.Path
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors are open, %d were before", after, before)
	}
	return w
}

func openFDs(t testing.TB) int {
	t.Helper()
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(es)
}

func TestOrder(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d a", "f a.b", "d a/b", "f a/b/z", "f a/c", "f a-", "d B", "l z /nowhere", "p fifo", "d empty", "f a/\n", "f \xff\xfe")
	got := walkAll(t, dir, []string{"."}, Options{})
	want := []string{"/", "B/", "a/", "a/\n", "a/b/", "a/b/z", "a/c", "a-", "a.b", "empty/", "fifo", "z", "\xff\xfe"}
	if diff := cmp.Diff(want, got.items); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if len(got.problems) > 0 {
		t.Errorf("problems: %q", got.problems)
	}
}

func TestOperands(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d w/a/b", "f w/a/b/x", "f w/a/y", "f w/f", "d other/o", "f other/o/1", "f other/2", "l link other", "l w/a/up ..")
	abs := func(list ...string) []string { // below the path of dir
		var all []string
		prefix := ""
		all = append(all, "/")
		for _, c := range components(strings.TrimPrefix(dir, "/")) {
			prefix = join(prefix, c)
			all = append(all, prefix+"/")
		}
		for _, s := range list {
			all = append(all, prefix+"/"+s)
		}
		return all
	}
	for _, c := range []struct {
		operands []string
		want     []string
		problems []string
	}{
		{[]string{"a"}, []string{"/", "a/", "a/b/", "a/b/x", "a/up", "a/y"}, nil},
		{[]string{"./a/../a/b/"}, []string{"/", "a/", "a/b/", "a/b/x"}, nil},
		{[]string{"f", "a/y", "a/b"}, []string{"/", "a/", "a/b/", "a/b/x", "a/y", "f"}, nil},
		{[]string{"a/b", "a"}, []string{"/", "a/", "a/b/", "a/b/x", "a/up", "a/y"}, nil},
		{[]string{"../other/o", "f"}, []string{"/", "f", "other/", "other/o/", "other/o/1"}, nil},
		{[]string{"../other", "../other/o"}, []string{"/", "other/", "other/2", "other/o/", "other/o/1"}, nil},
		{[]string{"../link"}, []string{"/", "link"}, nil},
		{[]string{"../link/o"}, []string{"/", "link/", "link/o/", "link/o/1"}, nil},
		{[]string{".."}, []string{"/", "link", "other/", "other/2", "other/o/", "other/o/1", "w/", "w/a/", "w/a/b/", "w/a/b/x", "w/a/up", "w/a/y", "w/f"}, nil},
		{[]string{dir + "/other/o"}, abs("other/", "other/o/", "other/o/1"), nil},
		{[]string{dir + "/other/2", dir + "/w/f"}, abs("other/", "other/2", "w/", "w/f"), nil},
		{[]string{"f", "gone", "a/gone/x"}, []string{"/", "a/", "f"}, []string{"unread w/a/gone/x", "unread w/gone"}},
		{[]string{".", "a/gone/x", "zz"}, []string{"/", "a/", "a/b/", "a/b/x", "a/up", "a/y", "f"}, []string{"unread w/a/gone/x", "unread w/zz"}},
		{[]string{"a", "a/up/f"}, []string{"/", "a/", "a/b/", "a/b/x", "a/up", "a/y"}, []string{"unread w/a/up/f"}},
		{[]string{"f/x", "a/y"}, []string{"/", "a/", "a/y"}, []string{"unread w/f/x"}},
	} {
		got := walkAll(t, filepath.Join(dir, "w"), c.operands, Options{})
		for i, s := range got.problems {
			got.problems[i] = strings.Replace(s, " ", " w/", 1)
		}
		if diff := cmp.Diff(c.want, got.items); diff != "" {
			t.Errorf("%q: items (-want +got):\n%s", c.operands, diff)
		}
		if diff := cmp.Diff(c.problems, got.problems); diff != "" {
			t.Errorf("%q: problems (-want +got):\n%s", c.operands, diff)
		}
	}
}

func TestWorkdirBehindSymlink(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d real/a", "f real/a/x", "l link real")
	for _, operand := range []string{".", "a"} {
		got := walkAll(t, filepath.Join(dir, "link"), []string{operand}, Options{})
		if diff := cmp.Diff(walked{[]string{"/", "a/", "a/x"}, nil}, got, cmp.AllowUnexported(walked{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", operand, diff)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, operands := range [][]string{
		nil, {""}, {"a\x00"}, {"a/x", "../a/y"}, {".", "/etc"}, {".", ".."}, {"/", "."}, {"..", "../../x"},
	} {
		if _, err := NewPlan("/home/u/w", operands); err == nil {
			t.Errorf("NewPlan(%q): no error", operands)
		}
	}
	if _, err := NewPlan("w", []string{"a"}); err == nil {
		t.Error("NewPlan with a relative working folder: no error")
	}
	p, err := NewPlan("/x", []string{"/does/not/exist/1", "/does/not/exist/2"})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Walk(context.Background(), Options{}, func(*Item) error { return nil })
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "exist/1") {
		t.Errorf("walk without any operand there: %v", err)
	}
}

func TestDeepTree(t *testing.T) {
	const depth = 600
	name := strings.Repeat("d", 200) // 120 KB of path, far beyond PATH_MAX
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeDeep(t, dir) })
	for range depth {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"a", "z"} { // one before, one after the descent
			f, err := unix.Openat(fd, file, unix.O_CREAT|unix.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			_ = unix.Close(f)
		}
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		fd = next
	}
	_ = unix.Close(fd)
	got := walkAll(t, dir, []string{"."}, Options{})
	if len(got.items) != 3*depth+1 || len(got.problems) != 0 {
		t.Errorf("%d items, want %d; problems %q", len(got.items), 3*depth+1, got.problems)
	}
	// Everything can be reached, also on the way up.
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	opened, asked := 0, 0
	err = p.Walk(context.Background(), Options{}, func(it *Item) error {
		if it.Step == File {
			r, err := it.Open()
			if err != nil {
				return err
			}
			opened++
			return r.Close()
		}
		asked++
		_, err := it.Xattrs()
		return err
	})
	if err != nil || opened != 2*depth || asked != 2*(depth+1) {
		t.Errorf("opened %d files and asked for the attributes of %d folders: %v", opened, asked, err)
	}
}

// removeDeep removes a tree that os.RemoveAll can also descend, but reports
// its failure.
func removeDeep(t *testing.T, dir string) {
	if err := os.RemoveAll(dir); err != nil {
		t.Errorf("cleaning up: %v", err)
	}
}

func TestSocketsAreSkipped(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")}); err != nil {
		t.Fatal(err)
	}
	got := walkAll(t, dir, []string{"."}, Options{})
	if diff := cmp.Diff(walked{[]string{"/"}, []string{"skipped socket"}}, got, cmp.AllowUnexported(walked{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRepositoryIsSkipped(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d a/repo/packs", "f a/repo/config", "f a/x", "l repolink a/repo")
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "repolink"), &st); err != nil {
		t.Fatal(err)
	}
	place := Place{Dev: st.Dev, Ino: st.Ino}
	got := walkAll(t, dir, []string{"."}, Options{Skip: []Place{place}})
	if diff := cmp.Diff(walked{[]string{"/", "a/", "a/x", "repolink"}, []string{"skipped a/repo"}}, got, cmp.AllowUnexported(walked{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestYieldAndContextEndTheWalk(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		makeTree(t, dir, fmt.Sprintf("d %02d/x/y", i), fmt.Sprintf("f %02d/x/z", i))
	}
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	enough := errors.New("enough")
	for stop := range 60 {
		n := 0
		err := p.Walk(context.Background(), Options{}, func(*Item) error {
			if n++; n > stop {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatalf("after %d items: %v", stop, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err = p.Walk(ctx, Options{}, func(*Item) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n > 12 {
		t.Errorf("after %d items: %v", n, err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors are open, %d were before", after, before)
	}
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d a", "f a/x contents of x", "l a/y target")
	p, err := NewPlan(dir, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	var kept []*Item
	err = p.Walk(context.Background(), Options{}, func(it *Item) error {
		if it.Step == File {
			kept = append(kept, it.Keep())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := kept[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := r.Read(b)
	if string(b[:n]) != "contents of x" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if target, err := kept[1].Readlink(); target != "target" || err != nil {
		t.Errorf("Readlink: %q, %v", target, err)
	}
	for _, it := range kept {
		it.Release()
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors are open, %d were before", after, before)
	}
}
