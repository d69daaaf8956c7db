package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/sender"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

func backupCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Aliases:   []string{"create"},
		Usage:     "take a snapshot",
		ArgsUsage: "PATH…",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "init", Usage: "make the repository and the default keys where there are none"},
			&cli.StringFlag{Name: "job", Value: object.DefaultJob, Usage: "`NAME` of the series of snapshots"},
			&cli.StringSliceFlag{Name: "tag", Usage: "remark on the snapshot, `K=V`; may be repeated"},
			&cli.StringFlag{Name: "host", Aliases: []string{"H"}, Usage: "host `NAME` to show instead of this machine's"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "send and store nothing, say what would be sent"},
			&cli.BoolFlag{Name: "force", Usage: "read all files, even those that look unchanged"},
			&cli.BoolFlag{Name: "ignore-ctime", Usage: "a file with another change time may be unchanged"},
			&cli.BoolFlag{Name: "ignore-inode", Usage: "a file with another inode number may be unchanged"},
			&cli.BoolFlag{Name: "skip-if-unchanged", Usage: "make no snapshot if nothing has changed"},
			&cli.BoolFlag{Name: "with-atime", Usage: "store access times"},
			&cli.StringFlag{Name: "compression", Value: chunk.LevelDefault.String(), Usage: "`LEVEL`: off, fastest, default, better or max"},
			&cli.IntFlag{Name: "read-concurrency", Usage: "read `N` files at once"},
		}, filterFlags()...), sourceFlags()...),
		Action: func(c *cli.Context) error { return p.backup(c) },
	}
}

// reconnects is how often a backup takes up a connection again that was lost.
const reconnects = 5

func (p *program) backup(c *cli.Context) error {
	config, err := p.backupConfig(c)
	if err != nil {
		return err
	}
	if c.Bool("init") && config.Options.DryRun {
		return usageErrorf("backup: --init makes something and --dry-run makes nothing; use one of them")
	}
	input, err := p.backupSource(c)
	if err != nil {
		return err
	}
	config.About.Paths, config.About.Excludes = input.paths, input.excludes
	ctx := c.Context
	told := false
	if c.Bool("init") {
		if told, err = p.backupInit(ctx); err != nil {
			return err
		}
	}
	key, keyErr := p.sendKey(ctx)
	if keyErr == nil {
		p.ahead = openAhead(key.Client(), config.Job, config.Folders)
	}
	return p.withStore(ctx, func(s store) error {
		if err := p.checkBackupKey(keyErr, told); err != nil {
			return err
		}
		config.Key, config.Repository = key, s.ID()
		from, closeSource, err := input.open(ctx)
		if err != nil {
			return err
		}
		config.Source = from
		return errors.Join(p.runBackup(ctx, s, config), closeSource())
	})
}

// backupConfig reads the flags that need no file.
func (p *program) backupConfig(c *cli.Context) (sender.Config, error) {
	var config sender.Config
	config.Job = c.String("job")
	if err := object.CheckName("job", config.Job); err != nil {
		return config, usageErrorf("%v", err)
	}
	level, err := chunk.ParseLevel(c.String("compression"))
	if err != nil {
		return config, usageErrorf("backup: %v", err)
	}
	if n := c.Int("read-concurrency"); n < 0 || c.IsSet("read-concurrency") && n == 0 {
		return config, usageErrorf("backup: --read-concurrency wants a number above 0")
	}
	config.Options = sender.Options{
		DryRun:          c.Bool("dry-run"),
		Force:           c.Bool("force"),
		IgnoreCtime:     c.Bool("ignore-ctime"),
		IgnoreInode:     c.Bool("ignore-inode"),
		WithAtime:       c.Bool("with-atime"),
		SkipIfUnchanged: c.Bool("skip-if-unchanged"),
		ReadConcurrency: c.Int("read-concurrency"),
		Level:           level,
	}
	config.About = tree.Summary{Program: "packnback " + buildVersion(), Hostname: c.String("host"), Tags: c.StringSlice("tag")}
	if slices.Contains(config.About.Tags, "") {
		return config, usageErrorf("backup: a tag is empty")
	}
	if config.About.Hostname == "" {
		if config.About.Hostname, err = p.env.Hostname(); err != nil {
			return config, fmt.Errorf("asking for the host's name: %w", err)
		}
	}
	if u, err := user.Current(); err == nil {
		config.About.Username = u.Username
	}
	if config.Folders.Cache, err = p.cachePath(); err != nil {
		return config, err
	}
	config.Folders.State, err = p.statePath()
	return config, err
}

