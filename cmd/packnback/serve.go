package main

import (
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo/object"
)

// defaultIdle is how long a client may be silent. Clients say four times a
// minute that they are there; ten minutes bear a laptop's lid and a slow disk.
const defaultIdle = 10 * time.Minute

func serveCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "the far side of a remote repository; ssh starts it",
		Flags: append(accessFlags(),
			&cli.StringFlag{Name: "restrict-to", Usage: "let the client choose the repository, but only below `DIR`"},
			&cli.StringFlag{Name: "idle-timeout", Value: "10m", Usage: "end after a silence of `DUR`; 0 for never"}),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			opt, err := p.serveOptions(c)
			if err != nil {
				return err
			}
			return p.serve(c, opt)
		},
	}
}

// accessFlags say what a connection may do; serve and authorize share them.
func accessFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "write-only", Usage: "permit nothing but adding snapshots of --client"},
		&cli.BoolFlag{Name: "read-only", Usage: "permit nothing but listing and restoring"},
		&cli.BoolFlag{Name: "blind", Usage: "don't let uploads rely on what earlier ones have stored"},
		&cli.StringFlag{Name: "client", Usage: "the only client `NAME` that snapshots may carry"},
		&cli.StringSliceFlag{Name: "job", Usage: "a job `NAME` that snapshots may carry; may be repeated"},
		&cli.StringFlag{Name: "quota", Usage: "how much the client may occupy: `SIZE`"},
	}
}

// accessOptions reads accessFlags.
func accessOptions(c *cli.Context) (server.Options, error) {
	opt := server.Options{Blind: c.Bool("blind"), Client: c.String("client"), Jobs: c.StringSlice("job")}
	switch {
	case c.Bool("write-only") && c.Bool("read-only"):
		return opt, usageErrorf("%s: --write-only and --read-only exclude each other", c.Command.Name)
	case c.Bool("write-only"):
		opt.Mode = server.WriteOnly
	case c.Bool("read-only"):
		opt.Mode = server.ReadOnly
	}
	if opt.Mode == server.WriteOnly && opt.Client == "" {
		return opt, usageErrorf("%s: --write-only needs --client NAME", c.Command.Name)
	}
	if c.IsSet("quota") {
		n, err := parseSize(c.String("quota"))
		if err != nil {
			return opt, usageErrorf("%s: --quota: %v", c.Command.Name, err)
		}
		if n == 0 {
			return opt, usageErrorf("%s: --quota 0 would permit nothing; leave it out for no limit", c.Command.Name)
		}
		opt.Quota = n
	}
	return opt, nil
}

// serveOptions reads the command line, and nothing else: the environment of a
// forced command is the client's.
func (p *program) serveOptions(c *cli.Context) (server.Options, error) {
	opt, err := accessOptions(c)
	if err != nil {
		return opt, err
	}
	opt.Repository, opt.Beneath = c.String("repo"), c.String("restrict-to")
	opt.Idle = defaultIdle
	if c.IsSet("idle-timeout") {
		if opt.Idle, err = parseDuration(c.String("idle-timeout")); err != nil {
			return opt, usageErrorf("serve: --idle-timeout: %v", err)
		}
	}
	if err := opt.Check(); err != nil {
		return opt, usageErrorf("serve: %v", err)
	}
	return opt, nil
}

// serve speaks with the client on standard input and output.
func (p *program) serve(c *cli.Context, opt server.Options) error {
	if err := p.refuseOther(); err != nil {
		return err
	}
	if p.env.Terminal(p.env.Stdin) || p.env.Terminal(p.env.Stdout) {
		return withHint(usageErrorf("serve speaks with a packnback on the other side, not with people"),
			"packnback snapshots -r ssh://HOST/PATH starts it by itself")
	}
	rw, err := p.wire()
	if err != nil {
		return err
	}
	err = server.Serve(c.Context, rw, server.Disks{}, opt, buildVersion())
	var f *server.Failure
	if errors.As(err, &f) {
		p.record(opt, f.Err)
	}
	return err
}

// wire returns the standard streams as a connection.
func (p *program) wire() (io.ReadWriteCloser, error) {
	in, ok := p.env.Stdin.(*os.File)
	out, ok2 := p.env.Stdout.(*os.File)
	if !ok || !ok2 {
		return nil, errors.New("serve needs files as standard input and output")
	}
	return transport.Stdio(in, out)
}

// refuseOther explains itself to somebody who wanted to run something else
// with a key that is forced to this command. What they wanted has no other
// effect.
func (p *program) refuseOther() error {
	wanted := p.env.Getenv("SSH_ORIGINAL_COMMAND")
	if wanted == "" {
		return nil
	}
	for _, word := range strings.Fields(wanted) {
		if word == "serve" {
			return nil
		}
	}
	return withHint(object.CodeDenied.Errorf("this SSH key is for packnback only: it can't run %s", ui.Quote(cut(wanted, 100))),
		"packnback backup -r ssh://HOST")
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

// record writes why a connection ended to the system's log. Standard error is
// no place for that: it reaches the client.
func (p *program) record(opt server.Options, why error) {
	log, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "packnback-serve")
	if err != nil {
		return // a machine without a log has nowhere to look
	}
	defer log.Close()
	who := opt.Client
	if who == "" {
		who = "any client"
	}
	_ = log.Warning(fmt.Sprintf("%s from %s: %s", who, ui.Quote(p.env.Getenv("SSH_CONNECTION")), ui.QuoteText(why.Error())))
}
