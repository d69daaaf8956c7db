package main

import "github.com/urfave/cli/v2"

// commands is the table of all commands, in the order in which help lists them.
//
// To add one: write func xyzCommand(p *program) *cli.Command in a file of its
// own (xyz.go) and add its line here. The constructor fills in Name, Usage,
// ArgsUsage, Flags and Action; an Action gets its operands from operands(c,
// least, most), prints results with p.ui, and returns an error, to which
// withHint adds what to do and withStatus an exit status that errors of a
// store don't bring along (report.go). Global flags are fields of p, also for
// commands that have --repo in their own synopsis. Every flag needs its line
// in man/packnback-xyz.1.
func (p *program) commands() []*cli.Command {
	return []*cli.Command{
		initCommand(p),
		configCommand(p),
		keyCommand(p),
		backupCommand(p),
		snapshotsCommand(p),
		lsCommand(p),
		findCommand(p),
		diffCommand(p),
		statsCommand(p),
		restoreCommand(p),
		dumpCommand(p),
		mountCommand(p),
		forgetCommand(p),
		unforgetCommand(p),
		pruneCommand(p),
		acknowledgeCommand(p),
		copyCommand(p),
		statusCommand(p),
		checkCommand(p),
		verifyCommand(p),
		drillCommand(p),
		trustCommand(p),
		repairCommand(p),
		serveCommand(p),
		authorizeCommand(p),
		unlockCommand(p),
		versionCommand(p),
		completionCommand(p),
		helpCommand(p),
	}
}
