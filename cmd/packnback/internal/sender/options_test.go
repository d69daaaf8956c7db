package sender

import (
	"errors"
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

// touch gives a file another ctime (and with copy another inode) and leaves all
// else as it was.
func (l *lab) touch(name string, replace bool) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	info, err := os.Stat(path)
	if err != nil {
		l.t.Fatal(err)
	}
	if replace {
		b, err := os.ReadFile(path)
		if err := errors.Join(err, os.WriteFile(path+".tmp", b, 0o644), os.Rename(path+".tmp", path)); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		l.t.Fatal(err)
	}
}

// Which files are read again shows in what happens when their contents change
// behind the back of all that is compared.
func TestIgnore(t *testing.T) {
	for _, c := range []struct {
		name    string
		opt     func(*Options)
		replace bool // the file gets another inode, too
		read    bool
	}{
		{"neither", func(*Options) {}, false, true},
		{"ctime", func(o *Options) { o.IgnoreCtime = true }, false, false},
		{"ctime, new inode", func(o *Options) { o.IgnoreCtime = true }, true, true},
		{"inode, new ctime", func(o *Options) { o.IgnoreInode = true }, true, true},
		{"both", func(o *Options) { o.IgnoreCtime, o.IgnoreInode = true, true }, true, false},
	} {
		l := newLab(t)
		c.opt(&l.cfg.Options)
		l.write("f", []byte("contents one"))
		l.backup()
		info, err := os.Stat(filepath.Join(l.dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		if c.replace {
			l.touch("f", true)
		}
		l.write("f", []byte("contents two"))
		if err := os.Chtimes(filepath.Join(l.dir, "f"), time.Time{}, info.ModTime()); err != nil {
			t.Fatal(err)
		}
		l.backup()
		if read := l.puts[object.KindBundle] == 1; read != c.read {
			t.Errorf("%s: read %v, want %v", c.name, read, c.read)
		}
	}
}

func TestAtime(t *testing.T) {
	l := newLab(t)
	l.cfg.Options.WithAtime = true
	l.write("f", []byte("x"))
	atime := time.Unix(1_500_000_000, 5)
	set := func(at time.Time) {
		t.Helper()
		info, err := os.Stat(filepath.Join(l.dir, "f"))
		if err := errors.Join(err, os.Chtimes(filepath.Join(l.dir, "f"), at, info.ModTime())); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		set(atime)
		e := l.entry(l.backup().Snapshot, "f")
		if want := (tree.Time{Sec: atime.Unix(), Nsec: 5}); !e.HasAtime || e.Atime != want {
			t.Errorf("access time %v %+v, want %+v", e.HasAtime, e.Atime, want)
		}
		if l.puts[object.KindChunk] != 0 {
			t.Errorf("put %v", l.puts)
		}
		atime = atime.Add(time.Hour)
	}
	l.cfg.Options.WithAtime = false
	if e := l.entry(l.backup().Snapshot, "f"); e.HasAtime {
		t.Errorf("access time %+v without being asked for", e.Atime)
	}
}

// A file that grows between lstat and open is stored as it was when read, and
// one that keeps changing is reported.
func TestGrowing(t *testing.T) {
	l := newLab(t)
	l.write("a-grows", []byte("short"))
	l.write("b-grows-large", random(1, 1000))
	l.write("c-shrinks", []byte(strings.Repeat("long ", 1000)))
	calls := 0
	now := l.cfg.now
	l.cfg.now = func() time.Time { // after the folder was listed, before any of these is read
		if calls++; calls == 2 {
			l.write("a-grows", []byte("not so short any more"))
			l.write("b-grows-large", random(1, 1<<20))
			l.write("c-shrinks", []byte("short"))
		}
		return now()
	}
	sum := l.backup()
	l.cfg.now = now
	got, want := l.snapshot(sum.Snapshot), l.onDisk()
	for _, name := range []string{"a-grows", "c-shrinks"} {
		if got[name] != want[name] {
			t.Errorf("%s: got %+v, want %+v", name, got[name], want[name])
		}
	}
	// What no bundle has room for is cut short, said, and whole the next time.
	if len(l.bad) != 1 || l.bad[0].Path != "tree/b-grows-large" || got["b-grows-large"].Size != largeFile-1 {
		t.Errorf("problems %v, %d bytes", l.bad, got["b-grows-large"].Size)
	}
	l.same(l.backup().Snapshot)
	if len(l.bad) != 0 {
		t.Errorf("problems of the second run: %v", l.bad)
	}
}

// A file that grows to what no bundle has room for is stored whole or reported,
// up to the last byte.
func TestGrowingToLarge(t *testing.T) {
	for _, from := range []int{1000, largeFile - 2, largeFile - 1} {
		for to := largeFile - 1; to <= largeFile+1; to++ {
			if from == to {
				continue
			}
			l := newLab(t)
			l.write("f", random(1, from))
			now := l.cfg.now
			l.onCall(2, func(now time.Time) time.Time {
				l.write("f", random(2, to))
				return now
			})
			sum := l.backup()
			l.cfg.now = now
			whole := l.snapshot(sum.Snapshot)["f"] == l.onDisk()["f"]
			if whole != (to < largeFile) || sum.Incomplete() == whole || len(l.bad) > 1 {
				t.Errorf("from %d to %d bytes: whole %v, problems %v", from, to, whole, l.bad)
			}
			l.same(l.backup().Snapshot)
		}
	}
}

// A cache below what is backed up is left out: it changes under the walk.
func TestCacheInTree(t *testing.T) {
	l := newLab(t)
	l.cfg.Folders.Cache = filepath.Join(l.dir, ".cache", "packnback")
	l.write("f", random(1, 2000))
	for range 3 {
		sum := l.backup()
		if sum.Incomplete() || len(l.bad) != 1 || l.bad[0].Kind != source.Skipped {
			t.Errorf("problems %v, want one folder skipped", l.bad)
		}
		got := l.snapshot(sum.Snapshot)
		if _, ok := got[".cache/packnback/CACHEDIR.TAG"]; !ok || len(got) < 5 {
			t.Errorf("snapshot holds %v", got)
		}
		for path := range got {
			if strings.Contains(path, "partial") || strings.Contains(path, "walk") {
				t.Errorf("snapshot holds %q", path)
			}
		}
	}
}

// Paths far beyond what the kernel takes are stored, and absurd ones reported.
func TestDeepTree(t *testing.T) {
	l := newLab(t)
	l.write("a-file", []byte("x"))
	name := strings.Repeat("n", 250)
	fd, err := unix.Open(l.dir, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	levels := maxPath/(len(name)+1) + 3
	for range levels {
		err := unix.Mkdirat(fd, name, 0o755)
		next, openErr := unix.Openat(fd, name, unix.O_DIRECTORY, 0)
		if err := errors.Join(err, openErr, unix.Close(fd)); err != nil {
			t.Fatal(err)
		}
		fd = next
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		sum := l.backup()
		if len(l.bad) != 1 || !errors.Is(l.bad[0].Err, errTooDeep) || !sum.Incomplete() {
			t.Errorf("%d problems, want one about the depth", len(l.bad))
		}
		if got, want := len(l.snapshot(sum.Snapshot)), maxPath/(len(name)+1)+1; got != want {
			t.Errorf("%d paths, want %d", got, want)
		}
	}
	if l.puts[object.KindDir] != 0 {
		t.Errorf("an unchanged deep tree put %v", l.puts)
	}
}
