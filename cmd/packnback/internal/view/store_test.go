package view

import (
	"context"
	"crypto/ed25519"
	"slices"

	"github.com/packnback/packnback/repo/object"
)

var testRepository = object.RepositoryID{1, 2, 3}

// fakeStore lists snapshots that tests have signed; it has no objects.
type fakeStore struct {
	snapshots, links []*object.Snapshot
}

func (f *fakeStore) Snapshots(_ context.Context, yield func(*object.Snapshot) error) error {
	for _, s := range f.snapshots {
		if err := yield(s); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeStore) Links(_ context.Context, yield func(*object.Snapshot) error) error {
	for _, s := range f.links {
		if err := yield(s); err != nil {
			return err
		}
	}
	return nil
}

func newSigner(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
}

// add appends a snapshot to the chain of client and job, and returns its id.
func (f *fakeStore) add(key ed25519.PrivateKey, client, job string, received int64) object.ID {
	m := &object.Manifest{
		Repository: testRepository, Client: client, Job: job, Seq: 1,
		Root: object.ID{1}, MetadataKey: object.ID{2}, Recipients: object.ID{3}, Time: received,
	}
	for _, s := range f.snapshots {
		if s.Manifest.Client == client && s.Manifest.Job == job {
			m.Seq, m.Prev = s.Manifest.Seq+1, s.ID()
		}
	}
	sign(m, key)
	f.snapshots = append(f.snapshots, &object.Snapshot{Received: received, Manifest: m, Sealed: []byte{0}})
	return m.ID()
}

func sign(m *object.Manifest, key ed25519.PrivateKey) {
	copy(m.Signer[:], key.Public().(ed25519.PublicKey))
	copy(m.Signature[:], ed25519.Sign(key, m.AppendUnsigned(nil)))
}

// forget turns snapshot i into a link.
func (f *fakeStore) forget(i int, at int64) {
	s := *f.snapshots[i]
	s.Forgotten, s.Flags, s.Sealed = at, object.FlagForgotten, nil
	f.links = append(f.links, &s)
	f.snapshots = slices.Delete(f.snapshots, i, i+1)
}
