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
			opt := atOnce
			var s *Session
			opt.Progress = func(step string) {
				switch step {
				case beforeMark:
					s = st.open(r)
				case condemnedNow:
					if err := errors.Join(st.commit(s, u), s.Close()); err != nil {
						t.Fatal(err)
					}
					st.flip(lost, object.HeaderSize+3)
				}
			}
			if _, err := st.r.Prune(st.ctx, opt); !errors.Is(err, object.CodeDamaged) {
				t.Fatalf("prune: got %v, want a refusal", err)
			}
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
