package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
)

func trustCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "trust",
		Usage:     "pin a sender's signing key",
		ArgsUsage: "SEND.pub",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			text, err := crypto.ReadKeyFile(args[0])
			if err != nil {
				return withStatus(statusKey, err)
			}
			sender, err := crypto.ParseSender(text)
			if err != nil {
				return keyFault(args[0], err)
			}
			return p.trust(sender)
		},
	}
}

// trustLine is what programs get of a pinned key.
type trustLine struct {
	MessageType string `json:"message_type"`
	Client      string `json:"client"`
	Fingerprint string `json:"fingerprint"`
}

// trust pins a sender's signing key in known_clients, for every repository.
func (p *program) trust(sender crypto.Sender) error {
	path, err := p.knownClients()
	if err != nil {
		return err
	}
	others := 0
	err = view.UpdateKnown(path, func(k *view.Known) error {
		for _, known := range k.Keys {
			if known.Client == sender.Client && known.Key != view.SigningKey(sender.Signer) {
				others++
			}
		}
		k.Pin(view.KnownKey{Client: sender.Client, Key: sender.Signer, Trusted: true})
		return nil
	})
	if errors.Is(err, view.ErrKnown) {
		return err
	}
	if err != nil {
		return withHint(err, hintState)
	}
	if others > 0 {
		p.warnf("client %s has other known keys, too; if this one takes their place because a machine was taken over, remove their lines from %s", sender.Client, ui.Quote(path))
	}
	if p.ui.JSON {
		p.ui.PrintJSON(trustLine{"trusted", sender.Client, sender.Fingerprint()})
		return nil
	}
	p.ui.Remarkf("client %s signs with %s: pinned in %s", sender.Client, sender.Fingerprint(), ui.Quote(path))
	return nil
}
