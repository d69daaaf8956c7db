package copier

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

func TestPlan(t *testing.T) {
	w := newWorld(t)
	var s []*object.Snapshot
	for i := range 6 {
		s = append(s, w.snapshot("default", plain))
		if i == 1 {
			w.forget(s[1])
		}
	}
	other := w.snapshot("other", plain)
	id := func(i int) object.ID { return s[i].ID() }
	link := func(of *object.Snapshot, flags object.Flags) *object.Snapshot {
		l := *of
		l.Sealed, l.Flags, l.Forgotten = nil, flags, 0
		if flags == object.FlagForgotten {
			l.Forgotten = 5
		}
		return &l
	}
	trashed := link(s[2], object.FlagForgotten)
	trashed.Sealed = s[2].Sealed
	forked := *s[1].Manifest
	forked.Time++
	for _, test := range []struct {
		name        string
		has, links  []*object.Snapshot // of the replica
		named       []int
		want        string // numbers to copy, and - before those of which the link is added
		present     int
		damaged, no bool
	}{
		{name: "empty", want: "[1 -2 3 4 5 6]"},
		{name: "one named", named: []int{3}, want: "[-1 -2 -3 4]"},
		{name: "two there", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten)}, want: "[3 4 5 6]", present: 1},
		{name: "one left out", has: s[2:4], links: []*object.Snapshot{link(s[0], object.FlagLeftOut), link(s[1], object.FlagForgotten)}, want: "[1 5 6]", present: 2},
		{name: "one forgotten there", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), link(s[2], object.FlagForgotten)}, want: "[4 5 6]", present: 1},
		{name: "one forgotten there and named", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), link(s[2], object.FlagForgotten)}, named: []int{2}, want: "[3]"},
		{name: "one in the trash", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), trashed}, want: "[4 5 6]", present: 1},
		{name: "one in the trash and named", has: s[:1], links: []*object.Snapshot{link(s[1], object.FlagForgotten), trashed}, named: []int{2}, want: "[3]"},
		{name: "one forgotten here only", has: []*object.Snapshot{s[0], s[1], s[2]}, want: "[4 5 6]", present: 2},
		{name: "ahead", has: s, want: "[]", present: 5},
		{name: "diverged", has: []*object.Snapshot{s[0], {Manifest: &forked, Sealed: s[1].Sealed}}, no: true, present: 1},
		{name: "a hole there", has: []*object.Snapshot{s[0], s[2]}, no: true, damaged: true, present: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.to.snapshots, w.to.links, w.problems = append([]*object.Snapshot{other}, test.has...), test.links, nil
			choice := Choice{}
			for _, n := range test.named {
				if choice.IDs == nil {
					choice.IDs = map[object.ID]bool{}
				}
				choice.IDs[id(n)] = true
			}
			p, err := w.c.Plan(t.Context(), choice)
			if err != nil {
				t.Fatal(err)
			}
			if choice.IDs == nil {
				p.Present-- // other's
			}
			if p.Present != test.present {
				t.Errorf("%d are there, want %d", p.Present, test.present)
			}
			if test.no {
				if len(p.Jobs) > 0 || len(w.problems) != 1 || errors.Is(w.problems[0].Err, object.CodeDamaged) != test.damaged {
					t.Errorf("got %d jobs and the problems %+v", len(p.Jobs), w.problems)
				}
				return
			}
			got := []int{}
			for _, j := range p.Jobs {
				for _, it := range j.items {
					n := int(it.snap.Manifest.Seq)
					if it.link {
						n = -n
					}
					got = append(got, n)
				}
			}
			if fmt.Sprint(got) != test.want || len(w.problems) > 0 {
				t.Errorf("got %v and the problems %+v, want %s", got, w.problems, test.want)
			}
		})
	}
}

// TestGapInTheSource has a source that has lost one of its own.
func TestGapInTheSource(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.snapshot("default", plain)
	}
	ok := w.snapshot("other", plain)
	w.from.snapshots = slices.Delete(w.from.snapshots, 1, 2)
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want(ok)
	if len(w.problems) != 1 || !errors.Is(w.problems[0].Err, object.CodeDamaged) {
		t.Errorf("problems: %+v", w.problems)
	}
}

// TestForkedSource has a source that has one number twice.
func TestForkedSource(t *testing.T) {
	w := newWorld(t)
	s := w.snapshot("default", plain)
	fork := *s.Manifest
	fork.Time++
	w.from.snapshots = append(w.from.snapshots, &object.Snapshot{Received: 9, Manifest: &fork, Sealed: s.Sealed})
	if err := w.run(Choice{}); err != nil {
		t.Fatal(err)
	}
	w.want()
	if len(w.problems) != 1 || !errors.Is(w.problems[0].Err, object.CodeDamaged) {
		t.Errorf("problems: %+v", w.problems)
	}
}
