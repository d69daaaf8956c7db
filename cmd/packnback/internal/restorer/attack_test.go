package restorer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// outside makes a folder beside the target with one file in it, and returns a
// function that fails the test when anything in it has changed.
func outside(t *testing.T) (dir, target string, unharmed func()) {
	t.Helper()
	base := t.TempDir()
	dir, target = base+"/outside", base+"/target"
	for _, d := range []string{dir, target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/victim", []byte("precious"), 0o640); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	return dir, target, func() {
		t.Helper()
		if after := listing(t, dir); after != before {
			t.Errorf("outside of the target something changed:\n%s\nwas:\n%s", after, before)
		}
		if up, _ := os.ReadDir(base); len(up) != 2 {
			t.Errorf("beside the target there are now %v", up)
		}
	}
}

// listing describes everything below dir.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		content := ""
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			c, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(c)
		}
		fmt.Fprintf(&b, "%q mode %o owner %d:%d links %d mtime %d.%d %q\n", path, st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, st.Mtim.Nsec, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// renamed returns an Alter that replaces a placeholder in directories by a name
// that no honest sender could write.
func renamed(placeholder, name string) func(object.Kind, []byte) []byte {
	return func(_ object.Kind, plain []byte) []byte {
		return bytes.ReplaceAll(plain, []byte(placeholder), []byte(name))
	}
}

// TestHostileNames: a sender writes its directory objects by hand and puts
// names into them that lead out of the folder they are in.
func TestHostileNames(t *testing.T) {
	for placeholder, name := range map[string]string{
		"QQ": "..", "Q": ".", "QQQQQQQQQ": "../victim", "QQQQQQ": "/etc/x", "QQQ": "a/b", "QQQQ": "nul\x00", "QQQQQQQQQQ": "../outside",
	} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			_, target, unharmed := outside(t)
			b := viewtest.New(t)
			b.Alter = renamed(placeholder, name)
			res, rec := restore(t, b, b.Folder("", b.Folder("ok", b.File(placeholder, "owned"), b.File("x", "y")), b.File("z", "good")), target, Options{})
			unharmed()
			if res.Lost != 1 || !has(rec.lost, "/ok", "malformed") {
				t.Errorf("lost %v, want the folder with the bad name", rec.lost)
			}
			if got, err := os.ReadFile(target + "/z"); err != nil || string(got) != "good" {
				t.Errorf("the rest was not restored: %q, %v", got, err)
			}
		})
	}
}

// TestDuplicateNames: a symlink and a folder of the same name, so that what is
// in the folder is written through the symlink.
func TestDuplicateNames(t *testing.T) {
	out, target, unharmed := outside(t)
	b := viewtest.New(t)
	b.Alter = renamed("zQQQ", "AAAA")
	root := b.Folder("", b.Symlink("AAAA", out), b.Folder("zQQQ", b.File("victim", "owned")))
	_, rec, err := tryRestore(t, context.Background(), b, root, target, Options{})
	unharmed()
	if err == nil && len(rec.lost) == 0 {
		t.Error("a folder with two equal names was accepted")
	}
}

// TestSymlinksInTarget: the target holds symlinks where the snapshot has
// folders and files, from an earlier restore or from somebody else.
func TestSymlinksInTarget(t *testing.T) {
	for _, overwrite := range []Overwrite{Always, IfChanged, IfNewer, Never} {
		t.Run(overwrite.String(), func(t *testing.T) {
			out, target, unharmed := outside(t)
			for name, to := range map[string]string{"folder": out, "file": out + "/victim", "node": out + "/victim"} {
				if err := os.Symlink(to, target+"/"+name); err != nil {
					t.Fatal(err)
				}
			}
			b := viewtest.New(t)
			root := b.Folder("",
				b.Folder("folder", b.File("victim", "owned"), b.File("new", "owned")),
				b.File("file", "owned"),
				b.Symlink("node", "elsewhere"))
			_, rec := restore(t, b, root, target, Options{Overwrite: overwrite, Delete: true})
			unharmed()
			if overwrite == Never {
				if len(rec.lost) == 0 {
					t.Error("what could not be restored was not reported")
				}
				assertOnly(t, target, "file", "folder", "node")
			}
			if overwrite == Always || overwrite == IfChanged {
				if got, err := os.ReadFile(target + "/folder/new"); err != nil || string(got) != "owned" {
					t.Errorf("the folder was not put in place of the symlink: %q, %v", got, err)
				}
			}
		})
	}
}

