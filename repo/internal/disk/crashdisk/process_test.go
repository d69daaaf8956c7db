package crashdisk

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
)

func TestKill(t *testing.T) {
	d := New()
	a, b := d.Process(), d.Process()
	f, err := a.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("text"))
	l := mustLock(t, a, disk.Exclusive)
	if got := a.Locked(); !slices.Equal(got, []string{"lock"}) {
		t.Errorf("Locked: %v", got)
	}
	waiting := make(chan error)
	d.After(func(op Op) {
		if op.Kind == OpLock {
			go a.Kill()
		}
	})
	go func() {
		l, err := b.Lock(context.Background(), "lock", disk.Exclusive)
		if err == nil {
			err = l.Unlock()
		}
		waiting <- err
	}()
	if err := <-waiting; err != nil {
		t.Errorf("lock after its holder was killed: %v", err)
	}
	d.After(nil)
	_, writeErr := f.Write([]byte("more"))
	_, openErr := a.Open("f")
	_, linkedErr := l.Linked()
	for call, err := range map[string]error{"Write": writeErr, "Open": openErr, "Linked": linkedErr, "Unlock": l.Unlock(), "Sync": f.Sync(), "Close": f.Close()} {
		if !errors.Is(err, ErrKilled) {
			t.Errorf("%s of a killed process: %v", call, err)
		}
	}
	wantContent(t, b, "f", "text")
	if got := a.Locked(); len(got) != 0 {
		t.Errorf("Locked after Kill: %v", got)
	}
}

func TestKillEndsWaiting(t *testing.T) {
	d := New()
	a, b := d.Process(), d.Process()
	mustLock(t, a, disk.Exclusive)
	d.After(func(op Op) {
		if op.Process == 2 {
			go d.PowerOff()
		}
	})
	if _, err := b.Lock(context.Background(), "lock", disk.Shared); !errors.Is(err, ErrKilled) {
		t.Errorf("waiting in a killed process: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	d := New()
	p := d.Process()
	put(t, p, "a", strings.Repeat("x", 60))
	d.SetCapacity(100)
	if free, total, err := p.Free(); free != 40 || total != 100 || err != nil {
		t.Errorf("Free: %d of %d, %v", free, total, err)
	}
	f, err := p.Create("b")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write(make([]byte, 50)); n != 40 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if _, err := p.Create("c"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Create: %v", err)
	}
	if err := p.Publish("b", "d"); err != nil {
		t.Errorf("a rename needs no space: %v", err)
	}
	if err := p.Remove("d"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Create("c"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a removed file that is open needs its space: %v", err)
	}
	f.Close()
	put(t, p, "c", strings.Repeat("y", 40))
	if d.Used() != 100 {
		t.Errorf("Used: %d", d.Used())
	}
}

func TestFail(t *testing.T) {
	d := New()
	p := d.Process()
	boom := errors.New("boom")
	d.Fail(FailNth(2, boom, func(op Op) bool { return op.Kind == OpCreate && strings.HasPrefix(op.Name, "x") }))
	put(t, p, "x1", "")
	put(t, p, "y", "")
	if _, err := p.Create("x2"); !errors.Is(err, boom) {
		t.Errorf("second matching call: %v", err)
	}
	put(t, p, "x2", "")
	d.Fail(func(op Op) error {
		if op.Kind == OpWrite {
			return syscall.EIO
		}
		return nil
	})
	f, err := p.Append("y")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte("abcd")); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("failing Write: %d, %v", n, err)
	}
	wantContent(t, p, "y", "ab")
	if d.Ops() == 0 {
		t.Error("no calls counted")
	}
}

func TestCorrupt(t *testing.T) {
	d := New()
	p := d.Process()
	put(t, p, "f", "text")
	f, err := p.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Map()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Corrupt("f", func(b []byte) []byte { b[0] ^= 1; return b[:3] }); err != nil {
		t.Fatal(err)
	}
	wantContent(t, p, "f", "uex")
	if string(m) != "text" {
		t.Errorf("mapping made before: %q", m)
	}
	if err := d.Corrupt("none", func(b []byte) []byte { return b }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Corrupt of nothing: %v", err)
	}
}
