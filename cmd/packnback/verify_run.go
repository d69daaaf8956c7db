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
	problems
	verifier *view.Verifier
	markBad  bool
	refused  uint64 // snapshots sealed to other keys
	bad      []object.ID
	marked   uint64
	err      error // of marking
}

func (r *reading) withVerification(do func(v *verification) error) error {
	dir, err := os.MkdirTemp(r.scratch(), "packnback-verify-")
	if err != nil {
		return err
	}
	v := &verification{reading: r, problems: problems{to: r.program}}
	if v.verifier, err = view.NewVerifier(r.reader, dir, v.lost); err == nil {
		err = errors.Join(do(v), v.verifier.Close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (v *verification) run(ctx context.Context, sel *view.Selector, all bool) error {
	only := v.only
	var list []*object.Snapshot
	var unread error
	if sel != nil {
		snap, damage, err := view.Resolve(ctx, v.store, *sel, v.only)
		if err != nil {
			return err
		}
		unread = damage
		list = []*object.Snapshot{snap}
		only = view.Narrow{Client: snap.Manifest.Client, Job: snap.Manifest.Job}
	}
	if _, err := v.checkChains(ctx, only, v.finding); err != nil {
		return err
	}
	if sel == nil {
		list, unread = v.listed(ctx, all)
	}
	if unread != nil && (v.findings == 0 || !errors.Is(unread, object.CodeDamaged)) {
		return unread // else it was found with the chains, and the others are verified
	}
	if len(list) == 0 && v.findings == 0 && v.only != (view.Narrow{}) {
		return noMatch(v.only)
	}
	progress := v.ui.Progress("verifying", v.status)
	err := v.each(ctx, list)
	progress.Stop()
	if err != nil {
		return err
	}
	return v.finish(ctx)
}

// listed returns the snapshots that the command line is about, without their
// sealed parts: all, or the latest of each client and job.
func (r *reading) listed(ctx context.Context, all bool) ([]*object.Snapshot, error) {
	var list []*object.Snapshot
	err := r.store.Snapshots(ctx, func(s *object.Snapshot) error {
		if r.only.Match(s.Manifest) {
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

// openListed opens a snapshot of listed.
func (r *reading) openListed(ctx context.Context, snap *object.Snapshot) (*view.Snapshot, error) {
	if snap.Sealed == nil {
		var err error
		if snap, err = r.store.Snapshot(ctx, snap.ID()); err != nil {
			return nil, err
		}
	}
	return r.reader.Open(ctx, snap)
}

func (v *verification) each(ctx context.Context, list []*object.Snapshot) error {
	for _, snap := range list {
		v.snapshot = snap.ID()
		opened, err := v.openListed(ctx, snap)
		switch {
		case errors.Is(err, crypto.ErrNotRecipient):
			v.warnf("snapshot %s is sealed to other keys than this one: not verified", v.snapshot.Short())
			v.refused++
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
