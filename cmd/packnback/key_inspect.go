package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/recipients"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
)

func keyInspectCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "say what a key is and may do, without its secrets",
		ArgsUsage: "FILE",
		Action: func(c *cli.Context) error {
			name, err := p.keyOperand(c)
			if err != nil {
				return err
			}
			about, err := p.inspectKey(c.Context, name)
			if err != nil {
				return err
			}
			p.printKeyReport(about)
			return nil
		},
	}
}

// keyReport is what may be said of a key file. Empty fields do not apply or
// are not known.
type keyReport struct {
	MessageType string         `json:"message_type"`
	File        string         `json:"file"`
	Kind        string         `json:"kind"`
	Encrypted   string         `json:"encrypted,omitempty"` // to what
	Can         string         `json:"can"`
	Client      string         `json:"client,omitempty"`
	Created     string         `json:"created,omitempty"` // RFC 3339
	Fingerprint string         `json:"fingerprint,omitempty"`
	Public      string         `json:"public,omitempty"` // age recipient or signing key
	Recipients  []keyRecipient `json:"recipients,omitempty"`
}

type keyRecipient struct {
	Purpose     string `json:"purpose"`
	Fingerprint string `json:"fingerprint"`
}

func recipientReports(rs []crypto.Recipient) []keyRecipient {
	var out []keyRecipient
	for _, r := range rs {
		out = append(out, keyRecipient{r.Purpose().String(), r.Fingerprint()})
	}
	return out
}

// inspectKey reads the key file name. One that is encrypted is unlocked if that
// is possible.
func (p *program) inspectKey(ctx context.Context, name string) (*keyReport, error) {
	text, err := crypto.ReadKeyFile(name)
	if err != nil {
		return nil, withStatus(statusKey, err)
	}
	about := &keyReport{MessageType: "key_inspect", File: name}
	if crypto.Identify(text) == crypto.TextEncrypted {
		secrets := p.secrets()
		about.Encrypted = strings.Join(recipients.EncryptedTo(text), ", ")
		plain, err := secrets.Unlock(ctx, name, text)
		if errors.Is(err, recipients.ErrNoPassphrase) || errors.Is(err, crypto.ErrNotRecipient) {
			about.Kind, about.Can = "encrypted key", "nothing before it is unlocked"
			return about, nil
		}
		if err != nil {
			return nil, keyStatus(err)
		}
		text = plain
	}
	if err := about.describe(text); err != nil {
		return nil, withStatus(statusKey, fmt.Errorf("key file %s: %w", ui.Quote(name), err))
	}
	return about, nil
}

// describe fills in what the text of a key says.
func (about *keyReport) describe(text []byte) error {
	kind := crypto.Identify(text)
	about.Kind = strings.TrimPrefix(strings.TrimPrefix(kind.String(), "a "), "the ")
	switch kind {
	case crypto.TextRestoreKey, crypto.TextListKey, crypto.TextPaper:
		return about.describeReadKey(text)
	case crypto.TextSendKey:
		return about.describeSendKey(text)
	case crypto.TextRecipient:
		r, err := crypto.ParseRecipient(text)
		if err != nil {
			return err
		}
		about.Kind = "public part of a " + r.Purpose().String() + " key"
		about.Can = "make send keys that seal to it; reads nothing"
		about.Fingerprint, about.Public = r.Fingerprint(), r.String()
	case crypto.TextSender:
		s, err := crypto.ParseSender(text)
		if err != nil {
			return err
		}
		about.Can = "check that snapshots of " + s.Client + " are genuine; reads and sends nothing"
		about.Client, about.Fingerprint, about.Public = s.Client, s.Fingerprint(), fmt.Sprintf("%x", s.Signer)
	case crypto.TextGroup:
		g, err := crypto.ParseGroup(text)
		if err != nil {
			return err
		}
		about.Can = "make send keys that share their object ids; reads nothing"
		about.Recipients = recipientReports(g.Recipients())
	default:
		return crypto.ErrNotKey
	}
	return nil
}

func (about *keyReport) describeReadKey(text []byte) error {
	k, err := crypto.ParseReadKey(text)
	if err != nil {
		return err
	}
	about.Kind = k.Purpose().String() + " key"
	about.Can = "read everything that is sealed to it"
	if k.Purpose() == crypto.ForList {
		about.Can = "see names and metadata of what is sealed to it, never the bytes of files"
	}
	if !k.Created().IsZero() {
		about.Created = k.Created().Format(time.RFC3339)
	}
	about.Fingerprint, about.Public = k.Recipient().Fingerprint(), k.Recipient().String()
	return nil
}

func (about *keyReport) describeSendKey(text []byte) error {
	k, err := crypto.ParseSendKey(text)
	if err != nil {
		return err
	}
	about.Can = "add snapshots of " + k.Client() + "; reads, lists, changes and deletes nothing"
	about.Client, about.Created = k.Client(), k.Created().Format(time.RFC3339)
	about.Fingerprint, about.Public = k.Sender().Fingerprint(), fmt.Sprintf("%x", k.Sender().Signer)
	about.Recipients = recipientReports(append(k.RestoreRecipients(), k.ListRecipients()...))
	return nil
}

func (p *program) printKeyReport(about *keyReport) {
	if p.ui.JSON {
		p.ui.PrintJSON(about)
		return
	}
	line := func(name, value string) {
		if value != "" {
			p.ui.Printf("%-12s %s\n", name+":", ui.Quote(value))
		}
	}
	line("file", about.File)
	line("kind", about.Kind)
	line("encrypted to", about.Encrypted)
	line("can", about.Can)
	line("client", about.Client)
	line("created", about.Created)
	line("fingerprint", about.Fingerprint)
	for _, r := range about.Recipients {
		line("seals to", r.Purpose+" key "+r.Fingerprint)
	}
}
