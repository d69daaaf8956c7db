package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

func unforgetCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "unforget",
		Usage:     "bring snapshots back from the trash",
		ArgsUsage: "SNAP…",
		Flags: append(narrowFlags(),
			&cli.BoolFlag{Name: "list", Usage: "show what is in the trash"}),
		Action: func(c *cli.Context) error {
			only, err := narrow(c)
			if err != nil {
				return err
			}
			snaps, err := snapOperands(c)
			switch {
			case err != nil:
				return err
			case c.Bool("list") && len(snaps) > 0:
				return usageErrorf("unforget: --list shows everything; leave out the snapshots")
			case !c.Bool("list") && len(snaps) == 0:
				return withHint(usageErrorf("unforget needs the snapshots to bring back"), "packnback unforget --list")
			}
			return p.withStore(c.Context, func(s store) error {
				if c.Bool("list") {
					return p.listTrash(c.Context, s, only)
				}
				return p.unforget(c.Context, s, snaps, only)
			})
		},
	}
}

// trash is a store of which only what is forgotten is seen.
type trash struct{ store }

// Snapshots lists the trash, oldest received first.
func (t trash) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return t.Trash(ctx, yield)
}

// broughtBack is unforget --json.
type broughtBack struct {
	MessageType string   `json:"message_type"`
	Snapshots   []string `json:"snapshots"`
}

func (p *program) unforget(ctx context.Context, s store, snaps []view.Selector, only view.Narrow) error {
	found, err := findAll(ctx, trash{s}, snaps, only)
	if errors.Is(err, object.CodeNotFound) {
		return withHint(fmt.Errorf("%w in the trash", err), "packnback unforget --list shows what is there")
	}
	if err != nil {
		return readFault(err)
	}
	done := broughtBack{"summary", []string{}}
	for _, snap := range found {
		if err := s.Unforget(ctx, snap.ID()); err != nil {
			return err
		}
		done.Snapshots = append(done.Snapshots, snap.ID().String())
		p.ui.Remarkf("snapshot %s of %s/%s, received %s, is back", snap.ID().Short(), snap.Manifest.Client, snap.Manifest.Job, ui.Time(time.Unix(0, snap.Received)))
	}
	if p.ui.JSON {
		p.ui.PrintJSON(done)
	}
	return nil
}

// trashLine is one element of unforget --list --json.
type trashLine struct {
	ID        string    `json:"id"`
	ShortID   string    `json:"short_id"`
	Time      time.Time `json:"time"`
	Forgotten time.Time `json:"forgotten"`
	Client    string    `json:"client"`
	Job       string    `json:"job"`
}

func (p *program) listTrash(ctx context.Context, s store, only view.Narrow) error {
	lines := []trashLine{}
	t := ui.NewTable("ID", "Received", "Client", "Job", "Forgotten")
	err := s.Trash(ctx, func(snap *object.Snapshot) error {
		m := snap.Manifest
		if !only.Match(m) {
			return nil
		}
		received, forgotten := time.Unix(0, snap.Received), time.Unix(0, snap.Forgotten)
		lines = append(lines, trashLine{snap.ID().String(), snap.ID().Short(), received.UTC(), forgotten.UTC(), m.Client, m.Job})
		t.Row(snap.ID().Short(), ui.Time(received), m.Client, m.Job, ui.Time(forgotten))
		return nil
	})
	if err != nil {
		return err
	}
	if p.ui.JSON {
		p.ui.PrintJSON(lines)
		return nil
	}
	if t.Len() > 0 {
		if _, err := t.WriteTo(p.ui.Stdout()); err != nil {
			return err
		}
	}
	p.ui.Remarkf("%s in the trash", ui.Number(uint64(t.Len()), "snapshot", "snapshots"))
	return nil
}
