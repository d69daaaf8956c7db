package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

func snapshotsCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "snapshots",
		Usage: "list snapshots",
		Flags: append(narrowFlags(),
			&cli.IntFlag{Name: "latest", Usage: "only the newest `N` of each client and job"}),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			only, err := narrow(c)
			if err != nil {
				return err
			}
			if c.IsSet("latest") && c.Int("latest") < 1 {
				return usageErrorf("snapshots: --latest wants a number above 0")
			}
			return p.withStore(c.Context, func(s store) error {
				return p.listSnapshots(c.Context, s, only, c.Int("latest"))
			})
		},
	}
}

// narrowFlags are the flags of commands that take SNAP.
func narrowFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "client", Usage: "only snapshots of the client `NAME`"},
		&cli.StringFlag{Name: "job", Usage: "only snapshots of the job `NAME`"},
	}
}

// narrow reads the flags of narrowFlags.
func narrow(c *cli.Context) (view.Narrow, error) {
	n := view.Narrow{Client: c.String("client"), Job: c.String("job")}
	for _, name := range []struct{ what, value string }{{"client", n.Client}, {"job", n.Job}} {
		if name.value != "" {
			if err := object.CheckName(name.what, name.value); err != nil {
				return n, usageErrorf("%v", err)
			}
		}
	}
	return n, nil
}

// noMatch is the error of a command for which the flags of narrowFlags leave
// nothing: with a name that was mistyped it must not look as if all were well.
func noMatch(only view.Narrow) error {
	text := "no snapshot matches"
	if only.Client != "" {
		text += " --client " + only.Client
	}
	if only.Job != "" {
		text += " --job " + only.Job
	}
	return withHint(errors.New(text), "packnback snapshots lists what there is")
}

// maxSealedHeld bounds the bytes of sealed parts that a listing holds at once.
// Those beyond are asked for again one by one.
const maxSealedHeld = 32 << 20

func (p *program) listSnapshots(ctx context.Context, s store, only view.Narrow, latest int) error {
	var list []*object.Snapshot
	held := 0
	err := s.Snapshots(ctx, func(snap *object.Snapshot) error {
		if !only.Match(snap.Manifest) {
			return nil
		}
		if held += len(snap.Sealed); held > maxSealedHeld {
			snap.Sealed = nil
		}
		list = append(list, snap)
		return nil
	})
	unread := err // of files that are damaged: they don't hide the others
	if err != nil && !errors.Is(err, object.CodeDamaged) {
		return err
	}
	if latest > 0 {
		list = newestOfEach(list, latest)
	}
	summaries, damage, err := p.summaries(ctx, s, list)
	if err != nil {
		return err
	}
	return errors.Join(p.printSnapshots(list, summaries), cmp.Or(unread, damage))
}

func (p *program) printSnapshots(list []*object.Snapshot, summaries []*tree.Summary) error {
	if p.ui.JSON {
		rows := make([]snapshotLine, len(list)) // not nil: an empty list is []
		for i, snap := range list {
			rows[i] = newSnapshotLine(snap, summaries[i])
		}
		p.ui.PrintJSON(rows)
		return nil
	}
	return p.printSnapshotTable(list, summaries)
}

// newestOfEach keeps the newest n of each client and job, in the order given.
func newestOfEach(list []*object.Snapshot, n int) []*object.Snapshot {
	type chain struct{ client, job string }
	seen := map[chain]int{}
	var kept []*object.Snapshot
	for _, snap := range slices.Backward(list) {
		c := chain{snap.Manifest.Client, snap.Manifest.Job}
		if seen[c]++; seen[c] <= n {
			kept = append(kept, snap)
		}
	}
	slices.Reverse(kept)
	return kept
}

