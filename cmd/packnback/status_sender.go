package main

import (
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/sender"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
)

// senderStatus tells what this machine remembers of its backups. It asks no
// store and needs no key.
func (p *program) senderStatus(only view.Narrow, limit time.Duration) error {
	folder, err := p.env.StateDir()
	if err != nil {
		return err
	}
	last, err := sender.LastBackups(folder)
	if err != nil {
		p.warnf("%v", err)
	}
	sum := statusSummary{MessageType: "summary", MaxAge: limit.Seconds(), Jobs: []statusJob{}}
	now := p.env.Now().UnixNano()
	for _, b := range last {
		if (only.Client != "" && only.Client != b.Client) || (only.Job != "" && only.Job != b.Job) {
			continue
		}
		sum.Jobs = append(sum.Jobs, newStatusJob(b.Client, b.Job, b.Repository, b.Snapshot, b.Received, now, limit))
	}
	if err := p.printStatus(&sum, limit); err != nil {
		return err
	}
	return withHint(sum.verdict(limit), "packnback status -r REPO asks the store instead, where that is permitted")
}
