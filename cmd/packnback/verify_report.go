package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// verifySummary is the last line of verify --json.
type verifySummary struct {
	MessageType string `json:"message_type"`
	Command     string `json:"command"`
	Snapshots   uint64 `json:"snapshots"`
	Entries     uint64 `json:"entries"`
	Objects     uint64 `json:"objects"`
	Bytes       uint64 `json:"bytes"`
	NotVerified uint64 `json:"not_verified"`
	MarkedBad   uint64 `json:"marked_bad"`
	NumErrors   uint64 `json:"num_errors"`
}

// lost takes what the Verifier found, and what keeps a whole snapshot from
// being read.
func (v *verification) lost(path string, id object.ID, err error) {
	if path == "" {
		v.findings++
	}
	if v.markBad && !id.IsZero() && view.Lost(err) && !slices.Contains(v.bad, id) {
		v.bad = append(v.bad, id)
		if len(v.bad) == object.MaxMissing && v.err == nil {
			v.err = v.mark(context.Background())
		}
	}
	v.tell(path, id, err)
}

// mark tells the store of the damage found so far.
func (v *verification) mark(ctx context.Context) error {
	if len(v.bad) == 0 {
		return nil
	}
	err := v.store.MarkBad(ctx, v.bad)
	if err == nil {
		v.marked += uint64(len(v.bad))
	}
	v.bad = v.bad[:0]
	return err
}

// finish prints the summary. Its error says what was found.
func (v *verification) finish(ctx context.Context) error {
	if v.err == nil {
		v.err = v.mark(ctx)
	}
	res := v.verifier.Result()
	errs := res.Lost + v.findings
	if v.ui.JSON {
		v.ui.PrintJSON(verifySummary{"summary", "verify", res.Snapshots, res.Entries, res.Objects, res.Bytes, res.Refused + v.refused, v.marked, errs})
	} else {
		v.ui.Remarkf("verified %s snapshots: %s entries, %s objects, %s", ui.Count(res.Snapshots), ui.Count(res.Entries), ui.Count(res.Objects), ui.Size(res.Bytes))
	}
	if v.marked > 0 {
		v.ui.Remarkf("%s objects are marked as bad: the next backups send what they still have of them", ui.Count(v.marked))
	}
	switch {
	case v.err != nil:
		return fmt.Errorf("marking what is damaged: %w", v.err)
	case errs > 0:
		return v.pinnedHint(withStatus(statusDamage, fmt.Errorf("verify found %d problems in the repository at %s", errs, ui.Quote(v.repository))))
	case v.refused > 0:
		return withHint(withStatus(statusKey, fmt.Errorf("%s sealed to other keys than this one, and could not be verified", ui.Number(v.refused, "snapshot is", "snapshots are"))),
			"use a key that they were sealed to, with --key FILE, or leave them out with --client or --job")
	case res.Refused > 0:
		return withStatus(statusKey, fmt.Errorf("%d objects are sealed to other keys than this one, and could not be verified", res.Refused))
	}
	v.ui.Remarkf("no errors were found")
	return nil
}
