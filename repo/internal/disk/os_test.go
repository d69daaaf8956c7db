package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, fsys FS, name, text string) {
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

func read(t *testing.T, fsys FS, name string) string {
	t.Helper()
	b, err := ReadFile(fsys, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOSNamesStayBelowTheFolder(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fsys := OS(filepath.Join(root, "repo"))
	if err := fsys.Mkdir("."); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../secret", "/etc/passwd", "", "a/../../secret", "a//b", "a/"} {
		if _, err := fsys.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): got %v, want fs.ErrInvalid", name, err)
		}
		if err := fsys.Remove(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Remove(%q): got %v, want fs.ErrInvalid", name, err)
		}
		if err := fsys.Publish(name, "x"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Publish(%q): got %v, want fs.ErrInvalid", name, err)
		}
		if _, err := fsys.Lock(context.Background(), name, Shared); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Lock(%q): got %v, want fs.ErrInvalid", name, err)
		}
	}
}

// TestOSPublishByLink tries the way that file systems without
// RENAME_NOREPLACE take.
func TestOSPublishByLink(t *testing.T) {
	dir := t.TempDir()
	fsys := OS(dir)
	write(t, fsys, "tmp", "new")
	write(t, fsys, "taken", "old")
	err := linkThenUnlink(filepath.Join(dir, "tmp"), filepath.Join(dir, "taken"))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("linking onto a taken name: got %v, want fs.ErrExist", err)
	}
	if got := read(t, fsys, "tmp"); got != "new" {
		t.Errorf("after a refused link: tmp is %q", got)
	}
	if err := linkThenUnlink(filepath.Join(dir, "tmp"), filepath.Join(dir, "free")); err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Stat("tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tmp after the link: %v", err)
	}
	if got := read(t, fsys, "free"); got != "new" {
		t.Errorf("published file is %q", got)
	}
}

func TestOSModes(t *testing.T) {
	dir := t.TempDir()
	fsys := OS(dir)
	if err := fsys.Mkdir("a/b"); err != nil {
		t.Fatal(err)
	}
	write(t, fsys, "a/b/f", "text")
	for name, want := range map[string]fs.FileMode{"a": 0o700 | fs.ModeDir, "a/b": 0o700 | fs.ModeDir, "a/b/f": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestOSFree(t *testing.T) {
	free, total, err := OS(t.TempDir()).Free()
	if err != nil || total == 0 || free > total {
		t.Errorf("Free: %d of %d bytes, %v", free, total, err)
	}
	if _, _, err := OS(filepath.Join(t.TempDir(), "gone")).Free(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Free of a missing folder: %v", err)
	}
}

func TestOSSharedLockWithoutWritePermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	fsys := OS(dir)
	write(t, fsys, "lock", "")
	if err := os.Chmod(filepath.Join(dir, "lock"), 0o400); err != nil {
		t.Fatal(err)
	}
	l, err := fsys.Lock(context.Background(), "lock", Shared)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

// TestOSLockDiesWithItsProcess locks in a child, kills it and takes the lock.
func TestOSLockDiesWithItsProcess(t *testing.T) {
	const child = "PACKNBACK_TEST_LOCK_DIR"
	if dir := os.Getenv(child); dir != "" {
		if _, err := OS(dir).Lock(context.Background(), "lock", Exclusive); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		io.Copy(io.Discard, os.Stdin) // until killed
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOSLockDiesWithItsProcess$")
	cmd.Env = append(os.Environ(), child+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 7)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "locked\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	fsys := OS(dir)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := fsys.Lock(ended, "lock", Shared); !errors.Is(err, ErrLocked) {
		t.Errorf("lock beside the child's: got %v, want ErrLocked", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := fsys.Lock(ctx, "lock", Exclusive)
	if err != nil {
		t.Fatalf("lock after the child died: %v", err)
	}
	l.Unlock()
}

func TestReadFileLimit(t *testing.T) {
	fsys := OS(t.TempDir())
	write(t, fsys, "f", "12345")
	if b, err := ReadFile(fsys, "f", 5); err != nil || string(b) != "12345" {
		t.Errorf("at the limit: %q, %v", b, err)
	}
	if _, err := ReadFile(fsys, "f", 4); err == nil || !strings.Contains(err.Error(), "limit is 4") {
		t.Errorf("above the limit: %v", err)
	}
}
