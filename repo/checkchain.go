package repo

import (
	"context"
	"fmt"
	"slices"

	"github.com/packnback/packnback/repo/object"
)

// sees notes the number of a snapshot, living, in the trash, or of which the
// link is left: eight bytes, which is less than its place in the order takes.
// One that is moved meanwhile may be noted twice.
func (c *checker) sees(s *object.Snapshot) {
	job := chainOf(s)
	c.seen[job] = append(c.seen[job], s.Manifest.Seq)
}

// checkChains reports jobs whose numbers have a gap and those whose head is
// gone or behind. Of a forgotten snapshot the link stays for ever, so that a
// number without one was lost; the signatures tell who made the others, and
// verify checks that each names the one before it.
func (c *checker) checkChains(ctx context.Context) error {
	if len(c.seen) == 0 {
		return nil
	}
	// What was taken out of the trash while the folders were read one after the
	// other may have been seen in neither.
	err := c.r.Snapshots(ctx, func(s *object.Snapshot) error { c.sees(s); return nil })
	if ctx.Err() != nil {
		return interrupted(ctx.Err())
	}
	unreadable := err != nil // was reported, and makes a gap that says nothing new
	for job, seqs := range c.seen {
		slices.Sort(seqs)
		seqs = slices.Compact(seqs)
		newest, name := seqs[len(seqs)-1], headName(job.client, job.job)
		if missing := newest - uint64(len(seqs)); missing > 0 && !unreadable && !c.brokenSnapshots {
			c.problem(Problem{What: "snapshot", Name: name, Detail: fmt.Sprintf("of the %d snapshots of this job %d are gone without having been forgotten", newest, missing)})
		}
		h, err := c.r.readHead(job.client, job.job)
		// What is wrong with a head that can't be read, head says; one that a crash
		// left in the middle of a commit says which snapshot it was about to know.
		if err == nil && h.seq < newest && h.next == (object.ID{}) {
			c.problem(Problem{What: "head", Name: name, Detail: fmt.Sprintf("it does not know of snapshot number %d", newest)})
		}
	}
	return nil
}
