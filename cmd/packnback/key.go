package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/recipients"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
)

func keyCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "make, show and change keys",
		Subcommands: []*cli.Command{
			keyGenerateCommand(p),
			keySendCommand(p),
			keyInspectCommand(p),
			keyPasswdCommand(p),
			keyRewrapCommand(p),
			keyPaperCommand(p),
		},
	}
}

// outputFlag names the file that a key is written to.
func outputFlag(usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: usage}
}

// sealToFlag names what a key file is encrypted to.
func sealToFlag() *cli.StringSliceFlag {
	return &cli.StringSliceFlag{Name: "seal-to", Usage: "encrypt the file to `RECIPIENT`: a token's or another age recipient, an SSH public key, or a file with one; may be repeated"}
}

func keyGenerateCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "generate",
		Usage: "make a restore key, or with --list a list key",
		Flags: []cli.Flag{
			outputFlag("new `FILE` for the key; its public part goes to FILE.pub"),
			&cli.BoolFlag{Name: "list", Usage: "make a list key, which sees names and metadata only"},
			&cli.BoolFlag{Name: "passphrase", Usage: "encrypt the file to a passphrase"},
			sealToFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			return p.keyGenerate(c.Context, keyProtection{c.Bool("passphrase"), c.StringSlice("seal-to")}, c.Bool("list"), c.String("output"))
		},
	}
}

func (p *program) keyGenerate(ctx context.Context, how keyProtection, list bool, name string) error {
	if name == "" {
		return withHint(usageErrorf("generate needs a file to write to"), "packnback key generate -o FILE")
	}
	if err := namesFree(name, name+".pub"); err != nil {
		return err
	}
	purpose := crypto.ForRestore
	if list {
		purpose = crypto.ForList
	}
	k, err := crypto.GenerateReadKey(purpose)
	if err != nil {
		return err
	}
	text, err := p.protect(ctx, p.secrets(), k.Append(nil), how, name)
	if err != nil {
		return err
	}
	if err := newKeyFiles(name, text, k.Recipient().AppendText(nil)); err != nil {
		return err
	}
	p.printNewKey(name, purpose.String()+" key", k.Recipient().Fingerprint())
	if !how.encrypts() {
		p.ui.Remarkf("It is not encrypted: keep it off the machines that are backed up and off the store.")
	}
	if purpose == crypto.ForRestore {
		p.ui.Remarkf("Without it no backup can be restored. A copy on paper: packnback key paper %s", ui.ShellWord(name))
	}
	return nil
}

// keyProtection says what a key file is to be encrypted to; nothing leaves it
// in the clear.
type keyProtection struct {
	passphrase bool
	sealTo     []string // recipients as the user names them
}

func (k keyProtection) encrypts() bool { return k.passphrase || len(k.sealTo) > 0 }

// protect returns text encrypted as how says. A new passphrase comes from
// secrets.
func (p *program) protect(ctx context.Context, secrets *recipients.Source, text []byte, how keyProtection, name string) ([]byte, error) {
	switch {
	case how.passphrase && len(how.sealTo) > 0:
		return nil, usageErrorf("a key file is encrypted to a passphrase or to recipients, not to both")
	case how.passphrase:
		passphrase, err := secrets.NewPassphrase(ctx, name)
		if err != nil {
			return nil, keyStatus(err)
		}
		to, err := crypto.PassphraseRecipient(passphrase)
		if err != nil {
			return nil, keyStatus(err)
		}
		return crypto.EncryptKeyText(text, to)
	case len(how.sealTo) > 0:
		return secrets.SealKeyText(ctx, text, how.sealTo)
	}
	return text, nil
}

// keyStatus gives errors about keys and passphrases their exit status, but not
// an interruption.
func keyStatus(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return withStatus(statusKey, err)
}

// namesFree returns an error when one of the names is taken: checked before
// anybody is asked for a passphrase.
func namesFree(names ...string) error {
	for _, name := range names {
		if found, err := exists(name); err != nil {
			return err
		} else if found {
			return errNameTaken(name)
		}
	}
	return nil
}

func errNameTaken(name string) error {
	return withHint(fmt.Errorf("file %s is there already, and keys are never overwritten", ui.Quote(name)),
		"name another file with -o, or move that one away")
}

// newKeyFiles writes a secret key and its public part beside it. The secret
// one comes first: a public part without it would be sealed to.
func newKeyFiles(name string, secret, public []byte) error {
	for _, f := range []struct {
		name   string
		text   []byte
		secret bool
	}{{name, secret, true}, {name + ".pub", public, false}} {
		err := crypto.WriteKeyFile(f.name, f.text, f.secret)
		if errors.Is(err, fs.ErrExist) {
			return errNameTaken(f.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printNewKey says what was made and where.
func (p *program) printNewKey(name, kind, fingerprint string) {
	if p.ui.JSON {
		p.ui.PrintJSON(struct {
			MessageType string `json:"message_type"`
			Kind        string `json:"kind"`
			File        string `json:"file"`
			PublicFile  string `json:"public_file"`
			Fingerprint string `json:"fingerprint"`
		}{"key", kind, name, name + ".pub", fingerprint})
		return
	}
	p.ui.Remarkf("made %s %s, fingerprint %s", kind, ui.Quote(name), fingerprint)
	p.ui.Remarkf("made its public part %s", ui.Quote(name+".pub"))
}

// keyOperand returns the one key file that a command is about: its operand, or
// --key, or the user's restore key.
func (p *program) keyOperand(c *cli.Context) (string, error) {
	args, err := operands(c, 0, 1)
	if err != nil {
		return "", err
	}
	names := append(slices.Clone(args), p.key)
	if names[0] != "" {
		return names[0], nil
	}
	return p.defaultKey("restore.key")
}
