package repo_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// checkMadeUp recomputes the id of an object of storetest's.
func checkMadeUp(rec *object.Record) error {
	want := object.HashID(rec.Sealed)
	if rec.Kind != object.KindKey {
		h := sha256.New()
		h.Write([]byte{byte(rec.Kind)})
		for _, r := range rec.Refs {
			h.Write(r[:])
		}
		h.Write(rec.Sealed)
		want = object.ID(h.Sum(nil))
	}
	if rec.ID != want {
		return fmt.Errorf("%s %s is not what was put", rec.Kind, rec.ID.Short())
	}
	return nil
}

// uploadOnce does what a backup does: a tree that shares parts with the one
// before, which it doesn't send, and has a few new objects.
func uploadOnce(ctx context.Context, r *repo.Repository, client, job string, rng *rand.Rand) (id object.ID, err error) {
	s, err := r.OpenSession(ctx, repo.SessionRequest{Client: client, Job: job})
	if err != nil {
		return id, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	old, err := partsOfHead(ctx, r, s, rng)
	if err != nil {
		return id, err
	}
	u := storetest.NewUpload(client, rng.Uint64())
	put := func(recs ...*object.Record) (err error) {
		for _, rec := range recs {
			err = errors.Join(err, s.Put(ctx, rec))
		}
		return err
	}
	if err := put(u.Metadata, u.Content); err != nil {
		return id, err
	}
	var top []object.ID
	top = append(top, old...)
	for range 1 + rng.IntN(3) {
		tree := u.Tree(1+rng.IntN(4), 100+rng.IntN(900), 3)
		if err := put(tree...); err != nil {
			return id, err
		}
		if rng.IntN(3) == 0 {
			if err := s.Checkpoint(ctx); err != nil {
				return id, err
			}
		}
		top = append(top, tree[len(tree)-1].ID)
	}
	if rng.IntN(30) == 0 { // as long as a prune takes
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
	}
	root := u.Object(object.KindDir, 80, top...)
	if err := put(root); err != nil {
		return id, err
	}
	m, sealed := u.Manifest(s.Standing(), client, job, root.ID)
	_, err = s.Commit(ctx, m, sealed)
	return m.ID(), err
}

// partsOfHead picks objects of the job's newest snapshot, at any depth, which
// the store says the upload may rely on.
func partsOfHead(ctx context.Context, r *repo.Repository, s *repo.Session, rng *rand.Rand) ([]object.ID, error) {
	if s.Standing().Head.IsZero() {
		return nil, nil
	}
	head, err := r.Snapshot(ctx, s.Standing().Head)
	if errors.Is(err, object.CodeNotFound) {
		return nil, nil // forgotten
	}
	if err != nil {
		return nil, err
	}
	var all []object.ID
	err = r.Push(ctx, head.Manifest.Root, func(rec *object.Record) error {
		all = append(all, rec.Refs...)
		return nil
	})
	var missing *object.MissingError
	if err != nil && !errors.As(err, &missing) { // it may be forgotten and pruned meanwhile
		return nil, err
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(len(all), rng.IntN(8))]
	have, err := s.Have(ctx, all)
	if err != nil {
		return nil, err
	}
	var old []object.ID
	for i, id := range all {
		if have[i] {
			old = append(old, id)
		}
	}
	return old, nil
}
