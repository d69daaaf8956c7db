package restorer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// TestLostObjects: each object of a snapshot in turn is lost, cut, or swapped
// for another; what does not depend on it comes back, and the rest is reported.
func TestLostObjects(t *testing.T) {
	b := viewtest.New(t)
	list := make([]tree.Extent, 20)
	for i := range list {
		list[i] = b.Chunk(strings.Repeat(string(rune('a'+i)), 1000))
	}
	root := b.Folder("",
		b.Folder("one", b.File("a", "in a bundle"), b.Folder("deeper", b.File("b", "in another"))),
		b.Folder("two", b.Large("big", list...), b.Large("small", b.Chunk("a chunk of its own"))),
		b.File("z", "last"))
	whole := t.TempDir()
	full, _ := restore(t, b, root, whole, Options{})

	damage := map[string]func(id object.ID){
		"missing": func(id object.ID) { b.Store.Drop(id) },
		"flipped": func(id object.ID) {
			rec := b.Store.Record(id)
			rec.Sealed[len(rec.Sealed)/2] ^= 1
			b.Store.Replace(id, rec)
		},
		"swapped": func(id object.ID) {
			rec := b.Store.Record(id)
			for _, other := range b.Store.IDs(rec.Kind) {
				if other != id {
					o := b.Store.Record(other)
					o.ID = id
					b.Store.Replace(id, o)
					return
				}
			}
			b.Store.Drop(id) // it is the only one of its kind
		},
		"truncated": func(id object.ID) {
			rec := b.Store.Record(id)
			rec.Sealed = rec.Sealed[:len(rec.Sealed)-1]
			b.Store.Replace(id, rec)
		},
	}
	for how, harm := range damage {
		for kind := object.KindChunk; kind <= object.KindDir; kind++ {
			for _, id := range b.Store.IDs(kind) {
				saved := b.Store.Record(id)
				harm(id)
				dst := t.TempDir()
				res, rec := restore(t, b, root, dst, Options{})
				b.Store.Replace(id, saved)
				name := fmt.Sprintf("%s %s %s", how, kind, id.Short())
				if res.Lost == 0 || int(res.Lost) != len(rec.lost) {
					t.Errorf("%s: %d lost, reported %v", name, res.Lost, rec.lost)
				}
				if kind != object.KindDir && res.Files+res.Lost != full.Files {
					t.Errorf("%s: %d files and %d lost, there are %d", name, res.Files, res.Lost, full.Files)
				}
				assertPart(t, name, whole, dst)
			}
		}
	}
}

