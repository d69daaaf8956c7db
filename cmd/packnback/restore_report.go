package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/restorer"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo/tree"
)

// restoreReport shows what a restore does.
type restoreReport struct {
	*program
	dry                    bool
	totalFiles, totalBytes uint64 // 0 when not known

	mu      sync.Mutex
	files   uint64
	bytes   uint64
	errors  uint64
	current string
}

// maxRemarks is how many attributes that could not be set are told one by one;
// an old file system refuses them for every file.
const maxRemarks = 20

type restoreEvent struct {
	MessageType string `json:"message_type"`
	Action      string `json:"action"`
	Item        string `json:"item"`
	Size        uint64 `json:"size"`
}

type restoreProblem struct {
	MessageType string `json:"message_type"`
	Error       struct {
		Message string `json:"message"`
	} `json:"error"`
	During string `json:"during"`
	Item   string `json:"item"`
}

type restoreSummary struct {
	MessageType   string  `json:"message_type"`
	TotalFiles    uint64  `json:"total_files"`
	FilesRestored uint64  `json:"files_restored"`
	DirsRestored  uint64  `json:"dirs_restored"`
	OthersDone    uint64  `json:"others_restored"`
	FilesSkipped  uint64  `json:"files_skipped"`
	FilesDeleted  uint64  `json:"files_deleted"`
	FilesLost     uint64  `json:"files_lost"`
	Remarks       uint64  `json:"remarks"`
	TotalBytes    uint64  `json:"total_bytes"`
	BytesRestored uint64  `json:"bytes_restored"`
	DryRun        bool    `json:"dry_run"`
	Duration      float64 `json:"total_duration"`
}

// Done implements restorer.Reporter.
func (r *restoreReport) Done(a restorer.Action, path string, e *tree.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = path
	var size uint64
	if e != nil && e.Type == tree.TypeFile {
		r.files++
		size = e.Size
	}
	if !r.ui.Verbose && (!r.dry || r.ui.Quiet) {
		return
	}
	if r.ui.JSON {
		r.ui.PrintJSON(restoreEvent{"verbose_status", a.String(), path, size})
		return
	}
	r.ui.Printf("%-9s %s\n", a, ui.Quote(path))
}

// Lost implements restorer.Reporter.
func (r *restoreReport) Lost(path string, err error) { r.problem("error", path, err) }

// Remark implements restorer.Reporter.
func (r *restoreReport) Remark(path string, err error) { r.problem("warning", path, err) }

func (r *restoreReport) problem(kind, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors++
	if kind == "warning" && r.errors > maxRemarks && !r.ui.Verbose {
		return
	}
	if r.ui.JSON {
		line := restoreProblem{MessageType: kind, During: "restore", Item: path}
		line.Error.Message = err.Error()
		r.ui.SayJSON(line)
		return
	}
	r.ui.Say(kind, ui.Quote(path)+": "+ui.QuoteText(err.Error()))
}

// Wrote implements restorer.Reporter.
func (r *restoreReport) Wrote(bytes uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += bytes
}

func (r *restoreReport) status() ui.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ui.Status{Files: r.files, TotalFiles: r.totalFiles, Bytes: r.bytes, TotalBytes: r.totalBytes, Errors: r.errors, Current: r.current}
}

// finish prints the summary. Its error says that something was lost.
func (r *restoreReport) finish(res restorer.Result, took time.Duration) error {
	if r.ui.JSON {
		r.ui.PrintJSON(restoreSummary{
			MessageType: "summary", TotalFiles: res.Files + res.Kept + res.Lost, FilesRestored: res.Files, DirsRestored: res.Dirs,
			OthersDone: res.Others, FilesSkipped: res.Kept, FilesDeleted: res.Deleted, FilesLost: res.Lost, Remarks: res.Remarks,
			TotalBytes: res.Bytes, BytesRestored: res.Written, DryRun: r.dry, Duration: took.Seconds(),
		})
	}
	verb := "restored"
	if r.dry {
		verb = "would restore"
	}
	line := fmt.Sprintf("%s %s files, %s folders and %s others, %s in %s", verb, ui.Count(res.Files), ui.Count(res.Dirs), ui.Count(res.Others), ui.Size(res.Bytes), ui.Elapsed(took))
	for _, more := range []struct {
		n    uint64
		what string
	}{{res.Kept, "left as they were"}, {res.Deleted, "deleted"}} {
		if more.n > 0 {
			line += fmt.Sprintf("; %s %s", ui.Count(more.n), more.what)
		}
	}
	r.ui.Remarkf("%s", line)
	if res.Remarks > 0 {
		r.warnf("%s could not be restored", ui.Number(res.Remarks, "attribute", "attributes"))
	}
	if res.Lost == 0 {
		return nil
	}
	return withStatus(statusPartial, fmt.Errorf("%s could not be restored, named above", ui.Number(res.Lost, "file or folder", "files or folders")))
}
