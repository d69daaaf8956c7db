package repo

import (
	"context"
	"errors"

	"github.com/packnback/packnback/repo/object"
)

// keysBatch is how many key objects Keys reads at a time.
const keysBatch = 1024

// Keys yields every key object of the repository, in no order, some perhaps
// more than once. Those that can't be read whole are named by a MissingError at
// the end. It reads the whole index, but no other object. Safe for concurrent
// use.
func (r *Repository) Keys(ctx context.Context, yield func(*object.Record) error) error {
	rd, err := r.newReader(ctx)
	if err != nil {
		return err
	}
	defer rd.close()
	var lost missing
	batch := make([]object.ID, 0, keysBatch)
	flush := func() error {
		var m *object.MissingError
		if err := r.Fetch(ctx, batch, yield); errors.As(err, &m) {
			for _, id := range m.IDs {
				lost.add(id)
			}
		} else if err != nil {
			return err
		}
		batch = batch[:0]
		return nil
	}
	for _, segment := range rd.v.set.Segments() {
		for e, err := range segment.Entries(0) {
			if err != nil {
				return damaged("the index", err, repairCommand)
			}
			if e.Kind != object.KindKey {
				continue
			}
			if batch = append(batch, e.ID); len(batch) == keysBatch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return lost.err()
}
