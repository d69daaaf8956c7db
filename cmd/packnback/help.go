package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
)

func helpCommand(_ *program) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "explain a command; man packnback has it all",
		ArgsUsage: "[COMMAND…]",
		Action: func(c *cli.Context) error {
			table := c.App.Commands
			for i, name := range c.Args().Slice() {
				found := lookUp(table, name)
				if found == nil {
					return withHint(usageErrorf("there is no command %s", ui.Quote(strings.Join(c.Args().Slice()[:i+1], " "))), "packnback help")
				}
				table = found.Subcommands
			}
			args := append([]string{c.App.Name}, c.Args().Slice()...)
			return c.App.RunContext(c.Context, append(args, "--help"))
		},
	}
}