// summaries opens the sealed parts of list. Those that can't be opened for
// want of the right key are nil, all of them when there is no key at all. So
// are those that are damaged; they are named, and damage is the error to end
// with once the list is printed.
func (p *program) summaries(ctx context.Context, s store, list []*object.Snapshot) (out []*tree.Summary, damage, err error) {
	out = make([]*tree.Summary, len(list))
	o, err := p.opener(ctx)
	if errors.Is(err, errNoReadKey) {
		return out, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := view.NewReader(s, o)
	if err != nil {
		return nil, nil, err
	}
	// One request for all key objects instead of one for each snapshot. The
	// records only name them.
	keys := make([]*object.Record, len(list))
	for i, snap := range list {
		keys[i] = &object.Record{Kind: object.KindDir, Key: snap.Manifest.MetadataKey}
	}
	if err := r.LoadKeys(ctx, keys...); err != nil {
		return nil, nil, err
	}
	others, bad := 0, uint64(0)
	for i, snap := range list {
		sum, err := openSummary(ctx, s, r, snap)
		switch {
		case errors.Is(err, crypto.ErrNotRecipient):
			others++
		case err != nil && ctx.Err() != nil:
			return nil, nil, err
		case err != nil:
			p.warnf("%v", err)
			bad++
		}
		out[i] = sum
	}
	if others > 0 {
		p.warnf("this key can't open %d of the %d snapshots; their host, paths, tags and sizes are left out", others, len(list))
	}
	if bad > 0 {
		damage = withStatus(statusDamage, fmt.Errorf("%s can't be opened", ui.Number(bad, "snapshot", "snapshots")))
	}
	return out, damage, nil
}

func openSummary(ctx context.Context, s reader, r *view.Reader, snap *object.Snapshot) (*tree.Summary, error) {
	if snap.Sealed == nil {
		again, err := s.Snapshot(ctx, snap.ID())
		if err != nil {
			return nil, err
		}
		snap = again
	}
	opened, err := r.Open(ctx, snap)
	if err != nil {
		return nil, err
	}
	return opened.Summary, nil
}

// snapshotLine is one element of snapshots --json. What is sealed is null
// without a key.
type snapshotLine struct {
	ID         string    `json:"id"`
	ShortID    string    `json:"short_id"`
	Time       time.Time `json:"time"`
	SenderTime time.Time `json:"sender_time"`
	Client     string    `json:"client"`
	Job        string    `json:"job"`
	Seq        uint64    `json:"seq"`
	Hostname   *string   `json:"hostname"`
	Username   *string   `json:"username"`
	Paths      []string  `json:"paths"`
	Tags       []string  `json:"tags"`
	TotalFiles *uint64   `json:"total_files"`
	TotalBytes *uint64   `json:"total_bytes"`
	DataAdded  *uint64   `json:"data_added"`
	Flags      []string  `json:"flags"`
}

func newSnapshotLine(snap *object.Snapshot, sum *tree.Summary) snapshotLine {
	m := snap.Manifest
	line := snapshotLine{
		ID: snap.ID().String(), ShortID: snap.ID().Short(),
		Time: time.Unix(0, snap.Received).UTC(), SenderTime: time.Unix(0, m.Time).UTC(),
		Client: m.Client, Job: m.Job, Seq: m.Seq,
		Flags: flagNames(snap.Flags),
	}
	if sum != nil {
		files := totalFiles(sum)
		line.Hostname, line.Username = &sum.Hostname, &sum.Username
		line.Paths, line.Tags = append([]string{}, sum.Paths...), append([]string{}, sum.Tags...)
		line.TotalFiles, line.TotalBytes, line.DataAdded = &files, &sum.TotalBytes, &sum.Added
	}
	return line
}

func totalFiles(sum *tree.Summary) uint64 {
	return sum.FilesNew + sum.FilesChanged + sum.FilesUnmodified
}

// flagNames are the store's remarks on a snapshot as people and programs read
// them; never nil.
func flagNames(f object.Flags) []string {
	names := []string{}
	for _, n := range []struct {
		flag object.Flags
		name string
	}{
		{object.FlagMostlyNew, "mostly-new"},
		{object.FlagMostlyOld, "mostly-gone"},
		{object.FlagRate, "rate"},
		{object.FlagNewSigner, "new-signer"},
		{object.FlagCleared, "acknowledged"},
		{object.FlagForgotten, "forgotten"},
	} {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	if f.Unusual() {
		names = append([]string{"unusual"}, names...)
	}
	return names
}

// shownFlags are the store's remarks as one word.
func shownFlags(f object.Flags) string { return strings.Join(flagNames(f), ",") }

// skew is how far the sender's clock may be off before a listing shows it.
const skew = 24 * time.Hour

func (p *program) printSnapshotTable(list []*object.Snapshot, summaries []*tree.Summary) error {
	t := ui.NewTable("ID", "Received", "Client", "Job", "Paths", "Tags", ">Files", ">Size", ">Added", "Flags")
	for i, snap := range list {
		m, sum := snap.Manifest, cmp.Or(summaries[i], &tree.Summary{})
		received, sent := time.Unix(0, snap.Received), time.Unix(0, m.Time)
		remarks := shownFlags(snap.Flags)
		if received.Sub(sent).Abs() > skew {
			remarks = strings.TrimSpace(remarks + " sent " + ui.Time(sent))
		}
		files, size, added := "", "", ""
		if summaries[i] != nil {
			files, size, added = ui.Count(totalFiles(sum)), ui.Size(sum.TotalBytes), ui.Size(sum.Added)
		}
		t.Row(snap.ID().Short(), ui.Time(received), m.Client, m.Job, shownPaths(sum), strings.Join(sum.Tags, ","), files, size, added, remarks)
	}
	if t.Len() > 0 {
		if _, err := t.WriteTo(p.ui.Stdout()); err != nil {
			return err
		}
	}
	p.ui.Remarkf("%s", ui.Number(uint64(t.Len()), "snapshot", "snapshots"))
	return nil
}

// maxShownPaths is how many paths of a snapshot fit into a line.
const maxShownPaths = 3

func shownPaths(sum *tree.Summary) string {
	paths, more := sum.Paths, sum.MorePaths
	if len(paths) > maxShownPaths {
		more += uint64(len(paths) - maxShownPaths)
		paths = paths[:maxShownPaths]
	}
	text := strings.Join(paths, " ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
