package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
)

func keyPaperCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "paper",
		Usage:     "print a restore or list key for keeping on paper",
		ArgsUsage: "FILE",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "sender", Usage: "print the fingerprint of the send key whose public part is in `FILE`, too; may be repeated"},
			outputFlag("write to the new `FILE` instead of standard output"),
		},
		Action: func(c *cli.Context) error {
			name, err := p.keyOperand(c)
			if err != nil {
				return err
			}
			return p.keyPaper(c.Context, name, c.StringSlice("sender"), c.String("output"))
		},
	}
}

func (p *program) keyPaper(ctx context.Context, name string, senderFiles []string, output string) error {
	senders, err := p.paperSenders(senderFiles)
	if err != nil {
		return err
	}
	text, err := p.keyText(ctx, name)
	if err != nil {
		return err
	}
	k, err := crypto.ParseReadKey(text)
	if err != nil {
		return keyFault(name, err)
	}
	sheet := k.AppendPaper(nil, senders)
	if output == "" {
		_, err := p.ui.Stdout().Write(sheet)
		return err
	}
	err = crypto.WriteKeyFile(output, sheet, true)
	if errors.Is(err, fs.ErrExist) {
		return errNameTaken(output)
	}
	return err
}

// paperSenders returns the send keys whose fingerprints belong on the sheet:
// those that were named and those that this machine trusts.
func (p *program) paperSenders(files []string) ([]crypto.Sender, error) {
	var all []crypto.Sender
	for _, name := range files {
		text, err := crypto.ReadKeyFile(name)
		if err != nil {
			return nil, withStatus(statusKey, err)
		}
		s, err := crypto.ParseSender(text)
		if err != nil {
			return nil, withStatus(statusKey, fmt.Errorf("key file %s: %w", ui.Quote(name), err))
		}
		all = append(all, s)
	}
	path, err := p.knownClients()
	if err != nil {
		return nil, err
	}
	known, err := view.LoadKnown(path)
	if err != nil {
		return nil, err
	}
	for _, k := range known.Keys {
		all = append(all, crypto.Sender{Client: k.Client, Signer: k.Key})
	}
	slices.SortFunc(all, func(a, b crypto.Sender) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), slices.Compare(a.Signer[:], b.Signer[:]))
	})
	return slices.Compact(all), nil
}