// TestSwappedFolder: while the restore runs, somebody moves the folder that is
// being filled away and puts a symlink in its place.
func TestSwappedFolder(t *testing.T) {
	for name, swap := range map[string]func(target, out string) error{
		"symlink": func(target, out string) error { return os.Symlink(out, target+"/folder") },
		"folder":  func(target, out string) error { return os.Mkdir(target+"/folder", 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			out, target, unharmed := outside(t)
			b := viewtest.New(t)
			var files []tree.Entry
			for i := range 20 {
				files = append(files, b.File(fmt.Sprintf("f%02d", i), strings.Repeat("x", i+1)))
			}
			// More folders than are kept open, so that "folder" is opened again.
			var folders []tree.Entry
			for i := range 2 * maxOpenFolders {
				folders = append(folders, b.Folder(fmt.Sprintf("sub%04d", i), b.File("f", "g")))
			}
			root := b.Folder("", b.Folder("folder", append(files, folders...)...))
			swapped := false
			b.Store.Before = viewtest.OneAtATime(func(rec *object.Record) (*object.Record, error) {
				if rec.Kind == object.KindBundle && !swapped {
					swapped = true
					if err := os.Rename(target+"/folder", target+"/moved"); err != nil {
						return nil, err
					}
					return rec, swap(target, out)
				}
				return rec, nil
			})
			res, rec := restore(t, b, root, target, Options{})
			unharmed()
			if !swapped {
				t.Fatal("nothing was swapped")
			}
			if list, _ := os.ReadDir(target + "/folder"); name == "folder" && len(list) != 0 {
				t.Errorf("%d entries were put into the other folder", len(list))
			}
			if res.Lost == 0 && len(rec.lost) == 0 {
				// All of it went to the folder that was opened first; that is right, too.
				if list, _ := os.ReadDir(target + "/moved"); len(list) != len(files)+len(folders) {
					t.Errorf("nothing was reported, and %d of %d entries are there", len(list), len(files)+len(folders))
				}
			}
		})
	}
}

// TestHardLinkOutside: a file in the target has another name outside. What is
// written to it, or its metadata, would show there.
func TestHardLinkOutside(t *testing.T) {
	for _, overwrite := range []Overwrite{Always, IfChanged} {
		out, target, unharmed0 := outside(t)
		if err := os.Link(out+"/victim", target+"/file"); err != nil {
			t.Fatal(err)
		}
		_ = unharmed0
		content := "precious" // same size, so that the time decides
		b := viewtest.New(t)
		e := b.File("file", content)
		var st unix.Stat_t
		if err := unix.Lstat(target+"/file", &st); err != nil {
			t.Fatal(err)
		}
		e.Mtime = tree.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
		e.Mode, e.UID, e.GID, e.LinkID = 0o666, 77, 77, 5
		restore(t, b, b.Folder("", e), target, Options{Overwrite: overwrite, NumericIDs: true})
		var after unix.Stat_t
		if err := unix.Lstat(out+"/victim", &after); err != nil {
			t.Fatal(err)
		}
		if after.Mode != st.Mode || after.Uid != st.Uid || after.Mtim != st.Mtim {
			t.Errorf("%v: the file outside has other metadata now: mode %o owner %d", overwrite, after.Mode, after.Uid)
		}
		if got, _ := os.ReadFile(out + "/victim"); string(got) != "precious" {
			t.Errorf("%v: the file outside is %q", overwrite, got)
		}
		if err := unix.Lstat(target+"/file", &after); err != nil || after.Mode&0o777 != 0o666 || after.Nlink != 1 {
			t.Errorf("%v: the file has mode %o and %d links, %v", overwrite, after.Mode, after.Nlink, err)
		}
	}
}

