package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

// verification is one run of verify.
type verification struct {
	*reading
	verifier *view.Verifier
	markBad  bool
	snapshot object.ID // being verified
	findings uint64    // damage in chains and signatures
	bad      []object.ID
	marked   uint64
	err      error // of marking
}

func (r *reading) withVerification(do func(v *verification) error) error {
	dir, err := os.MkdirTemp(r.scratch(), "packnback-verify-")
	if err != nil {
		return err
	}
	v := &verification{reading: r}
	if v.verifier, err = view.NewVerifier(r.reader, dir, v.lost); err == nil {
		err = errors.Join(do(v), v.verifier.Close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (v *verification) run(ctx context.Context, sel *view.Selector, all bool) error {
	only := v.only
	var list []*object.Snapshot
	if sel != nil {
		snap, err := view.Resolve(ctx, v.store, *sel, v.only)
		if err != nil {
			return err
		}
		list = []*object.Snapshot{snap}
		only = view.Narrow{Client: snap.Manifest.Client, Job: snap.Manifest.Job}
	}
	if _, err := v.checkChains(ctx, only, v.finding); err != nil {
		return err
	}
	if sel == nil {
		var err error
		if list, err = v.candidates(ctx, all); err != nil {
			return err
		}
	}
	progress := v.ui.Progress("verifying", v.status)
	err := v.each(ctx, list)
	progress.Stop()
	if err != nil {
		return err
	}
	return v.finish(ctx)
}

// candidates returns the snapshots to verify, without their sealed parts.
func (v *verification) candidates(ctx context.Context, all bool) ([]*object.Snapshot, error) {
	var list []*object.Snapshot
	err := v.store.Snapshots(ctx, func(s *object.Snapshot) error {
		if v.only.Match(s.Manifest) {
			s.Sealed = nil // asked for again when it is its turn: there may be many
			list = append(list, s)
		}
		return nil
	})
	if !all {
		list = newestOfEach(list, 1)
	}
	return list, err
}

func (v *verification) each(ctx context.Context, list []*object.Snapshot) error {
	for _, snap := range list {
		v.snapshot = snap.ID()
		var err error
		if snap.Sealed == nil {
			snap, err = v.store.Snapshot(ctx, v.snapshot)
		}
		var opened *view.Snapshot
		if err == nil {
			opened, err = v.reader.Open(ctx, snap)
		}
		switch {
		case errors.Is(err, crypto.ErrNotRecipient):
			v.warnf("snapshot %s is sealed to other keys than this one: not verified", v.snapshot.Short())
			continue
		case errors.Is(err, object.ErrSignature):
			continue // found with its chain
		case view.Lost(err):
			v.lost("", object.ID{}, err)
			continue
		case err != nil:
			return err
		}
		if err := v.verifier.Verify(ctx, opened); err != nil {
			if !view.Lost(err) {
				return fmt.Errorf("verifying snapshot %s: %w", v.snapshot.Short(), err)
			}
			v.lost("", object.ID{}, err)
		}
	}
	return nil
}

func (v *verification) status() ui.Status {
	res := v.verifier.Result()
	return ui.Status{Files: res.Entries, Bytes: res.Bytes, Errors: res.Lost}
}
