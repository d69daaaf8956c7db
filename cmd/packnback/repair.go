package main

import (
	"github.com/urfave/cli/v2"
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
					return p.withStore(c.Context, func(s store) error {
						result, err := s.RepairIndex(c.Context, p.printProblem)
						if err != nil {
							return err
						}
						return p.printCheckResult("repair index", result)
					})
				},
			},
		},
	}
}
