package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// Where a drill is recorded.
const (
	recordedStore   = "store"   // in the repository, and on this machine
	recordedHere    = "here"    // on this machine only
	recordedNowhere = "nowhere" // neither: its state can't be written
)

// drillLine is one snapshot of drill --json.
type drillLine struct {
	MessageType string `json:"message_type"`
	Client      string `json:"client"`
	Job         string `json:"job"`
	Snapshot    string `json:"snapshot"`
	drillFigures
}

// drillFigures are those of one snapshot, or of all.
type drillFigures struct {
	TotalFiles uint64 `json:"total_files"`
	TotalBytes uint64 `json:"total_bytes"`
	FilesRead  uint64 `json:"files_read"`
	BytesRead  uint64 `json:"bytes_read"`
	Lost       uint64 `json:"lost"`
}

// drillSummary is the last line of drill --json.
type drillSummary struct {
	MessageType string `json:"message_type"`
	Command     string `json:"command"`
	Snapshots   uint64 `json:"snapshots"`
	drillFigures
	NotDrilled uint64 `json:"not_drilled"`
	NumErrors  uint64 `json:"num_errors"`
	Recorded   string `json:"recorded"`
}

// add prints what became of one snapshot.
func (d *drill) add(m *object.Manifest, res view.DrillResult) {
	f := drillFigures{res.Files, res.Bytes, res.FilesRead, res.BytesRead, res.Lost}
	d.sum.Snapshots++
	d.sum.TotalFiles += f.TotalFiles
	d.sum.TotalBytes += f.TotalBytes
	d.sum.FilesRead += f.FilesRead
	d.sum.BytesRead += f.BytesRead
	d.sum.Lost += f.Lost
	d.sum.NotDrilled += res.Refused
	if d.ui.JSON {
		d.ui.PrintJSON(drillLine{"drill", m.Client, m.Job, m.ID().String(), f})
		return
	}
	verdict := "all whole"
	switch {
	case res.Lost > 0:
		verdict = fmt.Sprintf("%s LOST", ui.Count(res.Lost))
	case res.Refused > 0:
		verdict = fmt.Sprintf("%s sealed to other keys", ui.Count(res.Refused))
	}
	d.ui.Remarkf("%s/%s, snapshot %s: read %s of %s files, %s of %s: %s", m.Client, m.Job, m.ID().Short(),
		ui.Count(f.FilesRead), ui.Count(f.TotalFiles), ui.Size(f.BytesRead), ui.Size(f.TotalBytes), verdict)
}

// record notes the outcome on this machine and, where that is permitted, in
// the repository. A record that can't be kept is no failure of the drill.
func (d *drill) record(ctx context.Context, m *object.Manifest, res view.DrillResult) error {
	note := repo.Drill{Snapshot: m.ID(), Files: res.Files, Read: res.FilesRead, Bytes: res.BytesRead, Lost: res.Lost}
	if d.sum.Recorded == recordedStore {
		err := d.store.RecordDrill(ctx, m.Client, m.Job, note)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			d.sum.Recorded = recordedHere
		}
		if err != nil && !errors.Is(err, object.CodeDenied) {
			d.warnf("the repository can't record the drill: %v", err)
		}
	}
	err := d.recordHere(m, note)
	if err != nil && d.sum.Recorded == recordedHere {
		d.sum.Recorded = recordedNowhere
	}
	if err != nil {
		d.warnf("this machine can't record the drill: %v", err)
		d.hintDrills(err)
	}
	return nil
}

func (d *drill) recordHere(m *object.Manifest, note repo.Drill) error {
	path, err := d.drillsFile()
	if err != nil {
		return err
	}
	return view.UpdateDrills(path, func(all view.Drills) view.Drills {
		return all.Set(view.Drilled{
			Repository: d.store.ID(), Client: m.Client, Job: m.Job, Snapshot: note.Snapshot, Time: max(d.env.Now().UnixNano(), 1),
			Files: note.Files, Read: note.Read, Bytes: note.Bytes, Lost: note.Lost,
		})
	})
}

// drillsFile returns the name of this machine's record of drills, which need
// not exist.
func (p *program) drillsFile() (string, error) {
	dir, err := p.env.StateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "drills"), nil
}

// hintDrills says what to do about a record that is damaged.
func (p *program) hintDrills(err error) {
	if errors.Is(err, view.ErrDrills) {
		p.hintf("move that file away; the next drill makes a new one")
	}
}

// finish prints the summary. Its error says what was found.
func (d *drill) finish() error {
	s := &d.sum
	s.NumErrors = s.Lost + d.findings
	if d.ui.JSON {
		d.ui.PrintJSON(s)
	} else {
		d.ui.Remarkf("tried %s: read %s of %s files, %s", ui.Number(s.Snapshots, "snapshot", "snapshots"), ui.Count(s.FilesRead), ui.Count(s.TotalFiles), ui.Size(s.BytesRead))
		d.remarkRecord()
	}
	switch {
	case s.NumErrors > 0:
		return d.pinnedHint(withHint(withStatus(statusDamage, fmt.Errorf("the drill found %s in the repository at %s", ui.Number(s.NumErrors, "problem", "problems"), ui.Quote(d.repository))),
			"packnback verify lists all that is lost; with --mark-bad the next backups mend what their machines still have"))
	case s.NotDrilled > 0:
		return withHint(withStatus(statusKey, fmt.Errorf("%s sealed to other keys than this one, and could not be tried", ui.Number(s.NotDrilled, "snapshot or file is", "snapshots or files are"))),
			"use a key that they were sealed to, with --key FILE")
	}
	d.ui.Remarkf("no errors were found")
	return nil
}

func (d *drill) remarkRecord() {
	switch {
	case d.sum.Snapshots == 0:
	case d.sum.Recorded == recordedHere:
		d.ui.Remarkf("recorded on this machine only, because the store took no record; packnback status -r shows it here")
	case d.sum.Recorded == recordedStore:
		d.ui.Remarkf("recorded: packnback status -r shows it")
	}
}

// RecordDrill lets the store note the outcome of a drill.
func (s *remoteStore) RecordDrill(ctx context.Context, client, job string, d repo.Drill) error {
	return s.current().RecordDrill(ctx, protocol.DrillArguments{
		Client: client, Job: job, Drill: protocol.Drill{Snapshot: d.Snapshot, Files: d.Files, Read: d.Read, Bytes: d.Bytes, Lost: d.Lost},
	})
}
