package crashdisk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
)

// seeds is how many power cuts a test looks at: enough that every outcome
// the model has shows, as the tests check.
const seeds = 300

// dump describes everything on a Disk.
func dump(t *testing.T, fsys disk.FS) string {
	t.Helper()
	var out []string
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := fsys.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name)
			if e.Dir {
				out = append(out, name+"/")
				walk(name)
				continue
			}
			b, err := disk.ReadFile(fsys, name, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%s=%s", name, b))
		}
	}
	walk(".")
	return strings.Join(out, " ")
}

// outcomes returns what is found after power cuts of all seeds, and how often.
func outcomes(t *testing.T, d *Disk) map[string]int {
	t.Helper()
	found := map[string]int{}
	for seed := range uint64(seeds) {
		found[dump(t, d.Crash(seed).Process())]++
	}
	return found
}

// wantOutcomes checks that exactly the wanted outcomes are found, each at
// least once.
func wantOutcomes(t *testing.T, d *Disk, want ...string) {
	t.Helper()
	found := outcomes(t, d)
	for _, w := range want {
		if found[w] == 0 {
			t.Errorf("never found: %q", w)
		}
		delete(found, w)
	}
	for f, n := range found {
		t.Errorf("found %d times, should not be: %q", n, f)
	}
}

func syncDirs(t *testing.T, fsys disk.FS, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := fsys.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNamesNeedSyncDir(t *testing.T) {
	d := New()
	p := d.Process()
	put(t, p, "a", "1") // synced by put, but for its name
	put(t, p, "b", "2")
	wantOutcomes(t, d, "", "a=1", "b=2", "a=1 b=2")
	syncDirs(t, p, ".")
	wantOutcomes(t, d, "a=1 b=2")
	if err := p.Remove("a"); err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, d, "a=1 b=2", "b=2")
	syncDirs(t, p, ".")
	wantOutcomes(t, d, "b=2")
}

func TestFolderIsLostWithAllBelow(t *testing.T) {
	d := New()
	p := d.Process()
	if err := p.Mkdir("x/y"); err != nil {
		t.Fatal(err)
	}
	put(t, p, "x/y/f", "1")
	syncDirs(t, p, "x/y")
	wantOutcomes(t, d, "", "x/", "x/ x/y/ x/y/f=1")
	syncDirs(t, p, "x")
	wantOutcomes(t, d, "", "x/ x/y/ x/y/f=1")
	syncDirs(t, p, ".")
	wantOutcomes(t, d, "x/ x/y/ x/y/f=1")
}

func TestRenameIsNeverLostTwice(t *testing.T) {
	for name, rename := range map[string]func(p *Process) error{
		"publish": func(p *Process) error { return p.Publish("tmp/f", "to/f") },
		"replace": func(p *Process) error { return p.Replace("tmp/f", "to/f") },
	} {
		t.Run(name, func(t *testing.T) {
			d := New()
			p := d.Process()
			p.Mkdir("tmp")
			p.Mkdir("to")
			put(t, p, "tmp/f", "1")
			syncDirs(t, p, ".", "tmp", "to")
			if err := rename(p); err != nil {
				t.Fatal(err)
			}
			const old, both, moved = "tmp/ tmp/f=1 to/", "tmp/ tmp/f=1 to/ to/f=1", "tmp/ to/ to/f=1"
			wantOutcomes(t, d, old, both, moved)
			syncDirs(t, p, "to")
			wantOutcomes(t, d, both, moved)
			syncDirs(t, p, "tmp")
			wantOutcomes(t, d, moved)
		})
	}
}

func TestSyncOfTheOldNamesFolderMakesTheNewOneDurable(t *testing.T) {
	d := New()
	p := d.Process()
	p.Mkdir("tmp")
	put(t, p, "tmp/f", "1")
	syncDirs(t, p, ".", "tmp")
	p.Mkdir("to/deep")
	if err := p.Publish("tmp/f", "to/deep/f"); err != nil {
		t.Fatal(err)
	}
	syncDirs(t, p, "tmp")
	wantOutcomes(t, d, "tmp/ to/ to/deep/ to/deep/f=1")
}

func TestRenameChain(t *testing.T) {
	d := New()
	p := d.Process()
	put(t, p, "a", "1")
	syncDirs(t, p, ".")
	if err := errors.Join(p.Publish("a", "b"), p.Publish("b", "c")); err != nil {
		t.Fatal(err)
	}
	for found := range outcomes(t, d) {
		if !strings.Contains(found, "=1") {
			t.Errorf("all names are gone: %q", found)
		}
	}
}

