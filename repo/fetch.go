package repo

import (
	"cmp"
	"context"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
)

const (
	// fetchSpan is how many bytes one read of several records takes at most, and
	// fetchGap how many bytes that nobody asked for it may read over: about what
	// a disk reads while it would seek.
	fetchSpan = 4 << 20
	fetchGap  = 128 << 10
)

// Fetch yields the record of each distinct id once, in the order in which they
// lie in the packs. What is missing or can't be read whole is left out and named
// by the MissingError that comes at the end. Memory is proportional to ids.
// Records belong to yield's callee; yield is called from the calling goroutine.
// Safe for concurrent use.
func (r *Repository) Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	rd, err := r.newReader(ctx)
	if err != nil {
		return err
	}
	defer rd.close()
	f := &fetch{rd: rd, yield: yield}
	targets, err := f.locate(ids)
	if err != nil {
		return err
	}
	for len(targets) > 0 {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		n := spanOf(targets)
		if err := f.read(targets[:n]); err != nil {
			return err
		}
		targets = targets[n:]
	}
	// Whatever went wrong on the quick way is tried at every other location.
	for _, id := range f.again {
		rec, _, err := rd.object(ctx, id)
		if err != nil {
			return err
		}
		if rec == nil {
			f.missing.add(id)
			continue
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	return f.missing.err()
}

// fetch is one Fetch under way.
type fetch struct {
	rd      *reader
	yield   func(*object.Record) error
	again   []object.ID // not found at their first location
	missing missing
}

// target is where one id is to be read.
type target struct {
	id object.ID
	at index.Location
}

// locate returns the best location of each distinct id, in pack order.
func (f *fetch) locate(ids []object.ID) ([]target, error) {
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, object.ID.Compare)
	sorted = slices.Compact(sorted)
	targets := make([]target, 0, len(sorted))
	for _, id := range sorted {
		found, err := f.rd.locations(id)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			f.again = append(f.again, id)
			continue
		}
		targets = append(targets, target{id, found[0].Location})
	}
	slices.SortFunc(targets, func(a, b target) int {
		return cmp.Or(a.at.Pack.Compare(b.at.Pack), cmp.Compare(a.at.Type(), b.at.Type()), cmp.Compare(a.at.Offset, b.at.Offset))
	})
	return targets, nil
}

// spanOf returns how many of the first targets one read serves.
func spanOf(targets []target) int {
	first := targets[0].at
	end := int64(first.Offset) + int64(first.Length)
	n := 1
	for ; n < len(targets); n++ {
		at := targets[n].at
		next := int64(at.Offset) + int64(at.Length)
		if at.Pack != first.Pack || at.Type() != first.Type() || int64(at.Offset) > end+fetchGap || next-int64(first.Offset) > fetchSpan {
			break
		}
		end = max(end, next)
	}
	return n
}

// read reads the targets of one span and yields what is whole.
func (f *fetch) read(targets []target) error {
	first := targets[0].at
	end := uint32(0)
	for _, t := range targets {
		end = max(end, t.at.Offset+t.at.Length)
	}
	b, err := f.rd.r.files.Read(nil, first.Pack, first.Type(), first.Offset, end-first.Offset)
	if err != nil {
		for _, t := range targets {
			f.again = append(f.again, t.id)
		}
		return nil
	}
	for _, t := range targets {
		from := t.at.Offset - first.Offset
		rec, err := object.UnmarshalRecord(b[from : from+t.at.Length : from+t.at.Length])
		if err != nil || rec.ID != t.id {
			f.again = append(f.again, t.id)
			continue
		}
		if err := f.yield(rec); err != nil {
			return err
		}
	}
	return nil
}
