package main

import "github.com/urfave/cli/v2"

// unlockCommand exists for scripts written for restic and borg. Locks here are
// the kernel's and die with their process.
func unlockCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "unlock",
		Usage: "does nothing: there are no stale locks to remove",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "remove-all", Usage: "accepted, does nothing"},
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			p.ui.Remarkf("nothing to unlock: locks end with the process that holds them")
			return nil
		},
	}
}
