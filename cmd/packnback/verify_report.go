package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// verifyProblem is one finding of verify for programs.
type verifyProblem struct {
	MessageType string `json:"message_type"`
	Severity    string `json:"severity"`
	Client      string `json:"client,omitempty"`
	Job         string `json:"job,omitempty"`
	Snapshot    string `json:"snapshot,omitempty"`
	Path        string `json:"path,omitempty"`
	Object      string `json:"object,omitempty"`
	Detail      string `json:"detail"`
}

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

var severityNames = [...]string{view.Note: "note", view.Warning: "warning", view.Damage: "damage"}

// finding takes what VerifyChains has to say.
func (v *verification) finding(f view.Finding) {
	if f.Severity == view.Damage {
		v.findings++
	}
	if v.ui.JSON {
		line := verifyProblem{MessageType: "problem", Severity: severityNames[f.Severity], Client: f.Client, Job: f.Job, Detail: f.Text}
		if f.Seq > 0 {
			line.Snapshot = f.Snapshot.String()
		}
		v.ui.PrintJSON(line)
		return
	}
	switch text := fmt.Sprintf("%s/%s: %s", f.Client, f.Job, f.Text); f.Severity {
	case view.Warning:
		v.warnf("%s", text)
	case view.Damage:
		v.ui.Printf("%s\n", ui.QuoteText(text))
	default:
		if v.ui.Verbose {
			v.ui.Remarkf("%s", ui.QuoteText(text))
		}
	}
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
	if v.ui.JSON {
		line := verifyProblem{MessageType: "problem", Severity: "damage", Snapshot: v.snapshot.String(), Path: path, Detail: err.Error()}
		if !id.IsZero() {
			line.Object = id.String()
		}
		v.ui.PrintJSON(line)
		return
	}
	where := "snapshot " + v.snapshot.Short()
	if path != "" {
		where += " " + ui.Quote(path)
	}
	v.ui.Printf("%s: %s\n", where, ui.QuoteText(err.Error()))
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
		v.ui.PrintJSON(verifySummary{"summary", "verify", res.Snapshots, res.Entries, res.Objects, res.Bytes, res.Refused, v.marked, errs})
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
	case res.Refused > 0:
		return withStatus(statusKey, fmt.Errorf("%d objects are sealed to other keys than this one, and could not be verified", res.Refused))
	}
	v.ui.Remarkf("no errors were found")
	return nil
}
