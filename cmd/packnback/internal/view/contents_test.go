package view

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// TestTar extracts an archive of a real tree with tar and compares.
func TestTar(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(src+"/a/b", 0o751))
	must(os.WriteFile(src+"/a/f", []byte("content"), 0o640))
	must(os.WriteFile(src+"/a/"+strings.Repeat("n", 200), bytes.Repeat([]byte("large"), 60000), 0o600))
	must(os.WriteFile(src+"/not-utf8-\xff\n", nil, 0o644))
	must(os.Link(src+"/a/f", src+"/a/b/hard"))
	must(os.Symlink("../elsewhere/"+strings.Repeat("t", 300), src+"/a/link"))
	must(unix.Mkfifo(src+"/fifo", 0o600))
	must(os.WriteFile(src+"/hole", []byte("x"), 0o644))
	must(os.Truncate(src+"/hole", 1<<20))
	if err := unix.Setxattr(src+"/a/f", "user.note", []byte("bytes\x00\n="), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	stamp := time.Unix(1234567890, 123456789)
	must(os.Chtimes(src+"/a/f", stamp, stamp))
	must(os.Chtimes(src+"/a/b", stamp, stamp))
	b := viewtest.New(t)
	root := b.Capture(src)
	var out bytes.Buffer
	must(newReader(t, b).Archive(context.Background(), &out, false, rootOf(root)))
	cmd := exec.Command("tar", "-xpf", "-", "--xattrs", "--xattrs-include=*", "-C", dst)
	cmd.Stdin = &out
	if msg, err := cmd.CombinedOutput(); err != nil || len(msg) > 0 {
		t.Fatalf("tar: %v\n%s", err, msg)
	}
	must(os.Chtimes(dst, time.Unix(1, 0), time.Unix(1, 0))) // the folder itself is not in the archive
	must(os.Chtimes(src, time.Unix(1, 0), time.Unix(1, 0)))
	must(os.Chmod(dst, 0o755))
	must(os.Chmod(src, 0o755))
	if msg, err := exec.Command("rsync", "-nacHX", "--delete", "-i", src+"/", dst+"/").CombinedOutput(); err != nil || len(msg) > 0 {
		t.Errorf("rsync sees differences, %v:\n%s", err, msg)
	}
}

