package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
	"golang.org/x/sys/unix"
)

// random returns n bytes that don't compress, the same ones for a seed.
func random(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// plant makes a tree with something of everything.
func (l *lab) plant() {
	l.t.Helper()
	for d := range 12 {
		for f := range 40 {
			l.write(fmt.Sprintf("many/dir%02d/file%02d", d, f), []byte(strings.Repeat(fmt.Sprintf("%d.%d ", d, f), 1+f*20)))
		}
	}
	l.write("empty", nil)
	l.write("small", random(1, 300<<10))
	l.write("large", random(2, 3<<20))
	l.write("list", random(3, 22<<20))
	l.write("deep/er/and/deeper/file", []byte("down here"))
	l.write("name\xff\xfe not utf-8", []byte("raw"))
	l.write("linked-small", []byte("a file with two names"))
	l.write("linked-large", random(4, 1<<20))
	at := func(name string) string { return filepath.Join(l.dir, name) }
	for _, err := range []error{
		os.Link(at("linked-small"), at("z-small-again")),
		os.Link(at("linked-large"), at("z-large-again")),
		os.Symlink("../nowhere", at("symlink")),
		unix.Mkfifo(at("fifo"), 0o640),
		os.Chmod(at("small"), 0o4755),
		os.Mkdir(at("no-entries"), 0o700),
		os.Chtimes(at("many/dir03/file07"), time.Now(), time.Unix(-1000, 123456789)),
		sparse(at("sparse")),
	} {
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

// sparse makes a file with data, a hole, data, a hole.
func sparse(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err1 := f.WriteAt(random(5, 700_000), 0)
	_, err2 := f.WriteAt(random(6, 10_000), 8<<20)
	return errors.Join(err1, err2, f.Truncate(16<<20), f.Close())
}

func TestRoundTrip(t *testing.T) {
	l := newLab(t)
	l.plant()
	sum := l.backup()
	l.same(sum.Snapshot)
	if sum.Seq != 1 || sum.Incomplete() || len(l.bad) > 0 {
		t.Errorf("sequence number %d, problems %v; want 1 and none", sum.Seq, l.bad)
	}
	if l.asked != 0 {
		t.Errorf("asked about %d objects of an empty repository", l.asked)
	}
	// The second names of linked files are not read, let alone sent, again.
	want := uint64(12*40 + 11)
	if got := sum.Counts.FilesNew; got != want {
		t.Errorf("%d new files, want %d", got, want)
	}
	if sum.Counts.Added < 27<<20 || sum.Counts.Added > 29<<20 {
		t.Errorf("%d bytes of new contents, want about 28 MiB", sum.Counts.Added)
	}
}

// An unchanged run reads nothing, asks nothing, and puts one key object.
func TestUnchanged(t *testing.T) {
	l := newLab(t)
	l.plant()
	first := l.backup()
	second := l.backup()
	if l.asked != 0 || l.total() != 1 || l.puts[object.KindKey] != 1 {
		t.Errorf("asked %d, put %v; want nothing and one key object", l.asked, l.puts)
	}
	c := second.Counts
	if c.FilesUnmodified != first.Counts.FilesNew || c.FilesNew+c.FilesChanged+c.DirsNew+c.DirsChanged != 0 || c.Added != 0 {
		t.Errorf("counts of an unchanged run: %+v", c)
	}
	if c.TotalBytes != first.Counts.TotalBytes {
		t.Errorf("%d bytes in all, want %d", c.TotalBytes, first.Counts.TotalBytes)
	}
	l.same(second.Snapshot)
	if second.Seq != 2 {
		t.Errorf("sequence number %d, want 2", second.Seq)
	}
	l.backup()
	l.cfg.Options.SkipIfUnchanged = true
	if sum := l.backup(); !sum.Skipped || !sum.Snapshot.IsZero() || l.total() != 0 {
		t.Errorf("nothing changed: skipped %v, snapshot %s, put %v", sum.Skipped, sum.Snapshot.Short(), l.puts)
	}
	l.write("small", []byte("now it is another"))
	if sum := l.backup(); sum.Skipped {
		t.Error("a change was skipped")
	} else {
		l.same(sum.Snapshot)
	}
}

// Everything is racy when the clock is right, so everything is read again, but
// nothing is sent.
func TestRacy(t *testing.T) {
	l := newLab(t)
	l.cfg.now = time.Now
	l.plant()
	l.backup()
	sum := l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("asked %d, put %v; want nothing and one key object", l.asked, l.puts)
	}
	if n := &sum.Counts; n.FilesChanged != 0 || n.FilesNew != 0 || n.DirsChanged != 0 || n.FilesUnmodified == 0 {
		t.Errorf("files: %d new, %d changed, %d unmodified; %d folders changed; want all unmodified",
			n.FilesNew, n.FilesChanged, n.FilesUnmodified, n.DirsChanged)
	}
	l.same(sum.Snapshot)
}

func TestChanges(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	at := func(name string) string { return filepath.Join(l.dir, name) }
	l.write("many/dir05/file10", []byte("edited"))
	l.write("many/dir05/new", []byte("new"))
	l.write("many/dir-new/new", []byte("new too"))
	for _, err := range []error{
		os.RemoveAll(at("many/dir07")),
		os.Remove(at("many/dir08/file39")),
		os.Rename(at("many/dir09/file01"), at("many/dir09/renamed")),
		os.Chmod(at("many/dir10/file01"), 0o600),
		os.Remove(at("deep/er/and/deeper/file")),
		os.Mkdir(at("deep/er/and/deeper/file"), 0o755), // a folder where a file was
		os.RemoveAll(at("no-entries")), os.WriteFile(at("no-entries"), []byte("a file where a folder was"), 0o600),
		os.Remove(at("symlink")), os.Symlink("elsewhere", at("symlink")),
		os.Chmod(at("many/dir11"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sum := l.backup()
	l.same(sum.Snapshot)
	if l.asked != 0 {
		t.Errorf("asked about %d objects with a cache that fits", l.asked)
	}
	if l.puts[object.KindChunk] != 0 || l.puts[object.KindBundle] != 1 {
		t.Errorf("put %v, want one bundle and no chunks", l.puts)
	}
	third := l.backup()
	if l.total() != 1 {
		t.Errorf("after that, an unchanged run put %v", l.puts)
	}
	l.same(third.Snapshot)
}

// A copied or renamed tree of files adds folders and no contents.
func TestCopyAddsNoContents(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	if err := os.CopyFS(filepath.Join(l.dir, "copy"), os.DirFS(filepath.Join(l.dir, "many"))); err != nil {
		t.Fatal(err)
	}
	l.write("large-copy", random(2, 3<<20))
	if err := os.Rename(filepath.Join(l.dir, "many"), filepath.Join(l.dir, "renamed")); err != nil {
		t.Fatal(err)
	}
	sum := l.backup()
	l.same(sum.Snapshot)
	if l.puts[object.KindChunk]+l.puts[object.KindBundle] != 0 || sum.Counts.Added != 0 {
		t.Errorf("put %v and %d bytes of contents, want folders only", l.puts, sum.Counts.Added)
	}
	// The copies were found where the originals are, so these may go.
	if err := os.RemoveAll(filepath.Join(l.dir, "renamed")); err != nil {
		t.Fatal(err)
	}
	l.same(l.backup().Snapshot)
	l.same(l.backup().Snapshot)
}

// Files that are the same within one run are stored once.
func TestDuplicatesInOneRun(t *testing.T) {
	l := newLab(t)
	for i := range 30 {
		l.write(fmt.Sprintf("d%d/same", i), random(7, 200<<10))
		l.write(fmt.Sprintf("d%d/large", i), random(8, 1<<20))
	}
	sum := l.backup()
	if want := uint64(200<<10 + 1<<20); sum.Counts.Added != want {
		t.Errorf("%d bytes of contents, want %d", sum.Counts.Added, want)
	}
	l.same(sum.Snapshot)
}

// Without a cache the store is asked, large files are not sent again, and
// small ones are.
func TestLostCache(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	if err := os.RemoveAll(l.cfg.Folders.Cache); err != nil {
		t.Fatal(err)
	}
	sum := l.backup()
	if l.asked == 0 || l.puts[object.KindChunk] != 0 {
		t.Errorf("asked %d, put %v; want questions and no chunks", l.asked, l.puts)
	}
	l.same(sum.Snapshot)
	l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("with the new cache: asked %d, put %v", l.asked, l.puts)
	}
	l.cfg.Folders.Cache = ""
	l.same(l.backup().Snapshot)
	l.same(l.backup().Snapshot)
}

// A cache that was put back from an old copy is only a hint.
func TestStaleCache(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(l.cfg.Folders.Cache)); err != nil {
		t.Fatal(err)
	}
	l.write("many/dir05/file10", []byte("edited"))
	l.write("large", random(9, 3<<20))
	l.backup()
	if err := errors.Join(os.RemoveAll(l.cfg.Folders.Cache), os.CopyFS(l.cfg.Folders.Cache, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	sum := l.backup()
	l.same(sum.Snapshot)
	if l.asked == 0 {
		t.Error("relied on a stale cache without asking")
	}
	// Nearly all of it could still be relied upon.
	if l.puts[object.KindChunk] != 0 || l.puts[object.KindBundle] > 1 {
		t.Errorf("put %v", l.puts)
	}
	l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("after that: asked %d, put %v", l.asked, l.puts)
	}
}

// What was altered behind a file's size and times is found by Force only.
func TestForce(t *testing.T) {
	l := newLab(t)
	l.cfg.Options.IgnoreCtime = true
	l.plant()
	l.backup()
	name := filepath.Join(l.dir, "many/dir05/file10")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	b[0] ^= 1
	l.write("many/dir05/file10", b)
	if err := os.Chtimes(name, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if l.backup(); l.puts[object.KindBundle] != 0 {
		t.Errorf("put %v; want the change not to be noticed", l.puts)
	}
	l.cfg.Options.Force = true
	sum := l.backup()
	if n := &sum.Counts; n.FilesChanged != 1 || n.FilesNew != 0 || l.puts[object.KindBundle] != 1 || l.puts[object.KindChunk] != 0 {
		t.Errorf("%d files new, %d changed, put %v; want one changed", n.FilesNew, n.FilesChanged, l.puts)
	}
	l.same(sum.Snapshot)
}

func TestDryRun(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.cfg.Options.DryRun = true
	dry := l.backup()
	if l.total() != 0 || !dry.Snapshot.IsZero() {
		t.Errorf("a dry run put %v and made %s", l.puts, dry.Snapshot.Short())
	}
	if left, _ := filepath.Glob(filepath.Join(l.cfg.Folders.State, "*", "*", "*", "*")); len(left) > 0 {
		t.Errorf("a dry run left %q", left)
	}
	l.cfg.Options.DryRun = false
	wet := l.backup()
	if dry.Counts.Added != wet.Counts.Added || dry.Counts.FilesNew != wet.Counts.FilesNew {
		t.Errorf("the dry run promised %+v, the real one made %+v", dry.Counts, wet.Counts)
	}
	l.cfg.Options.DryRun = true
	if l.backup(); l.total() != 0 || l.asked != 0 {
		t.Errorf("a dry run with a cache put %v and asked %d", l.puts, l.asked)
	}
	l.cfg.Options.DryRun = false
	if l.backup(); l.total() != 1 {
		t.Errorf("after a dry run an unchanged run put %v", l.puts)
	}
}

func TestStream(t *testing.T) {
	for _, size := range []int{0, 1000, largeFile, 30 << 20} {
		l := newLab(t)
		content := random(11, size)
		stream := func(wait func() error) {
			src, err := Stream("tree/dump/db.sql", bytes.NewReader(content), wait)
			if err != nil {
				t.Fatal(err)
			}
			l.cfg.Source = src
		}
		waited := false
		stream(func() error { waited = true; return nil })
		sum := l.backup()
		if !waited || sum.Counts.FilesNew != 1 || sum.Counts.TotalBytes != uint64(size) {
			t.Errorf("%d bytes: waited %v, counts %+v", size, waited, sum.Counts)
		}
		got := l.snapshot(sum.Snapshot)["dump/db.sql"]
		l.write("dump/db.sql", content)
		if want := l.onDisk()["dump/db.sql"]; got.Content != want.Content || got.Size != want.Size {
			t.Errorf("%d bytes: got %+v, want %+v", size, got, want)
		}
		stream(nil)
		l.backup()
		if l.puts[object.KindChunk]+l.puts[object.KindBundle] != 0 {
			t.Errorf("%d bytes again: put %v", size, l.puts)
		}
		failed := errors.New("exit status 1")
		stream(func() error { return failed })
		if sum, err := l.try(context.Background()); !errors.Is(err, failed) || !sum.Snapshot.IsZero() {
			t.Errorf("%d bytes of a failing command: snapshot %s, %v", size, sum.Snapshot.Short(), err)
		}
	}
	for _, name := range []string{"", "/", "..", "a/../b", "a//b", "a\x00"} {
		if _, err := Stream(name, nil, nil); err == nil {
			t.Errorf("Stream(%q) was accepted", name)
		}
	}
}

// What can't be read is reported and left out; the snapshot has the rest.
func TestUnreadable(t *testing.T) {
	l := newLab(t)
	l.write("good", []byte("good"))
	l.write("gone", []byte("gone"))
	l.write("gone-large", random(1, 1<<20))
	l.source.Report = nil
	vanish := map[string]bool{"tree/gone": true, "tree/gone-large": true}
	calls := 0
	l.cfg.now = func() time.Time { // called once at the start, then for each new entry before it is read
		calls++
		for name := range vanish {
			if calls == 1 {
				break
			}
			os.Remove(filepath.Join(l.dir, strings.TrimPrefix(name, "tree/")))
		}
		return time.Now().Add(time.Hour)
	}
	sum := l.backup()
	if len(l.bad) != 2 || sum.Counts.Errors != 2 || !sum.Incomplete() {
		t.Errorf("problems %v, %d errors; want 2", l.bad, sum.Counts.Errors)
	}
	for _, p := range l.bad {
		if p.Kind != source.Vanished || !vanish[p.Path] {
			t.Errorf("unexpected problem %+v", p)
		}
	}
	got := l.snapshot(sum.Snapshot)
	if len(got) != 1 || got["good"].Type != tree.TypeFile {
		t.Errorf("snapshot holds %v", got)
	}
}
