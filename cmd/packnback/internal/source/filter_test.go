package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPatterns follows the examples of restic's manual and what its users rely
// on.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path  string
		matched, child bool
	}{
		{"*.go", "/home/u/test.go", true, true},
		{"*.go", "/home/u/test.go.bak", false, true},
		{"*.go", "/test.go/below", true, true},
		{"foo/**/bar", "/dir1/foo/dir2/bar/file", true, true},
		{"foo/**/bar", "/foo/bar/file", true, true},
		{"foo/**/bar", "/tmp/foo/bar", true, true},
		{"foo/**/bar", "/tmp/foo/baz", false, true},
		{"foo/**/bar", "/foo/a/b/c/bar", true, true},
		{"/foo", "/foo", true, true},
		{"/foo", "/foo/x/y", true, true},
		{"/foo", "/a/foo", false, false},
		{"/foo/bar", "/foo", false, true},
		{"/foo/bar", "/fox", false, false},
		{"/foo/*/bar", "/foo/x", false, true},
		{"/foo/**/bar", "/foo/x/y", false, true},
		{"/foo/**", "/foo", true, true},
		{"/foo/**", "/fo", false, false},
		{"/**", "/x", true, true},
		{"/", "/x", true, true},
		{"foo", "/a/foo/b", true, true},
		{"foo", "/a/food", false, true},
		{"foo/bar", "/x/foo/bar", true, true},
		{"foo/bar", "/x/foo/y/bar", false, true},
		{"foo/", "/x/foo", true, true},
		{"./foo", "/x/foo", true, true},
		{"a?c", "/abc", true, true},
		{"[ab]", "/b", true, true},
		{"[^ab]", "/b", false, true},
		{`\*`, "/*", true, true},
		{`\*`, "/x", false, true},
		{"{a,b}", "/a", false, true},
		{"{a,b}", "/{a,b}", true, true},
		{"*", "/\xff", true, true},
		{"**/x/**/y", "/x/x/y", true, true},
		{"x/**/y/**/z", "/x/1/y/2/y/3/z/4", true, true},
		{"x/**/y/**/z", "/x/1/z/2/y", false, true},
		{"/a/**/b/c", "/a/b/b/c", true, true},
		{"/a/**/b/c", "/a/b/d/c", false, true},
	} {
		p, err := NewPatterns([]string{c.pattern}, false)
		if err != nil {
			t.Fatal(err)
		}
		if matched, child := p.Match(c.path); matched != c.matched || child != c.child {
			t.Errorf("%q on %q: %v, %v; want %v, %v", c.pattern, c.path, matched, child, c.matched, c.child)
		}
	}
}

