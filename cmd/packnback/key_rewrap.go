package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

func keyRewrapCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "rewrap",
		Usage: "let a new key read the snapshots that the key at hand reads",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "public part `FILE` of the new key"},
			outputFlag("new `FILE` for the bundle (default: beside the new key, with .rewrap in place of .pub)"),
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			to := c.String("to")
			if to == "" {
				return withHint(usageErrorf("rewrap needs the new key"), "packnback key rewrap --to NEW.pub -r REPO")
			}
			return p.withStore(c.Context, func(s store) error { return p.keyRewrap(c.Context, s, to, c.String("output")) })
		},
	}
}

func (p *program) keyRewrap(ctx context.Context, s store, to, output string) error {
	recipient, err := readRecipient(to)
	if err != nil {
		return err
	}
	if output == "" {
		output = rewrapName(to)
	}
	if err := namesFree(output); err != nil {
		return err
	}
	key, err := p.readKey(ctx)
	if err != nil {
		return err
	}
	bundle := crypto.NewRewrap(recipient)
	others, err := collectKeys(ctx, s, bundle, key)
	if err != nil {
		return err
	}
	if bundle.Len() == 0 {
		return withStatus(statusKey, errors.New("this key opens nothing in the repository, so there is nothing to pass on"))
	}
	b, err := bundle.Seal()
	if err != nil {
		return err
	}
	err = crypto.WriteKeyFile(output, b, false)
	if errors.Is(err, fs.ErrExist) {
		return errNameTaken(output)
	}
	if err != nil {
		return err
	}
	p.printRewrap(output, bundle.Len(), others)
	return nil
}

// collectKeys adds what key opens to the bundle and counts the key objects that
// are sealed to others.
func collectKeys(ctx context.Context, from reader, bundle *crypto.Rewrap, key *crypto.ReadKey) (others int, err error) {
	identities := key.Identities()
	refused := make(map[object.ID]struct{})
	err = from.Keys(ctx, func(rec *object.Record) error {
		err := bundle.Add(rec, identities...)
		if errors.Is(err, crypto.ErrNotRecipient) && len(refused) < crypto.MaxRewrap {
			refused[rec.ID] = struct{}{}
			return nil
		}
		return err
	})
	return len(refused), err
}

func (p *program) printRewrap(output string, rewrapped, others int) {
	if p.ui.JSON {
		p.ui.PrintJSON(struct {
			MessageType string `json:"message_type"`
			File        string `json:"file"`
			Rewrapped   int    `json:"rewrapped"`
			NotOpened   int    `json:"not_opened"`
		}{"key_rewrap", output, rewrapped, others})
		return
	}
	p.ui.Remarkf("made %s with %d session keys; keep it beside the new key's file", ui.Quote(output), rewrapped)
	if others > 0 {
		p.warnf("%d key objects are sealed to other keys, so the new key can't read what is under them", others)
	}
}

// rewrapName is where the bundle for the key with the public part to belongs:
// addRewrap looks for it beside the key's file.
func rewrapName(to string) string { return strings.TrimSuffix(to, ".pub") + ".rewrap" }

// addRewrap gives o the rewrap bundle beside the key file that readKey reads,
// if there is one.
func (p *program) addRewrap(o *crypto.Opener) error {
	name := p.key
	if name == "" {
		var err error
		if name, err = p.defaultKey("restore.key"); err != nil {
			return err
		}
	}
	name += ".rewrap"
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a rewrap bundle: %w", err)
	}
	defer f.Close()
	bundle, err := io.ReadAll(io.LimitReader(f, crypto.MaxRewrapBundle+1))
	if err != nil {
		return fmt.Errorf("reading a rewrap bundle: %w", err)
	}
	if err := o.AddRewrap(bundle); err != nil {
		return withStatus(statusKey, fmt.Errorf("%s: %w", ui.Quote(name), err))
	}
	return nil
}
