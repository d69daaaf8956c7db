package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// mounted is a running mount.
type mounted struct {
	dir    string
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	warned []string
}

func (m *mounted) warnings() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.warned)
}

func mountStore(t *testing.T, b *viewtest.Builder, o *crypto.Opener, refuse func(*object.Snapshot) error) *mounted {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("LOUD: there is no /dev/fuse here, so nothing of mount is tested")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		t.Skip("LOUD: fusermount3 is not installed, so nothing of mount is tested")
	}
	r, err := view.NewReader(b.Store, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &mounted{dir: t.TempDir(), cancel: cancel, done: make(chan error, 1)}
	warn := func(path string, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.warned = append(m.warned, path+": "+err.Error())
	}
	ready := make(chan struct{})
	go func() {
		m.done <- Mount(ctx, Config{Store: b.Store, Reader: r, Dir: m.dir, Refuse: refuse, Warn: warn}, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-m.done:
		t.Fatalf("Mount: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-m.done; err != nil {
			t.Errorf("Mount ended with %v", err)
		}
		m.done <- nil
	})
	return m
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// TestTree mounts a real tree and compares it with the original.
func TestTree(t *testing.T) {
	src := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(src+"/a/b/c", 0o751))
	must(os.WriteFile(src+"/a/small", []byte("some text"), 0o640))
	must(os.WriteFile(src+"/a/large", bytes.Repeat([]byte("0123456789abcdef"), 60000), 0o600))
	must(os.WriteFile(src+"/a/b/empty", nil, 0o400))
	must(os.WriteFile(src+"/not-utf8-\xff", []byte("x"), 0o644))
	must(os.Symlink("../somewhere else", src+"/a/link"))
	must(os.Link(src+"/a/small", src+"/a/b/hard"))
	must(unix.Mkfifo(src+"/a/fifo", 0o600))
	f, err := os.Create(src + "/sparse")
	must(err)
	_, err = f.WriteAt([]byte("end"), 5<<20)
	must(err)
	must(f.Close())
	for i := range 700 {
		must(os.WriteFile(fmt.Sprintf("%s/a/b/c/%04d", src, i), []byte(fmt.Sprint(i)), 0o644))
	}
	if err := unix.Setxattr(src+"/a/small", "user.note", []byte("bytes\x00"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	b := viewtest.New(t)
	e := b.Capture(src)
	snap := b.Commit(e.Subtree, tree.Summary{Root: &tree.Entry{Type: tree.TypeDir, Mode: e.Mode, UID: e.UID, GID: e.GID, Mtime: e.Mtime}})
	m := mountStore(t, b, b.Opener(), nil)

	if got := names(t, m.dir); !slices.Equal(got, []string{"clients", "latest", "snapshots"}) {
		t.Errorf("the root holds %v", got)
	}
	at := m.dir + "/snapshots/" + snap.ID().String()[:16]
	out, err := exec.Command("rsync", "-nacHX", "--delete", "-i", src+"/", at+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("rsync sees differences, %v:\n%s", err, out)
	}
	for _, other := range []string{"/latest", "/clients/web/default/latest"} {
		resolved, err := filepath.EvalSymlinks(m.dir + other)
		if err != nil || resolved != at {
			t.Errorf("%s leads to %q, %v; want %q", other, resolved, err, at)
		}
	}
	if err := os.WriteFile(at+"/a/small", nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing: got %v, want EROFS", err)
	}
	if err := os.Remove(at + "/a/small"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("removing: got %v, want EROFS", err)
	}
	if _, err := os.Stat(at + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	// Reading in the middle, across chunks and holes.
	g, err := os.Open(at + "/sparse")
	must(err)
	defer g.Close()
	buf := make([]byte, 10)
	if n, err := g.ReadAt(buf, 5<<20-5); n != 8 || string(buf[:n]) != "\x00\x00\x00\x00\x00end" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	if w := m.warnings(); len(w) > 0 {
		t.Errorf("warnings %v", w)
	}
}

// TestClients: with several clients, latest is none of them.
func TestClients(t *testing.T) {
	b := viewtest.New(t)
	first := b.Commit(b.Dir(b.File("f", "one")), tree.Summary{})
	b.Commit(b.Dir(b.File("f", "two")), tree.Summary{})
	other := b.As("evil")
	other.Commit(other.Dir(other.File("f", "evil")), tree.Summary{}) // the newest of all
	m := mountStore(t, b, b.Opener(), nil)
	if got := names(t, m.dir+"/latest"); !slices.Equal(got, []string{"evil", "web"}) {
		t.Errorf("latest holds %v", got)
	}
	if got, err := os.ReadFile(m.dir + "/latest/web/f"); err != nil || string(got) != "two" {
		t.Errorf("the newest of web: %q, %v", got, err)
	}
	if got := names(t, m.dir+"/clients/web/default"); len(got) != 3 || got[2] != "latest" || !strings.HasSuffix(got[0]+got[1], first.ID().Short()) && !strings.HasSuffix(got[0], first.ID().Short()) {
		t.Errorf("the job holds %v", got)
	}
}

// TestRefused: a snapshot whose signer is unknown is not shown.
func TestRefused(t *testing.T) {
	b := viewtest.New(t)
	b.Commit(b.Dir(b.File("f", "one")), tree.Summary{})
	forged := b.Commit(b.Dir(b.File("f", "two")), tree.Summary{})
	forged.Manifest.Time++ // its signature is wrong now
	m := mountStore(t, b, b.Opener(), func(s *object.Snapshot) error {
		if s.Manifest.Seq == 1 {
			return errors.New("signed by nobody known")
		}
		return nil
	})
	if got := names(t, m.dir+"/snapshots"); len(got) != 0 {
		t.Errorf("snapshots %v are shown", got)
	}
	if w := m.warnings(); len(w) != 2 {
		t.Errorf("warnings %v, want two", w)
	}
}

// TestLost: what is lost is an error where it is read, and a warning.
func TestLost(t *testing.T) {
	b := viewtest.New(t)
	gone, there := b.File("gone", "content"), b.File("there", "more content")
	lostDir := b.Folder("lost folder", b.File("x", "y"))
	b.Commit(b.Dir(gone, there, lostDir), tree.Summary{})
	b.Store.Drop(gone.Extents[0].ID, lostDir.Subtree)
	m := mountStore(t, b, b.Opener(), nil)
	if _, err := os.ReadFile(m.dir + "/latest/gone"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a lost file: %v, want EIO", err)
	}
	if _, err := os.ReadDir(m.dir + "/latest/lost folder"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a lost folder: %v, want EIO", err)
	}
	if _, err := os.Stat(m.dir + "/latest/lost folder/x"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a file in a lost folder: %v, want EIO", err)
	}
	if got, err := os.ReadFile(m.dir + "/latest/there"); err != nil || string(got) != "more content" {
		t.Errorf("the other file: %q, %v", got, err)
	}
	if w := m.warnings(); len(w) < 3 || !strings.Contains(w[0], "gone") {
		t.Errorf("warnings %q", w)
	}
}

// TestListKey: names can be listed, contents not be read.
func TestListKey(t *testing.T) {
	b := viewtest.New(t)
	b.Commit(b.Dir(b.File("f", "secret")), tree.Summary{})
	m := mountStore(t, b, crypto.NewOpener(b.Lister.Identities()...), nil)
	if got := names(t, m.dir+"/latest"); !slices.Equal(got, []string{"f"}) {
		t.Errorf("latest holds %v", got)
	}
	if _, err := os.ReadFile(m.dir + "/latest/f"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("reading: %v, want EACCES", err)
	}
}

// TestUnmountInUse: a mount ends when it is told to, also while it is used.
func TestUnmountInUse(t *testing.T) {
	b := viewtest.New(t)
	b.Commit(b.Dir(b.File("f", "held open")), tree.Summary{})
	m := mountStore(t, b, b.Opener(), nil)
	f, err := os.Open(m.dir + "/latest/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.cancel()
	if err := <-m.done; err != nil {
		t.Errorf("Mount ended with %v", err)
	}
	m.done <- nil
	if list, err := os.ReadDir(m.dir); err != nil || len(list) != 0 {
		t.Errorf("it is still mounted: %v, %v", list, err)
	}
}

// TestManyReaders reads the same and different files at once.
func TestManyReaders(t *testing.T) {
	b := viewtest.New(t)
	var entries []tree.Entry
	for i := range 20 {
		entries = append(entries, b.Large(fmt.Sprintf("f%02d", i), b.Chunk(strings.Repeat(fmt.Sprint("a", i), 70000)), b.Chunk(strings.Repeat(fmt.Sprint("b", i), 70000))))
	}
	b.Commit(b.Dir(entries...), tree.Summary{})
	m := mountStore(t, b, b.Opener(), nil)
	var wg sync.WaitGroup
	for reader := range 8 {
		wg.Go(func() {
			for i := range 20 {
				i = (i + reader*3) % 20
				got, err := os.ReadFile(fmt.Sprintf("%s/latest/f%02d", m.dir, i))
				want := strings.Repeat(fmt.Sprint("a", i), 70000) + strings.Repeat(fmt.Sprint("b", i), 70000)
				if err != nil || string(got) != want {
					t.Errorf("file %d: %d bytes, %v", i, len(got), err)
				}
			}
		})
	}
	wg.Wait()
	m.cancel() // what it fetches is counted when nobody fetches any more
	if err := <-m.done; err != nil {
		t.Error(err)
	}
	m.done <- nil
	for id, n := range b.Store.Fetched {
		if n > 2 {
			t.Errorf("object %s was fetched %d times", id.Short(), n)
		}
	}
}
