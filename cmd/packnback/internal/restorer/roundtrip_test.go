package restorer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo/tree"
)

// recorder is a Reporter that writes everything down.
type recorder struct {
	done          []string // "restored /path"
	lost, remarks []string // "/path: error"
	bytes         uint64
}

func (r *recorder) Done(a Action, path string, _ *tree.Entry) {
	r.done = append(r.done, a.String()+" "+path)
}
func (r *recorder) Lost(path string, err error) { r.lost = append(r.lost, path+": "+err.Error()) }
func (r *recorder) Remark(path string, err error) {
	r.remarks = append(r.remarks, path+": "+err.Error())
}
func (r *recorder) Wrote(n uint64) { r.bytes += n }

// has reports whether one of list begins with path and contains text.
func has(list []string, path, text string) bool {
	for _, l := range list {
		if strings.HasPrefix(l, path+":") && strings.Contains(l, text) {
			return true
		}
	}
	return false
}

// restore commits a snapshot of the folder root and restores it to target.
func restore(t *testing.T, b *viewtest.Builder, root tree.Entry, target string, opt Options) (Result, *recorder) {
	t.Helper()
	res, rec, err := tryRestore(t, context.Background(), b, root, target, opt)
	if err != nil {
		t.Fatalf("Restore: %v", err)
	}
	return res, rec
}

func tryRestore(t *testing.T, ctx context.Context, b *viewtest.Builder, root tree.Entry, target string, opt Options) (Result, *recorder, error) {
	t.Helper()
	reader, err := view.NewReader(b.Store, b.Opener())
	if err != nil {
		t.Fatal(err)
	}
	rec := new(recorder)
	scratch := t.TempDir()
	job := Job{Reader: reader, From: view.Place{Path: "/", Entry: &root}, Target: target, SetTarget: true, Scratch: scratch}
	res, err := Restore(ctx, job, opt, rec)
	if left, _ := os.ReadDir(scratch); len(left) != 0 {
		t.Errorf("the scratch folder was not cleared: %v", left)
	}
	if got := openFiles(t); got > 64 {
		t.Errorf("%d files are still open", got)
	}
	return res, rec, err
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// same fails the test when rsync sees any difference between two folders.
func same(t *testing.T, a, b string) {
	t.Helper()
	cmd := exec.Command("rsync", "-nacHAX", "--delete", "-i", a+"/", b+"/")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v\n%s", err, out)
	}
	if len(out) > 0 {
		t.Errorf("%s and %s differ:\n%s", a, b, out)
	}
}

func isRoot() bool { return os.Geteuid() == 0 }

