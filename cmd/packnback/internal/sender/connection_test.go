package sender

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// A commit whose acknowledgement is lost is found out: by the next run, or by
// this one when it may connect again.
func TestLostAcknowledgement(t *testing.T) {
	for _, reconnects := range []int{0, 1} {
		l := newLab(t)
		l.plant()
		l.cfg.Reconnects = reconnects
		lost := object.CodeInterrupted.Errorf("connection lost")
		l.wrap = func(s Store) Store {
			return &faulty{Store: s, commit: func(real func() (object.Receipt, error)) (object.Receipt, error) {
				if _, err := real(); err != nil {
					return object.Receipt{}, err
				}
				return object.Receipt{}, lost
			}}
		}
		sum, err := l.try(context.Background())
		if reconnects == 0 && !errors.Is(err, object.CodeInterrupted) || reconnects > 0 && err != nil {
			t.Fatalf("%d reconnections: %v", reconnects, err)
		}
		l.wrap = nil
		next := l.backup()
		if l.asked != 0 || l.total() != 1 || next.Seq != 2 {
			t.Errorf("%d reconnections, next run: asked %d, put %v, number %d", reconnects, l.asked, l.puts, next.Seq)
		}
		if reconnects > 0 && sum.Seq != 1 {
			t.Errorf("the run that connected again made number %d", sum.Seq)
		}
		l.same(next.Snapshot)
	}
}

// A connection that breaks in the middle is opened again; nothing is sealed
// twice, and what was durable is not sent again.
func TestReconnect(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.cfg.Reconnects = 3
	breaks := map[int]int{1: 5, 2: 12, 3: 4} // session: put
	sessions := 0
	var mu sync.Mutex
	sealed := map[object.ID][32]byte{}
	l.wrap = func(s Store) Store {
		sessions++
		at := breaks[sessions]
		return &faulty{Store: s, put: func(n int, rec *object.Record) error {
			mu.Lock()
			defer mu.Unlock()
			sum := sha256.Sum256(rec.Sealed)
			if was, ok := sealed[rec.ID]; ok && was != sum {
				t.Errorf("%s %s was sealed twice", rec.Kind, rec.ID.Short())
			}
			sealed[rec.ID] = sum
			if n != at {
				return nil
			}
			if sessions == 2 { // this time much is durable
				if err := session(s).Checkpoint(context.Background()); err != nil {
					return err
				}
			}
			return object.CodeInterrupted.Errorf("connection lost")
		}}
	}
	sum := l.backup()
	if sessions != 4 {
		t.Errorf("%d sessions, want 4", sessions)
	}
	l.same(sum.Snapshot)
	l.wrap = nil
	l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("after that: asked %d, put %v", l.asked, l.puts)
	}
	// Once too often.
	l.write("new", random(1, 1000))
	l.cfg.Reconnects = 1
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, put: func(int, *object.Record) error { return object.CodeInterrupted.Errorf("connection lost") }}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, object.CodeInterrupted) {
		t.Errorf("a connection that always breaks: %v", err)
	}
	l.wrap = nil
	l.same(l.backup().Snapshot)
}

// A store that has not noticed yet that the old connection is gone has not let
// go of the upload either; and a connection may break while puts are repeated.
func TestReconnectLater(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.cfg.Reconnects = 4
	var pauses []time.Duration
	l.cfg.pause = func(_ context.Context, d time.Duration) bool { pauses = append(pauses, d); return true }
	lost := object.CodeInterrupted.Errorf("connection lost")
	sessions := 0
	var held []io.Closer
	l.wrap = func(s Store) Store {
		sessions++
		at := map[int]int{1: 14, 3: 4}[sessions] // in the third, while puts are repeated
		return &faulty{Store: s, put: func(n int, _ *object.Record) error {
			if n == at {
				return lost
			}
			if sessions == 1 && n == 10 {
				return session(s).Checkpoint(context.Background())
			}
			return nil
		}}
	}
	open := l.open
	l.reopen = func(ctx context.Context, base object.ID) (Store, object.Standing, io.Closer, error) {
		store, standing, closer, err := open(ctx, base)
		if sessions == 1 {
			// The far end keeps the first session until the third is opened.
			held = append(held, closer)
			return store, standing, io.NopCloser(nil), err
		}
		if sessions == 2 {
			for _, c := range held {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		return store, standing, closer, err
	}
	sum := l.backup()
	if want := []time.Duration{0, time.Second, 0}; sessions != 4 || !slices.Equal(pauses, want) {
		t.Errorf("%d sessions after pauses of %v; want 4 after %v", sessions, pauses, want)
	}
	l.same(sum.Snapshot)
	l.wrap, l.reopen = nil, nil
	l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("after that: asked %d, put %v", l.asked, l.puts)
	}
}

func TestRolledBack(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	dir := filepath.Join(filepath.Dir(l.dir), "repo")
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	l.backup()
	if err := errors.Join(l.repo.Close(), os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l.repo = r
	_, err = l.try(context.Background())
	var back *RolledBackError
	if !errors.As(err, &back) || back.KnownSeq != 2 || back.StoreSeq != 1 || !errors.Is(err, object.CodeDamaged) {
		t.Errorf("backup to a store that was rolled back: %v", err)
	}
	if l.total() != 0 {
		t.Errorf("put %v", l.puts)
	}
}

func TestHeadMoved(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	other := *l
	other.cfg.Folders = Folders{Cache: t.TempDir(), State: t.TempDir()}
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, commit: func(real func() (object.Receipt, error)) (object.Receipt, error) {
			other.backup()
			return real()
		}}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, object.CodeHeadMoved) {
		t.Errorf("commit on a head that has moved: %v", err)
	}
	l.wrap = nil
	sum := l.backup()
	if sum.Seq != 3 {
		t.Errorf("number %d, want 3", sum.Seq)
	}
	l.same(sum.Snapshot)
}

// Two runs at once: the second finds the cache in use and does without.
func TestCacheInUse(t *testing.T) {
	l := newLab(t)
	l.plant()
	l.backup()
	other := *l
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, commit: func(real func() (object.Receipt, error)) (object.Receipt, error) {
			other.backup()
			if !strings.Contains(strings.Join(other.notes, "\n"), "uses the cache") {
				t.Errorf("notes of the second run: %q", other.notes)
			}
			return real()
		}}
	}
	if _, err := l.try(context.Background()); !errors.Is(err, object.CodeHeadMoved) {
		t.Errorf("the slower of two runs: %v", err)
	}
	l.wrap = nil
	l.same(l.backup().Snapshot)
}

// A run that is cancelled leaves nothing running and nothing broken.
func TestCancel(t *testing.T) {
	l := newLab(t)
	l.plant()
	for n := 1; n < 40; n += 6 {
		ctx, cancel := context.WithCancel(context.Background())
		l.wrap = func(s Store) Store {
			return &faulty{Store: s, put: func(i int, _ *object.Record) error {
				if i == n {
					cancel()
				}
				return nil
			}}
		}
		if _, err := l.try(ctx); err == nil {
			break // nothing was left to put
		} else if !errors.Is(err, context.Canceled) && !errors.Is(err, object.CodeInterrupted) {
			t.Errorf("cancelled at put %d: %v", n, err)
		}
		cancel()
	}
	l.wrap = nil
	l.same(l.backup().Snapshot)
}
