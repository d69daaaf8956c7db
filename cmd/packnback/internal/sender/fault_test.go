package sender

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
	"golang.org/x/sys/unix"
)

// faulty is a session that fails where a test says.
type faulty struct {
	Store
	put    func(n int, rec *object.Record) error // before the nth put of this session, counted from 1
	commit func(real func() (object.Receipt, error)) (object.Receipt, error)
	n      int
}

func (f *faulty) Put(ctx context.Context, rec *object.Record) error {
	f.n++
	if f.put != nil {
		if err := f.put(f.n, rec); err != nil {
			return err
		}
	}
	return f.Store.Put(ctx, rec)
}

func (f *faulty) Commit(ctx context.Context, m *object.Manifest, part []byte) (object.Receipt, error) {
	real := func() (object.Receipt, error) { return f.Store.Commit(ctx, m, part) }
	if f.commit != nil {
		return f.commit(real)
	}
	return real()
}

// session returns the repository's session below a test's wrappers.
func session(s Store) *repo.Session { return s.(*countingStore).Store.(*repo.Session) }

var errCut = errors.New("cut off by the test")

// A run that is cut off leaves what the store has made durable; the next one
// neither asks nor sends for it, and does not read it again.
func TestResume(t *testing.T) {
	l := newLab(t)
	for i := range 300 {
		l.write(fmt.Sprintf("d%02d/f%03d", i/10, i), random(uint64(i), 100_000))
	}
	l.write("x-large", random(1000, 20<<20))
	whole := l.total
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, put: func(n int, _ *object.Record) error {
			if n == 18 {
				return errors.Join(session(s).Checkpoint(context.Background()), errCut)
			}
			return nil
		}}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, errCut) {
		t.Fatalf("cut off run: %v", err)
	}
	first := whole()
	// A second run is cut off, too, a little later.
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, put: func(n int, _ *object.Record) error {
			if n == 8 {
				return errors.Join(session(s).Checkpoint(context.Background()), errCut)
			}
			return nil
		}}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, errCut) {
		t.Fatalf("second cut off run: %v", err)
	}
	second := whole()
	if l.asked > 0 {
		t.Errorf("the second run asked about %d objects it has a log of", l.asked)
	}
	l.wrap = nil
	// What is durable need not be there any more to be read.
	sum := l.backup()
	l.same(sum.Snapshot)
	if l.asked > 0 {
		t.Errorf("the third run asked about %d objects it has a log of", l.asked)
	}
	// 300 files of 100 kB are some 28 bundles, the large file some 20 chunks, then
	// 33 objects of metadata; 16 and 6 are durable, keys apart.
	fresh := newLab(t)
	fresh.dir = l.dir
	fresh.backup()
	if got, want := first-1+second-1+whole(), fresh.total(); got > want+6 {
		t.Errorf("%d puts in three runs (%d, %d, %d), %d in one", got, first, second, whole(), want)
	}
	t.Logf("puts: %d, %d, %d; in one run %d", first, second, whole(), fresh.total())
	l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("after that: asked %d, put %v", l.asked, l.puts)
	}
}

// When the log is lost with the cache, the store is asked.
func TestResumeWithoutCache(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, put: func(n int, _ *object.Record) error {
			if n == 20 {
				return errors.Join(session(s).Checkpoint(context.Background()), errCut)
			}
			return nil
		}}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, errCut) {
		t.Fatalf("cut off run: %v", err)
	}
	if err := os.RemoveAll(l.cfg.Folders.Cache); err != nil {
		t.Fatal(err)
	}
	l.wrap = nil
	sum := l.backup()
	if l.asked == 0 {
		t.Error("nothing was asked about an upload of which nothing is known here")
	}
	l.same(sum.Snapshot)
}