func TestPatternLists(t *testing.T) {
	match := func(fold bool, path string, list ...string) bool {
		p, err := NewPatterns(list, fold)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := p.Match(path)
		return m
	}
	for i, c := range []struct{ got, want bool }{
		{match(false, "/a/x.o", "*.o", "!x.o"), false},
		{match(false, "/a/y.o", "*.o", "!x.o"), true},
		{match(false, "/a/x.o", "!x.o", "*.o"), true},
		{match(false, "/a/x.o", "*.o", "!x.o", "/a"), true},
		{match(false, "/a", "", "b"), false},
		{match(true, "/A/FOO.JPG", "*.jpg"), true},
		{match(true, "/a/foo.jpg", "*.JPG"), true},
		{match(false, "/a/foo.JPG", "*.jpg"), false},
		{match(false, "/a"), false},
	} {
		if c.got != c.want {
			t.Errorf("case %d: got %v, want %v", i, c.got, c.want)
		}
	}
	for _, bad := range []string{"[", "a/[b", "!", `\`} {
		if _, err := NewPatterns([]string{"ok", bad}, false); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("pattern %q: error %v", bad, err)
		}
	}
}

// FuzzPatterns checks that no pattern is slow, panics, or matches a path but
// not what is below it.
func FuzzPatterns(f *testing.F) {
	f.Add("foo/**/bar", "/foo/x/bar")
	f.Add("/a/*/[b-c]", "/a/b/c")
	f.Add("!**/**/x/**", "/x")
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := NewPatterns([]string{text}, false)
		if err != nil || p.negated || strings.Contains(path, "\x00") {
			return
		}
		path = "/" + strings.Trim(path, "/")
		matched, child := p.Match(path)
		if !matched || path == "/" {
			return
		}
		if below, _ := p.Match(path + "/below"); !below {
			t.Errorf("%q matches %q but not what is below", text, path)
		}
		if !child {
			t.Errorf("%q matches %q but says nothing below can", text, path)
		}
	})
}

func mustFilter(t *testing.T, c FilterConfig) *Filter {
	t.Helper()
	f, err := NewFilter(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFilters(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d cache/sub", "f cache/CACHEDIR.TAG Signature: 8a477f597d28d172789f06886806bc55 and more", "f cache/x", "f cache/sub/y",
		"d fake", "f fake/CACHEDIR.TAG Signature: 8a477f597d28", "f fake/x", "d empty", "f empty/CACHEDIR.TAG",
		"d marked", "f marked/.nobackup", "f marked/x", "d src", "f src/a.o", "f src/A.O", "f src/a.c 123456", "d src/keep", "f src/keep/b.o")
	for _, c := range []struct {
		name string
		c    FilterConfig
		want []string
	}{
		{"caches", FilterConfig{Caches: true}, []string{"/", "cache/", "cache/CACHEDIR.TAG", "empty/", "empty/CACHEDIR.TAG", "fake/", "fake/CACHEDIR.TAG", "fake/x",
			"marked/", "marked/.nobackup", "marked/x", "src/", "src/A.O", "src/a.c", "src/a.o", "src/keep/", "src/keep/b.o"}},
		{"if present", FilterConfig{IfPresent: []string{".nobackup", "CACHEDIR.TAG"}, Exclude: []string{"src"}}, []string{"/", "cache/", "cache/CACHEDIR.TAG", "empty/", "empty/CACHEDIR.TAG", "fake/", "fake/CACHEDIR.TAG", "marked/", "marked/.nobackup"}},
		{"patterns", FilterConfig{Exclude: []string{"*.o", "!keep/*.o", "cache", "/no/such"}, IExclude: []string{dir + "/FAKE", "Marked", "EMPTY"}}, []string{"/", "src/", "src/A.O", "src/a.c", "src/keep/", "src/keep/b.o"}},
		{"fold", FilterConfig{IExclude: []string{"*.o", "cache", "fake", "marked", "empty"}}, []string{"/", "src/", "src/a.c", "src/keep/"}},
		{"larger", FilterConfig{Larger: 5, Exclude: []string{"cache", "fake", "marked", "empty", "keep"}}, []string{"/", "src/", "src/A.O", "src/a.o"}},
		{"absolute", FilterConfig{Exclude: []string{dir + "/src/**/b.o", dir + "/*e*"}}, []string{"/", "src/", "src/A.O", "src/a.c", "src/a.o", "src/keep/"}},
	} {
		got := walkAll(t, dir, []string{"."}, Options{Filter: mustFilter(t, c.c)})
		if diff := cmp.Diff(c.want, got.items); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, bad := range []FilterConfig{{Exclude: []string{"["}}, {IExclude: []string{"["}}, {IfPresent: []string{""}}, {IfPresent: []string{":x"}}, {IfPresent: []string{"a/b"}}} {
		if _, err := NewFilter(bad); err == nil {
			t.Errorf("NewFilter(%+v): no error", bad)
		}
	}
}

// TestOperandsAndFilters shows what becomes of operands that filters leave
// out, or that lie in folders that are.
func TestOperandsAndFilters(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d a/cache/deep", "f a/cache/CACHEDIR.TAG Signature: 8a477f597d28d172789f06886806bc55", "f a/cache/x", "f a/cache/deep/y", "f a/z")
	f := mustFilter(t, FilterConfig{Caches: true})
	got := walkAll(t, dir, []string{"a", "a/cache/deep"}, Options{Filter: f})
	want := []string{"/", "a/", "a/cache/", "a/cache/CACHEDIR.TAG", "a/cache/deep/", "a/cache/deep/y", "a/z"}
	if diff := cmp.Diff(want, got.items); diff != "" {
		t.Errorf("operand in a cache (-want +got):\n%s", diff)
	}
	f = mustFilter(t, FilterConfig{Exclude: []string{"deep"}})
	got = walkAll(t, dir, []string{"a/cache/deep", "a/z"}, Options{Filter: f})
	if diff := cmp.Diff([]string{"/", "a/", "a/cache/", "a/z"}, got.items); diff != "" {
		t.Errorf("excluded operand (-want +got):\n%s", diff)
	}
}

func TestOneFileSystem(t *testing.T) {
	// /proc and /dev are other file systems wherever this runs; their own
	// contents stay out of it.
	only := mustFilter(t, FilterConfig{Exclude: []string{"/*", "!/proc", "!/dev", "!/etc", "/etc/*", "!/etc/hostname", "!/etc/passwd"}})
	got := walkAll(t, "/", []string{"/"}, Options{Filter: only, OneFileSystem: true})
	if diff := cmp.Diff([]string{"/", "dev/", "etc/", "etc/hostname", "etc/passwd", "proc/"}, got.items); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = walkAll(t, "/", []string{"/", "/proc/self/status"}, Options{Filter: mustFilter(t, FilterConfig{Exclude: []string{"/*", "!/proc"}}), OneFileSystem: true})
	if n := len(got.items); n < 3 || got.items[n-1] != "proc/self/status" {
		t.Errorf("operand below a mount point: %q", got.items)
	}
}

func TestLists(t *testing.T) {
	patterns, err := ReadPatterns(strings.NewReader("\ufeff# comment\n\n  *.o  \n$HOME/x\n${HOME}/y\n$$z\n #no\n"), func(name string) string { return "<" + name + ">" })
	if diff := cmp.Diff([]string{"*.o", "<HOME>/x", "<HOME>/y", "$z"}, patterns); diff != "" || err != nil {
		t.Errorf("ReadPatterns: %v (-want +got):\n%s", err, diff)
	}
	dir := t.TempDir()
	makeTree(t, dir, "f a1", "f a2", "f b")
	globs, err := ReadGlobs(strings.NewReader(dir + "/a*\n# x\n" + dir + "/none*\n"))
	if diff := cmp.Diff([]string{dir + "/a1", dir + "/a2", dir + "/none*"}, globs); diff != "" || err != nil {
		t.Errorf("ReadGlobs: %v (-want +got):\n%s", err, diff)
	}
	if _, err := ReadGlobs(strings.NewReader("[\n")); err == nil {
		t.Error("ReadGlobs of a malformed pattern: no error")
	}
	verbatim, err := ReadVerbatim(strings.NewReader(" a \n#b\n\n*\n"))
	if diff := cmp.Diff([]string{" a ", "#b", "*"}, verbatim); diff != "" || err != nil {
		t.Errorf("ReadVerbatim: %v (-want +got):\n%s", err, diff)
	}
	raw, err := ReadRaw(strings.NewReader("a\n\x00 b\x00"))
	if diff := cmp.Diff([]string{"a\n", " b"}, raw); diff != "" || err != nil {
		t.Errorf("ReadRaw: %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"a", "a\x00b", "\x00", "a\x00\x00"} {
		if _, err := ReadRaw(strings.NewReader(bad)); err == nil {
			t.Errorf("ReadRaw(%q): no error", bad)
		}
	}
}
