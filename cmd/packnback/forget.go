package main

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

func forgetCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Aliases:   []string{"delete"},
		Usage:     "move snapshots to the trash, by a policy or by name",
		ArgsUsage: "[SNAP…]",
		Flags:     slices.Concat(keepFlags(), narrowFlags(), forgetFlags()),
		Action: func(c *cli.Context) error {
			run, err := p.forgetRun(c)
			if err != nil {
				return err
			}
			return p.withStore(c.Context, func(s store) error { return run.forget(c.Context, s) })
		},
	}
}

// keepRules are the names of the rules of a policy, with the letters that
// restic has for their flags.
var keepRules = []struct{ name, letter, usage string }{
	{"last", "l", "keep the newest `N` snapshots (\"unlimited\" for all)"},
	{"hourly", "H", "keep the newest snapshot of each of the newest `N` hours that have one"},
	{"daily", "d", "the same for `N` days"},
	{"weekly", "w", "the same for `N` weeks"},
	{"monthly", "m", "the same for `N` months"},
	{"yearly", "y", "the same for `N` years"},
	{"within", "", "keep what is at most `DUR` (such as 1y6m7d12h) older than the newest"},
	{"within-hourly", "", "within `DUR` of the newest, keep the newest of each hour"},
	{"within-daily", "", "the same for days: `DUR`"},
	{"within-weekly", "", "the same for weeks: `DUR`"},
	{"within-monthly", "", "the same for months: `DUR`"},
	{"within-yearly", "", "the same for years: `DUR`"},
}

func keepFlags() []cli.Flag {
	var flags []cli.Flag
	for _, r := range keepRules {
		f := &cli.StringFlag{Name: "keep-" + r.name, Usage: r.usage}
		if r.letter != "" {
			f.Aliases = []string{r.letter}
		}
		flags = append(flags, f)
	}
	return flags
}

// keepPolicy reads the flags of keepFlags. given is false when there are none.
func keepPolicy(c *cli.Context) (policy retention.Policy, given bool, err error) {
	var rules []string
	for _, r := range keepRules {
		flag := "keep-" + r.name
		if !c.IsSet(flag) {
			continue
		}
		value := c.String(flag)
		if strings.Contains(value, ",") {
			return policy, true, usageErrorf("forget: --%s wants one value, not %s", flag, ui.Quote(value))
		}
		rule := r.name + "=" + value
		if _, err := retention.ParsePolicy(rule); err != nil {
			return policy, true, usageErrorf("forget: --%s: %v", flag, err)
		}
		rules = append(rules, rule)
	}
	policy, err = retention.ParsePolicy(strings.Join(rules, ","))
	if err != nil {
		return policy, true, usageErrorf("forget: %v", err)
	}
	return policy, len(rules) > 0, nil
}

func forgetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "group-by", Aliases: []string{"g"}, Value: "client,job", Usage: "the policy holds for each `GROUP` by itself; it is always client,job"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only show what would be forgotten"},
		&cli.BoolFlag{Name: "prune", Usage: "run prune afterwards"},
		&cli.BoolFlag{Name: "ignore-unusual", Usage: "forget what unusual snapshots protect, too"},
		&cli.BoolFlag{Name: "unsafe-allow-remove-all", Usage: "without a policy, forget all snapshots of --client or --job"},
		trustClockFlag(),
	}
}

func trustClockFlag() cli.Flag {
	return &cli.BoolFlag{Name: "trust-clock", Usage: "the store's clock is right although the repository has recorded another time"}
}

// forgetRun is one run of forget.
type forgetRun struct {
	*program
	policyRequest
	only  view.Narrow
	snaps []view.Selector // by name instead of by policy
	prune bool
}

// forgetRun reads the command line.
func (p *program) forgetRun(c *cli.Context) (*forgetRun, error) {
	policy, given, err := keepPolicy(c)
	if err != nil {
		return nil, err
	}
	r := &forgetRun{program: p, prune: c.Bool("prune")}
	if r.only, err = narrow(c); err != nil {
		return nil, err
	}
	if r.snaps, err = snapOperands(c); err != nil {
		return nil, err
	}
	r.policyRequest = policyRequest{
		ForgetOptions: repo.ForgetOptions{
			IgnoreUnusual: c.Bool("ignore-unusual"), AllowRemoveAll: c.Bool("unsafe-allow-remove-all"),
			TrustClock: c.Bool("trust-clock"), DryRun: c.Bool("dry-run"),
		},
		Client: r.only.Client, Job: r.only.Job, Policy: policy,
	}
	return r, r.check(c, given)
}