// objects returns the ids of all objects of one kind that a snapshot reaches.
func (l *lab) objects(kind object.Kind, id object.ID) []object.ID {
	l.t.Helper()
	snap, err := l.repo.Snapshot(context.Background(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	seen := map[object.ID]bool{}
	err = l.repo.Push(context.Background(), snap.Manifest.Root, func(rec *object.Record) error {
		if rec.Kind == kind {
			seen[rec.ID] = true
		}
		for _, ref := range rec.Refs {
			if kind != object.KindChunk && kind != object.KindBundle {
				break
			}
			err := l.repo.Fetch(context.Background(), []object.ID{ref}, func(r *object.Record) error {
				if r.Kind == kind {
					seen[r.ID] = true
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	var ids []object.ID
	for id := range seen {
		ids = append(ids, id)
	}
	return ids
}

// What the store turns out to have lost is read and sent again, whatever kind
// of object it is and whenever that turns out.
func TestLostObjects(t *testing.T) {
	for _, kind := range []object.Kind{object.KindBundle, object.KindChunk, object.KindList, object.KindDir} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,late=%v", kind, late), func(t *testing.T) {
				l := newLab(t)
				l.plant()
				l.loseObjects(kind, late)
			})
		}
	}
}

func (l *lab) loseObjects(kind object.Kind, late bool) {
	l.t.Helper()
	sum := l.backup()
	lost := l.objects(kind, sum.Snapshot)
	if len(lost) == 0 {
		l.t.Fatalf("no %s in the snapshot", kind)
	}
	mark := func() {
		if err := l.repo.MarkBad(context.Background(), lost[:min(3, len(lost))]); err != nil {
			l.t.Fatal(err)
		}
	}
	commits := 0
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, commit: func(real func() (object.Receipt, error)) (object.Receipt, error) {
			if commits++; late && commits == 1 {
				mark()
			}
			return real()
		}}
	}
	if !late {
		mark()
	}
	// Something new next to everything, so that new folders refer to all of it.
	for path, s := range l.onDisk() {
		if s.Type == tree.TypeDir {
			l.write(filepath.Join(path, "new"), []byte("something new in "+path))
		}
	}
	l.write("new", []byte("something new"))
	sum = l.backup()
	if late {
		// The commit looks at what new objects refer to; what lies deeper is found
		// by the next run, which asks.
		sum = l.backup()
	}
	if l.asked == 0 {
		l.t.Errorf("nothing was asked of a store with bad objects (commits %d, notes %q)", commits, l.notes)
	}
	l.complete(sum.Snapshot)
	sum = l.backup()
	if l.puts[object.KindKey] != l.total() {
		l.t.Errorf("after that an unchanged run put %v", l.puts)
	}
	l.complete(sum.Snapshot)
}

// complete fails unless the snapshot holds what is on disk. Older ones may be
// damaged.
func (l *lab) complete(id object.ID) {
	l.t.Helper()
	want, got := l.onDisk(), l.snapshot(id)
	for path := range want {
		if got[path] != want[path] {
			l.t.Errorf("%q: got %+v, want %+v", path, got[path], want[path])
		}
	}
	if len(got) != len(want) {
		l.t.Errorf("%d paths, want %d", len(got), len(want))
	}
}

// Refused twice, or with too much missing, the run goes on without the cache.
func TestMissingTooMuch(t *testing.T) {
	for name, refusals := range map[string][]error{
		"more":  {&object.MissingError{IDs: []object.ID{{1}}, More: true}},
		"twice": {&object.MissingError{IDs: []object.ID{{1}}}, &object.MissingError{IDs: []object.ID{{2}}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.plant()
			l.backup()
			left := refusals
			l.wrap = func(s Store) Store {
				return &faulty{Store: s, commit: func(real func() (object.Receipt, error)) (object.Receipt, error) {
					if len(left) == 0 {
						return real()
					}
					err := left[0]
					left = left[1:]
					return object.Receipt{}, err
				}}
			}
			sum := l.backup()
			if len(left) > 0 || l.asked == 0 {
				t.Errorf("%d refusals left, asked %d; want none and some", len(left), l.asked)
			}
			l.same(sum.Snapshot)
			l.wrap = nil
			l.backup()
			if l.asked != 0 || l.total() != 1 {
				t.Errorf("after that: asked %d, put %v", l.asked, l.puts)
			}
		})
	}
	// A store that never agrees is believed in the end.
	l := newLab(t)
	l.plant()
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, commit: func(func() (object.Receipt, error)) (object.Receipt, error) {
			return object.Receipt{}, &object.MissingError{IDs: []object.ID{{1}}}
		}}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, object.CodeMissing) {
		t.Errorf("a store that always lacks something: %v", err)
	}
}

