package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/protocol"
)

// program is one run: the world around it and the flags that hold everywhere.
// Every command constructor gets it and keeps it in its Action. The flags are
// filled in before any Action runs.
type program struct {
	env *env.Env
	ui  *ui.UI
	globals

	ahead *protocol.Open // what the next connection begins with; nil: nothing
}

// globals are the flags that every command has, whether they stand before or
// after its name. Environment variables have been looked up already.
type globals struct {
	repository        string // REPO as given; empty when there is none
	key               string // key file as given; empty for the default ones
	passphraseCommand string
	sshCommand        string
	remoteCommand     string
	cacheDir          string // empty for the default one
	noCache           bool
	limitUpload       int // KiB/s; 0 for none
	limitDownload     int
}

func newProgram(e *env.Env) *program {
	return &program{env: e, ui: ui.New(e, ui.Mode{JSON: wantsJSON(e.Args)})}
}

// run arranges the arguments, lets urfave/cli parse them and runs the command.
func (p *program) run(ctx context.Context) (err error) {
	defer func() {
		// One clear line even for a bug of ours; goroutines' panics still end the
		// process with their stack.
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v (this is a bug: please report it with the command you ran)", r)
		}
	}()
	app := p.app()
	args, err := arrange(app, p.env.Args)
	if err != nil {
		return err
	}
	return app.RunContext(ctx, args)
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:                      "packnback",
		HelpName:                  "packnback",
		Usage:                     "backups that the store can't read and the sender can't delete",
		Flags:                     globalFlags(),
		Commands:                  p.commands(),
		Writer:                    p.env.Stdout,
		ErrWriter:                 p.env.Stderr,
		HideHelpCommand:           true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // a comma is an ordinary character in a path
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              onUsageError,
		CommandNotFound:           func(*cli.Context, string) {},
		Before:                    p.before,
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				return p.printVersion()
			}
			return withHint(usageErrorf("no command given"), "packnback help")
		},
	}
	prepare(app.Commands)
	return app
}

// prepare sets on every command what urfave/cli has no default for: usage
// errors are returned instead of printed, "help" is an ordinary operand, and
// the space around a repeated flag's value belongs to it: it may be a name's.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		for _, f := range c.Flags {
			if repeated, ok := f.(*cli.StringSliceFlag); ok {
				repeated.KeepSpace = true
			}
		}
		if len(c.Subcommands) > 0 {
			names := make([]string, len(c.Subcommands))
			for i, sub := range c.Subcommands {
				names[i] = sub.Name
			}
			name, list := c.Name, strings.Join(names, ", ")
			c.Action = func(*cli.Context) error {
				return withHint(usageErrorf("%s needs a subcommand: %s", name, list), "packnback help "+name)
			}
			prepare(c.Subcommands)
		}
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "packnback"
	if c.Command != nil && c.Command.Name != "" {
		name = c.Command.Name
	}
	return usageErrorf("%s: %v", name, err)
}

// globalFlags are the flags of packnback(1), "OPTIONS". Variables are looked up
// in before, through env.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "repo", Aliases: []string{"r"}, Usage: "`REPO`: /path, ssh://[user@]host[:port][/path] or [user@]host:path [$PACKNBACK_REPO]"},
		&cli.StringFlag{Name: "key", Aliases: []string{"k"}, Usage: "send key for backup, restore or list key for what reads, in `FILE` [$PACKNBACK_KEY]"},
		&cli.StringFlag{Name: "passphrase-command", Usage: "`CMD` prints the passphrase of the key [$PACKNBACK_PASSPHRASE_COMMAND; $PACKNBACK_PASSPHRASE holds it]"},
		&cli.StringFlag{Name: "ssh-command", Usage: "how ssh is called, or \"builtin\" for the built-in client: `CMD` [$PACKNBACK_SSH_COMMAND]"},
		&cli.StringFlag{Name: "remote-command", Usage: "how packnback is called on the far side: `CMD` (default: packnback) [$PACKNBACK_REMOTE_COMMAND]"},
		&cli.StringFlag{Name: "cache-dir", Usage: "keep the cache in `DIR` [$PACKNBACK_CACHE_DIR]"},
		&cli.BoolFlag{Name: "no-cache", Usage: "use no cache"},
		&cli.IntFlag{Name: "limit-upload", Usage: "send at most `KIB/S`"},
		&cli.IntFlag{Name: "limit-download", Usage: "receive at most `KIB/S`"},
		&cli.BoolFlag{Name: "json", Usage: "print JSON for programs"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress and no remarks"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "name every file that is worked on"},
		&cli.BoolFlag{Name: "no-lock", Usage: "accepted for scripts written for restic; there are no locks to skip"},
		&cli.BoolFlag{Name: "version", Usage: "print the version"},
		cli.HelpFlag, // the library adds it only where no command is called help
	}
}

// before fills in p from the parsed flags and the environment.
func (p *program) before(c *cli.Context) error {
	text := func(flag, variable string) string {
		if c.IsSet(flag) {
			return c.String(flag)
		}
		return p.env.Getenv(variable)
	}
	p.globals = globals{
		repository:        text("repo", "PACKNBACK_REPO"),
		key:               text("key", "PACKNBACK_KEY"),
		passphraseCommand: text("passphrase-command", "PACKNBACK_PASSPHRASE_COMMAND"),
		sshCommand:        text("ssh-command", "PACKNBACK_SSH_COMMAND"),
		remoteCommand:     text("remote-command", "PACKNBACK_REMOTE_COMMAND"),
		cacheDir:          text("cache-dir", "PACKNBACK_CACHE_DIR"),
		noCache:           c.Bool("no-cache"),
		limitUpload:       c.Int("limit-upload"),
		limitDownload:     c.Int("limit-download"),
	}
	if p.limitUpload < 0 || p.limitDownload < 0 {
		return usageErrorf("a rate limit can't be negative")
	}
	p.ui = ui.New(p.env, ui.Mode{JSON: c.Bool("json"), Quiet: c.Bool("quiet"), Verbose: c.Bool("verbose")})
	return nil
}