func TestReplaceLeavesOneOfAll(t *testing.T) {
	d := New()
	p := d.Process()
	put(t, p, "CURRENT", "0")
	syncDirs(t, p, ".")
	for i := range 3 {
		put(t, p, "new", fmt.Sprint(i+1))
		if err := p.Replace("new", "CURRENT"); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for found := range outcomes(t, d) {
		current, _, _ := strings.Cut(found, " ")
		seen[current] = true
	}
	want := map[string]bool{"CURRENT=0": true, "CURRENT=1": true, "CURRENT=2": true, "CURRENT=3": true}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestUnsyncedBytes(t *testing.T) {
	d := New()
	p := d.Process()
	f, err := p.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Repeat("s", 5000)
	f.Write([]byte(first))
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	syncDirs(t, p, ".")
	f.Write([]byte(strings.Repeat("u", 20000)))
	kinds := map[string]int{}
	for seed := range uint64(seeds) {
		b, err := disk.ReadFile(d.Crash(seed).Process(), "f", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), first) {
			t.Fatalf("seed %d: synced bytes are gone", seed)
		}
		rest := strings.Trim(string(b[5000:]), "u")
		switch {
		case len(b) == 25000 && rest == "":
			kinds["whole"]++
		case len(b) == 5000:
			kinds["all lost"]++
		case len(b)%pageSize != 0 && len(b) < 25000:
			kinds["any length"]++
		}
		switch {
		case rest == "":
		case strings.Trim(rest, "\x00") == "":
			kinds["zeros"]++
		case strings.Trim(rest, "\x00u") == "":
			kinds["zeros between"]++
		default:
			kinds["garbage"]++
		}
	}
	for _, k := range []string{"whole", "all lost", "any length", "zeros", "zeros between", "garbage"} {
		if kinds[k] == 0 {
			t.Errorf("never found: %s; found %v", k, kinds)
		}
	}
	b, err := disk.ReadFile(d.Crash(LoseAll).Process(), "f", 1<<20)
	if err != nil || string(b) != first {
		t.Errorf("LoseAll left %d bytes, %v", len(b), err)
	}
	b, err = disk.ReadFile(d.Crash(KeepAll).Process(), "f", 1<<20)
	if err != nil || len(b) != 25000 || strings.Contains(string(b), "\x00") {
		t.Errorf("KeepAll left %d bytes, %v", len(b), err)
	}
}

func TestFailedSyncIsNeverMadeGood(t *testing.T) {
	d := New()
	p := d.Process()
	f, err := p.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	syncDirs(t, p, ".")
	f.Write([]byte("bytes"))
	d.Fail(FailNth(1, syscall.EIO, func(op Op) bool { return op.Kind == OpSync }))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("failing Sync: %v", err)
	}
	if err := f.Sync(); err != nil {
		t.Errorf("next Sync: %v", err)
	}
	if got := dump(t, d.Crash(LoseAll).Process()); got == "f=bytes" {
		t.Errorf("bytes of a failed Sync are durable: %q", got)
	}
}

func TestSameSeedSameDisk(t *testing.T) {
	run := func() *Disk {
		d := New()
		p := d.Process()
		p.Mkdir("a/b")
		for i := range 20 {
			put(t, p, fmt.Sprintf("a/b/%d", i), strings.Repeat("x", i*1000))
			if i%3 == 0 {
				p.Publish(fmt.Sprintf("a/b/%d", i), fmt.Sprintf("a/%d", i))
			}
			if i%5 == 0 {
				syncDirs(t, p, "a")
			}
		}
		return d
	}
	a, b := run(), run()
	for seed := range uint64(50) {
		if dump(t, a.Crash(seed).Process()) != dump(t, b.Crash(seed).Process()) {
			t.Fatalf("seed %d gives two results", seed)
		}
	}
	if before := dump(t, a.Process()); before != dump(t, b.Process()) {
		t.Error("Crash changed the running Disk")
	}
}

// TestPublishProtocol cuts a careful writer after every call and with many
// seeds: whoever finds the name finds all the bytes, and after the last call
// the name is found.
func TestPublishProtocol(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1000)
	d := New()
	p := d.Process()
	p.Mkdir("tmp")
	p.Mkdir("to")
	syncDirs(t, p, ".")
	cuts := 0
	d.After(func(op Op) {
		if !op.Kind.Changes() {
			return
		}
		for seed := range uint64(30) {
			cuts++
			b, err := disk.ReadFile(d.Crash(seed).Process(), "to/f", 1<<20)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil || string(b) != content {
				t.Fatalf("cut after %v, seed %d: %d bytes, %v", op, seed, len(b), err)
			}
		}
	})
	put(t, p, "tmp/f", content)
	if err := p.Publish("tmp/f", "to/f"); err != nil {
		t.Fatal(err)
	}
	syncDirs(t, p, "to")
	d.After(nil)
	for found := range outcomes(t, d) {
		if !strings.Contains(found, "to/f="+content) {
			t.Errorf("lost after the last call: %.40q", found)
		}
	}
	if cuts < 100 {
		t.Errorf("only %d cuts", cuts)
	}
}

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
