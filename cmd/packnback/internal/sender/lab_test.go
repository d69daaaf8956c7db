package sender

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// keys are made once: wrapping for a hybrid recipient is the slowest part of a
// small backup's test.
var keys = sync.OnceValues(func() (*crypto.ReadKey, *crypto.SendKey) {
	restore, err := crypto.GenerateReadKey(crypto.ForRestore)
	if err != nil {
		panic(err)
	}
	send, err := crypto.GenerateSendKey("web1", []crypto.Recipient{restore.Recipient()})
	if err != nil {
		panic(err)
	}
	return restore, send
})

// lab is a real repository, a real tree to back up, and a sender.
type lab struct {
	t      testing.TB
	dir    string // of the tree
	repo   *repo.Repository
	cfg    Config
	source source.Options
	wrap   func(Store) Store // put between sender and session
	reopen Open              // instead of open; nil: open
	puts   map[object.Kind]int
	asked  int // ids
	notes  []string
	bad    []source.Problem
}

func newLab(t testing.TB) *lab {
	t.Helper()
	base := t.TempDir()
	r, err := repo.Init(context.Background(), filepath.Join(base, "repo"), repo.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	_, send := keys()
	l := &lab{t: t, dir: filepath.Join(base, "tree"), repo: r, cfg: labConfig(base, send, r)}
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

func labConfig(base string, send *crypto.SendKey, r *repo.Repository) Config {
	return Config{
		Key: send, Repository: r.ID(), Job: "default",
		Folders: Folders{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")},
		About:   tree.Summary{Program: "test", Hostname: "web1", Paths: []string{"tree"}},
		Options: Options{Level: chunk.LevelFastest},
		// An hour ahead, so that nothing a test has just written is racy.
		now: func() time.Time { return time.Now().Add(time.Hour) },
	}
}

// write makes a file and the folders above it.
func (l *lab) write(name string, content []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) open(ctx context.Context, base object.ID) (Store, object.Standing, io.Closer, error) {
	s, err := l.repo.OpenSession(ctx, repo.SessionRequest{Client: "web1", Job: l.cfg.Job, Base: base})
	if err != nil {
		return nil, object.Standing{}, nil, err
	}
	var store Store = &countingStore{Store: s, l: l}
	if l.wrap != nil {
		store = l.wrap(store)
	}
	return store, s.Standing(), s, nil
}

type countingStore struct {
	Store
	l  *lab
	mu sync.Mutex
}

func (s *countingStore) Have(ctx context.Context, ids []object.ID) ([]bool, error) {
	s.mu.Lock()
	s.l.asked += len(ids)
	s.mu.Unlock()
	return s.Store.Have(ctx, ids)
}

func (s *countingStore) Put(ctx context.Context, rec *object.Record) error {
	s.mu.Lock()
	s.l.puts[rec.Kind]++
	s.mu.Unlock()
	// Whatever part of the upload outlives a cut must be whole in itself.
	if n := min(len(rec.Refs), maxHave); n > 0 {
		have, err := s.Store.Have(ctx, rec.Refs[:n])
		if err != nil {
			return err
		}
		if slices.Contains(have, false) {
			s.l.t.Errorf("%s %s was put before what it refers to", rec.Kind, rec.ID.Short())
		}
	}
	return s.Store.Put(ctx, rec)
}

// try runs a backup.
func (l *lab) try(ctx context.Context) (Summary, error) {
	l.t.Helper()
	l.puts, l.asked, l.notes, l.bad = map[object.Kind]int{}, 0, nil, nil
	cfg := l.cfg
	if cfg.Source.stream == nil {
		plan, err := source.NewPlan(filepath.Dir(l.dir), []string{"tree"})
		if err != nil {
			l.t.Fatal(err)
		}
		cfg.Source = Tree(plan, l.source)
	}
	open := l.open
	if l.reopen != nil {
		open = l.reopen
	}
	return Run(ctx, cfg, open, Events{
		Note:    func(s string) { l.notes = append(l.notes, s) },
		Problem: func(p source.Problem) { l.bad = append(l.bad, p) },
	})
}

// backup runs a backup that must succeed.
func (l *lab) backup() Summary {
	l.t.Helper()
	sum, err := l.try(context.Background())
	if err != nil {
		l.t.Fatalf("backup: %v (notes %q)", err, l.notes)
	}
	return sum
}

// total returns how many objects the last run put.
func (l *lab) total() int {
	n := 0
	for _, k := range l.puts {
		n += k
	}
	return n
}

// reader opens objects of the repository with the restore key.
type reader struct {
	t      testing.TB
	repo   *repo.Repository
	opener *crypto.Opener
	dec    *chunk.Decompressor
	last   map[object.ID][]byte // plaintexts of bundles
}

func (l *lab) reader() *reader {
	restore, _ := keys()
	dec, err := chunk.NewDecompressor(1)
	if err != nil {
		l.t.Fatal(err)
	}
	return &reader{t: l.t, repo: l.repo, opener: crypto.NewOpener(restore.Identities()...), dec: dec, last: map[object.ID][]byte{}}
}

func (r *reader) load(kind object.Kind, id object.ID) ([]object.ID, []byte, error) {
	if plain, ok := r.last[id]; ok {
		return nil, plain, nil
	}
	var refs []object.ID
	var plain []byte
	err := r.repo.Fetch(context.Background(), []object.ID{id}, func(rec *object.Record) error {
		if rec.Kind != kind {
			return fmt.Errorf("%s is a %s, not a %s", id.Short(), rec.Kind, kind)
		}
		if !r.opener.HasKey(rec.Key) {
			err := r.repo.Fetch(context.Background(), []object.ID{rec.Key}, func(k *object.Record) error { return r.opener.AddKey(k) })
			if err != nil {
				return err
			}
		}
		codec, n, stored, err := r.opener.Open(rec)
		if err != nil {
			return err
		}
		if plain, err = r.dec.Decompress(nil, codec, stored, n); err != nil {
			return err
		}
		refs, plain = rec.Refs, bytes.Clone(plain)
		return r.opener.CheckID(rec, plain)
	})
	if kind == object.KindBundle && err == nil {
		r.last[id] = plain
	}
	return refs, plain, err
}

// seen is what a test compares of one path.
type seen struct {
	Type    tree.Type
	Mode    uint32
	Size    uint64
	Mtime   int64
	Content string // hash
	Target  string
	Link    bool
}

// snapshot reads a snapshot back, contents and all, below the folder tree.
func (l *lab) snapshot(id object.ID) map[string]seen {
	l.t.Helper()
	snap, err := l.repo.Snapshot(context.Background(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := snap.Manifest.Verify(); err != nil {
		l.t.Fatal(err)
	}
	r := l.reader()
	got := map[string]seen{}
	r.folder(snap.Manifest.Root, "", got)
	out := map[string]seen{}
	for path, s := range got {
		if rest, ok := strings.CutPrefix(path, "tree/"); ok {
			out[rest] = s
		}
	}
	return out
}

// entry returns the entry of the file name at the top of the tree.
func (l *lab) entry(id object.ID, name string) *tree.Entry {
	l.t.Helper()
	snap, err := l.repo.Snapshot(context.Background(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	r := l.reader()
	top, ok, err := tree.Lookup(r.load, snap.Manifest.Root, "tree")
	if !ok || err != nil {
		l.t.Fatalf("no folder tree: %v", err)
	}
	e, ok, err := tree.Lookup(r.load, top.Subtree, name)
	if !ok || err != nil {
		l.t.Fatalf("no file %q: %v", name, err)
	}
	return e
}

func (r *reader) folder(id object.ID, at string, got map[string]seen) {
	r.t.Helper()
	for e, err := range tree.ReadDir(r.load, id) {
		if err != nil {
			r.t.Fatalf("folder %q: %v", at, err)
		}
		path := at + e.Name
		s := seen{Type: e.Type, Mode: e.Mode, Size: e.Size, Mtime: e.Mtime.Sec*1e9 + int64(e.Mtime.Nsec), Target: e.Target, Link: e.LinkID != 0}
		switch e.Type {
		case tree.TypeDir:
			r.folder(e.Subtree, path+"/", got)
		case tree.TypeFile:
			s.Content = r.file(path, e)
		}
		got[path] = s
	}
}

func (r *reader) file(path string, e *tree.Entry) string {
	r.t.Helper()
	h := sha256.New()
	n := uint64(0)
	for x, err := range tree.ReadExtents(r.load, e.Extents, 0) {
		if err != nil {
			r.t.Fatalf("file %q: %v", path, err)
		}
		n += x.Length
		switch x.Kind {
		case tree.ExtentHole:
			io.CopyN(h, zeros{}, int64(x.Length))
			continue
		case tree.ExtentBundle, tree.ExtentChunk:
			_, plain, err := r.load(objectKind(x.Kind), x.ID)
			if err != nil {
				r.t.Fatalf("file %q: %v", path, err)
			}
			h.Write(plain[x.Offset:][:x.Length])
		}
	}
	if n != e.Size {
		r.t.Errorf("file %q: %d bytes of extents for a size of %d", path, n, e.Size)
	}
	return hex.EncodeToString(h.Sum(nil))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// onDisk is what snapshot should return.
func (l *lab) onDisk() map[string]seen {
	l.t.Helper()
	want := map[string]seen{}
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == l.dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		s := seen{Mode: uint32(st.Mode) & tree.ModeMask, Mtime: info.ModTime().UnixNano(), Link: st.Nlink > 1 && !d.IsDir()}
		switch {
		case d.IsDir():
			s.Type = tree.TypeDir
		case info.Mode()&fs.ModeSymlink != 0:
			s.Type = tree.TypeSymlink
			s.Target, err = os.Readlink(path)
			s.Size = uint64(len(s.Target))
		case info.Mode()&fs.ModeNamedPipe != 0:
			s.Type = tree.TypeFIFO
		default:
			s.Type, s.Size = tree.TypeFile, uint64(info.Size())
			var b []byte
			if b, err = os.ReadFile(path); err == nil {
				sum := sha256.Sum256(b)
				s.Content = hex.EncodeToString(sum[:])
			}
		}
		rel, _ := filepath.Rel(l.dir, path)
		want[rel] = s
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return want
}

// same fails unless the snapshot holds exactly what is on disk now.
func (l *lab) same(id object.ID) {
	l.t.Helper()
	if d := cmp.Diff(l.onDisk(), l.snapshot(id)); d != "" {
		l.t.Errorf("snapshot differs from the tree (-want +got):\n%s", d)
	}
	res, err := l.repo.Check(context.Background(), repo.CheckOptions{ReadData: true}, func(p repo.Problem) { l.t.Errorf("check: %+v", p) })
	if err != nil || res.Problems > 0 {
		l.t.Errorf("check: %d problems, %v", res.Problems, err)
	}
}
