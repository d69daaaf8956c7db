package repo

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

func snapshotName(folder string, id object.ID) string { return folder + "/" + id.String() }

// readSnapshot reads the snapshot id in one of the folders snapshots, trash
// and links. Where it isn't, the error is fs.ErrNotExist.
func (r *Repository) readSnapshot(folder string, id object.ID) (*object.Snapshot, error) {
	name := snapshotName(folder, id)
	b, err := disk.ReadFile(r.fs, name, int64(object.MaxSnapshot))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, storeError("reading", name, err)
	}
	s, err := object.UnmarshalSnapshot(b)
	if err == nil && s.ID() != id {
		err = errors.New("it holds another snapshot")
	}
	if err == nil && s.Manifest.Repository != r.id {
		err = errors.New("it is a snapshot of another repository")
	}
	if err != nil {
		return nil, damaged(name, err, "its data may be whole; put back a copy of the file, or move it out of its folder")
	}
	return s, nil
}

// findSnapshot looks for a snapshot that is live, in the trash, or gone with
// only its link left.
func (r *Repository) findSnapshot(id object.ID) (*object.Snapshot, error) {
	for _, folder := range []string{"snapshots", "trash", "links", "snapshots"} {
		s, err := r.readSnapshot(folder, id)
		if !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	}
	return nil, noSnapshot(id)
}

func noSnapshot(id object.ID) error {
	return object.CodeNotFound.Errorf("there is no snapshot %s", id)
}

// Snapshot returns one live snapshot: CodeNotFound when there is none of that
// id, CodeDamaged when its file can't be understood.
func (r *Repository) Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, interrupted(err)
	}
	s, err := r.readSnapshot("snapshots", id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSnapshot(id)
	}
	return s, err
}

// Snapshots yields the live snapshots, oldest received first. A file that can't
// be understood doesn't hide the others: its error comes after all that can.
func (r *Repository) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return r.eachSnapshot(ctx, "snapshots", yield)
}

// Links yields what is left of forgotten snapshots, oldest received first:
// those in the trash, and those of which only the signed link is kept.
func (r *Repository) Links(ctx context.Context, yield func(*object.Snapshot) error) error {
	if err := r.eachSnapshot(ctx, "links", yield); err != nil {
		return err
	}
	return r.eachSnapshot(ctx, "trash", yield)
}

// received is what is kept of each snapshot for putting them into order: 40
// bytes, not the megabyte that a sealed part may have.
type received struct {
	at int64
	id object.ID
}

func (r *Repository) eachSnapshot(ctx context.Context, folder string, yield func(*object.Snapshot) error) error {
	order, failed := r.snapshotOrder(ctx, folder)
	if len(order) == 0 {
		return failed
	}
	for _, o := range order {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		s, err := r.readSnapshot(folder, o.id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if err := yield(s); err != nil {
			return err
		}
	}
	return failed
}

// snapshotOrder returns the snapshots of a folder, oldest received first, and
// the first error among those that can't be read.
func (r *Repository) snapshotOrder(ctx context.Context, folder string) ([]received, error) {
	entries, err := list(r.fs, folder)
	if err != nil {
		return nil, err
	}
	var failed error
	order := make([]received, 0, len(entries))
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		id, err := object.ParseID(e.Name)
		if err != nil {
			continue // not a snapshot's name; check reports it
		}
		s, err := r.readSnapshot(folder, id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			failed = cmp.Or(failed, err)
		default:
			order = append(order, received{s.Received, id})
		}
	}
	slices.SortFunc(order, func(a, b received) int {
		return cmp.Or(cmp.Compare(a.at, b.at), a.id.Compare(b.id))
	})
	return order, failed
}
