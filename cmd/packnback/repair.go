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
					if _, err := operands(c, 0, 0); err != nil {
						return err
					}
					return p.withStore(c.Context, func(s store) error { return p.repairIndex(c.Context, s) })
				},
			},
		},
	}
}

// repairIndex builds the index anew. What it finds wrong is mended or lost; a
// check tells which.
func (p *program) repairIndex(ctx context.Context, s store) error {
	result, err := s.RepairIndex(ctx, p.printProblem)
	if err != nil {
		return err
	}
	if result.Problems > 0 {
		p.ui.Remarkf("the index was built anew; this is what is left to say:")
		if result, err = s.Check(ctx, repo.CheckOptions{}, p.printProblem); err != nil {
			return err
		}
	}
	return p.printCheckResult("repair index", result)
}
