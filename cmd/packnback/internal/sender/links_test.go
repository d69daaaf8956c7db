package sender

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// links makes a file and further names of it.
func (l *lab) links(content []byte, name string, others ...string) {
	l.t.Helper()
	l.write(name, content)
	for _, other := range others {
		if err := os.Link(filepath.Join(l.dir, name), filepath.Join(l.dir, other)); err != nil {
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
			f, err := os.OpenFile(filepath.Join(l.dir, "a"), os.O_RDWR, 0)
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