func TestZip(t *testing.T) {
	b := viewtest.New(t)
	root := b.Folder("top", b.Folder("a", b.File("f", "content"), b.Symlink("l", "target")), b.File("empty", ""))
	var out bytes.Buffer
	if err := newReader(t, b).Archive(context.Background(), &out, true, Place{Path: "/x/top", Entry: &root}); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %v %s", f.Name, f.Mode(), content))
	}
	want := []string{"a/ drwxr-xr-x ", "a/f -rw-r--r-- content", "a/l Lrwxrwxrwx target", "empty -rw-r--r-- "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTarLinks: entries that only claim to be names of one file, perhaps because
// another got the inode number while a backup ran, keep their own contents.
func TestTarLinks(t *testing.T) {
	b := viewtest.New(t)
	list := []tree.Entry{
		b.File("a", "one file"), b.File("b", "another"), b.File("c", "one more"), b.File("d", "one file"),
		b.File("e", "one file"), b.Symlink("f", "a"), b.Symlink("g", "b"), b.File("h", "one file"),
	}
	for i := range list {
		list[i].LinkID = 7
	}
	list[2].Mtime.Nsec = 1 // of the same size
	list[3].Mode = 0o600
	list[4].UID = 77
	root := b.Folder("", list...)
	var out bytes.Buffer
	if err := newReader(t, b).Archive(context.Background(), &out, false, rootOf(root)); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := tar.NewReader(&out)
	h, err := r.Next()
	for ; err == nil; h, err = r.Next() {
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %c %s%s", h.Name, h.Typeflag, h.Linkname, content))
	}
	want := []string{"a 0 one file", "b 0 another", "c 0 one more", "d 0 one file", "e 0 one file", "f 2 a", "g 2 b", "h 1 a"}
	if err != io.EOF || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// TestArchiveWithLoss: an archive that lacks something is an error.
func TestArchiveWithLoss(t *testing.T) {
	b := viewtest.New(t)
	f, g := b.File("f", "content"), b.Folder("g", b.File("h", "more"))
	root := b.Folder("", f, g)
	for _, id := range []object.ID{f.Extents[0].ID, g.Subtree} {
		saved := b.Store.Record(id)
		b.Store.Drop(id)
		if err := newReader(t, b).Archive(context.Background(), io.Discard, false, rootOf(root)); !Lost(err) {
			t.Errorf("without %s: got %v", id.Short(), err)
		}
		b.Store.Put(saved)
	}
	if err := newReader(t, b).Archive(context.Background(), io.Discard, false, rootOf(root)); err != nil {
		t.Errorf("whole: %v", err)
	}
	full := errors.New("pipe closed")
	if err := newReader(t, b).Archive(context.Background(), failing{full}, false, rootOf(root)); !errors.Is(err, full) {
		t.Errorf("to a closed pipe: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestDiff(t *testing.T) {
	b := viewtest.New(t)
	same := b.Folder("same", b.File("x", "y"))
	touched := b.File("touched", "t")
	touched2 := touched
	touched2.Mode, touched2.Mtime.Sec = 0o600, 5
	before := b.Folder("", same, b.File("changed", "one"), b.File("gone", "g"), touched,
		b.Folder("sub", b.File("a", "a"), b.File("b", "b")), b.File("type", "file"), b.Folder("removed", b.File("in", "it")),
		b.Symlink("link", "old"), b.Large("big", b.Chunk("one"), b.Chunk("two")))
	after := b.Folder("", same, b.File("changed", "three"), touched2,
		b.Folder("sub", b.File("a", "a"), b.File("c", "c")), b.Folder("type", b.File("inside", "new")),
		b.Symlink("link", "new"), b.Large("big", b.Chunk("one"), b.Chunk("twe")))
	var got []string
	r := newReader(t, b)
	err := r.Diff(context.Background(), rootOf(before), rootOf(after), func(c Change) error {
		sign := "U"
		switch {
		case c.Old == nil:
			sign = "+"
		case c.New == nil:
			sign = "-"
		case c.Content:
			sign = "M"
		}
		got = append(got, sign+c.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"M/big", "M/changed", "-/gone", "M/link", "-/removed", "-/removed/in", "-/sub/b", "+/sub/c", "U/touched", "-/type", "+/type", "+/type/inside"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if n := b.Store.Fetched[same.Subtree]; n != 0 || b.Store.Pushes > 2 {
		t.Errorf("the folder that is the same was fetched %d times; %d pushes", n, b.Store.Pushes)
	}
	if err := r.Diff(context.Background(), rootOf(before), rootOf(before), func(c Change) error { t.Errorf("%+v", c); return nil }); err != nil {
		t.Error(err)
	}
}

// TestDiffTogether: folders that are different are asked for together.
func TestDiffTogether(t *testing.T) {
	b := viewtest.New(t)
	build := func(content string) tree.Entry {
		var folders []tree.Entry
		for i := range 200 {
			folders = append(folders, b.Folder(fmt.Sprintf("%03d", i), b.File("f", content), b.Folder("same", b.File("g", "h"))))
		}
		return b.Folder("", folders...)
	}
	before, after := build("one"), build("other")
	n := 0
	err := newReader(t, b).Diff(context.Background(), rootOf(before), rootOf(after), func(c Change) error {
		if n++; c.Path != fmt.Sprintf("/%03d/f", n-1) || !c.Content {
			t.Errorf("change %d is %+v", n, c)
		}
		return nil
	})
	if err != nil || n != 200 || b.Store.Calls > 12 {
		t.Errorf("%d changes with %d fetches, %v", n, b.Store.Calls, err)
	}
}

// verified runs a Verifier over snapshots and returns its findings.
func verified(t *testing.T, b *viewtest.Builder, o *crypto.Opener, snaps ...*object.Snapshot) (VerifyResult, []string) {
	t.Helper()
	r, err := NewReader(b.Store, o)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	v, err := NewVerifier(r, t.TempDir(), func(path string, _ object.ID, err error) { found = append(found, path+": "+err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, s := range snaps {
		opened, err := r.Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(context.Background(), opened); err != nil {
			t.Fatal(err)
		}
	}
	return v.Result(), found
}

func TestVerifier(t *testing.T) {
	b := viewtest.New(t)
	shared := b.Folder("shared", b.File("a", "shared content"), b.Large("l", b.Chunk("one"), b.Chunk("two")))
	first := b.Commit(b.Dir(shared, b.File("f", "first")), tree.Summary{})
	second := b.Commit(b.Dir(shared, b.File("f", "second"), b.Folder("copy", b.File("a", "shared content"))), tree.Summary{})
	res, found := verified(t, b, b.Opener(), first, second)
	// Two roots, shared, copy; three bundles and two chunks.
	if len(found) > 0 || res.Snapshots != 2 || res.Objects != 4+5 || res.Bytes != uint64(len("shared contentonetwofirstsecond")) {
		t.Errorf("%+v, %v", res, found)
	}
	for id, n := range b.Store.Fetched {
		if rec := b.Store.Record(id); n > 1 && !rec.Kind.HasRefs() {
			t.Errorf("%s %s was fetched %d times", rec.Kind, id.Short(), n)
		}
	}
	if res, found = verified(t, b, crypto.NewOpener(b.Lister.Identities()...), first); res.Lost != 0 || res.Refused == 0 || len(found) == 0 {
		t.Errorf("with a list key: %+v, %v", res, found)
	}
	for kind := object.KindChunk; kind <= object.KindDir; kind++ {
		for _, id := range b.Store.IDs(kind) {
			saved := b.Store.Record(id)
			bad := b.Store.Record(id)
			bad.Sealed[40] ^= 4
			b.Store.Replace(id, bad)
			if res, found := verified(t, b, b.Opener(), first, second); res.Lost == 0 || len(found) == 0 {
				t.Errorf("%s %s is altered, and nothing was found: %+v", kind, id.Short(), res)
			}
			b.Store.Replace(id, saved)
		}
	}
}

// TestVerifierSlices: a tree that names bytes beyond its objects can't be
// restored, though every object is whole.
func TestVerifierSlices(t *testing.T) {
	b := viewtest.New(t)
	f, g := b.File("f", "content"), b.File("g", "content")
	g.Extents[0].Length, g.Size = 100, 100
	snap := b.Commit(b.Dir(f, g), tree.Summary{})
	again := b.Commit(b.Dir(f, b.Folder("sub", g)), tree.Summary{})
	res, found := verified(t, b, b.Opener(), snap, again)
	if res.Lost != 2 || !strings.HasPrefix(found[0], "/g: ") || !strings.HasPrefix(found[1], "/sub/g: ") {
		t.Errorf("%+v, %v", res, found)
	}
}

// TestVerifierBatches crosses the bounds of a batch.
func TestVerifierBatches(t *testing.T) {
	b := viewtest.New(t)
	var entries []tree.Entry
	for i := range 3*verifyBatch + 7 {
		entries = append(entries, b.File(fmt.Sprintf("%05d", i), fmt.Sprint(i)))
	}
	snap := b.Commit(b.Dir(entries...), tree.Summary{})
	res, found := verified(t, b, b.Opener(), snap)
	if len(found) > 0 || res.Objects != uint64(len(entries)+1) {
		t.Errorf("%+v, %v", res, found)
	}
}

func TestDirs(t *testing.T) {
	b := viewtest.New(t)
	var entries []tree.Entry
	for i := range 3000 {
		entries = append(entries, b.Symlink(fmt.Sprintf("n%06d", i*2), fmt.Sprint(i)))
	}
	dir := b.Dir(entries...)
	for name, budget := range map[string]int{"cached": 64 << 20, "too large": 64 << 10} {
		d := NewDirs(newReader(t, b), budget)
		for _, i := range []int{0, 1, 2999, 1500} {
			e, ok, err := d.Find(context.Background(), dir, fmt.Sprintf("n%06d", i*2))
			if err != nil || !ok || e.Target != fmt.Sprint(i) {
				t.Errorf("%s: entry %d: %+v, %v, %v", name, i, e, ok, err)
			}
			if _, ok, err := d.Find(context.Background(), dir, fmt.Sprintf("n%06d", i*2+1)); ok || err != nil {
				t.Errorf("%s: an entry that is not there: %v, %v", name, ok, err)
			}
		}
	}
}

// TestKeysTogether: objects of many uploads don't cost a fetch for each key.
func TestKeysTogether(t *testing.T) {
	b := viewtest.New(t)
	var folders []tree.Entry
	for i := range 60 {
		b.NewUpload()
		folders = append(folders, b.Folder(fmt.Sprint(i), b.File("f", fmt.Sprint(i))))
	}
	root := b.Folder("", folders...)
	walked(t, newReader(t, b).Walk, rootOf(root), nil)
	if b.Store.Calls > 30 {
		t.Errorf("%d fetches for 60 keys", b.Store.Calls)
	}
}

func TestLongLine(t *testing.T) {
	quote := func(s string) string { return "<" + s + ">" }
	for _, tt := range []struct {
		e    tree.Entry
		want string
	}{
		{tree.Entry{Type: tree.TypeFile, Mode: 0o4755, UID: 1, GID: 2, Size: 3}, "-rwsr-xr-x     1     2          3 1970-01-01 00:00:00 <p>"},
		{tree.Entry{Type: tree.TypeDir, Mode: 0o3070}, "d---rws--T     0     0          0 1970-01-01 00:00:00 <p>"},
		{tree.Entry{Type: tree.TypeSymlink, Mode: 0o777, Target: "t", Size: 1}, "lrwxrwxrwx     0     0          1 1970-01-01 00:00:00 <p> -> <t>"},
		{tree.Entry{Type: tree.TypeChar, Mode: 0o600, Rdev: unix.Mkdev(5, 300)}, "crw-------     0     0      5,300 1970-01-01 00:00:00 <p>"},
		{tree.Entry{Type: tree.TypeFIFO, Mode: 0o2600, Mtime: tree.Time{Sec: 1 << 60}}, "prw---S---     0     0          0 9999-12-31 23:59:59 <p>"},
	} {
		old := time.Local
		time.Local = time.UTC
		got := LongLine("p", &tt.e, quote)
		time.Local = old
		if got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
