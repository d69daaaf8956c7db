package memstore

import (
	"context"
	"slices"

	"github.com/packnback/packnback/repo/object"
)

// Keys yields the key objects.
func (r *Repository) Keys(ctx context.Context, yield func(*object.Record) error) error {
	if err := r.fail("Keys"); err != nil {
		return err
	}
	r.mu.Lock()
	order := slices.Clone(r.order)
	r.mu.Unlock()
	for _, id := range order {
		rec := r.record(id)
		if rec.Kind != object.KindKey {
			continue
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Push yields the directories and lists below root.
func (r *Repository) Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error {
	if err := r.fail("Push"); err != nil {
		return err
	}
	for stack := []object.ID{root}; len(stack) > 0; {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		rec := r.record(id)
		if rec == nil {
			return &object.MissingError{IDs: []object.ID{id}}
		}
		if !rec.Kind.HasRefs() {
			continue
		}
		if err := yield(rec); err != nil {
			return err
		}
		for _, ref := range slices.Backward(rec.Refs) {
			stack = append(stack, ref)
		}
	}
	return ctx.Err()
}

// Fetch yields the objects of ids in the order in which they were put.
func (r *Repository) Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	if err := r.fail("Fetch"); err != nil {
		return err
	}
	wanted := make(map[object.ID]bool)
	for _, id := range ids {
		wanted[id] = true
	}
	r.mu.Lock()
	order := slices.Clone(r.order)
	r.mu.Unlock()
	for _, id := range order {
		if !wanted[id] {
			continue
		}
		delete(wanted, id)
		if err := yield(r.record(id)); err != nil {
			return err
		}
	}
	var missing object.MissingError
	for id := range wanted {
		missing.IDs = append(missing.IDs, id)
	}
	if len(missing.IDs) > 0 {
		return &missing
	}
	return ctx.Err()
}
