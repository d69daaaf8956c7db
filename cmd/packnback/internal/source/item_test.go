package source

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// each calls f with every File of a walk of dir.
func each(t *testing.T, dir string, f func(it *Item)) {
	t.Helper()
	p, err := NewPlan(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Report: func(p Problem) { t.Errorf("problem: %+v", p) }}
	err = p.Walk(context.Background(), opt, func(it *Item) error {
		if it.Step != Leave {
			f(it)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMetadata(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "f a 12345", "l l a\xff", "p p")
	path := filepath.Join(dir, "a")
	if err := os.Link(path, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	early := time.Unix(-86400, 123456789)
	if err := os.Chtimes(path, time.Unix(1e9, 1), early); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(path, 0o6751); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Lchown(path, 4000000000, 7); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(path, 0o6751); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mknod(filepath.Join(dir, "dev"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
			t.Log("no device nodes here:", err)
		}
	}
	var ino uint64
	each(t, dir, func(it *Item) {
		var e tree.Entry
		it.Fill(&e)
		switch it.Name {
		case "a":
			ino = it.Stat.Ino
			want := tree.Entry{Name: "a", Type: tree.TypeFile, Mode: 0o6751, UID: e.UID, GID: e.GID, User: e.User, Group: e.Group, Mtime: tree.Time{Sec: -86400, Nsec: 123456789}}
			if diff := cmp.Diff(want, e); diff != "" {
				t.Errorf("entry (-want +got):\n%s", diff)
			}
			if os.Getuid() == 0 && (e.UID != 4000000000 || e.User != "" || e.GID != 7) {
				t.Errorf("owner %d %q %d %q", e.UID, e.User, e.GID, e.Group)
			}
			if it.Stat.Nlink != 2 || it.Stat.Size != 5 || it.Stat.Atime != (tree.Time{Sec: 1e9, Nsec: 1}) {
				t.Errorf("stat %+v", it.Stat)
			}
			if it.Source() != path {
				t.Errorf("Source: %q, want %q", it.Source(), path)
			}
		case "b":
			if it.Stat.Ino != ino {
				t.Errorf("hard link has inode %d, want %d", it.Stat.Ino, ino)
			}
		case "l":
			if target, err := it.Readlink(); target != "a\xff" || err != nil {
				t.Errorf("Readlink: %q, %v", target, err)
			}
		case "dev":
			if e.Type != tree.TypeChar || e.Rdev != unix.Mkdev(1, 3) {
				t.Errorf("device: %+v", e)
			}
		case "p":
			if e.Type != tree.TypeFIFO {
				t.Errorf("fifo: %+v", e)
			}
			if _, err := it.Open(); err == nil {
				t.Error("opened a FIFO")
			}
		}
	})
	if users.name(0) != "root" || groups.name(0) != "root" {
		t.Errorf("user 0 is %q, group 0 is %q", users.name(0), groups.name(0))
	}
}

func TestReadingLeavesAtimeAlone(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d d", "f d/a 12345")
	long := time.Unix(1e9, 0)
	for _, name := range []string{"d/a", "d"} {
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	each(t, dir, func(it *Item) {
		if it.Step == File {
			r, err := it.Open()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); string(b) != "12345" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			s, err := r.Restat()
			if err != nil || s.Atime.Sec != 1e9 {
				t.Errorf("access time %v, %v", s.Atime, err)
			}
			r.Close()
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "d"), &st); err != nil || st.Atim.Sec != 1e9 {
		t.Errorf("access time of the folder: %v, %v", st.Atim, err)
	}
}

func TestXattrs(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "d d", "f f", "l l f", "p p")
	acl := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}
	set := func(path, name string, value []byte) bool {
		err := unix.Lsetxattr(filepath.Join(dir, path), name, value, 0)
		if err != nil {
			t.Logf("setting %s of %s: %v", name, path, err)
		}
		return err == nil
	}
	want := make(map[string][]tree.Xattr)
	for _, path := range []string{"f", "d"} {
		if set(path, "system.posix_acl_access", acl) {
			want[path] = append(want[path], tree.Xattr{Name: "system.posix_acl_access", Value: acl})
		}
		if set(path, "user.a", nil) && set(path, "user.b\xff", bytes.Repeat([]byte("x"), 2000)) {
			want[path] = append(want[path], tree.Xattr{Name: "user.a", Value: []byte{}}, tree.Xattr{Name: "user.b\xff", Value: bytes.Repeat([]byte("x"), 2000)})
		}
	}
	if os.Getuid() == 0 && set("l", "trusted.t", []byte("1")) && set("p", "trusted.t", []byte("2")) {
		want["l"] = []tree.Xattr{{Name: "trusted.t", Value: []byte("1")}}
		want["p"] = []tree.Xattr{{Name: "trusted.t", Value: []byte("2")}}
	}
	if len(want) == 0 {
		t.Skip("no extended attributes here")
	}
	each(t, dir, func(it *Item) {
		got, err := it.Xattrs()
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want[it.Path], got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", it.Path, diff)
		}
		if it.Stat.Type == tree.TypeFile {
			r, err := it.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err = r.Xattrs(); err != nil || !cmp.Equal(want[it.Path], got) {
				t.Errorf("%q opened: %v, %v", it.Path, got, err)
			}
		}
		if it.Stat.Type != tree.TypeFile && it.Stat.Type != tree.TypeDir {
			return
		}
		c, err := it.xattrCallsByFD()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		for _, x := range want[it.Path] {
			b := make([]byte, 4096)
			if n, err := c.get(x.Name, b); err != nil || !bytes.Equal(b[:n], x.Value) {
				t.Errorf("%q without /proc: %q is %q, %v", it.Path, x.Name, b[:n], err)
			}
		}
	})
}

func TestSegments(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const mib = 1 << 20
	for _, at := range []int64{0, 4 * mib, 4*mib + 128<<10, 10 * mib} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("x"), 64<<10), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(12 * mib); err != nil {
		t.Fatal(err)
	}
	makeTree(t, dir, "f plain 12345", "f empty", "f z")
	if err := os.Truncate(filepath.Join(dir, "z"), 5*mib); err != nil {
		t.Fatal(err)
	}
	segments := func(it *Item, size, minHole uint64) (list []Segment) {
		r, err := it.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Segments(size, minHole, func(s Segment) error { list = append(list, s); return nil }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	each(t, dir, func(it *Item) {
		var want, got []Segment
		switch it.Name {
		case "sparse":
			if !it.Stat.Sparse() {
				t.Skip("no sparse files here")
			}
			want = []Segment{{0, 64 << 10, false}, {64 << 10, 4*mib - 64<<10, true}, {4 * mib, 192 << 10, false}, {4*mib + 192<<10, 6*mib - 192<<10, true},
				{10 * mib, 64 << 10, false}, {10*mib + 64<<10, 2*mib - 64<<10, true}}
			got = segments(it, it.Stat.Size, 128<<10)
			if all := segments(it, it.Stat.Size, 1); len(all) != 8 {
				t.Errorf("with all holes: %v", all)
			}
			if short := segments(it, 5*mib, 128<<10); len(short) != 4 || short[3].Length != mib-192<<10 {
				t.Errorf("first 5 MiB: %v", short)
			}
			if none := segments(it, it.Stat.Size, 1<<40); len(none) != 1 || none[0].Length != 12*mib {
				t.Errorf("without holes: %v", none)
			}
		case "z":
			want, got = []Segment{{0, 5 * mib, true}}, segments(it, it.Stat.Size, 1)
		case "plain":
			want, got = []Segment{{0, 5, false}}, segments(it, 5, 1)
		case "empty":
			got = segments(it, 0, 1)
		default:
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", it.Name, diff)
		}
	})
}

// asNobody runs the named test again in a process without privileges, in dir.
func asNobody(t *testing.T, name, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	bin, err := os.MkdirTemp("/tmp", "packnback-nobody-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(bin) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(bin, "source.test")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{bin, filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-test.run=^"+name+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PACKNBACK_TEST_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func TestPermissionDenied(t *testing.T) {
	dir := os.Getenv("PACKNBACK_TEST_DIR")
	if dir == "" {
		dir = t.TempDir()
		makeTree(t, dir, "d closed", "f closed/x", "f secret 1", "f open 1", "d through/in", "f through/in/y", "d nosearch", "f nosearch/z")
		for name, mode := range map[string]os.FileMode{"closed": 0, "secret": 0, "through": 0o711, "nosearch": 0o744} {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		asNobody(t, "TestPermissionDenied", dir)
		return
	}
	got := walkAll(t, dir, []string{"."}, Options{})
	want := walked{[]string{"/", "closed/", "nosearch/", "open", "secret", "through/"}, []string{"unread closed", "unread nosearch/z", "unread through"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(walked{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = walkAll(t, dir, []string{"through/in"}, Options{})
	if diff := cmp.Diff(walked{[]string{"/", "through/", "through/in/", "through/in/y"}, nil}, got, cmp.AllowUnexported(walked{})); diff != "" {
		t.Errorf("through a folder that can't be listed (-want +got):\n%s", diff)
	}
	p, err := NewPlan(dir, []string{"secret", "closed"})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Walk(context.Background(), Options{}, func(it *Item) error {
		switch it.Path {
		case "secret":
			if r, err := it.Open(); err == nil {
				r.Close()
				t.Error("opened a file without permission")
			}
		case "closed":
			if it.Stat.Mode != 0 {
				t.Errorf("mode %#o of a folder that can't be opened", it.Stat.Mode)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
