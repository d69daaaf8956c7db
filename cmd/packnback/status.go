package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// defaultMaxAge lets a daily backup take two hours longer than the one before.
const defaultMaxAge = "26h"

func statusCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "tell whether backups are recent",
		Flags: append(narrowFlags(),
			&cli.StringFlag{Name: "max-age", Value: defaultMaxAge, Usage: "how old the last backup may be: `DUR`; 0 for any age"}),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			only, err := narrow(c)
			if err != nil {
				return err
			}
			limit, err := parseDuration(c.String("max-age"))
			if err != nil {
				return usageErrorf("status: --max-age: %v", err)
			}
			own, err := p.asksOwnState(c)
			if err != nil {
				return err
			}
			if own {
				return p.senderStatus(only, limit)
			}
			return p.withStore(c.Context, func(s store) error { return p.storeStatus(c.Context, s, only, limit) })
		},
	}
}

// asksOwnState reports whether status is about what this machine has sent: no
// repository is named, or a remote one only by the environment, as it is on a
// machine that sends.
func (p *program) asksOwnState(c *cli.Context) (bool, error) {
	if p.repository == "" {
		return true, nil
	}
	at, err := transport.ParseLocation(p.repository)
	if err != nil {
		return false, usageErrorf("%v", err)
	}
	return at.Remote() && !c.IsSet("repo"), nil
}

// statusSummary is status --json.
type statusSummary struct {
	MessageType string      `json:"message_type"`
	MaxAge      float64     `json:"max_age"` // seconds
	Stale       int         `json:"stale"`
	Jobs        []statusJob `json:"jobs"`
	*storeFigures
}

// statusJob is one client's job; Snapshots and what follows are there only on
// the store.
type statusJob struct {
	Client     string     `json:"client"`
	Job        string     `json:"job"`
	Repository string     `json:"repository"`
	ID         string     `json:"id,omitempty"`
	Time       *time.Time `json:"time"`
	Age        *float64   `json:"age"` // seconds
	Stale      bool       `json:"stale"`
	Snapshots  *uint64    `json:"snapshots,omitempty"`
	Trash      *uint64    `json:"trash,omitempty"`
	Unusual    *uint64    `json:"unusual,omitempty"`
	Used       *uint64    `json:"used,omitempty"` // by all jobs of the client
	Flags      []string   `json:"flags,omitempty"`
	*drillShown
}

// storeFigures are what only the store knows.
type storeFigures struct {
	LastPrune *time.Time `json:"last_prune"`
	Freed     uint64     `json:"last_prune_freed"`
	Damaged   uint64     `json:"damaged"`
	Free      uint64     `json:"free"`
	Capacity  uint64     `json:"capacity"`
}

// newStatusJob fills in what both sides know. A snapshot from the future is of
// age 0: clocks differ.
func newStatusJob(client, job, repository string, id object.ID, received, now int64, limit time.Duration) statusJob {
	j := statusJob{Client: client, Job: job, Repository: repository}
	if id.IsZero() {
		return j
	}
	at := time.Unix(0, received).UTC()
	age := time.Duration(max(now-received, 0))
	seconds := age.Seconds()
	j.ID, j.Time, j.Age = id.String(), &at, &seconds
	j.Stale = limit > 0 && age > limit
	return j
}

func (p *program) storeStatus(ctx context.Context, s store, only view.Narrow, limit time.Duration) error {
	st, err := s.Status(ctx)
	if errors.Is(err, object.CodeDenied) {
		return withHint(err, "packnback status without -r tells what this machine has sent")
	}
	if err != nil {
		return err
	}
	figures, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	sum := statusSummary{MessageType: "summary", MaxAge: limit.Seconds(), Jobs: []statusJob{},
		storeFigures: &storeFigures{Freed: st.Freed, Damaged: st.Bad, Free: figures.Free, Capacity: figures.Total}}
	if st.Pruned > 0 {
		at := time.Unix(0, st.Pruned).UTC()
		sum.LastPrune = &at
	}
	drills := p.ownDrills()
	var lost []string
	for i := range st.Jobs {
		one := &st.Jobs[i]
		if (only.Client != "" && only.Client != one.Client) || (only.Job != "" && only.Job != one.Job) {
			continue
		}
		j := newStatusJob(one.Client, one.Job, s.ID().String(), one.Last, one.Received, st.Now, limit)
		j.Snapshots, j.Trash, j.Unusual, j.Used, j.Flags = &one.Snapshots, &one.Trash, &one.Unusual, &one.Used, flagNames(one.Flags)
		j.drillShown = newDrillShown(s.ID(), one, drills)
		lost = append(lost, j.lostInDrill()...)
		sum.Jobs = append(sum.Jobs, j)
		p.warnUnusual(one)
	}
	if err := p.printStatus(&sum, limit); err != nil {
		return err
	}
	if st.Bad > 0 {
		return withStatus(statusDamage, withHint(fmt.Errorf("%s known to be damaged", ui.Number(st.Bad, "object is", "objects are")),
			"packnback check lists what it costs; the next backups mend what their machines still have"))
	}
	if len(lost) > 0 {
		return withStatus(statusDamage, withHint(fmt.Errorf("the last drill failed: %s", strings.Join(lost, ", ")),
			"packnback verify lists all that is lost; once that is mended, packnback drill again"))
	}
	return sum.verdict(limit)
}

