package view

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Snapshot is an opened snapshot.
type Snapshot struct {
	*object.Snapshot
	Summary *tree.Summary
	reader  *Reader
}

// Open opens s with the reader's key: its signature is checked and its sealed
// part decrypted. The error wraps crypto.ErrNotRecipient when the snapshot is
// sealed to others. Whether its signing key may be believed is not decided
// here (VerifyChains).
func (r *Reader) Open(ctx context.Context, s *object.Snapshot) (*Snapshot, error) {
	if err := s.Manifest.Verify(); err != nil {
		return nil, err
	}
	// A record that nobody needs to have: it only names the key object.
	if err := r.LoadKeys(ctx, &object.Record{Kind: object.KindDir, Key: s.Manifest.MetadataKey}); err != nil {
		return nil, err
	}
	plain, err := r.opener.OpenPart(s.Manifest, s.Sealed)
	if errors.Is(err, crypto.ErrNoKey) {
		err = &LossError{s.Manifest.MetadataKey, errMissing} // LoadKeys has asked for it
	}
	if err != nil {
		return nil, fmt.Errorf("opening snapshot %s: %w", s.ID().Short(), err)
	}
	sum, err := tree.UnmarshalSummary(plain)
	if err != nil {
		return nil, fmt.Errorf("opening snapshot %s: %w", s.ID().Short(), err)
	}
	return &Snapshot{Snapshot: s, Summary: sum, reader: r}, nil
}

// Root returns the snapshot's topmost folder. Where the snapshot does not say
// what it was like, it is a folder of mode 0755 and no time.
func (s *Snapshot) Root() Place {
	e := &tree.Entry{Type: tree.TypeDir, Mode: 0o755}
	if s.Summary.Root != nil {
		*e = *s.Summary.Root
	}
	e.Type, e.Subtree = tree.TypeDir, s.Manifest.Root
	return Place{Path: "/", Entry: e}
}

// Lookup finds what path, as CleanPath gives it, names; "" is the root. It
// asks for one object for each folder on the way, or a few where they are very
// large. When there is nothing of that name, or something on the way is no
// folder, the error is a StoreError of object.CodeNotFound. Symlinks are not
// followed.
func (s *Snapshot) Lookup(ctx context.Context, path string) (Place, error) {
	place := s.Root()
	load := s.reader.load(ctx)
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if name == "" {
			break // the root
		}
		if place.Entry.Type != tree.TypeDir {
			return Place{}, object.CodeNotFound.Errorf("%.500q in snapshot %s is a %s, not a folder", place.Path, s.ID().Short(), place.Entry.Type)
		}
		e, ok, err := tree.Lookup(load, place.Entry.Subtree, name)
		if err != nil {
			return Place{}, fmt.Errorf("looking up %.500q in snapshot %s: %w", path, s.ID().Short(), err)
		}
		if !ok {
			return Place{}, object.CodeNotFound.Errorf("no %.500q in snapshot %s", path, s.ID().Short())
		}
		place = Place{Path: strings.TrimSuffix(place.Path, "/") + "/" + name, Entry: e}
	}
	return place, nil
}
