package restorer

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// TestDistantStore: the round trips of a restore are few and overlap. Time is
// that of the bubble: only the round trips take any.
func TestDistantStore(t *testing.T) {
	const roundTrip = 100 * time.Millisecond
	b := viewtest.New(t)
	var folders []tree.Entry
	for i := range 40 {
		if i%4 == 0 {
			b.NewUpload()
		}
		var entries []tree.Entry
		for j := range 250 { // 10,000 files in 1,000 bundles of 10 uploads
			e := b.File(fmt.Sprintf("%03d", j), fmt.Sprint(i, "/", j/10))
			entries = append(entries, e)
		}
		folders = append(folders, b.Folder(fmt.Sprintf("%02d", i), entries...))
	}
	root := b.Folder("", folders...)
	synctest.Test(t, func(t *testing.T) {
		b.Store.Delay = func() { time.Sleep(roundTrip) }
		started := time.Now()
		res, rec := restore(t, b, root, t.TempDir(), Options{})
		took := time.Since(started)
		if res.Lost != 0 || res.Files != 10000 {
			t.Errorf("%+v, lost %.300v", res, rec.lost)
		}
		if took > 12*roundTrip {
			t.Errorf("%v, which is %d round trips; want at most 12", took, took/roundTrip)
		}
		t.Logf("%d fetches and %d pushes, %d round trips one after the other", b.Store.Calls, b.Store.Pushes, took/roundTrip)
	})
}

// TestVerifyAfterWriting: what changes between writing and reading again is
// noticed, and the file does not get its name.
func TestVerifyAfterWriting(t *testing.T) {
	dst := t.TempDir()
	fs, root, _, err := openTarget(dst, true)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.close(root)
	w := newWriter(fs, Options{Verify: true})
	f := &file{dir: root, entry: &tree.Entry{Name: "f", Type: tree.TypeFile, Mode: 0o644, Size: 7}, left: 2, fd: -1}
	x := &piece{file: f, extent: tree.Extent{Kind: tree.ExtentBundle, Length: 7}, sum: 0x6c1b07bc7bbc4be3}
	if done, err := w.write(f, 0, []byte("content")); done || err != nil {
		t.Fatalf("write: %v, %v", done, err)
	}
	if _, err := unix.Pwrite(f.fd, []byte("X"), 3); err != nil {
		t.Fatal(err)
	}
	done, err := w.verify(x, make([]byte, 4))
	if !done || err == nil || !strings.Contains(err.Error(), "not what was written") {
		t.Errorf("verify: %v, %v", done, err)
	}
	assertOnly(t, dst)
}

// TestOwners: the names on this machine count, unless numbers are asked for.
func TestOwners(t *testing.T) {
	if !isRoot() {
		t.Skip("LOUD: only root gives files away; run the tests as root once")
	}
	b := viewtest.New(t)
	e := b.File("f", "x")
	e.UID, e.GID, e.User, e.Group = 4321, 8765, "root", "no such group here"
	for _, tt := range []struct {
		numeric  bool
		uid, gid uint32
	}{{false, 0, 8765}, {true, 4321, 8765}} {
		dst := t.TempDir()
		restore(t, b, b.Folder("", e), dst, Options{NumericIDs: tt.numeric})
		var st unix.Stat_t
		if err := unix.Lstat(dst+"/f", &st); err != nil || st.Uid != tt.uid || st.Gid != tt.gid {
			t.Errorf("numeric %v: owner %d:%d, %v; want %d:%d", tt.numeric, st.Uid, st.Gid, err, tt.uid, tt.gid)
		}
	}
}

// TestTargetMetadata: a target that holds something keeps its mode.
func TestTargetMetadata(t *testing.T) {
	b := viewtest.New(t)
	root := b.Folder("", b.File("f", "x"))
	root.Mode = 0o700
	used, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(used+"/other", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]os.FileMode{used: 0o755, empty: 0o700, t.TempDir() + "/new": 0o700} {
		if err := os.Chmod(dir, 0o755); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		restore(t, b, root, dir, Options{})
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != want || info.ModTime().Unix() != 1e9 {
			t.Errorf("%v, %v; want mode %v", info.Mode(), err, want)
		}
	}
}

