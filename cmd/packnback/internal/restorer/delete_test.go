package restorer

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo/tree"
)

// plant writes files, each with the folders above it, below dir.
func plant(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, name := range files {
		at := len(name) - 1
		for at >= 0 && name[at] != '/' {
			at--
		}
		if err := os.MkdirAll(dir+"/"+name[:max(at, 0)], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte("precious"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// mountOn mounts the folder from on dir, or a new file system with one file when
// from is empty.
func mountOn(t *testing.T, from, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if from == "" {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k")
	} else {
		err = unix.Mount(from, dir, "", unix.MS_BIND, "")
	}
	if err != nil {
		t.Skipf("LOUD: nothing can be mounted (%v); run the tests as root once", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if from == "" {
		plant(t, dir, "victim", "deep/er/victim")
	}
}

// TestDeleteMounted: where --delete removes a folder, another file system, or
// another folder of the same one, is mounted on it or somewhere in it. What
// stands in place of "data" in the snapshot makes way in a way of its own.
func TestDeleteMounted(t *testing.T) {
	b := viewtest.New(t)
	first, second := b.File("a", "x"), b.File("data", "x")
	first.LinkID, second.LinkID = 7, 7
	snapshots := map[string]tree.Entry{
		"file":      b.Folder("", b.File("data", "small")),
		"large":     b.Folder("", b.Large("data", b.Chunk("one"), b.Chunk("two"))),
		"symlink":   b.Folder("", b.Symlink("data", "/elsewhere")),
		"hard link": b.Folder("", first, second),
		"nothing":   b.Folder(""),
	}
	for _, at := range []string{"data", "data/inner", "data/in/ner"} {
		for name, root := range snapshots {
			for _, kind := range []string{"tmpfs", "bind"} {
				t.Run(name+" for "+kind+" on "+at, func(t *testing.T) {
					out, target, _ := outside(t)
					plant(t, out, "deep/er/victim")
					from := ""
					if kind == "bind" {
						from = out
					}
					mountOn(t, from, target+"/"+at)
					before := listing(t, target+"/"+at)
					res, rec := restore(t, b, root, target, Options{Delete: true})
					if res.Lost != 1 || res.Deleted != 0 || !has(rec.lost, "/data", "mounted") {
						t.Errorf("lost %v, deleted %d; want data, because of what is mounted", rec.lost, res.Deleted)
					}
					if after := listing(t, target+"/"+at); after != before {
						t.Errorf("what is mounted has changed:\n%s\nwas:\n%s", after, before)
					}
				})
			}
		}
	}
}

// TestRestoreIntoMounted: what is mounted on a folder that the snapshot has is
// filled like any other, and so is a target that is itself a mount point.
func TestRestoreIntoMounted(t *testing.T) {
	b := viewtest.New(t)
	_, target, _ := outside(t)
	mountOn(t, "", target)
	mountOn(t, "", target+"/data")
	res, rec := restore(t, b, b.Folder("", b.Folder("data", b.File("f", "x"))), target, Options{Delete: true})
	if res.Lost != 0 {
		t.Errorf("lost %v", rec.lost)
	}
	assertOnly(t, target, "data")
	assertOnly(t, target+"/data", "f")
}

// keeping selects everything but what is called *.keep, what is in that, and
// two files by their whole path.
func keeping(path string) (selected, below bool) {
	selected = !strings.HasSuffix(path, ".keep") && !strings.Contains(path, ".keep/") &&
		path != "/dir/extra/exact/ly/mine" && path != "/exact/ly/mine"
	return selected, selected
}

// TestDeleteUnselected: what the patterns leave out stays, however deep in what
// is removed, with the folders that lead to it.
func TestDeleteUnselected(t *testing.T) {
	b := viewtest.New(t)
	root := b.Folder("", b.File("a", "x"), b.Folder("dir", b.File("f", "y")))
	for _, dry := range []bool{true, false} {
		_, target, unharmed := outside(t)
		plant(t, target, "gone", "z.keep", "dir/extra/x.keep", "dir/extra/other", "dir/extra/sub/gone", "dir/extra/sub/below/y.keep",
			"dir/extra/sub/below/gone", "dir/extra/all/a", "dir/extra/all/b/c", "dir/extra/my.keep/of/mine", "whole/a", "whole/b/c",
			"dir/extra/exact/ly/mine", "dir/extra/exact/ly/gone", "exact/ly/mine", "exact/ly/gone")
		before := listing(t, target)
		res, rec := restore(t, b, root, target, Options{Delete: true, DryRun: dry, Select: keeping})
		unharmed()
		var deleted []string
		for _, line := range rec.done {
			if path, ok := strings.CutPrefix(line, "deleted "); ok {
				deleted = append(deleted, path)
			}
		}
		slices.Sort(deleted)
		want := []string{"/dir/extra/all", "/dir/extra/exact/ly/gone", "/dir/extra/other", "/dir/extra/sub/below/gone", "/dir/extra/sub/gone", "/exact/ly/gone", "/gone", "/whole"}
		if !slices.Equal(deleted, want) || res.Deleted != uint64(len(want)) || res.Lost != 0 {
			t.Errorf("dry %v: deleted %d, %q, lost %v; want %q", dry, res.Deleted, deleted, rec.lost, want)
		}
		if dry {
			if after := listing(t, target); after != before {
				t.Errorf("a dry run changed something:\n%s\nwas:\n%s", after, before)
			}
			continue
		}
		out, err := exec.Command("find", target, "-type", "f", "-printf", "%P\n").Output()
		if err != nil {
			t.Fatal(err)
		}
		left := strings.Fields(string(out))
		slices.Sort(left)
		want = []string{"a", "dir/extra/exact/ly/mine", "dir/extra/my.keep/of/mine", "dir/extra/sub/below/y.keep", "dir/extra/x.keep", "dir/f", "exact/ly/mine", "z.keep"}
		if !slices.Equal(left, want) {
			t.Errorf("there is left %q, want %q", left, want)
		}
		for _, gone := range []string{"whole", "dir/extra/all"} {
			if _, err := os.Lstat(target + "/" + gone); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is there: %v", gone, err)
			}
		}
	}
}

// TestUnselectedInTheWay: a folder stands where the snapshot has something
// else. If anything in it must stay, all of it does.
func TestUnselectedInTheWay(t *testing.T) {
	b := viewtest.New(t)
	first, second := b.File("a", "x"), b.File("data", "x")
	first.LinkID, second.LinkID = 7, 7
	for name, root := range map[string]tree.Entry{
		"file":      b.Folder("", b.File("data", "small")),
		"large":     b.Folder("", b.Large("data", b.Chunk("one"), b.Chunk("two"))),
		"symlink":   b.Folder("", b.Symlink("data", "/elsewhere")),
		"hard link": b.Folder("", first, second),
	} {
		t.Run(name, func(t *testing.T) {
			_, target, unharmed := outside(t)
			plant(t, target, "data/aa", "data/deep/er/bb", "data/deep/er/y.keep", "data/deep/er/zz", "data/zz")
			before := listing(t, target+"/data")
			res, rec := restore(t, b, root, target, Options{Delete: true, Select: keeping})
			unharmed()
			if res.Lost != 1 || res.Deleted != 0 || !has(rec.lost, "/data", "in the way") || !has(rec.lost, "/data", "not selected") {
				t.Errorf("lost %v, deleted %d; want data, because of what is in its way", rec.lost, res.Deleted)
			}
			if after := listing(t, target+"/data"); after != before {
				t.Errorf("the folder in the way has changed:\n%s\nwas:\n%s", after, before)
			}
			if err := os.Remove(target + "/data/deep/er/y.keep"); err != nil {
				t.Fatal(err)
			}
			res, rec = restore(t, b, root, target, Options{Delete: true, Select: keeping})
			if info, err := os.Lstat(target + "/data"); err != nil || info.IsDir() || res.Lost != 0 {
				t.Errorf("without it the folder still is in the way: %v, lost %v", err, rec.lost)
			}
		})
	}
}

// TestMountedInTheWay: a folder in the way loses nothing when something is
// mounted far below.
func TestMountedInTheWay(t *testing.T) {
	b := viewtest.New(t)
	_, target, _ := outside(t)
	plant(t, target, "data/aa", "data/in/aa", "data/in/zz", "data/zz")
	mountOn(t, "", target+"/data/in/ner")
	before := listing(t, target+"/data")
	res, rec := restore(t, b, b.Folder("", b.File("data", "x")), target, Options{Delete: true})
	if res.Lost != 1 || !has(rec.lost, "/data", "mounted") {
		t.Errorf("lost %v, want data, because of what is mounted", rec.lost)
	}
	if after := listing(t, target+"/data"); after != before {
		t.Errorf("the folder in the way has changed:\n%s\nwas:\n%s", after, before)
	}
}

// TestDeleteUnselectedMounted: beside what the patterns leave out, something is
// mounted in a folder to be removed. The mount point is told, once, and the rest
// goes.
func TestDeleteUnselectedMounted(t *testing.T) {
	b := viewtest.New(t)
	_, target, _ := outside(t)
	plant(t, target, "extra/x.keep", "extra/gone", "extra/in/gone")
	mountOn(t, "", target+"/extra/in/ner")
	before := listing(t, target+"/extra/in/ner")
	res, rec := restore(t, b, b.Folder(""), target, Options{Delete: true, Select: keeping})
	if res.Lost != 1 || !has(rec.lost, "/extra/in/ner", "mounted") {
		t.Errorf("lost %v, want the mount point", rec.lost)
	}
	assertOnly(t, target+"/extra", "in", "x.keep")
	assertOnly(t, target+"/extra/in", "ner")
	if after := listing(t, target+"/extra/in/ner"); after != before {
		t.Errorf("what is mounted has changed:\n%s\nwas:\n%s", after, before)
	}
}
