package main

import (
	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
)

func verifyCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "decrypt snapshots and check ids, signatures and order",
		ArgsUsage: "[SNAP]",
		Flags: append(snapshotFlags(),
			&cli.BoolFlag{Name: "all", Usage: "every snapshot, not only the latest of each client and job"},
			&cli.BoolFlag{Name: "mark-bad", Usage: "tell the store what is damaged, so that the next backups send it again"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			var sel *view.Selector
			if len(ops) == 1 {
				if c.Bool("all") {
					return usageErrorf("verify: --all and a snapshot don't go together")
				}
				s, err := parseSelector(ops[0])
				if err != nil {
					return err
				}
				if s.Path != "" {
					return usageErrorf("verify: a snapshot is verified as a whole; leave out the path")
				}
				sel = &s
			}
			return p.withReading(c, func(r *reading) error {
				if err := r.unlock(c.Context); err != nil {
					return err
				}
				if err := r.needContent(); err != nil {
					return err
				}
				return r.withVerification(func(v *verification) error {
					v.markBad = c.Bool("mark-bad")
					return v.run(c.Context, sel, c.Bool("all"))
				})
			})
		},
	}
}
