package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/authorize"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

func authorizeCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "authorize",
		Usage:     "print the authorized_keys line that gives an SSH key access to a repository",
		ArgsUsage: "PUBKEYFILE",
		Flags: append(accessFlags(),
			&cli.BoolFlag{Name: "install", Usage: "add the line to ~/.ssh/authorized_keys"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			return p.authorize(c, args[0])
		},
	}
}

func (p *program) authorize(c *cli.Context, file string) error {
	opt, err := accessOptions(c)
	if err != nil {
		return err
	}
	if opt.Client == "" {
		return usageErrorf("authorize needs --client NAME")
	}
	if err := opt.Check(); err != nil {
		return usageErrorf("authorize: %v", err)
	}
	if opt.Repository, err = p.localFolder(); err != nil {
		return err
	}
	key, err := readSSHKey(file)
	if err != nil {
		return err
	}
	line, err := authorize.Line(forcedCommand(p.self(), opt, c.String("quota")), key)
	if err != nil {
		return usageErrorf("%v", err)
	}
	p.doubts(c, opt)
	told := authorized{MessageType: "authorized", Client: opt.Client, Fingerprint: key.Fingerprint(), Line: line}
	if c.Bool("install") {
		if err := p.install(key, &told); err != nil {
			return err
		}
	} else {
		p.ui.Printf("%s\n", line)
	}
	if p.ui.JSON {
		p.ui.PrintJSON(told)
	}
	return nil
}

// authorized is authorize --json.
type authorized struct {
	MessageType string `json:"message_type"`
	Client      string `json:"client"`
	Fingerprint string `json:"fingerprint"`
	Line        string `json:"line"`
	Installed   string `json:"installed,omitempty"` // the file that has the line
	Added       *bool  `json:"added,omitempty"`     // false when it was there already
}

// localFolder returns the absolute path of the repository, which must be on
// this machine: the line is for this machine's sshd.
func (p *program) localFolder() (string, error) {
	at, err := p.location()
	if err != nil {
		return "", err
	}
	if at.Remote() {
		return "", withHint(usageErrorf("authorize runs on the store itself, and %s is somewhere else", ui.Quote(p.repository)),
			"log in there and give --repo the folder's path")
	}
	return filepath.Abs(at.Path)
}

// readSSHKey reads the public key in file.
func readSSHKey(file string) (*authorize.Key, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, authorize.MaxKeyFile+1))
	if err != nil {
		return nil, err
	}
	key, err := authorize.ParseKey(text)
	if err != nil {
		return nil, withHint(withStatus(statusKey, fmt.Errorf("reading the SSH key in %s: %w", ui.Quote(file), err)),
			"ssh-keygen -t ed25519 makes a pair; the half in the .pub file goes here")
	}
	return key, nil
}

// self returns how sshd calls this program: by its whole path, because the
// PATH of a forced command is short, or by its name where the program won't
// stay where it is.
func (p *program) self() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, string(filepath.Separator)+"go-build") {
		return "packnback"
	}
	return path
}

// forcedCommand returns the words of the command that sshd is to run. The
// quota is passed on as it was given.
func forcedCommand(program string, opt server.Options, quota string) []string {
	words := []string{program, "serve", "--repo", opt.Repository}
	switch opt.Mode {
	case server.WriteOnly:
		words = append(words, "--write-only")
	case server.ReadOnly:
		words = append(words, "--read-only")
	}
	if opt.Blind {
		words = append(words, "--blind")
	}
	words = append(words, "--client", opt.Client)
	for _, job := range opt.Jobs {
		words = append(words, "--job", job)
	}
	if opt.Quota != 0 {
		words = append(words, "--quota", quota)
	}
	return words
}

// doubts warns of what the administrator may not have meant.
func (p *program) doubts(c *cli.Context, opt server.Options) {
	switch {
	case opt.Mode == server.Full:
		p.warnf("this key may do everything with the repository, deleting included")
		p.hintf("--write-only is for machines that back up, --read-only for those that restore")
	case opt.Mode == server.WriteOnly && opt.Quota == 0:
		p.warnf("without --quota this client can fill the disk")
	}
	r, err := repo.Open(c.Context, opt.Repository)
	if errors.Is(err, object.CodeNoRepo) {
		p.warnf("there is no repository at %s yet", ui.Quote(opt.Repository))
		p.hintf("make it: packnback init -r %s", ui.Quote(opt.Repository))
		return
	}
	if err == nil {
		_ = r.Close() // it was only looked at
	}
}

// install adds the line to the user's authorized_keys, and tells where it is.
func (p *program) install(key *authorize.Key, told *authorized) error {
	home, err := p.env.Home()
	if err != nil {
		return err
	}
	changed, err := authorize.Install(home, key, told.Line)
	var already *authorize.AlreadyError
	if errors.As(err, &already) {
		return withHint(err, "remove that line if it is out of date, then run this again")
	}
	if err != nil {
		return err
	}
	told.Installed, told.Added = filepath.Join(home, ".ssh", "authorized_keys"), &changed
	where := ui.Quote(told.Installed)
	if !changed {
		p.ui.Remarkf("the line for %s is in %s already", key.Fingerprint(), where)
		return nil
	}
	p.ui.Remarkf("added the line for %s to %s", key.Fingerprint(), where)
	return nil
}
