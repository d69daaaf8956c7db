package crashdisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk"
)

// conformance is what every disk.FS must do. each gets two FS on one empty
// folder, as two processes have them.
var conformance = map[string]func(t *testing.T, a, b disk.FS){
	"create and read": func(t *testing.T, a, b disk.FS) {
		put(t, a, "f", "hello")
		wantContent(t, b, "f", "hello")
		if _, err := b.Create("f"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create of a taken name: %v", err)
		}
		if _, err := a.Create("no/f"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Create in a missing folder: %v", err)
		}
	},
	"missing": func(t *testing.T, a, _ disk.FS) {
		_, openErr := a.Open("x")
		_, appendErr := a.Append("x")
		_, statErr := a.Stat("x")
		_, listErr := a.List("x")
		for call, err := range map[string]error{
			"Open": openErr, "Append": appendErr, "Stat": statErr, "List": listErr,
			"Remove": a.Remove("x"), "SyncDir": a.SyncDir("x"), "Publish": a.Publish("x", "y"), "Replace": a.Replace("x", "y"),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of a missing name: got %v, want fs.ErrNotExist", call, err)
			}
		}
	},
	"invalid names": func(t *testing.T, a, _ disk.FS) {
		for _, name := range []string{"", "/f", "../f", "a/../f", "a//f", "f/", "./f"} {
			_, openErr := a.Open(name)
			_, createErr := a.Create(name)
			for call, err := range map[string]error{"Open": openErr, "Create": createErr, "Mkdir": a.Mkdir(name), "Remove": a.Remove(name)} {
				if !errors.Is(err, fs.ErrInvalid) {
					t.Errorf("%s(%q): got %v, want fs.ErrInvalid", call, name, err)
				}
			}
		}
	},
	"append": func(t *testing.T, a, b disk.FS) {
		put(t, a, "f", "one")
		f, err := b.Append("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		g, err := a.Append("f")
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		io.WriteString(f, "two")
		io.WriteString(g, "three")
		io.WriteString(f, "four")
		wantContent(t, a, "f", "onetwothreefour")
	},
	"read only": func(t *testing.T, a, _ disk.FS) {
		put(t, a, "f", "text")
		f, err := a.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if n, err := io.WriteString(f, "more"); n != 0 || err == nil {
			t.Errorf("writing to a file opened for reading: %d, %v", n, err)
		}
		wantContent(t, a, "f", "text")
	},
	"read at": func(t *testing.T, a, _ disk.FS) {
		put(t, a, "f", "0123456789")
		f, err := a.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 4)
		if n, err := f.ReadAt(b, 3); n != 4 || err != nil || string(b) != "3456" {
			t.Errorf("in the middle: %d, %v, %q", n, err, b)
		}
		if n, err := f.ReadAt(b, 8); n != 2 || err != io.EOF || string(b[:n]) != "89" {
			t.Errorf("over the end: %d, %v, %q", n, err, b[:n])
		}
		if n, err := f.ReadAt(b, 10); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if _, err := f.ReadAt(b, -1); err == nil {
			t.Error("before the beginning: no error")
		}
	},
	"created file is readable": func(t *testing.T, a, _ disk.FS) {
		f, err := a.Create("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		io.WriteString(f, "abc")
		b := make([]byte, 3)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "abc" {
			t.Errorf("%q, %v", b, err)
		}
		if n, err := f.Size(); n != 3 || err != nil {
			t.Errorf("Size: %d, %v", n, err)
		}
	},
	"map": func(t *testing.T, a, _ disk.FS) {
		put(t, a, "f", strings.Repeat("page", 3000))
		put(t, a, "empty", "")
		f, err := a.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := f.Map(); err != nil || string(b) != strings.Repeat("page", 3000) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if b, err := f.Map(); err != nil || len(b) != 12000 {
			t.Errorf("second time: %d bytes, %v", len(b), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err == nil {
			t.Error("second Close: no error")
		}
		e, err := a.Open("empty")
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if b, err := e.Map(); b != nil || err != nil {
			t.Errorf("empty file: %v, %v", b, err)
		}
	},
	"folders": func(t *testing.T, a, b disk.FS) {
		for range 2 {
			if err := a.Mkdir("x/y/z"); err != nil {
				t.Fatal(err)
			}
		}
		put(t, b, "x/y/f", "12")
		put(t, b, "x/y/a", "")
		entries, err := a.List("x/y")
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(names(entries)); got != "[a f z]" || !entries[2].Dir || entries[1].Size != 2 || entries[1].ModTime <= 0 {
			t.Errorf("List: %+v", entries)
		}
		if e, err := b.Stat("x/y"); err != nil || !e.Dir || e.Name != "y" {
			t.Errorf("Stat: %+v, %v", e, err)
		}
		if e, err := b.Stat("."); err != nil || !e.Dir || e.Name != "." {
			t.Errorf("Stat of the folder itself: %+v, %v", e, err)
		}
		if err := a.Remove("x/y"); err == nil {
			t.Error("a folder that is not empty was removed")
		}
		if err := errors.Join(a.Remove("x/y/z"), a.SyncDir("x/y"), a.SyncDir(".")); err != nil {
			t.Error(err)
		}
		if err := a.Mkdir("x/y/f"); err == nil {
			t.Error("a folder was made over a file")
		}
		if _, err := a.List("x/y/f"); err == nil {
			t.Error("a file was listed")
		}
	},
	"publish": func(t *testing.T, a, b disk.FS) {
		a.Mkdir("d")
		put(t, a, "tmp1", "one")
		put(t, a, "tmp2", "two")
		if err := a.Publish("tmp1", "d/f"); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish("tmp2", "d/f"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Publish onto a taken name: %v", err)
		}
		wantContent(t, b, "d/f", "one")
		wantContent(t, b, "tmp2", "two")
		if _, err := b.Stat("tmp1"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("old name after Publish: %v", err)
		}
		if err := b.Publish("tmp2", "no/f"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Publish into a missing folder: %v", err)
		}
	},
	"replace": func(t *testing.T, a, b disk.FS) {
		put(t, a, "f", "old")
		old, err := b.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		put(t, a, "tmp", "new")
		if err := a.Replace("tmp", "f"); err != nil {
			t.Fatal(err)
		}
		wantContent(t, b, "f", "new")
		buf := make([]byte, 3)
		if _, err := old.ReadAt(buf, 0); err != nil || string(buf) != "old" {
			t.Errorf("file opened before: %q, %v", buf, err)
		}
		put(t, a, "tmp", "more")
		if err := a.Replace("tmp", "free"); err != nil {
			t.Errorf("Replace of nothing: %v", err)
		}
		wantContent(t, b, "free", "more")
	},
	"remove while open": func(t *testing.T, a, b disk.FS) {
		put(t, a, "f", "text")
		f, err := a.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := f.Map()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Remove("f"); err != nil {
			t.Fatal(err)
		}
		if string(m) != "text" {
			t.Errorf("mapping after Remove: %q", m)
		}
		if _, err := b.Open("f"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open after Remove: %v", err)
		}
		put(t, b, "f", "again")
	},
	"free": func(t *testing.T, a, _ disk.FS) {
		if free, total, err := a.Free(); err != nil || total == 0 || free > total {
			t.Errorf("%d of %d, %v", free, total, err)
		}
	},
	"locks exclude": func(t *testing.T, a, b disk.FS) {
		s1 := mustLock(t, a, disk.Shared)
		s2 := mustLock(t, b, disk.Shared)
		wantLocked(t, a, disk.Exclusive)
		unlock(t, s1)
		wantLocked(t, a, disk.Exclusive)
		unlock(t, s2)
		x := mustLock(t, a, disk.Exclusive)
		wantLocked(t, b, disk.Shared)
		wantLocked(t, b, disk.Exclusive)
		wantLocked(t, a, disk.Exclusive) // a lock belongs to its Lock call, not to the process
		unlock(t, x)
		unlock(t, mustLock(t, b, disk.Exclusive))
	},
	"locks wait": func(t *testing.T, a, b disk.FS) {
		x := mustLock(t, a, disk.Exclusive)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				l, err := b.Lock(context.Background(), "lock", disk.Exclusive)
				if err != nil {
					t.Error(err)
					return
				}
				unlock(t, l)
			})
		}
		unlock(t, x)
		wg.Wait()
	},
	"lock context": func(t *testing.T, a, b disk.FS) {
		defer unlock(t, mustLock(t, a, disk.Exclusive))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		if _, err := b.Lock(ctx, "lock", disk.Shared); !errors.Is(err, disk.ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrLocked and DeadlineExceeded", err)
		}
	},
	"linked": func(t *testing.T, a, b disk.FS) {
		l := mustLock(t, a, disk.Exclusive)
		wantLinked(t, l, true)
		if err := b.Remove("lock"); err != nil {
			t.Fatal(err)
		}
		wantLinked(t, l, false)
		other := mustLock(t, b, disk.Exclusive) // of a new file
		wantLinked(t, l, false)
		wantLinked(t, other, true)
		unlock(t, l)
		unlock(t, other)
	},
	"lock content": func(t *testing.T, a, b disk.FS) {
		put(t, a, "lock", "text")
		l := mustLock(t, b, disk.Exclusive)
		wantContent(t, a, "lock", "text")
		unlock(t, l)
	},
}