// TestHardLinkToSymlink: entries claim to be names of one file, the first is a
// symlink to outside. The link must be to the symlink, or not be made at all.
func TestHardLinkToSymlink(t *testing.T) {
	out, target, unharmed := outside(t)
	b := viewtest.New(t)
	first, second, third := b.Symlink("a", out+"/victim"), b.Symlink("b", out+"/victim"), b.File("c", "owned")
	first.LinkID, second.LinkID, third.LinkID = 9, 9, 9
	res, rec := restore(t, b, b.Folder("", first, second, third), target, Options{})
	unharmed()
	if res.Lost != 0 {
		t.Errorf("lost %v", rec.lost)
	}
	for name, mode := range map[string]fs.FileMode{"a": fs.ModeSymlink, "b": fs.ModeSymlink, "c": 0} {
		if info, err := os.Lstat(target + "/" + name); err != nil || info.Mode().Type() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestPrivileges: set-id bits, device nodes and capabilities of a snapshot give
// rights to whoever made it.
func TestPrivileges(t *testing.T) {
	if !isRoot() {
		t.Skip("LOUD: only root can be tricked into this; run the tests as root once")
	}
	b := viewtest.New(t)
	suid, dev := b.File("suid", "#!/bin/sh"), tree.Entry{Name: "disk", Type: tree.TypeBlock, Mode: 0o666, Rdev: unix.Mkdev(8, 0)}
	suid.Mode = 0o6755
	capable := b.File("capable", "x")
	// cap_setuid+ep, as setcap writes it.
	capable.Xattrs = []tree.Xattr{{Name: "security.capability", Value: []byte{1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
	folder := b.Folder("shared", b.File("f", "g"))
	folder.Mode = 0o3775
	root := b.Folder("", suid, dev, capable, folder)
	_, target, _ := outside(t)
	res, rec := restore(t, b, root, target, Options{})
	var st unix.Stat_t
	if err := unix.Lstat(target+"/suid", &st); err != nil || st.Mode&0o7777 != 0o755 {
		t.Errorf("suid: mode %o, %v", st.Mode, err)
	}
	if !has(rec.remarks, "/suid", "--privileged") || !has(rec.remarks, "/capable", "--privileged") {
		t.Errorf("remarks %v", rec.remarks)
	}
	if _, err := os.Lstat(target + "/disk"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a device node was made: %v", err)
	}
	if res.Lost != 1 || !has(rec.lost, "/disk", "--privileged") {
		t.Errorf("lost %v, want the device", rec.lost)
	}
	if n, err := unix.Lgetxattr(target+"/capable", "security.capability", make([]byte, 64)); err == nil {
		t.Errorf("the file has a capability of %d bytes", n)
	}
	if err := unix.Lstat(target+"/shared", &st); err != nil || st.Mode&0o7777 != 0o3775 {
		t.Errorf("shared folder: mode %o, %v", st.Mode, err)
	}
	res, rec = restore(t, b, root, target, Options{Privileged: true})
	if err := unix.Lstat(target+"/suid", &st); err != nil || st.Mode&0o7777 != 0o6755 {
		t.Errorf("suid, privileged: mode %o, %v", st.Mode, err)
	}
	if err := unix.Lstat(target+"/disk", &st); err != nil || st.Rdev != unix.Mkdev(8, 0) || res.Lost != 0 {
		t.Errorf("device, privileged: %x, %v, lost %v", st.Rdev, err, rec.lost)
	}
}

// TestDecompressionBomb: objects whose frames claim or hold far more than their
// sealed length says.
func TestDecompressionBomb(t *testing.T) {
	b := viewtest.New(t)
	good := b.File("good", "fine")
	b.Codec = func(plain []byte) (byte, int, []byte) {
		if len(plain) != 1<<20 {
			return 0, len(plain), plain
		}
		// Claims 4 KiB, holds a mebibyte of zeros.
		return 1, 4096, compressed(t, plain)
	}
	bomb := b.File("bomb", string(make([]byte, 1<<20)))
	_, target, _ := outside(t)
	res, rec := restore(t, b, b.Folder("", good, bomb), target, Options{})
	if res.Lost != 1 || !has(rec.lost, "/bomb", "decompress") {
		t.Errorf("lost %v, want the bomb", rec.lost)
	}
	assertOnly(t, target, "good")
}

// TestWrongSlices: a file's extents name bytes that its objects don't have.
func TestWrongSlices(t *testing.T) {
	b := viewtest.New(t)
	over, far, chunk := b.File("over", "12345678"), b.File("far", "abc"), b.Large("chunk", b.Chunk("whole"))
	over.Size, over.Extents[0].Length = 100, 100
	far.Extents[0].Offset = 1 << 20
	chunk.Size, chunk.Extents[0].Length = 3, 3
	kind := b.File("kind", "content")
	kind.Extents[0].ID = b.Dir() // a directory where content should be
	_, target, _ := outside(t)
	res, rec := restore(t, b, b.Folder("", over, far, chunk, kind, b.File("good", "fine")), target, Options{})
	if res.Lost != 4 {
		t.Errorf("lost %v, want four files", rec.lost)
	}
	assertOnly(t, target, "good")
}

// assertOnly fails when the folder holds anything else than these names:
// nothing half-made, no temporary file.
func assertOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the folder holds %q, want %q", got, names)
	}
}

// TestDeepTree restores folders nested beyond what a path can say.
func TestDeepTree(t *testing.T) {
	const depth = 600
	b := viewtest.New(t)
	name := strings.Repeat("d", 20)
	e := b.Folder(name, b.File("deepest", "here"))
	for range depth - 1 {
		e = b.Folder(name, e)
	}
	_, target, _ := outside(t)
	res, rec := restore(t, b, b.Folder("", e), target, Options{})
	if res.Lost != 0 || len(rec.remarks) > 0 || res.Dirs != depth || res.Files != 1 {
		t.Errorf("%+v, lost %.300v, remarks %.300v", res, rec.lost, rec.remarks)
	}
	res, rec = restore(t, b, b.Folder(""), target, Options{Delete: true})
	if res.Deleted != 1 || res.Lost != 0 {
		t.Errorf("removing it: %+v, lost %.300v", res, rec.lost)
	}
	assertOnly(t, target)
}

// TestTooDeepTree: a tree nested so deeply that following it would exhaust
// memory is cut off, and what is beside it comes back.
func TestTooDeepTree(t *testing.T) {
	b := viewtest.New(t)
	e := b.Folder("d")
	for range view.MaxDepth + 1 {
		e = b.Folder("d", e)
	}
	_, target, _ := outside(t)
	root := b.Folder("", e, b.File("good", "x"))
	res, rec, err := tryRestore(t, context.Background(), b, root, target, Options{DryRun: true})
	if err != nil || res.Lost != 1 || res.Files != 1 || !strings.Contains(rec.lost[0], "inside each other") {
		t.Errorf("%+v, %v; want one folder lost, and the rest", res, err)
	}
}
