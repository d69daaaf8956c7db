package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/repo"
)

func repairCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "repair",
		Usage: "mend what can be mended, and say what is lost",
		Subcommands: []*cli.Command{
			{
				Name:  "index",
				Usage: "build the index anew from the packs",
				Action: func(c *cli.Context) error {
					return p.repair(c, func(ctx context.Context, s store) (repo.CheckResult, error) {
						return s.RepairIndex(ctx, p.printProblem)
					})
				},
			},
			{
				Name:  "packs",
				Usage: "replace damaged packs by what is whole of them",
				Action: func(c *cli.Context) error {
					return p.repair(c, func(ctx context.Context, s store) (repo.CheckResult, error) {
						return s.RepairPacks(ctx, p.printProblem)
					})
				},
			},
		},
	}
}

// repair runs a repair. What it finds wrong is then mended or lost; a check
// tells which, and whether the run has failed.
func (p *program) repair(c *cli.Context, run func(context.Context, store) (repo.CheckResult, error)) error {
	if _, err := operands(c, 0, 0); err != nil {
		return err
	}
	return p.withStore(c.Context, func(s store) error {
		result, err := run(c.Context, s)
		if err != nil {
			return err
		}
		if result.Problems > 0 {
			p.ui.Remarkf("after the repair:")
			if result, err = s.Check(c.Context, repo.CheckOptions{}, p.printProblem); err != nil {
				return err
			}
		}
		return p.printCheckResult("repair "+c.Command.Name, result)
	})
}