// warnUnusual tells of a flag that nobody has acknowledged.
func (p *program) warnUnusual(j *repo.JobStatus) {
	if j.Unusual == 0 {
		return
	}
	p.warnf("%s/%s: %s unusual and not acknowledged; what came before %s is kept until then", j.Client, j.Job,
		ui.Number(j.Unusual, "snapshot is", "snapshots are"), j.Oldest.Short())
}

// verdict is nil when every job is recent enough.
func (sum *statusSummary) verdict(limit time.Duration) error {
	var late []string
	known := 0
	for _, j := range sum.Jobs {
		if j.ID != "" {
			known++
		}
		if j.Stale {
			late = append(late, fmt.Sprintf("%s/%s (%s ago)", j.Client, j.Job, shownAge(*j.Age)))
		}
	}
	switch {
	case known == 0 && limit > 0:
		return withStatus(statusStale, errors.New("no backup is known"))
	case len(late) > 0:
		return withStatus(statusStale, fmt.Errorf("the last backup is older than %s: %s", shownAge(limit.Seconds()), strings.Join(late, ", ")))
	}
	return nil
}

// shownAge is a span for people: minutes, hours or days.
func shownAge(seconds float64) string {
	const hour, day = 60, 24 * 60
	switch m := int64(seconds / 60); {
	case m >= 3*day:
		return fmt.Sprintf("%d days", m/day)
	case m >= hour:
		return fmt.Sprintf("%dh%02dm", m/hour, m%hour)
	default:
		return fmt.Sprintf("%dm", m)
	}
}

func (p *program) printStatus(sum *statusSummary, limit time.Duration) error {
	for _, j := range sum.Jobs {
		if j.Stale {
			sum.Stale++
		}
	}
	if p.ui.JSON {
		p.ui.PrintJSON(sum)
		return nil
	}
	head := []string{"Client", "Job", "Last", "Received", ">Age", ""}
	if sum.storeFigures != nil {
		head = append(head, ">Snapshots", ">Trash", ">Used", "Drilled", "Flags")
	} else {
		head = append(head, "Repository")
	}
	t := ui.NewTable(head...)
	for _, j := range sum.Jobs {
		t.Row(j.cells(limit)...)
	}
	if t.Len() > 0 {
		if _, err := t.WriteTo(p.ui.Stdout()); err != nil {
			return err
		}
	}
	if f := sum.storeFigures; f != nil {
		pruned := "never to its end"
		if f.LastPrune != nil {
			pruned = fmt.Sprintf("%s, %s freed", ui.Time(f.LastPrune.Local()), ui.Size(f.Freed))
		}
		p.ui.Printf("last prune  %s\n", pruned)
		p.ui.Printf("disk        %s free of %s\n", ui.Size(f.Free), ui.Size(f.Capacity))
	}
	return nil
}

// cells are a job's row in the table.
func (j *statusJob) cells(limit time.Duration) []string {
	row := []string{j.Client, j.Job, "none", "", "", ""}
	if j.ID != "" {
		row[2], row[3], row[4] = j.ID[:8], ui.Time(j.Time.Local()), shownAge(*j.Age)
		switch {
		case j.Stale:
			row[5] = "LATE"
		case limit > 0:
			row[5] = "ok"
		}
	}
	if j.Snapshots == nil {
		return append(row, j.Repository)
	}
	return append(row, ui.Count(*j.Snapshots), ui.Count(*j.Trash), ui.Size(*j.Used), j.drillCell(), strings.Join(j.Flags, ","))
}
