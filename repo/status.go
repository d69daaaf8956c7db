package repo

import (
	"cmp"
	"context"
	"slices"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// JobStatus is how one client's job stands.
type JobStatus struct {
	Client, Job string
	Snapshots   uint64       // live ones
	Trash       uint64       // forgotten ones whose grace is not over
	Last        object.ID    // the newest live one; zero when all are forgotten
	Received    int64        // when that came, nanoseconds since 1970
	Flags       object.Flags // its remarks
	Unusual     uint64       // live ones that are flagged and not acknowledged
	Oldest      object.ID    // the oldest of those, which freezes what came before it
	Used        uint64       // bytes that count against the client's quota, for all its jobs
	Drill       Drill        // the last one that was recorded here
}

// Status is how a repository stands.
type Status struct {
	Now    int64  // the store's clock, nanoseconds since 1970
	Pruned int64  // when the last prune ended that came to its end; 0 when none has
	Freed  uint64 // bytes that it freed
	Bad    uint64 // locations that are quarantined: known damage that no prune has cleared away
	Jobs   []JobStatus
}

// Status returns how every client's jobs stand, in order of their names. It
// reads all snapshot files and no pack, and holds some hundred bytes for each
// job.
func (r *Repository) Status(ctx context.Context) (Status, error) {
	s := Status{Now: r.now()}
	last, err := r.lastPruned()
	if err != nil {
		return s, err
	}
	s.Pruned, s.Freed = last.ended, last.freed
	if s.Bad, err = r.countBad(); err != nil {
		return s, err
	}
	jobs := map[chain]*JobStatus{}
	of := func(snap *object.Snapshot) *JobStatus {
		c := chainOf(snap)
		if jobs[c] == nil {
			jobs[c] = &JobStatus{Client: c.client, Job: c.job}
		}
		return jobs[c]
	}
	if err := r.eachSnapshot(ctx, "snapshots", func(snap *object.Snapshot) error { of(snap).add(snap); return nil }); err != nil {
		return s, err
	}
	if err := r.eachSnapshot(ctx, "trash", func(snap *object.Snapshot) error { of(snap).Trash++; return nil }); err != nil {
		return s, err
	}
	for _, j := range jobs {
		s.Jobs = append(s.Jobs, *j)
	}
	slices.SortFunc(s.Jobs, func(a, b JobStatus) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Job, b.Job))
	})
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if j.Drill, err = r.lastDrill(j.Client, j.Job); err != nil {
			return s, err
		}
		if i > 0 && s.Jobs[i-1].Client == j.Client {
			j.Used = s.Jobs[i-1].Used
			continue
		}
		// Without client.lock: a session that is settled meanwhile may count twice
		// or not at all in what is only looked at.
		if j.Used, err = r.usedBy(j.Client, object.SessionID{}); err != nil {
			return s, err
		}
	}
	return s, nil
}

// add takes a live snapshot into account; they come oldest first.
func (j *JobStatus) add(s *object.Snapshot) {
	j.Snapshots++
	j.Last, j.Received, j.Flags = s.ID(), s.Received, s.Flags
	if !s.Flags.Unusual() {
		return
	}
	if j.Unusual++; j.Unusual == 1 {
		j.Oldest = s.ID()
	}
}

// countBad returns how many locations are quarantined.
func (r *Repository) countBad() (uint64, error) {
	_, cur, err := r.readCurrent()
	if err != nil || cur.lists.quarantine == 0 {
		return 0, err
	}
	name := listName(cur.lists.quarantine)
	t, err := table.Open(r.fs, name, locationLayout)
	if err != nil {
		return 0, damaged(name, err, repairCommand)
	}
	defer t.Close()
	return uint64(t.Len()), nil
}