// backupInit makes the repository and the default keys where there are none. It
// reports whether the user was told of a new restore key.
func (p *program) backupInit(ctx context.Context) (told bool, err error) {
	s, err := p.openStore(ctx)
	if errors.Is(err, object.CodeNoRepo) {
		if s, err = p.initStore(ctx); err == nil {
			p.printInitialized(s)
		}
	}
	if err != nil {
		return false, err
	}
	if err := s.Close(); err != nil {
		return false, err
	}
	if p.key != "" {
		return false, nil // a key that was named is never made up
	}
	return p.firstKeys(ctx)
}

// checkBackupKey says what to do about an error of reading the send key. It
// warns of keys beside it that read, unless the user was told a moment ago.
func (p *program) checkBackupKey(err error, told bool) error {
	if errors.Is(err, errNoSendKey) {
		return withStatus(statusKey, withHint(errors.New("there is no send key for this repository"),
			"make one with packnback key send --to RESTORE.pub -o FILE, or make all keys: packnback backup --init …"))
	}
	if err != nil || told {
		return err
	}
	path, err := p.sendKeyPath()
	if err != nil {
		return err
	}
	p.warnRestoreKey(path)
	return nil
}

// openAhead returns what the sender will most likely open first, so that a
// connection can begin with it; nil when that can't be told. It is a guess, on
// which nothing but a round trip or two depend.
func openAhead(client, job string, folders sender.Folders) *protocol.Open {
	open := &protocol.Open{Client: client, Job: job}
	if folders.Cache == "" {
		return open // nothing is known of any snapshot
	}
	last, err := sender.LastBackups(folders.State)
	if err != nil {
		return nil
	}
	for _, l := range last {
		if l.Client != client || l.Job != job {
			continue
		}
		if !open.Base.IsZero() {
			return nil // there are several repositories
		}
		open.Base = l.Snapshot
	}
	return open
}

// runBackup runs a backup into s and prints what came of it.
func (p *program) runBackup(ctx context.Context, s store, config sender.Config) error {
	if _, remote := s.(*remoteStore); remote {
		config.Reconnects = reconnects
	}
	open := func(ctx context.Context, base object.ID) (sender.Store, object.Standing, io.Closer, error) {
		up, err := s.openSession(ctx, repo.SessionRequest{Client: config.Key.Client(), Job: config.Job, Base: base})
		if err != nil {
			return nil, object.Standing{}, nil, err
		}
		return up, up.Standing(), up, nil
	}
	started := p.env.Now()
	var done sender.Progress
	shown := p.ui.Progress("saving", func() ui.Status {
		return ui.Status{Files: done.Files.Load(), Bytes: done.Bytes.Load(), Sent: done.Sent.Load(), Errors: done.Errors.Load()}
	})
	summary, err := sender.Run(ctx, config, open, p.backupEvents(&done))
	shown.Stop()
	var back *sender.RolledBackError
	if errors.As(err, &back) {
		memory := filepath.Join(config.Folders.State, config.Repository.String(), config.Key.Client(), config.Job)
		return withHint(err, "if you put an older copy of the repository there yourself, let this machine forget the newer one: rm -r "+ui.ShellWord(memory))
	}
	if err != nil {
		return err
	}
	p.printBackup(config, &summary, p.env.Now().Sub(started))
	if summary.Incomplete() {
		lost := ui.Number(summary.Counts.Errors, "file or folder", "files or folders")
		return withStatus(statusPartial, fmt.Errorf("%s could not be read: the snapshot is incomplete", lost))
	}
	return nil
}
