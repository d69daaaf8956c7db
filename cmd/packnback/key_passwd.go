package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/recipients"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
)

func keyPasswdCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "passwd",
		Usage:     "change what a restore or list key's file is encrypted to",
		ArgsUsage: "FILE",
		Flags: []cli.Flag{
			sealToFlag(),
			&cli.BoolFlag{Name: "no-passphrase", Usage: "leave the file in the clear"},
			&cli.StringFlag{Name: "new-passphrase-command", Usage: "`CMD` prints the new passphrase"},
		},
		Action: func(c *cli.Context) error {
			name, err := p.keyOperand(c)
			if err != nil {
				return err
			}
			how := keyProtection{sealTo: c.StringSlice("seal-to")}
			how.passphrase = len(how.sealTo) == 0 && !c.Bool("no-passphrase")
			if c.Bool("no-passphrase") && len(how.sealTo) > 0 {
				return usageErrorf("passwd: --no-passphrase and --seal-to exclude each other")
			}
			return p.keyPasswd(c.Context, name, how, c.String("new-passphrase-command"))
		},
	}
}

func (p *program) keyPasswd(ctx context.Context, name string, how keyProtection, command string) error {
	text, err := p.keyText(ctx, name)
	if err != nil {
		return err
	}
	if _, err := crypto.ParseReadKey(text); err != nil {
		return keyFault(name, err)
	}
	fresh := &recipients.Source{Env: p.env, PassphraseCommand: command, NoVariable: true}
	sealed, err := p.protect(ctx, fresh, text, how, name)
	if err != nil {
		return err
	}
	if err := crypto.ReplaceKeyFile(name, sealed); err != nil {
		return err
	}
	state := "encrypted to the new passphrase"
	switch {
	case len(how.sealTo) > 0:
		state = fmt.Sprintf("encrypted to %d recipients", len(how.sealTo))
	case !how.passphrase:
		state = "not encrypted any more"
	}
	if p.ui.JSON {
		p.ui.PrintJSON(struct {
			MessageType string `json:"message_type"`
			File        string `json:"file"`
			Encrypted   bool   `json:"encrypted"`
		}{"key_passwd", name, how.encrypts()})
		return nil
	}
	p.ui.Remarkf("key file %s is %s; older copies of it open as before", ui.Quote(name), state)
	return nil
}
