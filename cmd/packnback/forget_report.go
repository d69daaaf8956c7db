package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

// forgetSummary is forget --json.
type forgetSummary struct {
	MessageType string        `json:"message_type"`
	DryRun      bool          `json:"dry_run"`
	Kept        int           `json:"kept"`
	Removed     int           `json:"removed"`
	Braked      int           `json:"braked"`
	Groups      []forgetGroup `json:"groups"`
	Prune       *pruneSummary `json:"prune,omitempty"`
}

// forgetGroup is what becomes of the snapshots of one client and job.
type forgetGroup struct {
	Client  string            `json:"client"`
	Job     string            `json:"job"`
	Policy  string            `json:"policy,omitempty"`
	Braked  bool              `json:"braked"` // an unusual snapshot keeps some that the policy would not
	Keep    []forgetSnapshot  `json:"keep"`
	Remove  []forgetSnapshot  `json:"remove"`
	Reasons []retentionReason `json:"reasons"`
}

type forgetSnapshot struct {
	ID      string    `json:"id"`
	ShortID string    `json:"short_id"`
	Time    time.Time `json:"time"`
	Unusual bool      `json:"unusual"`
}

// retentionReason says why a snapshot is kept.
type retentionReason struct {
	ID      string   `json:"id"`
	Matches []string `json:"matches"`
	Braked  bool     `json:"braked"` // an unusual snapshot is the only reason
}

func newForgetSummary(groups []repo.Group, dry bool) *forgetSummary {
	sum := &forgetSummary{MessageType: "summary", DryRun: dry, Groups: []forgetGroup{}}
	for _, g := range groups {
		one := forgetGroup{
			Client: g.Client, Job: g.Job, Policy: g.Policy.String(),
			Keep: []forgetSnapshot{}, Remove: []forgetSnapshot{}, Reasons: []retentionReason{},
		}
		for _, d := range g.Decisions {
			id := d.Snapshot.ID
			snap := forgetSnapshot{id.String(), id.Short(), d.Snapshot.Received.UTC(), d.Snapshot.Unusual}
			if !d.Keep {
				one.Remove = append(one.Remove, snap)
				continue
			}
			one.Keep = append(one.Keep, snap)
			one.Reasons = append(one.Reasons, retentionReason{id.String(), append([]string{}, d.Reasons...), d.Braked})
			if d.Braked {
				one.Braked = true
				sum.Braked++
			}
		}
		sum.Kept += len(one.Keep)
		sum.Removed += len(one.Remove)
		sum.Groups = append(sum.Groups, one)
	}
	return sum
}

// namedGroups puts snapshots that were forgotten by name into groups.
func namedGroups(snaps []*object.Snapshot) []repo.Group {
	var groups []repo.Group
	for _, s := range snaps {
		m := s.Manifest
		i := slices.IndexFunc(groups, func(g repo.Group) bool { return g.Client == m.Client && g.Job == m.Job })
		if i < 0 {
			i = len(groups)
			groups = append(groups, repo.Group{Client: m.Client, Job: m.Job})
		}
		groups[i].Decisions = append(groups[i].Decisions, retention.Decision{
			Snapshot: retention.Snapshot{ID: s.ID(), Received: time.Unix(0, s.Received), Unusual: s.Flags.Unusual()},
		})
	}
	return groups
}

// printGroups prints what is kept and why, and what is not.
func (p *program) printGroups(groups []repo.Group) error {
	for _, g := range groups {
		kept := ui.NewTable("ID", "Received", "Reasons")
		gone := ui.NewTable("ID", "Received")
		for _, d := range g.Decisions {
			id, received := d.Snapshot.ID.Short(), ui.Time(d.Snapshot.Received)
			if d.Keep {
				kept.Row(id, received, shownReasons(d, g.Policy))
			} else {
				gone.Row(id, received)
			}
		}
		p.ui.Printf("%s/%s", g.Client, g.Job)
		if policy := g.Policy.String(); policy != "" {
			p.ui.Printf(", policy %s", policy)
		}
		p.ui.Printf(":\n")
		for _, t := range []struct {
			verb  string
			table *ui.Table
		}{{"keep", kept}, {"forget", gone}} {
			if t.table.Len() == 0 {
				continue
			}
			p.ui.Printf("%s %s:\n", t.verb, ui.Number(uint64(t.table.Len()), "snapshot", "snapshots"))
			if _, err := t.table.WriteTo(p.ui.Stdout()); err != nil {
				return err
			}
		}
		p.ui.Printf("\n")
	}
	return nil
}

// shownReasons are the reasons of a decision as people read them.
func shownReasons(d retention.Decision, policy retention.Policy) string {
	var shown []string
	for _, r := range d.Reasons {
		name, isWithin := strings.CutPrefix(r, "within")
		switch {
		case isWithin:
			shown = append(shown, strings.TrimSpace(strings.TrimPrefix(name, "-")+" within "+ruleValue(policy, r)))
		case isRule(r):
			shown = append(shown, r+" snapshot")
		case r == "frozen":
			shown = append(shown, "before or at an unusual snapshot")
		default:
			shown = append(shown, r)
		}
	}
	return strings.Join(shown, ", ")
}

func isRule(name string) bool {
	for _, r := range keepRules {
		if r.name == name {
			return true
		}
	}
	return false
}

// ruleValue returns what a policy says of one rule.
func ruleValue(policy retention.Policy, rule string) string {
	for text := range strings.SplitSeq(policy.String(), ",") {
		if value, ok := strings.CutPrefix(text, rule+"="); ok {
			return value
		}
	}
	return ""
}

// warnBraked tells for whom an unusual snapshot holds the policy up: somebody
// has to look at it, and the space isn't freed until then.
func (p *program) warnBraked(groups []repo.Group) {
	for _, g := range groups {
		braked := 0
		var oldest *retention.Decision
		for i, d := range g.Decisions {
			if d.Braked {
				braked++
			}
			if d.Snapshot.Unusual {
				oldest = &g.Decisions[i] // they come newest first
			}
		}
		if braked == 0 || oldest == nil {
			continue
		}
		p.warnf("%s/%s: %s kept only because snapshot %s of %s is unusual", g.Client, g.Job,
			ui.Number(uint64(braked), "snapshot is", "snapshots are"), oldest.Snapshot.ID.Short(), ui.Time(oldest.Snapshot.Received))
		p.hintf("look at it (packnback diff), then: packnback acknowledge %s", oldest.Snapshot.ID.Short())
	}
}

// remarkForgotten says what has happened and how long there is a way back.
func (p *program) remarkForgotten(ctx context.Context, s store, sum *forgetSummary) {
	moved := ui.Number(uint64(sum.Removed), "snapshot", "snapshots")
	switch {
	case len(sum.Groups) == 0:
		p.ui.Remarkf("no snapshots match")
	case sum.DryRun:
		p.ui.Remarkf("%s would be forgotten, %d kept; nothing was changed", moved, sum.Kept)
	case sum.Removed == 0:
		p.ui.Remarkf("nothing to forget")
	default:
		p.ui.Remarkf("%s in the trash now, from where packnback unforget brings %s back%s", moved,
			plural(sum.Removed, "it", "them"), p.graceRemark(ctx, s))
	}
}

// graceRemark says how long the trash keeps what is in it; empty when the store
// doesn't tell.
func (p *program) graceRemark(ctx context.Context, s store) string {
	list, err := s.Settings(ctx)
	if err != nil {
		return ""
	}
	for _, one := range list {
		if one.Key == "grace" {
			return "; after " + ui.Quote(one.Value) + " the next packnback prune frees the space"
		}
	}
	return ""
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