// makeTree fills dir with one of everything.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, b []byte, mode os.FileMode) {
		t.Helper()
		check(os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755))
		check(os.WriteFile(dir+"/"+name, b, 0o600))
		check(os.Chmod(dir+"/"+name, mode))
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for i := range 300 {
		write(fmt.Sprintf("many/%d/file-%03d", i%7, i), random(rng.IntN(4000)), 0o644)
	}
	write("empty", nil, 0o600)
	write("large", random(3<<20), 0o440)
	write("with\nnewline and \x1b[31m", []byte("x"), 0o644)
	write("not-utf8-\xff\xfe", []byte("y"), 0o644)
	write(strings.Repeat("n", 255), []byte("long name"), 0o644)
	write("read only/inside", []byte("z"), 0o400)
	check(os.MkdirAll(dir+"/empty folder", 0o700))
	check(os.MkdirAll(dir+"/another empty folder", 0o700))
	check(os.Symlink("/etc/passwd", dir+"/absolute link"))
	check(os.Symlink("nowhere", dir+"/dangling"))
	check(os.Symlink(strings.Repeat("t", 4000), dir+"/long target"))
	check(unix.Mkfifo(dir+"/fifo", 0o640))
	check(os.Link(dir+"/large", dir+"/many/hard link"))
	check(os.Link(dir+"/large", dir+"/z hard link"))
	check(os.Link(dir+"/dangling", dir+"/link to a symlink"))
	f, err := os.Create(dir + "/sparse")
	check(err)
	_, err = f.WriteAt(random(5000), 8<<20)
	check(err)
	check(f.Truncate(20 << 20))
	check(f.Close())
	check(os.WriteFile(dir+"/all hole", nil, 0o644))
	check(os.Truncate(dir+"/all hole", 1<<20))
	if err := unix.Setxattr(dir+"/empty", "user.note", []byte("bytes\x00\xff"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	_ = exec.Command("setfacl", "-m", "u:1:r", dir+"/large").Run() // not on every file system
	_ = exec.Command("setfacl", "-d", "-m", "u:1:rwx", dir+"/empty folder").Run()
	if isRoot() {
		check(unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		check(unix.Mknod(dir+"/block", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 200))))
		check(os.Lchown(dir+"/many/0", 12345, 54321))
		check(os.Lchown(dir+"/dangling", 12345, 54321))
		check(os.Lchown(dir+"/many/0/file-000", 1, 1))
		check(unix.Chmod(dir+"/empty", 0o4755))
		if err := unix.Lsetxattr(dir+"/absolute link", "trusted.note", []byte("on a symlink"), 0); err != nil && err != unix.ENOTSUP && err != unix.EPERM {
			t.Fatal(err)
		}
	}
	check(unix.Chmod(dir+"/another empty folder", 0o3777))
	// Times of all kinds, the folders last.
	old := time.Unix(-86400*365, 123456789)
	check(os.Chtimes(dir+"/large", old, old))
	stamp := []unix.Timespec{{Sec: 1, Nsec: 2}, {Sec: 1234567890, Nsec: 987654321}}
	check(unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/dangling", stamp, unix.AT_SYMLINK_NOFOLLOW))
	for i := range 7 {
		at := time.Unix(1_500_000_000+int64(i), int64(i)*1000)
		check(os.Chtimes(fmt.Sprintf("%s/many/%d", dir, i), at, at))
	}
	check(os.Chmod(dir+"/read only", 0o500))
	at := time.Unix(1_600_000_000, 5)
	check(os.Chtimes(dir, at, at))
	t.Cleanup(func() { os.Chmod(dir+"/read only", 0o700) })
}

func TestRoundTrip(t *testing.T) {
	src := t.TempDir()
	makeTree(t, src)
	b := viewtest.New(t)
	root := b.Capture(src)
	for _, opt := range []Options{
		{Privileged: true},
		{Privileged: true, Verify: true, Sparse: true, NumericIDs: true},
	} {
		dst := t.TempDir() + "/made/by/restore"
		res, rec := restore(t, b, root, dst, opt)
		if res.Lost != 0 || len(rec.lost) > 0 || len(rec.remarks) > 0 {
			t.Fatalf("lost %v, remarks %v", rec.lost, rec.remarks)
		}
		same(t, src, dst)
		t.Cleanup(func() { os.Chmod(dst+"/read only", 0o700) })
		var a, z unix.Stat_t
		if err := unix.Stat(src+"/sparse", &a); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(dst+"/sparse", &z); err != nil {
			t.Fatal(err)
		}
		if z.Blocks > a.Blocks+64 {
			t.Errorf("sparse file: %d blocks, the original has %d", z.Blocks, a.Blocks)
		}
	}
	for id, n := range b.Store.Fetched {
		if rec := b.Store.Record(id); n > 3 && !rec.Kind.HasRefs() {
			t.Errorf("%s %s was fetched %d times in two restores", rec.Kind, id.Short(), n)
		}
	}
}

// TestSecondRun restores over what is there, in all ways.
func TestSecondRun(t *testing.T) {
	src := t.TempDir()
	makeTree(t, src)
	b := viewtest.New(t)
	root := b.Capture(src)
	dst := t.TempDir()
	restore(t, b, root, dst, Options{Privileged: true})
	t.Cleanup(func() { os.Chmod(dst+"/read only", 0o700) })

	before := b.Store.Calls
	res, rec := restore(t, b, root, dst, Options{Privileged: true, Overwrite: IfChanged})
	if res.Written != 0 || res.Lost != 0 || len(rec.remarks) > 0 {
		t.Errorf("nothing had changed, and it wrote %d bytes, lost %v, remarks %v", res.Written, rec.lost, rec.remarks)
	}
	if n := b.Store.Calls - before; n > 2 {
		t.Errorf("%d fetches for nothing", n)
	}
	same(t, src, dst)

	if err := os.WriteFile(dst+"/empty", []byte("no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dst + "/large"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dst + "/dangling"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dst+"/dangling", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dst+"/extra", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dst+"/extra folder/with/more", 0o755); err != nil {
		t.Fatal(err)
	}
	dry, rec := restore(t, b, root, dst, Options{Privileged: true, Overwrite: IfChanged, Delete: true, DryRun: true})
	if dry.Deleted != 2 || dry.Lost != 0 {
		t.Errorf("dry run: deleted %d, lost %v", dry.Deleted, rec.lost)
	}
	if _, err := os.Lstat(dst + "/extra"); err != nil {
		t.Errorf("a dry run removed something: %v", err)
	}
	res, rec = restore(t, b, root, dst, Options{Privileged: true, Overwrite: IfChanged, Delete: true})
	if res.Deleted != 2 || res.Lost != 0 || len(rec.remarks) > 0 {
		t.Errorf("deleted %d, lost %v, remarks %v", res.Deleted, rec.lost, rec.remarks)
	}
	same(t, src, dst)
	res, _ = restore(t, b, root, dst, Options{Privileged: true, Overwrite: Always})
	if res.Written == 0 {
		t.Error("--overwrite always wrote nothing")
	}
	same(t, src, dst)
}

func TestOverwrite(t *testing.T) {
	old, now := time.Unix(1e9-100, 0), time.Unix(1e9+100, 0)
	for _, tt := range []struct {
		overwrite Overwrite
		mtime     time.Time
		want      string
	}{
		{Always, old, "new"}, {Always, now, "new"},
		{IfNewer, old, "new"}, {IfNewer, now, "was"},
		{Never, old, "was"}, {Never, now, "was"},
		{IfChanged, now, "new"},
		{IfChanged, time.Unix(1e9, 0), "was"}, // same size and time
	} {
		b := viewtest.New(t)
		dst := t.TempDir()
		if err := os.WriteFile(dst+"/f", []byte("was"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dst+"/f", tt.mtime, tt.mtime); err != nil {
			t.Fatal(err)
		}
		res, _ := restore(t, b, b.Folder("", b.File("f", "new"), b.File("g", "other")), dst, Options{Overwrite: tt.overwrite})
		got, err := os.ReadFile(dst + "/f")
		if err != nil || string(got) != tt.want {
			t.Errorf("%v over a file of %v: %q, %v; want %q", tt.overwrite, tt.mtime, got, err, tt.want)
		}
		if kept := tt.want == "was" && tt.overwrite != IfChanged; kept != (res.Kept == 1) {
			t.Errorf("%v over a file of %v: %d kept", tt.overwrite, tt.mtime, res.Kept)
		}
		if got, _ := os.ReadFile(dst + "/g"); !bytes.Equal(got, []byte("other")) {
			t.Errorf("%v: the file that was not there is %q", tt.overwrite, got)
		}
	}
}
