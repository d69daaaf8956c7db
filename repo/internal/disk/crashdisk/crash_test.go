package crashdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
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
