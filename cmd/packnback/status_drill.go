package main

import (
	"fmt"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// drillShown is what a store's status has to say of a job's last drill; Drill
// is nil when there was none.
type drillShown struct {
	Drill *statusDrill `json:"drill"`
}

type statusDrill struct {
	Time       time.Time `json:"time"`
	Snapshot   string    `json:"snapshot"`
	TotalFiles uint64    `json:"total_files"`
	FilesRead  uint64    `json:"files_read"`
	BytesRead  uint64    `json:"bytes_read"`
	Lost       uint64    `json:"lost"`
	Recorded   string    `json:"recorded"`
}

// ownDrills returns this machine's record of drills. Without it status tells
// what the repository knows.
func (p *program) ownDrills() view.Drills {
	path, err := p.drillsFile()
	if err != nil {
		return nil // no home, so nothing was recorded
	}
	drills, err := view.LoadDrills(path)
	if err != nil {
		p.warnf("what this machine knows of drills is left out: %v", err)
		p.hintDrills(err)
	}
	return drills
}

// newDrillShown takes the newer of what the repository and this machine have
// recorded; what both have of one drill, from the repository.
func newDrillShown(repository object.RepositoryID, j *repo.JobStatus, own view.Drills) *drillShown {
	d, recorded := j.Drill, recordedStore
	if mine, ok := own.Find(repository, j.Client, j.Job); ok && mine.Time > d.Time {
		here := repo.Drill{Snapshot: mine.Snapshot, Time: d.Time, Files: mine.Files, Read: mine.Read, Bytes: mine.Bytes, Lost: mine.Lost}
		if here != d || time.Duration(mine.Time-d.Time) > time.Hour {
			d, recorded = here, recordedHere
			d.Time = mine.Time
		}
	}
	if d.Time == 0 {
		return new(drillShown)
	}
	return &drillShown{&statusDrill{time.Unix(0, d.Time).UTC(), d.Snapshot.String(), d.Files, d.Read, d.Bytes, d.Lost, recorded}}
}

// drillCell is the drill's place in the table.
func (s *drillShown) drillCell() string {
	switch {
	case s.Drill == nil:
		return "never"
	case s.Drill.Lost > 0:
		return ui.Time(s.Drill.Time.Local()) + " FAILED"
	}
	return ui.Time(s.Drill.Time.Local())
}

// lostInDrill names the job when its last drill found damage.
func (j *statusJob) lostInDrill() []string {
	if j.Drill == nil || j.Drill.Lost == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s/%s (%s lost)", j.Client, j.Job, ui.Number(j.Drill.Lost, "file or folder", "files or folders"))}
}
