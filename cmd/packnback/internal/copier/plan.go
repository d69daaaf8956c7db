package copier

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// Choice says what to copy.
type Choice struct {
	Only view.Narrow        // clients and jobs
	IDs  map[object.ID]bool // these, whatever the replica has forgotten; nil: all that are live and not forgotten there
}

// Plan is what is to be done, job by job.
type Plan struct {
	Jobs    []*Job
	Present int // snapshots of the choice that the replica has
	Chains  int // clients and jobs of the source that Choice.Only allows
}

// Job is what is to be done for one client and job.
type Job struct {
	Client, Job string
	items       []item // in the order of their numbers
}

// item is one snapshot of the source. Its sealed part is left out.
type item struct {
	snap  *object.Snapshot
	link  bool // add the link only
	below bool // the replica has the link already, so the chain needs none
}

// Copies yields the snapshots of j that are to be copied, without their sealed
// parts, oldest first.
func (j *Job) Copies() []*object.Snapshot {
	var copies []*object.Snapshot
	for _, it := range j.items {
		if !it.link {
			copies = append(copies, it.snap)
		}
	}
	return copies
}

// Links returns how many links are to be added.
func (j *Job) Links() int { return len(j.items) - len(j.Copies()) }

// state is how a repository has a snapshot.
type state int

const (
	absent state = iota
	live
	trashed
	linked  // forgotten, and only the link is left
	leftOut // only the link was copied
)

func stateOf(s *object.Snapshot) state {
	switch {
	case s.Flags&object.FlagLeftOut != 0:
		return leftOut
	case s.Flags&object.FlagForgotten == 0:
		return live
	case s.Sealed != nil:
		return trashed
	}
	return linked
}

type name struct{ client, job string }

// there is what the replica knows of one number of a chain.
type there struct {
	id    object.ID
	state state
}

// chains is what the two repositories have, some hundred bytes for each snapshot
// of the source and fifty for each of the replica.
type chains struct {
	choice Choice
	source map[name][]*object.Snapshot
	states map[object.ID]state // in the source
	target map[name]map[uint64]there
}

// Plan finds out what of the choice is to be copied. What stands in the way of a
// whole job is reported, and the job left out.
func (c *Copier) Plan(ctx context.Context, choice Choice) (*Plan, error) {
	ch := &chains{choice: choice, source: map[name][]*object.Snapshot{}, states: map[object.ID]state{}, target: map[name]map[uint64]there{}}
	if err := each(ctx, c.From, ch.noteSource); err != nil {
		return nil, fmt.Errorf("reading the chains of the source: %w", err)
	}
	if c.To != nil {
		if err := each(ctx, c.To, ch.noteTarget); err != nil {
			return nil, fmt.Errorf("reading the chains of the replica: %w", err)
		}
	}
	p := &Plan{Chains: len(ch.source)}
	for n, snaps := range ch.source {
		if !ch.concerns(snaps) {
			continue
		}
		slices.SortFunc(snaps, func(a, b *object.Snapshot) int { return cmp.Compare(a.Manifest.Seq, b.Manifest.Seq) })
		j, present, err := ch.job(n, snaps)
		p.Present += present
		if err != nil {
			c.report(Problem{Client: n.client, Job: n.job, Err: err})
			continue
		}
		if len(j.items) > 0 {
			p.Jobs = append(p.Jobs, j)
		}
	}
	slices.SortFunc(p.Jobs, func(a, b *Job) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Job, b.Job))
	})
	return p, nil
}

// each yields what a repository has of its chains.
func each(ctx context.Context, r Chains, yield func(*object.Snapshot) error) error {
	if err := r.Snapshots(ctx, yield); err != nil {
		return err
	}
	return r.Links(ctx, yield)
}

func (ch *chains) noteSource(s *object.Snapshot) error {
	id := s.ID()
	if _, again := ch.states[id]; again || !ch.choice.Only.Match(s.Manifest) {
		return nil // live ones come first, and one that is live counts as that
	}
	ch.states[id] = stateOf(s)
	s.Sealed = nil // may be large, and is asked for again when it is its turn
	n := name{s.Manifest.Client, s.Manifest.Job}
	ch.source[n] = append(ch.source[n], s)
	return nil
}

func (ch *chains) noteTarget(s *object.Snapshot) error {
	n := name{s.Manifest.Client, s.Manifest.Job}
	if ch.target[n] == nil {
		ch.target[n] = map[uint64]there{}
	}
	if _, again := ch.target[n][s.Manifest.Seq]; !again {
		ch.target[n][s.Manifest.Seq] = there{s.ID(), stateOf(s)}
	}
	return nil
}

// concerns reports whether any of the snapshots of a job may have to be copied.
func (ch *chains) concerns(snaps []*object.Snapshot) bool {
	return ch.choice.IDs == nil || slices.ContainsFunc(snaps, func(s *object.Snapshot) bool { return ch.choice.IDs[s.ID()] })
}

// job plans one job. snaps is its chain in the source, in order.
func (ch *chains) job(n name, snaps []*object.Snapshot) (*Job, int, error) {
	newest := uint64(0)
	for seq := range ch.target[n] {
		newest = max(newest, seq)
	}
	j, present := &Job{Client: n.client, Job: n.job}, 0
	next, last := newest+1, 0 // last counts the items up to the last copy
	for i, s := range snaps {
		id, seq := s.ID(), s.Manifest.Seq
		if i > 0 && snaps[i-1].Manifest.Seq == seq {
			return j, present, object.CodeDamaged.Errorf("the source has two snapshots number %d, %s and %s; packnback verify there says more", seq, snaps[i-1].ID().Short(), id.Short())
		}
		t := ch.target[n][seq]
		if t.state != absent && t.id != id {
			return j, present, object.CodeHeadMoved.Errorf("the replica's number %d is %s, the source's is %s: somebody has backed up to the replica itself; copy this job to a new replica, or back up to one of the two only", seq, t.id.Short(), id.Short())
		}
		if t.state == absent {
			if seq < next {
				return j, present, object.CodeDamaged.Errorf("the replica lacks number %d and its link, which it must have had; packnback check there says more", seq)
			}
			if seq > next {
				return j, present, object.CodeDamaged.Errorf("number %d comes after number %d, and the source lacks what is between them, and its link; packnback check there says more", seq, next-1)
			}
			next++
		}
		named, isLive := ch.choice.IDs[id], ch.states[id] == live
		wanted := isLive && (named || ch.choice.IDs == nil)
		switch {
		case t.state == live:
			if wanted {
				present++
			}
		case wanted && (t.state == absent || t.state == leftOut || named):
			j.items = append(j.items, item{snap: s, below: t.state != absent})
			last = len(j.items)
		case t.state == absent:
			j.items = append(j.items, item{snap: linkOf(s, isLive), link: true})
		}
	}
	if ch.choice.IDs != nil {
		j.items = j.items[:last] // the links that come after are of no use yet
	}
	return j, present, nil
}

// linkOf returns what the replica gets of s when that isn't copied.
func linkOf(s *object.Snapshot, isLive bool) *object.Snapshot {
	l := *s
	l.Sealed = nil
	if isLive {
		l.Flags |= object.FlagLeftOut
	}
	return &l
}
