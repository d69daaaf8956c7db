package sender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/object"
)

// A history of random changes, cuts and lost or old caches: after each backup
// that says it is done, the snapshot is the tree.
func TestRandomHistory(t *testing.T) {
	seeds := 4
	if testing.Short() {
		seeds = 1
	}
	for range seeds {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { history(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func history(t *testing.T, r *rand.Rand) {
	l := newLab(t)
	l.cfg.Reconnects = 3
	l.cfg.pause = func(context.Context, time.Duration) bool { return true }
	old := filepath.Join(t.TempDir(), "old")
	for round := range 14 {
		for range 1 + r.IntN(30) {
			l.mutate(r)
		}
		switch r.IntN(6) {
		case 0:
			if err := os.RemoveAll(l.cfg.Folders.Cache); err != nil {
				t.Fatal(err)
			}
		case 1: // an old copy of the cache comes back
			if _, err := os.Stat(old); err == nil {
				if err := errors.Join(os.RemoveAll(l.cfg.Folders.Cache), os.CopyFS(l.cfg.Folders.Cache, os.DirFS(old))); err != nil {
					t.Fatal(err)
				}
			}
		case 2: // the present cache is kept for later
			if _, err := os.Stat(l.cfg.Folders.Cache); err == nil {
				if err := errors.Join(os.RemoveAll(old), os.CopyFS(old, os.DirFS(l.cfg.Folders.Cache))); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range r.IntN(3) {
			at, kind := 1+r.IntN(12), r.IntN(3)
			l.wrap = func(s Store) Store {
				return &faulty{Store: s, put: func(n int, _ *object.Record) error {
					if n != at {
						return nil
					}
					if kind > 0 {
						if err := session(s).Checkpoint(context.Background()); err != nil {
							return err
						}
					}
					if kind == 2 {
						return object.CodeInterrupted.Errorf("connection lost")
					}
					return errCut
				}}
			}
			if _, err := l.try(context.Background()); err != nil && !errors.Is(err, errCut) && !errors.Is(err, object.CodeInterrupted) {
				t.Fatalf("round %d: cut off run: %v", round, err)
			}
			l.mutate(r)
		}
		l.wrap = nil
		sum := l.backup()
		l.same(sum.Snapshot)
		if t.Failed() {
			t.Fatalf("round %d: notes %q", round, l.notes)
		}
	}
	l.backup() // may move what is left in bundles that have become sparse
	l.same(l.backup().Snapshot)
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("at the end an unchanged run asked %d and put %v", l.asked, l.puts)
	}
}

// mutate makes one change to the tree.
func (l *lab) mutate(r *rand.Rand) {
	l.t.Helper()
	name := func() string {
		return fmt.Sprintf("d%d/e%d/f%d", r.IntN(4), r.IntN(3), r.IntN(12))
	}
	at := func(name string) string { return filepath.Join(l.dir, name) }
	content := func() []byte {
		n := r.IntN(20_000)
		if r.IntN(15) == 0 {
			n = largeFile + r.IntN(12<<20)
		}
		return random(uint64(r.IntN(40)), n)
	}
	a, b := name(), name()
	var err error
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		os.Remove(at(a)) // it may be a link or a FIFO
		l.write(a, content())
	case 4:
		err = os.Remove(at(a))
	case 5:
		err = os.Rename(at(a), at(b))
	case 6:
		err = os.RemoveAll(at(filepath.Dir(a)))
	case 7:
		err = os.Link(at(a), at(b))
	case 8:
		err = os.Symlink(b, at(a))
	case 9:
		err = os.Chmod(at(a), os.FileMode(0o600+r.IntN(0o100)))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
		l.t.Fatal(err)
	}
}
