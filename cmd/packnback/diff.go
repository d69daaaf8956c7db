package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/tree"
)

func diffCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "show what is different between two snapshots",
		ArgsUsage: "SNAP[:/path] SNAP[:/path]",
		Flags: append(snapshotFlags(),
			&cli.BoolFlag{Name: "metadata", Usage: "show entries of which only metadata are different, too"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 2, 2)
			if err != nil {
				return err
			}
			var sels [2]view.Selector
			for i := range sels {
				if sels[i], err = parseSelector(ops[i]); err != nil {
					return err
				}
			}
			return p.withReading(c, func(r *reading) error {
				return r.diff(c.Context, sels, c.Bool("metadata"))
			})
		},
	}
}

// diffCount counts what one side of a comparison has more.
type diffCount struct {
	Files  uint64 `json:"files"`
	Dirs   uint64 `json:"dirs"`
	Others uint64 `json:"others"`
	Bytes  uint64 `json:"bytes"`
}

func (d *diffCount) add(e *tree.Entry) {
	switch e.Type {
	case tree.TypeFile:
		d.Files++
		d.Bytes += e.Size
	case tree.TypeDir:
		d.Dirs++
	default:
		d.Others++
	}
}

// diffSummary is the last line of diff --json, with restic's names.
type diffSummary struct {
	MessageType    string    `json:"message_type"`
	SourceSnapshot string    `json:"source_snapshot"`
	TargetSnapshot string    `json:"target_snapshot"`
	ChangedFiles   uint64    `json:"changed_files"`
	ChangedMeta    uint64    `json:"changed_metadata"`
	Added          diffCount `json:"added"`
	Removed        diffCount `json:"removed"`
}

type diffLine struct {
	MessageType string `json:"message_type"`
	Path        string `json:"path"`
	Modifier    string `json:"modifier"`
}

func (r *reading) diff(ctx context.Context, sels [2]view.Selector, metadata bool) error {
	var places [2]view.Place
	sum := diffSummary{MessageType: "summary"}
	for i, id := range []*string{&sum.SourceSnapshot, &sum.TargetSnapshot} {
		snap, err := r.open(ctx, sels[i])
		if err != nil {
			return err
		}
		*id = snap.ID().String()
		if places[i], err = snap.Lookup(ctx, sels[i].Path); err != nil {
			return err
		}
	}
	out := bufio.NewWriterSize(r.ui.Stdout(), 64<<10)
	err := r.reader.Diff(ctx, places[0], places[1], func(c view.Change) error {
		modifier, e := sum.count(c), c.New
		if e == nil {
			e = c.Old
		}
		if modifier == "U" && (!metadata || e.Type == tree.TypeDir && !r.ui.Verbose) {
			return nil
		}
		return r.printChange(out, modifier, c.Path, e)
	})
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	if r.ui.JSON {
		r.ui.PrintJSON(sum)
		return nil
	}
	r.ui.Remarkf("%s files changed; added %s files, %s folders, %s others, %s; removed %s files, %s folders, %s others, %s",
		ui.Count(sum.ChangedFiles), ui.Count(sum.Added.Files), ui.Count(sum.Added.Dirs), ui.Count(sum.Added.Others), ui.Size(sum.Added.Bytes),
		ui.Count(sum.Removed.Files), ui.Count(sum.Removed.Dirs), ui.Count(sum.Removed.Others), ui.Size(sum.Removed.Bytes))
	return nil
}

// count adds c and returns its sign: restic's "+", "-", "M" and "U".
func (s *diffSummary) count(c view.Change) string {
	switch {
	case c.Old == nil:
		s.Added.add(c.New)
		return "+"
	case c.New == nil:
		s.Removed.add(c.Old)
		return "-"
	case c.Content:
		s.ChangedFiles++
		return "M"
	}
	s.ChangedMeta++
	return "U"
}

func (r *reading) printChange(w io.Writer, modifier, path string, e *tree.Entry) error {
	if e.Type == tree.TypeDir {
		path += "/"
	}
	var err error
	if r.ui.JSON {
		_, err = w.Write(ui.JSONLine(diffLine{"change", path, modifier}))
	} else {
		_, err = fmt.Fprintf(w, "%-4s %s\n", modifier, ui.Quote(path))
	}
	return err
}
