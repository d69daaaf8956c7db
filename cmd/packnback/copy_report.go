package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/copier"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo/object"
)

// failures is what was not copied.
type failures struct {
	count   uint64
	damaged bool // by damage, in one of the two repositories
}

// copySummary is the last line of copy --json.
type copySummary struct {
	MessageType string  `json:"message_type"`
	Command     string  `json:"command"`
	DryRun      bool    `json:"dry_run"`
	Snapshots   uint64  `json:"snapshots_copied"`
	Present     uint64  `json:"snapshots_present"`
	Links       uint64  `json:"links_added"`
	Objects     uint64  `json:"objects_sent"`
	Bytes       uint64  `json:"bytes_sent"`
	NumErrors   uint64  `json:"num_errors"`
	Duration    float64 `json:"total_duration"`
}

// copiedLine is one snapshot that was copied, or would be.
type copiedLine struct {
	MessageType string    `json:"message_type"`
	ID          string    `json:"id"`
	ShortID     string    `json:"short_id"`
	Time        time.Time `json:"time"`
	Client      string    `json:"client"`
	Job         string    `json:"job"`
}

// copyProblem is something that was not copied.
type copyProblem struct {
	MessageType string `json:"message_type"`
	Client      string `json:"client"`
	Job         string `json:"job"`
	Snapshot    string `json:"snapshot,omitempty"`
	Detail      string `json:"detail"`
}

// copied tells of one snapshot.
func (r *copyRun) copied(s *object.Snapshot) {
	m, received := s.Manifest, time.Unix(0, s.Received)
	if r.ui.JSON {
		r.ui.PrintJSON(copiedLine{"copied", s.ID().String(), s.ID().Short(), received.UTC(), m.Client, m.Job})
		return
	}
	would := ""
	if r.dryRun {
		would = "would be "
	}
	r.ui.Remarkf("snapshot %s of %s/%s, received %s, %scopied", s.ID().Short(), m.Client, m.Job, ui.Time(received), would)
}

// failed tells of what is not copied.
func (r *copyRun) failed(p copier.Problem) {
	r.failures.count++
	r.failures.damaged = r.failures.damaged || errors.Is(p.Err, object.CodeDamaged) || isAny(p.Err, damageErrors)
	if r.ui.JSON {
		line := copyProblem{MessageType: "problem", Client: p.Client, Job: p.Job, Detail: p.Err.Error()}
		if !p.Snapshot.IsZero() {
			line.Snapshot = p.Snapshot.String()
		}
		r.ui.PrintJSON(line)
		return
	}
	what := fmt.Sprintf("%s/%s", p.Client, p.Job)
	if !p.Snapshot.IsZero() {
		what += ", snapshot " + p.Snapshot.Short()
	}
	r.warnf("%s is not copied: %v", what, p.Err)
}

// finish prints the summary. Its error says that something was not copied.
func (r *copyRun) finish(c *copier.Copier, plan *copier.Plan) error {
	n := c.Counts()
	if r.dryRun {
		for _, j := range plan.Jobs {
			for _, s := range j.Copies() {
				r.copied(s)
				n.Snapshots++
			}
			n.Links += uint64(j.Links())
		}
	}
	r.summarize(n, uint64(plan.Present))
	switch count := ui.Number(r.failures.count, "problem", "problems"); {
	case r.failures.damaged:
		return withStatus(statusDamage, fmt.Errorf("not everything was copied: %s, with damage among them", count))
	case r.failures.count > 0:
		return fmt.Errorf("not everything was copied: %s", count)
	}
	return nil
}

func (r *copyRun) summarize(n copier.Counts, present uint64) {
	if r.ui.JSON {
		r.ui.PrintJSON(copySummary{"summary", "copy", r.dryRun, n.Snapshots, present, n.Links, n.Objects, n.Bytes, r.failures.count, r.env.Now().Sub(r.began).Seconds()})
		return
	}
	if r.dryRun {
		r.ui.Remarkf("would copy %s and %s; %s there already", ui.Number(n.Snapshots, "snapshot", "snapshots"), ui.Number(n.Links, "link", "links"), ui.Number(present, "snapshot", "snapshots"))
		return
	}
	r.ui.Remarkf("copied %s, added %s, sent %s in %s; %s there already", ui.Number(n.Snapshots, "snapshot", "snapshots"), ui.Number(n.Links, "link", "links"),
		ui.Number(n.Objects, "object", "objects"), ui.Size(n.Bytes), ui.Number(present, "snapshot", "snapshots"))
}

// unfinished says how far a run has come that can't go on.
func (r *copyRun) unfinished(c *copier.Copier, err error) error {
	n := c.Counts()
	if n.Snapshots > 0 || n.Objects > 0 {
		r.ui.Remarkf("copied %s, sent %s until then; the next run goes on from there", ui.Number(n.Snapshots, "snapshot", "snapshots"), ui.Size(n.Bytes))
	}
	return err
}
