package main

import (
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/sender"
	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo/tree"
)

// backupEvents prints what happens during a backup.
func (p *program) backupEvents(done *sender.Progress) sender.Events {
	events := sender.Events{
		Problem:  p.printSourceProblem,
		Note:     p.note,
		Warning:  func(text string) { p.warnf("%s", text) },
		Progress: done,
	}
	if p.ui.Verbose {
		events.Entry = p.printEntry
	}
	return events
}

// sourceError is what programs get of an entry that could not be read; the
// names are those that scripts written for restic know.
type sourceError struct {
	MessageType string `json:"message_type"`
	Error       struct {
		Message string `json:"message"`
	} `json:"error"`
	During string `json:"during"`
	Item   string `json:"item"`
}

// note remarks on something that is as it should be, unless the run is quiet.
func (p *program) note(text string) {
	if !p.ui.Quiet {
		p.say("note", text)
	}
}

func (p *program) printSourceProblem(pr source.Problem) {
	switch {
	case pr.Kind == source.Skipped:
		p.note(ui.Quote(pr.Path) + " was left out: " + pr.Err.Error())
	case p.ui.JSON:
		line := sourceError{MessageType: "error", During: "archival", Item: pr.Path}
		line.Error.Message = pr.Err.Error()
		p.ui.SayJSON(line)
	default:
		p.warnf("%s: %v", ui.Quote(pr.Path), pr.Err)
	}
}

func (p *program) printEntry(path string, _ tree.Type, c sender.Change) {
	action := map[sender.Change]string{sender.New: "new", sender.Changed: "modified", sender.Unmodified: "unchanged"}[c]
	if p.ui.JSON {
		p.ui.PrintJSON(struct {
			MessageType string `json:"message_type"`
			Action      string `json:"action"`
			Item        string `json:"item"`
		}{"verbose_status", action, path})
		return
	}
	p.ui.Printf("%-9s %s\n", action, ui.Quote(path))
}

// backupSummary is the last line of backup --json.
type backupSummary struct {
	MessageType         string  `json:"message_type"`
	SnapshotID          string  `json:"snapshot_id"`
	FilesNew            uint64  `json:"files_new"`
	FilesChanged        uint64  `json:"files_changed"`
	FilesUnmodified     uint64  `json:"files_unmodified"`
	DirsNew             uint64  `json:"dirs_new"`
	DirsChanged         uint64  `json:"dirs_changed"`
	DirsUnmodified      uint64  `json:"dirs_unmodified"`
	DataAdded           uint64  `json:"data_added"`
	DataAddedPacked     uint64  `json:"data_added_packed"`
	TotalFilesProcessed uint64  `json:"total_files_processed"`
	TotalBytesProcessed uint64  `json:"total_bytes_processed"`
	TotalDuration       float64 `json:"total_duration"`
	Errors              uint64  `json:"errors"`
	DryRun              bool    `json:"dry_run,omitempty"`
}

func (p *program) printBackup(config sender.Config, s *sender.Summary, took time.Duration) {
	n := &s.Counts
	files := totalFiles(n)
	if p.ui.JSON {
		line := backupSummary{
			MessageType: "summary",
			FilesNew:    n.FilesNew, FilesChanged: n.FilesChanged, FilesUnmodified: n.FilesUnmodified,
			DirsNew: n.DirsNew, DirsChanged: n.DirsChanged, DirsUnmodified: n.DirsUnmodified,
			DataAdded: n.Added, DataAddedPacked: n.AddedPacked,
			TotalFilesProcessed: files, TotalBytesProcessed: n.TotalBytes,
			TotalDuration: took.Seconds(), Errors: n.Errors, DryRun: config.Options.DryRun,
		}
		if !s.Snapshot.IsZero() {
			line.SnapshotID = s.Snapshot.String()
		}
		p.ui.PrintJSON(line)
		return
	}
	verb := "added"
	if config.Options.DryRun {
		verb = "would add"
	}
	p.ui.Remarkf("files:   %s new, %s changed, %s unmodified", ui.Count(n.FilesNew), ui.Count(n.FilesChanged), ui.Count(n.FilesUnmodified))
	p.ui.Remarkf("folders: %s new, %s changed, %s unmodified", ui.Count(n.DirsNew), ui.Count(n.DirsChanged), ui.Count(n.DirsUnmodified))
	p.ui.Remarkf("%s %s (%s stored) of %s in %s files, in %s", verb,
		ui.Size(n.Added), ui.Size(n.AddedPacked), ui.Size(n.TotalBytes), ui.Count(files), ui.Elapsed(took))
	switch {
	case s.Skipped:
		p.ui.Remarkf("nothing has changed: no snapshot was made")
	case config.Options.DryRun:
		p.ui.Remarkf("dry run: no snapshot was made")
	default:
		p.ui.Remarkf("snapshot %s saved", s.Snapshot.Short())
	}
	if s.Receipt.Flags.Unusual() {
		p.warnf("the store finds this snapshot unusual (%s): older ones are kept until its administrator acknowledges it", shownFlags(s.Receipt.Flags))
	}
}
