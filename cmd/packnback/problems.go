package main

import (
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// problems prints what verify and drill find.
type problems struct {
	to       *program
	snapshot object.ID // being read
	findings uint64    // damage in chains, signatures and whole snapshots
}

// findingLine is one finding of verify or drill for programs.
type findingLine struct {
	MessageType string `json:"message_type"`
	Severity    string `json:"severity"`
	Client      string `json:"client,omitempty"`
	Job         string `json:"job,omitempty"`
	Snapshot    string `json:"snapshot,omitempty"`
	Path        string `json:"path,omitempty"`
	Object      string `json:"object,omitempty"`
	Detail      string `json:"detail"`
}

var severityNames = [...]string{view.Note: "note", view.Warning: "warning", view.Damage: "damage"}

// finding takes what VerifyChains has to say.
func (b *problems) finding(f view.Finding) {
	if f.Severity == view.Damage {
		b.findings++
	}
	if b.to.ui.JSON {
		line := findingLine{MessageType: "problem", Severity: severityNames[f.Severity], Client: f.Client, Job: f.Job, Detail: f.Text}
		if f.Seq > 0 {
			line.Snapshot = f.Snapshot.String()
		}
		b.to.ui.PrintJSON(line)
		return
	}
	switch text := f.String(); f.Severity {
	case view.Warning:
		b.to.warnf("%s", text)
	case view.Damage:
		b.to.ui.Printf("%s\n", ui.QuoteText(text))
	default:
		if b.to.ui.Verbose {
			b.to.ui.Remarkf("%s", ui.QuoteText(text))
		}
	}
}

// tell takes what is lost of the snapshot; without a path, all of it.
func (b *problems) tell(path string, id object.ID, err error) {
	if b.to.ui.JSON {
		line := findingLine{MessageType: "problem", Severity: "damage", Snapshot: b.snapshot.String(), Path: path, Detail: err.Error()}
		if !id.IsZero() {
			line.Object = id.String()
		}
		b.to.ui.PrintJSON(line)
		return
	}
	where := "snapshot " + b.snapshot.Short()
	if path != "" {
		where += " " + ui.Quote(path)
	}
	b.to.ui.Printf("%s: %s\n", where, ui.QuoteText(err.Error()))
}
