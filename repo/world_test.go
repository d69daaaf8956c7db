package repo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// testTuning has small packs, so that a small upload has several, and no
// background checkpoints, so that a test decides when there is one.
func testTuning() tuning {
	var clock atomic.Int64
	clock.Store(1_800_000_000_000_000_000)
	return tuning{
		now:             func() time.Time { return time.Unix(0, clock.Add(1000)) },
		packSize:        4 << 10,
		checkpointBytes: 1 << 40,
		checkpointEvery: time.Hour,
		sorterMemory:    64 << 10,
		adoptWait:       500 * time.Millisecond,
	}
}

var (
	testID      = object.RepositoryID{1, 2, 3}
	testMachine = machineID{9}
)

// newDisk returns a disk with an empty, durable repository.
func newDisk(t testing.TB) *crashdisk.Disk {
	t.Helper()
	d := crashdisk.New()
	p := d.Process()
	defer p.Kill()
	if err := initFS(context.Background(), p, "test", testID, nil); err != nil {
		t.Fatalf("init: %v", err)
	}
	return d
}

func openRepository(t testing.TB, fsys disk.FS) *Repository {
	t.Helper()
	r, err := openFS(context.Background(), fsys, "test", testMachine, testTuning())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return r
}

// upload is what a test sends: a tree and, beside it, what it relies on.
type upload struct {
	*storetest.Upload
	tree     []*object.Record
	root     object.ID
	manifest *object.Manifest
	sealed   []byte
	promised uint64 // puts that a store called durable
}

// newUpload makes the upload number n of a job: five new files in a tree that
// also holds the root of the one before.
func newUpload(n uint64, before *upload) *upload {
	u := &upload{Upload: storetest.NewUpload("web1", n)}
	u.tree = u.Tree(5, 700, 3)
	top := []object.ID{u.tree[len(u.tree)-1].ID}
	if before != nil {
		top = append(top, before.root)
	}
	root := u.Object(object.KindDir, 80, top...)
	u.tree = append(u.tree, root)
	u.root = root.ID
	return u
}

// records returns everything the upload puts, in order.
func (u *upload) records() []*object.Record {
	return append([]*object.Record{u.Metadata, u.Content}, u.tree...)
}

// send puts everything, with a checkpoint in the middle, and commits. It does
// what a sender does that finds its upload done already.
func (u *upload) send(ctx context.Context, r *Repository) (object.Receipt, error) {
	s, err := r.OpenSession(ctx, SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		return object.Receipt{}, err
	}
	receipt, err := u.sendTo(ctx, s)
	return receipt, errors.Join(err, s.Close())
}

func (u *upload) sendTo(ctx context.Context, s *Session) (object.Receipt, error) {
	if u.manifest == nil || u.manifest.ID() != s.Standing().Head {
		if u.manifest == nil || u.manifest.Prev != s.Standing().Head {
			u.manifest, u.sealed = u.Manifest(s.Standing(), "web1", "default", u.root)
		}
		for i, rec := range u.records() {
			if err := s.Put(ctx, rec); err != nil {
				return object.Receipt{}, err
			}
			if i == 4 {
				if err := s.Checkpoint(ctx); err != nil {
					return object.Receipt{}, err
				}
				u.promised = s.Durable()
			}
		}
	}
	return s.Commit(ctx, u.manifest, u.sealed)
}

// wantSound checks the whole repository and that the snapshots of uploads, in
// this order, are what it has, complete and unaltered: the newest one holds
// those before it.
func wantSound(r *Repository, uploads ...*upload) error {
	ctx := context.Background()
	var problems []error
	_, err := r.Check(ctx, CheckOptions{ReadData: true}, func(p Problem) {
		problems = append(problems, fmt.Errorf("check: %s %s %s: %s", p.What, p.Name, p.ID.Short(), p.Detail))
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		return err
	}
	i := 0
	err = r.Snapshots(ctx, func(s *object.Snapshot) error {
		if i >= len(uploads) || s.ID() != uploads[i].manifest.ID() {
			return fmt.Errorf("snapshot %d is %s, not the one that was committed", i, s.ID())
		}
		i++
		if i < len(uploads) {
			return nil
		}
		return wantTree(r, s.Manifest.Root, uploads)
	})
	if err == nil && i != len(uploads) {
		err = fmt.Errorf("%d snapshots, want %d", i, len(uploads))
	}
	return err
}

// wantTree reads everything below root, which must be what the newest of
// uploads has and, through it, those before.
func wantTree(r *Repository, root object.ID, uploads []*upload) error {
	want := map[object.ID]*object.Record{}
	for _, u := range uploads {
		for _, rec := range u.tree {
			want[rec.ID] = rec
		}
	}
	all := map[object.ID]bool{}
	keys := map[object.ID]bool{}
	check := func(rec *object.Record) error {
		all[rec.ID] = true
		keys[rec.Key] = true
		if w := want[rec.ID]; w == nil || string(w.Append(nil)) != string(rec.Append(nil)) {
			return fmt.Errorf("%s %s is not what was put", rec.Kind, rec.ID)
		}
		return nil
	}
	var leaves []object.ID
	ctx := context.Background()
	err := r.Push(ctx, root, func(rec *object.Record) error {
		for _, ref := range rec.Refs {
			if w := want[ref]; w != nil && !w.Kind.HasRefs() {
				leaves = append(leaves, ref)
			}
		}
		return check(rec)
	})
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	if err := r.Fetch(ctx, leaves, check); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	var keyIDs []object.ID
	for id := range keys {
		keyIDs = append(keyIDs, id)
	}
	if err := r.Fetch(ctx, keyIDs, func(*object.Record) error { return nil }); err != nil {
		return fmt.Errorf("fetching key objects: %w", err)
	}
	if len(all) != len(want) {
		return fmt.Errorf("%d of %d objects came back", len(all), len(want))
	}
	return nil
}
