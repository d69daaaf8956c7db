package repo

import (
	"context"
	"errors"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// TestRepairAndCutOffPrune lets something rot after a prune has published what is
// condemned: the prune can't go on, and a repair has to wait for it, but marks
// what is lost, so that it can.
func TestRepairAndCutOffPrune(t *testing.T) {
	for _, rots := range []string{"the new snapshot's root", "something condemned that it needs"} {
		t.Run(rots, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			x := st.inner()
			u := relying(60, x)
			lost := u.tree[0]
			if rots != "the new snapshot's root" {
				lost = x
			}
			st.cutOff(r, u, func() { st.flip(lost, object.HeaderSize+3) })
			reported := map[object.ID]bool{}
			_, err := st.process().RepairPacks(st.ctx, func(p Problem) {
				if p.What == "object" {
					reported[p.ID] = true
				}
			})
			if !errors.Is(err, object.CodeBusy) || !reported[lost.ID] || len(reported) != 1 {
				t.Errorf("repair: got %v, and lost are %v", err, reported)
			}
			if _, err := st.process().Prune(st.ctx, atOnce); err != nil {
				t.Fatalf("prune, once that was marked as bad: %v", err)
			}
			if _, err := st.process().RepairPacks(st.ctx, nil); err != nil {
				t.Fatalf("the second repair: %v", err)
			}
			if got := inQuarantine(t, st.process()); len(got) != 0 {
				t.Errorf("in quarantine is still %v", got)
			}
			st.forget(u)
			if _, err := st.process().Prune(st.ctx, atOnce); err != nil {
				t.Errorf("the last prune: %v", err)
			}
			if err := wantTrees(st.process(), st.kept...); err != nil {
				t.Error(err)
			}
			for _, p := range problems(t, st.process()) {
				t.Errorf("in the end: %+v", p)
			}
		})
	}
}

// TestRepairLeavesCutOffPrune has a prune that was cut off and nothing that
// keeps it from going on.
func TestRepairLeavesCutOffPrune(t *testing.T) {
	st := newStory(t)
	stop := errors.New("cut off")
	opt := atOnce
	ctx, cancel := context.WithCancelCause(st.ctx)
	defer cancel(nil)
	opt.Progress = func(step string) {
		if step == condemnedNow {
			cancel(stop)
		}
	}
	if _, err := st.r.Prune(ctx, opt); err == nil {
		t.Fatal("the prune was not cut off")
	}
	if res, err := st.process().RepairPacks(st.ctx, nil); err != nil || res.Problems != 0 {
		t.Errorf("repair of what is whole: %+v, %v", res, err)
	}
	if res := st.prune(nil); res.ObjectsDeleted == 0 {
		t.Errorf("prune: %+v", res)
	}
}

// TestBadWhileUploading has a sender that was told that its base is whole, and
// then something deep below that is found bad or lost: the snapshot doesn't get
// a hole that no ref of a new object shows.
func TestBadWhileUploading(t *testing.T) {
	for name, find := range map[string]func(st *story, r *Repository, lost *object.Record) error{
		"marked": func(st *story, r *Repository, lost *object.Record) error {
			return r.MarkBad(st.ctx, []object.ID{lost.ID})
		},
		"repaired": func(st *story, r *Repository, lost *object.Record) error {
			st.flip(lost, object.HeaderSize+3)
			_, err := r.RepairPacks(st.ctx, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStory(t)
			base := newUpload(60, nil)
			if _, err := base.send(st.ctx, st.r); err != nil {
				t.Fatal(err)
			}
			s, err := st.process().OpenSession(st.ctx, SessionRequest{Client: "web1", Job: "default", Base: base.manifest.ID()})
			if err != nil || !s.Standing().Based {
				t.Fatalf("based: %v, %v", s.Standing().Based, err)
			}
			lost := base.tree[0]
			if err := find(st, st.process(), lost); err != nil {
				t.Fatal(err)
			}
			u := newUpload(61, base)
			err = st.commit(s, u)
			var missing *object.MissingError
			if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != lost.ID {
				t.Fatalf("commit: got %v, want that %s is missing", err, lost.ID.Short())
			}
			st.put(s, base.Metadata, base.Content, lost)
			if _, err := s.Commit(st.ctx, u.manifest, u.sealed); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := wantTree(st.process(), u.root, []*upload{base, u}); err != nil {
				t.Error(err)
			}
			// Who comes now is told that there is no base, and asks; nothing is
			// looked at below what is live.
			if _, err := newUpload(62, u).send(st.ctx, st.process()); err != nil {
				t.Error(err)
			}
		})
	}
}