// assertPart fails unless every file below part is there below whole with the
// same content: nothing half-restored, nothing temporary.
func assertPart(t *testing.T, name, whole, part string) {
	t.Helper()
	err := filepath.WalkDir(part, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := os.ReadFile(whole + strings.TrimPrefix(path, part))
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
			return fmt.Errorf("%s differs, %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestLostKey: a whole upload's key object is gone.
func TestLostKey(t *testing.T) {
	b := viewtest.New(t)
	old := b.File("old", "sealed yesterday")
	key := b.KeyID(object.ClassContent)
	b.NewUpload()
	root := b.Folder("", old, b.File("new", "sealed today"))
	b.Store.Drop(key)
	dst := t.TempDir()
	res, rec := restore(t, b, root, dst, Options{})
	if res.Lost != 1 || !has(rec.lost, "/old", "key") {
		t.Errorf("lost %v, want the old file", rec.lost)
	}
	assertOnly(t, dst, "new")
}

// TestUnwantedRecord: a store that sends what nobody asked for is not believed.
func TestUnwantedRecord(t *testing.T) {
	b := viewtest.New(t)
	root := b.Folder("", b.File("a", "one"), b.File("b", "two"))
	other := b.File("c", "three").Extents[0].ID
	b.Store.Before = func(rec *object.Record) (*object.Record, error) {
		if rec.Kind == object.KindBundle {
			return b.Store.Record(other), nil
		}
		return rec, nil
	}
	_, _, err := tryRestore(t, context.Background(), b, root, t.TempDir(), Options{})
	if err == nil || !strings.Contains(err.Error(), "not asked for") {
		t.Errorf("got %v", err)
	}
}

// TestCutAndResume: the connection breaks in the middle, again and again; each
// run gets a little further and no half file is ever to be seen.
func TestCutAndResume(t *testing.T) {
	src := t.TempDir()
	makeTree(t, src)
	b := viewtest.New(t)
	root := b.Capture(src)
	dst := t.TempDir()
	t.Cleanup(func() { os.Chmod(dst+"/read only", 0o700) })
	cut := errors.New("connection lost")
	var left atomic.Int64
	b.Store.Before = func(rec *object.Record) (*object.Record, error) {
		if left.Add(-1) < 0 {
			return nil, cut
		}
		return rec, nil
	}
	runs := 0
	for budget := int64(1); ; budget += 4 {
		left.Store(budget)
		runs++
		_, rec, err := tryRestore(t, context.Background(), b, root, dst, Options{Overwrite: IfChanged, Privileged: true})
		if err == nil {
			if len(rec.lost) > 0 {
				t.Fatalf("lost %v", rec.lost)
			}
			break
		}
		if !errors.Is(err, cut) {
			t.Fatalf("got %v, want the store's error", err)
		}
		assertWholeFiles(t, src, dst)
	}
	if runs < 3 {
		t.Fatalf("only %d runs: nothing was cut", runs)
	}
	same(t, src, dst)
}

// assertWholeFiles fails when a file of dst has other content than in src.
func assertWholeFiles(t *testing.T, src, dst string) {
	t.Helper()
	err := filepath.WalkDir(dst, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		want, err := os.Stat(src + strings.TrimPrefix(path, dst))
		if err != nil {
			return fmt.Errorf("left behind: %w", err)
		}
		got, err := d.Info()
		if err == nil && (got.Size() != want.Size() || !got.ModTime().Equal(want.ModTime())) {
			err = fmt.Errorf("%s is half there: %d bytes of %v", path, got.Size(), got.ModTime())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCancel: an interrupted restore leaves no temporary files.
func TestCancel(t *testing.T) {
	b := viewtest.New(t)
	var entries []tree.Entry
	for i := range 50 {
		entries = append(entries, b.Large(fmt.Sprintf("f%02d", i), b.Chunk(fmt.Sprint("first", i)), b.Chunk(fmt.Sprint("second", i))))
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	b.Store.Before = viewtest.OneAtATime(func(rec *object.Record) (*object.Record, error) {
		if rec.Kind == object.KindChunk {
			if n++; n == 40 {
				cancel()
			}
		}
		return rec, nil
	})
	dst := t.TempDir()
	_, rec, err := tryRestore(t, ctx, b, b.Folder("", entries...), dst, Options{})
	if !errors.Is(err, context.Canceled) || len(rec.lost) > 0 {
		t.Errorf("got %v, lost %v; want context.Canceled", err, rec.lost)
	}
	list, _ := os.ReadDir(dst)
	for _, e := range list {
		if strings.HasPrefix(e.Name(), ".packnback") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestDiskFull restores into a small file system.
func TestDiskFull(t *testing.T) {
	dst := t.TempDir()
	if err := unix.Mount("tmpfs", dst, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("LOUD: no small file system to fill (%v); run the tests as root once", err)
	}
	t.Cleanup(func() { unix.Unmount(dst, unix.MNT_DETACH) })
	b := viewtest.New(t)
	root := b.Folder("", b.File("a", "fits"), b.File("b", strings.Repeat("too large ", 60000)))
	_, _, err := tryRestore(t, context.Background(), b, root, dst, Options{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "restoring \"/") {
		t.Errorf("got %v, want ENOSPC and a path", err)
	}
	list, _ := os.ReadDir(dst)
	for _, e := range list {
		if e.Name() != "a" {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestSelect restores parts.
func TestSelect(t *testing.T) {
	b := viewtest.New(t)
	root := b.Folder("",
		b.Folder("etc", b.File("passwd", "x"), b.Folder("ssh", b.File("config", "y"), b.File("key", "z"))),
		b.Folder("home", b.File("f", "g")))
	dst := t.TempDir()
	want := func(path string) (bool, bool) {
		return strings.HasPrefix(path, "/etc/ssh/c"), strings.HasPrefix("/etc/ssh", path)
	}
	res, _ := restore(t, b, root, dst, Options{Select: want})
	if out, _ := exec.Command("find", dst, "-type", "f", "-printf", "%P ").Output(); string(out) != "etc/ssh/config " {
		t.Errorf("restored %q", out)
	}
	if res.Files != 1 || res.Dirs != 2 {
		t.Errorf("%+v", res)
	}
	assertOnly(t, dst, "etc")
	// What is not selected is not extra.
	if err := os.WriteFile(dst+"/etc/ssh/other", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dst+"/etc/ssh/c-extra", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	res, rec := restore(t, b, root, dst, Options{Select: want, Delete: true})
	assertOnly(t, dst+"/etc/ssh", "config", "other")
	if res.Deleted != 1 {
		t.Errorf("%+v %v", res, rec.done)
	}
}

// TestSingleFile restores one file, which is what SNAP:/path/to/file means.
func TestSingleFile(t *testing.T) {
	b := viewtest.New(t)
	dst := t.TempDir()
	res, _ := restore(t, b, b.File("name", "content"), dst, Options{})
	if got, err := os.ReadFile(dst + "/name"); err != nil || string(got) != "content" || res.Files != 1 {
		t.Errorf("%q, %v, %+v", got, err, res)
	}
}

// TestManyFiles crosses the bounds of windows, in entries and in objects.
func TestManyFiles(t *testing.T) {
	b := viewtest.New(t)
	var folders []tree.Entry
	for i := range 3 {
		var entries []tree.Entry
		for j := range windowSteps {
			entries = append(entries, tree.Entry{Name: fmt.Sprintf("e%06d", j), Type: tree.TypeFile, Mode: 0o600, Mtime: tree.Time{Sec: int64(j)}})
		}
		for j := range windowObjects {
			entries = append(entries, b.Large(fmt.Sprintf("l%06d", j), b.Chunk(fmt.Sprint(i, j)), b.Chunk(fmt.Sprint(i, j+1))))
		}
		folders = append(folders, b.Folder(fmt.Sprint(i), entries...))
	}
	dst := t.TempDir()
	res, rec := restore(t, b, b.Folder("", folders...), dst, Options{})
	if res.Lost != 0 || len(rec.remarks) > 0 || res.Files != 3*(windowSteps+windowObjects) {
		t.Errorf("%+v, lost %.300v, remarks %.300v", res, rec.lost, rec.remarks)
	}
	for i := range 3 {
		for _, j := range []int{0, 7, windowObjects - 1} {
			want := fmt.Sprint(i, j) + fmt.Sprint(i, j+1)
			if got, err := os.ReadFile(fmt.Sprintf("%s/%d/l%06d", dst, i, j)); err != nil || string(got) != want {
				t.Errorf("file %d of folder %d: %q, %v; want %q", j, i, got, err, want)
			}
		}
		if info, err := os.Stat(fmt.Sprintf("%s/%d", dst, i)); err != nil || info.ModTime().Unix() != 1e9 {
			t.Errorf("folder %d: %v, %v", i, info, err)
		}
	}
}

// TestMemory restores a tree whose content is far larger than the bound.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	b := viewtest.New(t)
	b.Codec = func(plain []byte) (byte, int, []byte) { return 0, len(plain), plain }
	var entries []tree.Entry
	block := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for i := range 200 {
		name := fmt.Sprintf("%08d", i)
		entries = append(entries, b.Large(name, b.Chunk(name+block[len(name):])))
	}
	root := b.Folder("", entries...)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	b.Store.Before = viewtest.OneAtATime(func(rec *object.Record) (*object.Record, error) {
		runtime.ReadMemStats(&now)
		peak.Store(max(peak.Load(), now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc)))
		if now.HeapAlloc > before.HeapAlloc+100<<20 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if held := int64(now.HeapAlloc) - int64(before.HeapAlloc); held > 100<<20 {
				return nil, fmt.Errorf("%d MiB are held", held>>20)
			}
		}
		return rec, nil
	})
	restore(t, b, root, t.TempDir(), Options{})
}

// TestListKey: a key that reads names only restores no content and says so for
// every file.
func TestListKey(t *testing.T) {
	b := viewtest.New(t)
	root := b.Folder("", b.File("a", "secret"), b.Symlink("s", "t"))
	reader, err := view.NewReader(b.Store, openerOf(b))
	if err != nil {
		t.Fatal(err)
	}
	rec := new(recorder)
	dst := t.TempDir()
	res, err := Restore(context.Background(), Job{Reader: reader, From: view.Place{Path: "/", Entry: &root}, Target: dst, Scratch: t.TempDir()}, Options{}, rec)
	if err != nil || res.Lost != 1 || !has(rec.lost, "/a", "not sealed to this key") {
		t.Errorf("%+v, %v, lost %v", res, err, rec.lost)
	}
	assertOnly(t, dst, "s")
}
