package sender

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/packnback/packnback/repo/object"
	"golang.org/x/sys/unix"
)

func (l *lab) at(name string) string { return filepath.Join(l.dir, name) }

// links makes a file and further names of it.
func (l *lab) links(content []byte, name string, others ...string) {
	l.t.Helper()
	l.write(name, content)
	for _, other := range others {
		if err := os.Link(l.at(name), l.at(other)); err != nil {
			l.t.Fatal(err)
		}
	}
}

// onCall makes f what the nth question for the time does and answers: the first
// comes at the start, then one for each entry that is new, in walk order, when
// its folder was listed and before it is read.
func (l *lab) onCall(n int, f func(now time.Time) time.Time) {
	calls, now := 0, l.cfg.now
	l.cfg.now = func() time.Time {
		if calls++; calls == n {
			return f(now())
		}
		return now()
	}
}

// A file that is changed in the moment in which its first name is read is read
// again by the next run, however long after that the walk came to its other
// names.
func TestRacyLink(t *testing.T) {
	for size, n := range map[string]int{"small": 1000, "large": largeFile} {
		t.Run(size, func(t *testing.T) {
			l := newLab(t)
			l.links(random(1, n), "a", "b", "c")
			f, err := os.OpenFile(l.at("a"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			m, err := unix.Mmap(int(f.Fd()), 0, 1000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Skipf("files can't be mapped here: %v", err)
			}
			defer unix.Munmap(m)
			// The second write to a page that is dirty already moves no time stamp, as
			// any write does that comes within one tick of the file system's clock.
			m[0]++
			before, now := ctimeOf(t, f), l.cfg.now
			l.onCall(2, func(time.Time) time.Time { return before.Add(racyWindow / 2) })
			l.backup()
			l.cfg.now = now
			m[0]++
			if ctimeOf(t, f) != before {
				t.Skip("the page was written out meanwhile")
			}
			l.same(l.backup().Snapshot)
		})
	}
}

func ctimeOf(t *testing.T, f *os.File) time.Time {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return time.Unix(st.Ctim.Unix())
}

// When one name of a file becomes another file after the walk has seen both and
// before any is read, every name has its own contents or is reported. What is
// reported comes with the next run.
func TestReplacedLink(t *testing.T) {
	const outside = "../outside" // no part of the backup
	for _, c := range []struct {
		name   string
		change func(l *lab, content []byte) error // of a, b and c, names of one file, and d
		old    []string                           // names with what they were
		bad    []string                           // names that are reported
	}{
		{"first", func(l *lab, content []byte) error {
			l.write("../new", content)
			return os.Rename(l.at("../new"), l.at("a"))
		}, nil, []string{"b", "c"}},
		{"second", func(l *lab, content []byte) error {
			l.write("../new", content)
			return os.Rename(l.at("../new"), l.at("b"))
		}, []string{"b", "c"}, nil},
		{"first by a name of another", func(l *lab, _ []byte) error {
			return os.Rename(l.at(outside), l.at("a"))
		}, nil, []string{"b", "c"}},
		{"all, with the inode number of the old", func(l *lab, content []byte) error {
			err := errors.Join(os.Remove(l.at("a")), os.Remove(l.at("b")), os.Remove(l.at("c")))
			l.write("a", content)
			l.write("b", []byte("another"))
			return errors.Join(err, os.Link(l.at("a"), l.at("e")))
		}, nil, []string{"b", "c"}},
		{"all but the first", func(l *lab, content []byte) error {
			err := errors.Join(os.Remove(l.at("b")), os.Remove(l.at("c")))
			l.write("a", content)
			l.write("b", []byte("another"))
			return err
		}, nil, []string{"b", "c"}},
	} {
		for _, size := range []int{1000, largeFile} {
			t.Run(fmt.Sprintf("%s,size=%d", c.name, size), func(t *testing.T) {
				l := newLab(t)
				l.links(random(1, size), "a", "b", "c")
				l.links(random(2, size+1), "d", outside)
				want, now := l.onDisk(), l.cfg.now
				l.onCall(2, func(now time.Time) time.Time {
					if err := c.change(l, random(3, size+2)); err != nil {
						t.Error(err)
					}
					return now
				})
				sum := l.backup()
				l.cfg.now = now
				for name, s := range l.onDisk() {
					if !slices.Contains(c.old, name) {
						want[name] = s
					}
				}
				delete(want, "e") // was not there when the folder was listed
				for _, name := range c.bad {
					delete(want, name)
				}
				if d := cmp.Diff(want, l.snapshot(sum.Snapshot)); d != "" {
					t.Errorf("snapshot (-want +got):\n%s", d)
				}
				var bad []string
				for _, p := range l.bad {
					bad = append(bad, strings.TrimPrefix(p.Path, "tree/"))
				}
				if d := cmp.Diff(c.bad, bad); d != "" || sum.Incomplete() != (len(bad) > 0) {
					t.Errorf("problems %v (-want +got):\n%s", l.bad, d)
				}
				l.same(l.backup().Snapshot)
				if len(l.bad) != 0 {
					t.Errorf("problems of the second run: %v", l.bad)
				}
			})
		}
	}
}

// What is written into a file under one name is what the others have, and when.
func TestGrowingLink(t *testing.T) {
	l := newLab(t)
	l.links(random(1, 1000), "a", "b")
	l.links(random(1, 2*largeFile), "c", "d")
	now := l.cfg.now
	l.onCall(2, func(now time.Time) time.Time {
		l.write("b", random(2, 2000))
		l.write("d", random(2, 3*largeFile))
		return now
	})
	l.same(l.backup().Snapshot)
	l.cfg.now = now
	l.same(l.backup().Snapshot)
}

// A file that was replaced is stored with all that goes with it.
func TestReplaced(t *testing.T) {
	for _, size := range []int{1000, largeFile} {
		t.Run(fmt.Sprintf("size=%d", size), func(t *testing.T) {
			l := newLab(t)
			l.cfg.Options.WithAtime = true
			l.write("f", random(1, size))
			const outside = "../outside"
			l.links(random(2, size), outside, "../outside2")
			mtime, atime := time.Unix(1_600_000_000, 7), time.Unix(1_700_000_000, 8)
			if err := errors.Join(os.Chmod(l.at(outside), 0o640), os.Chtimes(l.at(outside), atime, mtime)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(l.at(outside), 1, 2); err != nil && !errors.Is(err, os.ErrPermission) {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"f": "old", outside: "new"} {
				if err := unix.Setxattr(l.at(name), "user.of", []byte(value), 0); err != nil && err != unix.EOPNOTSUPP {
					t.Fatal(err)
				}
			}
			now := l.cfg.now
			l.onCall(2, func(now time.Time) time.Time {
				if err := os.Rename(l.at(outside), l.at("f")); err != nil {
					t.Error(err)
				}
				return now
			})
			got := l.entry(l.backup().Snapshot, "f")
			l.cfg.now = now
			want := l.entry(l.backup().Snapshot, "f") // read again, without a race
			if d := cmp.Diff(want, got); d != "" || got.LinkID == 0 || got.Mode != 0o640 || got.Atime.Nsec != 8 {
				t.Errorf("got %+v, want (-want +got):\n%s", got, d)
			}
		})
	}
}

// A file's contents, mode and extended attributes are of one file while two
// change places under its name.
func TestSwapped(t *testing.T) {
	l := newLab(t)
	const files = 40
	name := func(i int) string { return fmt.Sprintf("f%02d", i) }
	size := func(i int) int {
		if i%10 == 0 {
			return largeFile
		}
		return 1000
	}
	for i := range files {
		for dir, mode := range map[string]os.FileMode{"": 0o600, "../": 0o640} {
			path := dir + name(i)
			l.write(path, random(uint64(mode), size(i)+int(mode)))
			if err := errors.Join(os.Chmod(l.at(path), mode), unix.Setxattr(l.at(path), "user.mode", []byte(mode.String()), 0)); err != nil {
				t.Skipf("no extended attributes here: %v", err)
			}
		}
	}
	swap := func(i int) error {
		return unix.Renameat2(unix.AT_FDCWD, l.at(name(i)), unix.AT_FDCWD, l.at("../"+name(i)), unix.RENAME_EXCHANGE)
	}
	if err := swap(0); err != nil {
		t.Skipf("files can't change places here: %v", err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i = (i + 1) % files {
			select {
			case <-stop:
				return
			default:
			}
			if err := swap(i); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	defer func() {
		close(stop)
		<-done
	}()
	for range 3 {
		id := l.backup().Snapshot
		for i := range files {
			e := l.entry(id, name(i))
			want := os.FileMode(e.Mode)
			if len(e.Xattrs) != 1 || string(e.Xattrs[0].Value) != want.String() || e.Size != uint64(size(i))+uint64(want) {
				t.Errorf("%s: mode %s, attributes %q, %d bytes", name(i), want, e.Xattrs, e.Size)
			}
		}
	}
}

// What the store has lost of a large file is sent again, even if the name that it
// was read under has left the backup.
func TestLostUnderOtherName(t *testing.T) {
	l := newLab(t)
	l.links(random(1, 16<<20), "d/a", "e")
	lost := l.objects(object.KindChunk, l.backup().Snapshot)
	if len(lost) <= maxDirect {
		t.Fatalf("%d chunks, want a list of them", len(lost))
	}
	if err := os.Rename(l.at("d"), l.at("../d")); err != nil { // which moves no time stamp of the file
		t.Fatal(err)
	}
	if sum := l.backup(); sum.Counts.FilesUnmodified != 1 {
		t.Fatalf("the name that is left: %+v", sum.Counts)
	}
	if err := l.repo.MarkBad(t.Context(), lost[:1]); err != nil {
		t.Fatal(err)
	}
	sum := l.backup()
	if l.asked == 0 || l.puts[object.KindChunk] != 1 {
		t.Errorf("asked %d, put %v; want one chunk", l.asked, l.puts)
	}
	l.complete(sum.Snapshot)
	l.backup()
	if l.puts[object.KindKey] != l.total() {
		t.Errorf("after that an unchanged run put %v", l.puts)
	}
}
