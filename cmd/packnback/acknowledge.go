package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
)

func acknowledgeCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "acknowledge",
		Usage:     "take the unusual flag off snapshots that were looked at",
		ArgsUsage: "SNAP…",
		Flags:     narrowFlags(),
		Action: func(c *cli.Context) error {
			only, err := narrow(c)
			if err != nil {
				return err
			}
			snaps, err := snapOperands(c)
			if err != nil {
				return err
			}
			if len(snaps) == 0 {
				return withHint(usageErrorf("acknowledge needs the snapshots that were looked at"), "packnback snapshots shows which are flagged")
			}
			return p.withStore(c.Context, func(s store) error { return p.acknowledge(c.Context, s, snaps, only) })
		},
	}
}

// acknowledged is acknowledge --json.
type acknowledged struct {
	MessageType string   `json:"message_type"`
	Snapshots   []string `json:"snapshots"`
}

func (p *program) acknowledge(ctx context.Context, s store, snaps []view.Selector, only view.Narrow) error {
	found, err := findAll(ctx, s, snaps, only)
	if err != nil {
		return readFault(err)
	}
	done := acknowledged{"summary", []string{}}
	for _, snap := range found {
		if err := s.Acknowledge(ctx, snap.ID()); err != nil {
			return err
		}
		done.Snapshots = append(done.Snapshots, snap.ID().String())
		p.ui.Remarkf("snapshot %s of %s/%s, received %s, brakes no policy any more", snap.ID().Short(), snap.Manifest.Client, snap.Manifest.Job, ui.Time(time.Unix(0, snap.Received)))
	}
	if p.ui.JSON {
		p.ui.PrintJSON(done)
	}
	return nil
}