// Any damage to the cache costs time only.
func TestDamagedCache(t *testing.T) {
	l := newLab(t)
	for i := range 60 {
		l.write(fmt.Sprintf("d%d/f%d", i%6, i), random(uint64(i), 5000))
	}
	l.write("large", random(100, 12<<20))
	l.backup()
	files, err := filepath.Glob(filepath.Join(l.cfg.Folders.Cache, "*", "*", "*", "*-*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files of the cache: %q, %v", files, err)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	state := filepath.Join(t.TempDir(), "state")
	if err := errors.Join(os.CopyFS(saved, os.DirFS(l.cfg.Folders.Cache)), os.CopyFS(state, os.DirFS(l.cfg.Folders.State))); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		good, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i := 50; i < len(good); i += 1 + len(good)/7 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 4
			if err := os.WriteFile(f, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			l.write("d0/f0", random(uint64(1000+i), 5000))
			sum := l.backup()
			l.complete(sum.Snapshot)
			// The cache is of another snapshot now; put the good one back, as a backup
			// of the machine might. It is stale, and good for hints.
			if err := errors.Join(os.RemoveAll(l.cfg.Folders.Cache), os.CopyFS(l.cfg.Folders.Cache, os.DirFS(saved))); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.same(l.backup().Snapshot)
}

// When most of a bundle is gone, what is left of it moves to a new one.
func TestSparseBundles(t *testing.T) {
	l := newLab(t)
	for i := range 100 {
		l.write(fmt.Sprintf("d%d/f%02d", i/10, i), random(uint64(i), 30_000))
	}
	sum := l.backup()
	before := l.objects(object.KindBundle, sum.Snapshot)
	for i := range 100 {
		if i%10 == 0 {
			continue
		}
		if err := os.Remove(filepath.Join(l.dir, fmt.Sprintf("d%d/f%02d", i/10, i))); err != nil {
			t.Fatal(err)
		}
	}
	sum = l.backup()
	if n := len(l.objects(object.KindBundle, sum.Snapshot)); n != len(before) || l.puts[object.KindBundle] != 0 {
		t.Errorf("%d bundles, put %v; want the %d from before", n, l.puts, len(before))
	}
	sum = l.backup()
	if n := len(l.objects(object.KindBundle, sum.Snapshot)); n != 1 || l.puts[object.KindBundle] != 1 {
		t.Errorf("%d bundles, put %v; want a new one", n, l.puts)
	}
	l.same(sum.Snapshot)
	sum = l.backup()
	if l.total() != 1 {
		t.Errorf("after that an unchanged run put %v", l.puts)
	}
	l.same(sum.Snapshot)
}

// One folder with more entries than wait undecoded, in several objects.
func TestLargeFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("makes many files")
	}
	l := newLab(t)
	n := 3*maxLazyFolder/lazySize/2 + 100
	for i := range n {
		l.write(fmt.Sprintf("folder/with-a-somewhat-long-name-%08d", i), nil)
	}
	sum := l.backup()
	dirs := len(l.objects(object.KindDir, sum.Snapshot))
	sum = l.backup()
	if l.total() != 1 || sum.Counts.FilesUnmodified != uint64(n) {
		t.Errorf("unchanged: put %v, %d files unmodified", l.puts, sum.Counts.FilesUnmodified)
	}
	l.write("folder/with-a-somewhat-long-name-00000007x", []byte("new"))
	sum = l.backup()
	if got := l.puts[object.KindDir]; got > 6 || dirs < 4 {
		t.Errorf("one new file put %d of %d directory objects", got, dirs)
	}
	if got := l.snapshot(sum.Snapshot); len(got) != n+2 {
		t.Errorf("%d paths, want %d", len(got), n+2)
	}
	if err := os.RemoveAll(filepath.Join(l.dir, "folder")); err != nil {
		t.Fatal(err)
	}
	l.backup()
	l.same(l.backup().Snapshot)
}

// An unreadable first name makes the others unreadable, not wrong.
func TestLinkOfUnreadable(t *testing.T) {
	l := newLab(t)
	l.write("a", []byte("with three names"))
	at := func(name string) string { return filepath.Join(l.dir, name) }
	if err := errors.Join(os.Link(at("a"), at("b")), os.Link(at("a"), at("c"))); err != nil {
		t.Fatal(err)
	}
	calls := 0
	now := l.cfg.now
	l.cfg.now = func() time.Time {
		if calls++; calls == 2 {
			os.Remove(at("a"))
		}
		return now()
	}
	sum := l.backup()
	if len(l.bad) != 3 || sum.Counts.Errors != 3 {
		t.Errorf("problems %v, want 3", l.bad)
	}
	l.cfg.now = now
	sum = l.backup()
	l.same(sum.Snapshot)
	if got := l.snapshot(sum.Snapshot); got["b"].Type != tree.TypeFile || got["c"].Type != tree.TypeFile {
		t.Errorf("the names that are left: %v", got)
	}
}

// A full disk under the cache costs the cache, not the backup.
func TestFullCacheDisk(t *testing.T) {
	l := newLab(t)
	for i := range 2000 {
		l.write(fmt.Sprintf("d%02d/with-a-somewhat-longer-name-%04d", i/50, i), random(uint64(i), 100))
	}
	if err := os.Mkdir(l.cfg.Folders.Cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", l.cfg.Folders.Cache, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(l.cfg.Folders.Cache, 0); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		sum := l.backup()
		if n := strings.Count(strings.Join(l.notes, "\n"), "no cache"); n != 1 {
			t.Errorf("%d notes about the cache, want 1: %q", n, l.notes)
		}
		l.same(sum.Snapshot)
		err := filepath.WalkDir(l.cfg.Folders.Cache, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Size() > 1000 {
				t.Errorf("%s of %d bytes keeps the disk full", name, info.Size())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
