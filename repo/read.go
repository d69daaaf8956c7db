package repo

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
)

// reader reads objects by id, through views that follow CURRENT when a prune
// takes packs away. Not safe for concurrent use.
type reader struct {
	r *Repository
	v *view
}

func (r *Repository) newReader(ctx context.Context) (*reader, error) {
	v, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &reader{r, v}, nil
}

func (rd *reader) close() error { return rd.v.release() }

// refresh takes the view of CURRENT as it is now; changed says whether that is
// another one.
func (rd *reader) refresh(ctx context.Context) (changed bool, err error) {
	v, err := rd.r.acquire(ctx)
	if err != nil {
		return false, err
	}
	old := rd.v
	rd.v = v
	return !bytes.Equal(v.raw, old.raw), old.release()
}

// locations returns where id is, in the order in which to try: live ones first,
// then those that a prune is after, then those known to be bad.
func (rd *reader) locations(id object.ID) ([]index.Found, error) {
	found, err := rd.v.find(nil, id)
	if err != nil || len(found) < 2 {
		return found, err
	}
	conditions := make(map[index.Location]condition, len(found))
	for _, f := range found {
		if conditions[f.Location], err = rd.v.condition(f.Location); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(found, func(a, b index.Found) int {
		return int(conditions[a.Location] - conditions[b.Location])
	})
	return found, nil
}

// object returns the record of id and where it was read. Where no location has
// it whole, the record is nil.
func (rd *reader) object(ctx context.Context, id object.ID) (*object.Record, index.Found, error) {
	for {
		found, err := rd.locations(id)
		if err != nil {
			return nil, index.Found{}, err
		}
		gone := false
		for _, f := range found {
			rec, err := rd.r.files.Record(f.Pack, f.Type(), f.Offset, f.Length)
			if err == nil && rec.ID == id {
				return rec, f, nil
			}
			gone = gone || errors.Is(err, fs.ErrNotExist)
		}
		if !gone {
			return nil, index.Found{}, ctx.Err()
		}
		changed, err := rd.refresh(ctx)
		if err != nil || !changed {
			return nil, index.Found{}, err
		}
	}
}

// missing collects ids up to a MissingError's limit.
type missing struct{ object.MissingError }

func (m *missing) add(id object.ID) {
	if len(m.IDs) == object.MaxMissing {
		m.More = true
		return
	}
	m.IDs = append(m.IDs, id)
}

func (m *missing) err() error {
	if len(m.IDs) == 0 {
		return nil
	}
	return &m.MissingError
}