func TestConformance(t *testing.T) {
	for name, run := range conformance {
		t.Run("os/"+name, func(t *testing.T) {
			dir := t.TempDir()
			run(t, disk.OS(dir), disk.OS(dir))
		})
		t.Run("crashdisk/"+name, func(t *testing.T) {
			d := New()
			run(t, d.Process(), d.Process())
		})
		t.Run("after crash/"+name, func(t *testing.T) {
			d := New().Crash(7)
			run(t, d.Process(), d.Process())
		})
	}
}

func put(t *testing.T, fsys disk.FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, fsys disk.FS, name, want string) {
	t.Helper()
	if got, err := disk.ReadFile(fsys, name, 1<<30); err != nil || string(got) != want {
		t.Errorf("%s: got %.100q, %v, want %.100q", name, got, err, want)
	}
}

func names(entries []disk.Entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

func mustLock(t *testing.T, fsys disk.FS, mode disk.LockMode) disk.Lock {
	t.Helper()
	l, err := fsys.Lock(context.Background(), "lock", mode)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unlock(t *testing.T, l disk.Lock) {
	t.Helper()
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func wantLocked(t *testing.T, fsys disk.FS, mode disk.LockMode) {
	t.Helper()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if l, err := fsys.Lock(ended, "lock", mode); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("lock of mode %d: got %v, %v, want ErrLocked", mode, l, err)
	}
}

func wantLinked(t *testing.T, l disk.Lock, want bool) {
	t.Helper()
	if got, err := l.Linked(); got != want || err != nil {
		t.Errorf("Linked: got %v, %v, want %v", got, err, want)
	}
}
