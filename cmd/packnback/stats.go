package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/tree"
)

func statsCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "stats",
		Aliases:   []string{"info"},
		Usage:     "show the figures of a repository, or of what is in a snapshot",
		ArgsUsage: "[SNAP[:/path]]",
		Flags:     snapshotFlags(),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if len(ops) == 0 {
				return p.withStore(c.Context, func(s store) error { return p.repositoryStats(c.Context, s) })
			}
			sel, err := parseSelector(ops[0])
			if err != nil {
				return err
			}
			return p.withReading(c, func(r *reading) error { return r.snapshotStats(c.Context, sel) })
		},
	}
}

// storeStats is stats --json without a snapshot.
type storeStats struct {
	MessageType string `json:"message_type"`
	Repository  string `json:"repository"`
	Snapshots   uint64 `json:"snapshots_count"`
	Objects     uint64 `json:"total_blob_count"`
	Packs       uint64 `json:"packs_count"`
	Segments    uint64 `json:"index_files_count"`
	Size        uint64 `json:"total_size"`
	IndexSize   uint64 `json:"index_size"`
	Free        uint64 `json:"free"`
	Total       uint64 `json:"capacity"`
}

func (p *program) repositoryStats(ctx context.Context, s store) error {
	st, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	if p.ui.JSON {
		p.ui.PrintJSON(storeStats{"summary", s.ID().String(), st.Snapshots, st.Objects, st.Packs, st.Segments, st.PackBytes, st.IndexBytes, st.Free, st.Total})
		return nil
	}
	p.ui.Printf("repository  %s\n", s.ID())
	p.ui.Printf("snapshots   %s\n", ui.Count(st.Snapshots))
	p.ui.Printf("objects     %s in %s packs, %s\n", ui.Count(st.Objects), ui.Count(st.Packs), ui.Size(st.PackBytes))
	p.ui.Printf("index       %s files, %s\n", ui.Count(st.Segments), ui.Size(st.IndexBytes))
	p.ui.Printf("disk        %s free of %s\n", ui.Size(st.Free), ui.Size(st.Total))
	return nil
}

// treeStats is stats --json of a snapshot. Sizes count hard links once for
// each name.
type treeStats struct {
	MessageType string `json:"message_type"`
	Snapshot    string `json:"snapshot"`
	Files       uint64 `json:"total_file_count"`
	Dirs        uint64 `json:"total_dir_count"`
	Symlinks    uint64 `json:"total_symlink_count"`
	Others      uint64 `json:"total_other_count"`
	Size        uint64 `json:"total_size"`
	LinkNames   uint64 `json:"hard_link_names"`
	Largest     uint64 `json:"largest_file"`
}

func (r *reading) snapshotStats(ctx context.Context, sel view.Selector) error {
	snap, err := r.open(ctx, sel)
	if err != nil {
		return err
	}
	from, err := snap.Lookup(ctx, sel.Path)
	if err != nil {
		return err
	}
	st := treeStats{MessageType: "summary", Snapshot: snap.ID().String()}
	lost := 0
	err = r.reader.Walk(ctx, from, func(it *view.Item) error {
		switch {
		case it.Step == view.Leave && it.Err != nil:
			lost++
			r.warnf("%s: its list of files: %v", ui.Quote(it.Path), it.Err)
		case it.Step != view.Leave && it.Path != "/":
			st.add(it.Entry)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.printTreeStats(&st)
	if lost > 0 {
		return withStatus(statusDamage, fmt.Errorf("%d folders could not be read and are not counted", lost))
	}
	return nil
}

func (st *treeStats) add(e *tree.Entry) {
	if e.LinkID != 0 {
		st.LinkNames++
	}
	switch e.Type {
	case tree.TypeDir:
		st.Dirs++
	case tree.TypeSymlink:
		st.Symlinks++
	case tree.TypeFile:
		st.Files++
		st.Size += e.Size
		st.Largest = max(st.Largest, e.Size)
	default:
		st.Others++
	}
}

func (r *reading) printTreeStats(st *treeStats) {
	if r.ui.JSON {
		r.ui.PrintJSON(st)
		return
	}
	r.ui.Printf("snapshot    %s\n", st.Snapshot)
	r.ui.Printf("files       %s, %s\n", ui.Count(st.Files), ui.Size(st.Size))
	r.ui.Printf("folders     %s\n", ui.Count(st.Dirs))
	r.ui.Printf("symlinks    %s\n", ui.Count(st.Symlinks))
	r.ui.Printf("others      %s\n", ui.Count(st.Others))
	r.ui.Printf("hard links  %s names\n", ui.Count(st.LinkNames))
	r.ui.Printf("largest     %s\n", ui.Size(st.Largest))
}
