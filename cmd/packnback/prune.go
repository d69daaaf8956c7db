package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo"
)

func pruneCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:    "prune",
		Aliases: []string{"compact"},
		Usage:   "free the space of what no snapshot needs, without a key",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be freed"},
			&cli.StringFlag{Name: "max-unused", Usage: "rewrite packs until at most `N%` of them is unused (default: the setting max-unused)"},
			&cli.StringFlag{Name: "grace", Usage: "delete what was forgotten `DUR` ago; 0 for at once (default: the setting grace)"},
			&cli.BoolFlag{Name: "apply-policy", Usage: "first forget what the policies in the repository's settings don't keep"},
			&cli.BoolFlag{Name: "yes", Usage: "delete any share of a client's snapshots"},
			trustClockFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			opt, err := pruneOptions(c)
			if err != nil {
				return err
			}
			return p.withStore(c.Context, func(s store) error {
				return p.prune(c.Context, s, opt, c.Bool("apply-policy"))
			})
		},
	}
}

// pruneOptions reads the command line. A zero that somebody wrote is not the
// zero value, which stands for the setting.
func pruneOptions(c *cli.Context) (repo.PruneOptions, error) {
	opt := repo.PruneOptions{DryRun: c.Bool("dry-run"), Yes: c.Bool("yes"), TrustClock: c.Bool("trust-clock")}
	if c.IsSet("grace") {
		d, err := parseDuration(c.String("grace"))
		if err != nil {
			return opt, usageErrorf("prune: --grace: %v", err)
		}
		if opt.Grace = d; d == 0 {
			opt.Grace = -1
		}
	}
	if c.IsSet("max-unused") {
		share, err := parseShare(c.String("max-unused"))
		if err != nil {
			return opt, usageErrorf("prune: --max-unused: %v", err)
		}
		if opt.MaxUnused = share; share == 0 {
			opt.MaxUnused = -1
		}
	}
	return opt, nil
}

// parseShare reads "5%" or "5", from 0 to 100, or "unlimited" for 100.
func parseShare(s string) (float64, error) {
	if s == "unlimited" {
		return 100, nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > 100 {
		return 0, fmt.Errorf("%q is not a share: want a number from 0%% to 100%%, or \"unlimited\"", s)
	}
	return n, nil
}

// pruneSummary is prune --json. Sizes are in bytes.
type pruneSummary struct {
	MessageType    string         `json:"message_type"`
	DryRun         bool           `json:"dry_run"`
	Snapshots      int            `json:"snapshots_deleted"`
	Sessions       int            `json:"uploads_removed"`
	Strays         int            `json:"stray_packs_deleted"`
	ObjectsKept    int            `json:"objects_kept"`
	ObjectsDeleted int            `json:"objects_deleted"`
	PacksDeleted   int            `json:"packs_deleted"`
	PacksRewritten int            `json:"packs_rewritten"`
	BytesCopied    uint64         `json:"bytes_copied"`
	BytesFreed     uint64         `json:"bytes_freed"`
	BytesKept      uint64         `json:"bytes_kept"`
	BytesUnused    uint64         `json:"bytes_unused"`
	Braked         int            `json:"braked_clients"`
	Forget         *forgetSummary `json:"forget,omitempty"`
}

func newPruneSummary(r repo.PruneResult, dry bool) *pruneSummary {
	return &pruneSummary{
		MessageType: "summary", DryRun: dry,
		Snapshots: r.Snapshots, Sessions: r.Sessions, Strays: r.Strays, ObjectsKept: r.ObjectsKept, ObjectsDeleted: r.ObjectsDeleted,
		PacksDeleted: r.PacksDeleted, PacksRewritten: r.PacksRewritten,
		BytesCopied: r.BytesCopied, BytesFreed: r.BytesFreed, BytesKept: r.BytesKept, BytesUnused: r.BytesUnused,
		Braked: r.Braked,
	}
}

func (p *program) prune(ctx context.Context, s store, opt repo.PruneOptions, policy bool) error {
	var forgotten *forgetSummary
	if policy {
		groups, err := s.applyPolicy(ctx, policyRequest{
			Configured:    true,
			ForgetOptions: repo.ForgetOptions{DryRun: opt.DryRun, TrustClock: opt.TrustClock},
		})
		if err != nil {
			return err
		}
		p.warnBraked(groups)
		forgotten = newForgetSummary(groups, opt.DryRun)
		p.remarkPolicies(forgotten)
	}
	result, err := p.runPrune(ctx, s, opt)
	if err != nil && p.ui.JSON && forgotten != nil {
		p.ui.PrintJSON(forgotten) // it is in the trash all the same
	}
	if err != nil {
		return err
	}
	if p.ui.JSON {
		sum := newPruneSummary(result, opt.DryRun)
		sum.Forget = forgotten
		p.ui.PrintJSON(sum)
		return nil
	}
	p.printPrune(result, opt.DryRun)
	return nil
}

// remarkPolicies says what the policies in the settings have done.
func (p *program) remarkPolicies(sum *forgetSummary) {
	if len(sum.Groups) == 0 {
		p.warnf("no policy is set for any client that has snapshots")
		p.hintf("packnback config set 'policy.*/*' daily=14,weekly=8,monthly=12")
		return
	}
	verb := "forgotten"
	if sum.DryRun {
		verb = "to forget"
	}
	for _, g := range sum.Groups {
		p.ui.Remarkf("%s/%s, policy %s: %d kept, %d %s", g.Client, g.Job, g.Policy, len(g.Keep), len(g.Remove), verb)
	}
}

// runPrune prunes and shows which step it is at.
func (p *program) runPrune(ctx context.Context, s store, opt repo.PruneOptions) (repo.PruneResult, error) {
	var step atomic.Value
	step.Store("looking at the repository")
	opt.Progress = func(name string) {
		step.Store(name)
		if p.ui.Verbose {
			p.ui.Remarkf("prune: %s", ui.QuoteText(name))
		}
	}
	bar := p.ui.Progress("pruning", func() ui.Status { return ui.Status{Step: ui.QuoteText(step.Load().(string))} })
	result, err := s.Prune(ctx, opt)
	bar.Stop()
	if result.Braked > 0 {
		p.warnf("without --yes the prune itself refuses: of %s a larger share of the snapshots would go than the setting max-deleted permits",
			ui.Number(uint64(result.Braked), "client", "clients"))
		p.hintf("look at them with packnback unforget --list, then: packnback prune --yes")
	}
	return result, err
}

func (p *program) printPrune(r repo.PruneResult, dry bool) {
	gone, freed := "deleted", "freed"
	if dry {
		gone, freed = "to delete", "to free"
	}
	count := func(n int) string { return ui.Count(uint64(n)) }
	p.ui.Printf("%s for good: %s and %s\n", gone, ui.Number(uint64(r.Snapshots), "snapshot", "snapshots"), ui.Number(uint64(r.ObjectsDeleted), "object", "objects"))
	p.ui.Printf("packs: %s %s, %s rewritten (%s copied)\n", count(r.PacksDeleted+r.Strays), gone, count(r.PacksRewritten), ui.Size(r.BytesCopied))
	if r.Sessions > 0 {
		p.ui.Printf("uploads that nobody went on with: %s %s\n", count(r.Sessions), gone)
	}
	p.ui.Printf("%s: %s\n", freed, ui.Size(r.BytesFreed))
	p.ui.Printf("kept: %s objects in %s, of which %s is unused\n", count(r.ObjectsKept), ui.Size(r.BytesKept), ui.Size(r.BytesUnused))
}
