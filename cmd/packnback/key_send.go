package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

func keySendCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "send",
		Usage: "make a send key, which backs up one client and reads nothing",
		Flags: []cli.Flag{
			outputFlag("new `FILE` for the key; its public part goes to FILE.pub"),
			&cli.StringSliceFlag{Name: "to", Usage: "public part `FILE` of a restore key that backups are sealed to; may be repeated"},
			&cli.StringSliceFlag{Name: "list-to", Usage: "public part `FILE` of a list key that may see names; may be repeated"},
			&cli.StringFlag{Name: "client", Usage: "`NAME` under which the key sends (default: the host's name)"},
			&cli.StringFlag{Name: "renew", Usage: "keep the client's name and signing key of the send key in `FILE`, to change whom it seals to"},
			&cli.StringFlag{Name: "dedup-group", Usage: "share object ids with the other send keys made with `FILE`; made from --to if it is not there"},
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			return p.keySend(c)
		},
	}
}

func (p *program) keySend(c *cli.Context) error {
	name := c.String("output")
	if name == "" {
		return withHint(usageErrorf("send needs a file to write to"), "packnback key send --to RESTORE.pub -o FILE")
	}
	if err := namesFree(name, name+".pub"); err != nil {
		return err
	}
	to, err := readRecipients(c.StringSlice("to"), c.StringSlice("list-to"))
	if err != nil {
		return err
	}
	k, err := p.newSendKey(c, to)
	if err != nil {
		return err
	}
	sender := k.Sender()
	if err := newKeyFiles(name, k.Append(nil), sender.Append(nil)); err != nil {
		return err
	}
	p.printNewKey(name, "send key", sender.Fingerprint())
	return nil
}

// newSendKey makes the send key that the flags ask for.
func (p *program) newSendKey(c *cli.Context, to []crypto.Recipient) (*crypto.SendKey, error) {
	client, group, renew := c.String("client"), c.String("dedup-group"), c.String("renew")
	if renew != "" && (client != "" || group != "") {
		return nil, usageErrorf("send: --renew keeps the client's name and takes no dedup group; leave --client and --dedup-group away")
	}
	if group == "" && len(c.StringSlice("to")) == 0 {
		return nil, withHint(usageErrorf("send needs a restore key to seal to"),
			"packnback key send --to RESTORE.pub -o "+ui.ShellWord(c.String("output")))
	}
	if renew != "" {
		return p.renewSendKey(renew, to)
	}
	if client != "" {
		if err := object.CheckName("client", client); err != nil {
			return nil, usageErrorf("send: %v", err)
		}
	} else {
		var err error
		if client, err = p.defaultClient(); err != nil {
			return nil, err
		}
	}
	if group != "" {
		return p.groupSendKey(group, client, to)
	}
	return crypto.GenerateSendKey(client, to)
}

// renewSendKey makes a send key that signs as the one in the file name and
// seals to others.
func (p *program) renewSendKey(name string, to []crypto.Recipient) (*crypto.SendKey, error) {
	text, err := crypto.ReadKeyFile(name)
	if err != nil {
		return nil, withStatus(statusKey, err)
	}
	old, err := crypto.ParseSendKey(text)
	if err != nil {
		return nil, withStatus(statusKey, fmt.Errorf("key file %s: %w", ui.Quote(name), err))
	}
	return old.WithRecipients(to)
}

// readRecipients reads public parts of restore and list keys and checks that
// each stands with the right flag.
func readRecipients(to, listTo []string) ([]crypto.Recipient, error) {
	var all []crypto.Recipient
	for _, group := range []struct {
		purpose crypto.Purpose
		names   []string
	}{{crypto.ForRestore, to}, {crypto.ForList, listTo}} {
		for _, name := range group.names {
			r, err := readRecipient(name)
			if err != nil {
				return nil, err
			}
			if r.Purpose() != group.purpose {
				flag := map[crypto.Purpose]string{crypto.ForRestore: "--to", crypto.ForList: "--list-to"}[r.Purpose()]
				return nil, withHint(usageErrorf("%s is the public part of a %s key", ui.Quote(name), r.Purpose()),
					"name it with "+flag+" "+ui.ShellWord(name))
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// readRecipient reads the public part of a restore or list key.
func readRecipient(name string) (crypto.Recipient, error) {
	text, err := crypto.ReadKeyFile(name)
	if err != nil && !errors.Is(err, crypto.ErrKeyMode) {
		return crypto.Recipient{}, withStatus(statusKey, err)
	}
	r, err := crypto.ParseRecipient(text)
	if err == nil {
		return r, nil
	}
	err = withStatus(statusKey, fmt.Errorf("key file %s: %w", ui.Quote(name), err))
	if errors.Is(err, crypto.ErrIsSecret) {
		return r, withHint(err, "name its public part: "+ui.ShellWord(name+".pub"))
	}
	return r, err
}

// groupSendKey makes a send key that is a member of the dedup group in the file
// name, and the group if there is no such file.
func (p *program) groupSendKey(name, client string, to []crypto.Recipient) (*crypto.SendKey, error) {
	text, err := crypto.ReadKeyFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if len(to) == 0 {
			return nil, withHint(usageErrorf("a new dedup group needs restore keys to seal to"), "name them with --to RESTORE.pub")
		}
		g, err := crypto.GenerateGroup(to)
		if err != nil {
			return nil, err
		}
		if err := crypto.WriteKeyFile(name, g.Append(nil), true); err != nil {
			return nil, err
		}
		p.ui.Remarkf("made dedup group %s", ui.Quote(name))
		return g.GenerateSendKey(client)
	}
	if err != nil {
		return nil, withStatus(statusKey, err)
	}
	g, err := crypto.ParseGroup(text)
	if err != nil {
		return nil, withStatus(statusKey, fmt.Errorf("dedup group %s: %w", ui.Quote(name), err))
	}
	if len(to) > 0 && !g.SealsTo(to) {
		var prints []string
		for _, r := range g.Recipients() {
			prints = append(prints, r.Purpose().String()+" "+r.Fingerprint())
		}
		return nil, withHint(withStatus(statusKey, fmt.Errorf("dedup group %s seals to other keys: %s", ui.Quote(name), strings.Join(prints, ", "))),
			"leave --to and --list-to away: members of a group share its recipients")
	}
	return g.GenerateSendKey(client)
}