// TestUnfinishedFilesAreFew: with thousands of files that are begun and can't
// be finished yet, descriptors stay bounded and the content is right.
func TestUnfinishedFilesAreFew(t *testing.T) {
	b := viewtest.New(t)
	first, last := b.Chunk("first half, "), b.Chunk("second half")
	var entries []tree.Entry
	for i := range 3 * maxOpenFiles {
		e := b.Large(fmt.Sprintf("%05d", i), first, last)
		entries = append(entries, e)
	}
	most := 0
	b.Store.Before = viewtest.OneAtATime(func(rec *object.Record) (*object.Record, error) {
		most = max(most, openFiles(t))
		return rec, nil
	})
	dst := t.TempDir()
	res, rec := restore(t, b, b.Folder("", entries...), dst, Options{})
	if res.Lost != 0 || most > maxOpenFiles+200 {
		t.Errorf("%d files were open at once; lost %.300v", most, rec.lost)
	}
	for _, i := range []int{0, maxOpenFiles + 1, 3*maxOpenFiles - 1} {
		if got, err := os.ReadFile(fmt.Sprintf("%s/%05d", dst, i)); err != nil || string(got) != "first half, second half" {
			t.Errorf("file %d: %q, %v", i, got, err)
		}
	}
}

// TestCopyInsteadOfLink: where no hard link can be made, the content comes from
// the other name.
func TestCopyInsteadOfLink(t *testing.T) {
	dst := t.TempDir()
	content := strings.Repeat("0123456789", 100_000)
	if err := os.WriteFile(dst+"/first", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	fs, root, _, err := openTarget(dst, true)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.close(root)
	w := newWriter(fs, Options{})
	e := &tree.Entry{Name: "second", Type: tree.TypeFile, Mode: 0o640, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mtime: tree.Time{Sec: 77}, Size: uint64(len(content)), LinkID: 1}
	if err := w.copy(root.fd, "first", root, e); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dst + "/second")
	info, _ := os.Stat(dst + "/second")
	if err != nil || string(got) != content || info.Mode().Perm() != 0o640 || info.ModTime().Unix() != 77 {
		t.Errorf("%d bytes, %v, %v", len(got), info, err)
	}
	e.Name, e.Size = "third", uint64(len(content)+1)
	if err := w.copy(root.fd, "first", root, e); err == nil {
		t.Error("a file that is too short was taken")
	}
	assertOnly(t, dst, "first", "second")
}

// TestAttributesThatWereThere: what the target's folders and files had, or
// would hand down, is not mixed with what the snapshot says.
func TestAttributesThatWereThere(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Skipf("LOUD: no ACLs here to test with: %s: %v\n%s", name, err, out)
		}
	}
	for _, dir := range []string{src, dst} {
		must(os.MkdirAll(dir+"/old/kept", 0o755))
	}
	must(os.MkdirAll(src+"/new/deeper", 0o755))
	for _, f := range []string{"/old/f", "/old/kept/g", "/new/deeper/h", "/top"} {
		must(os.WriteFile(src+f, []byte(f), 0o640))
	}
	if err := unix.Setxattr(src+"/old/f", "user.mine", []byte("1"), 0); err != nil {
		t.Skipf("LOUD: no extended attributes here to test with: %v", err)
	}
	must(os.WriteFile(dst+"/old/f", []byte("/old/f"), 0o600))
	info, err := os.Stat(src + "/old/f")
	must(err)
	must(os.Chtimes(dst+"/old/f", info.ModTime(), info.ModTime()))
	must(unix.Setxattr(dst+"/old/f", "user.theirs", []byte("2"), 0))
	must(unix.Setxattr(dst+"/old", "user.theirs", []byte("2"), 0))
	for _, dir := range []string{"/", "/old", "/old/kept"} {
		run("setfacl", "-d", "-m", "u:1:rwx", dst+dir)
		run("setfacl", "-m", "u:2:rwx", dst+dir)
	}
	b := viewtest.New(t)
	root := b.Capture(src)
	_, rec := restore(t, b, root, dst, Options{Overwrite: IfChanged})
	if len(rec.lost)+len(rec.remarks) > 0 {
		t.Errorf("lost %v, remarks %v", rec.lost, rec.remarks)
	}
	run("setfacl", "-b", dst) // the target itself was not empty: it keeps what it had
	must(os.Chmod(dst, 0o755))
	must(os.Chmod(src, 0o755))
	same(t, src, dst)
}

// TestStaleFiles: a run removes what one that was killed has left, and nothing
// that only looks like it.
func TestStaleFiles(t *testing.T) {
	b := viewtest.New(t)
	const stale, alive, innocent = ".packnback-0123456789ab-1", ".packnback-0123456789ab-2z", ".packnback-0123456789ab-3"
	root := b.Folder("", b.Folder("sub", b.File("f", "x")), b.Folder("named", b.File(innocent, "y")))
	dst := t.TempDir()
	for _, dir := range []string{dst + "/sub", dst + "/named"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{stale, alive, ".packnback", ".packnback-0123456789ab-"} {
			if err := os.WriteFile(dir+"/"+name, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	f, err := os.Open(dst + "/sub/" + alive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	restore(t, b, root, dst, Options{})
	assertOnly(t, dst+"/sub", ".packnback", ".packnback-0123456789ab-", alive, "f")
	assertOnly(t, dst+"/named", ".packnback", ".packnback-0123456789ab-", stale, alive, innocent)
}
