package restorer

import (
	"os"
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