// check refuses command lines that don't say clearly what to forget.
func (r *forgetRun) check(c *cli.Context, policy bool) error {
	groups := strings.Split(c.String("group-by"), ",")
	slices.Sort(groups)
	switch {
	case !slices.Equal(groups, []string{"client", "job"}):
		return usageErrorf("forget: --group-by %s: a policy always holds for each client and job by itself, or one could push the other's snapshots out", ui.Quote(c.String("group-by")))
	case len(r.snaps) > 0 && policy:
		return usageErrorf("forget: name snapshots or give a policy, not both")
	case len(r.snaps) > 0 && r.AllowRemoveAll:
		return usageErrorf("forget: --unsafe-allow-remove-all is for policies")
	case len(r.snaps) > 0 || !r.Policy.Empty():
		return nil
	case policy:
		return usageErrorf("forget: this policy keeps nothing")
	case !r.AllowRemoveAll:
		return withHint(usageErrorf("forget: neither a policy nor a snapshot is given, so nothing is forgotten"), "packnback forget --keep-daily 14 --keep-weekly 8 --dry-run")
	case r.only == view.Narrow{}:
		return usageErrorf("forget: --unsafe-allow-remove-all without a policy needs --client or --job")
	}
	return nil
}

// snapOperands reads the operands of a command that takes whole snapshots.
func snapOperands(c *cli.Context) ([]view.Selector, error) {
	args, err := operands(c, 0, -1)
	if err != nil {
		return nil, err
	}
	var snaps []view.Selector
	for _, arg := range args {
		sel, err := parseSelector(arg)
		if err != nil {
			return nil, err
		}
		if sel.Path != "" {
			return nil, usageErrorf("%s: %s names a path; only whole snapshots can be dealt with", c.Command.Name, ui.Quote(arg))
		}
		snaps = append(snaps, sel)
	}
	return snaps, nil
}

// findAll finds what the selectors name, each snapshot once.
func findAll(ctx context.Context, in view.Snapshots, snaps []view.Selector, only view.Narrow) ([]*object.Snapshot, error) {
	var found []*object.Snapshot
	for _, sel := range snaps {
		s, err := view.Find(ctx, in, sel, only)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(f *object.Snapshot) bool { return f.ID() == s.ID() }) {
			s.Sealed = nil // may be large, and nobody asks for it
			found = append(found, s)
		}
	}
	return found, nil
}

func idsOf(snaps []*object.Snapshot) []object.ID {
	ids := make([]object.ID, len(snaps))
	for i, s := range snaps {
		ids[i] = s.ID()
	}
	return ids
}

func (r *forgetRun) forget(ctx context.Context, s store) error {
	var groups []repo.Group
	if len(r.snaps) > 0 {
		found, err := findAll(ctx, s, r.snaps, r.only)
		if err != nil {
			return readFault(err)
		}
		if err := s.Forget(ctx, idsOf(found), r.ForgetOptions); err != nil {
			return err
		}
		groups = namedGroups(found)
	} else {
		var err error
		if groups, err = s.applyPolicy(ctx, r.policyRequest); err != nil {
			return err
		}
		r.warnBraked(groups)
	}
	summary := newForgetSummary(groups, r.DryRun)
	if !r.ui.JSON {
		if err := r.printGroups(groups); err != nil {
			return err
		}
		r.remarkForgotten(ctx, s, summary)
	}
	var pruneErr error
	if r.prune {
		result, err := r.runPrune(ctx, s, repo.PruneOptions{DryRun: r.DryRun, TrustClock: r.TrustClock})
		switch {
		case err != nil:
			pruneErr = err // what was forgotten is in the trash all the same
		case r.ui.JSON:
			summary.Prune = newPruneSummary(result, r.DryRun)
		default:
			r.printPrune(result, r.DryRun)
		}
	}
	if r.ui.JSON {
		r.ui.PrintJSON(summary)
	}
	return pruneErr
}
