package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

func (f *finder) chosen(ctx context.Context, sels []view.Selector) error {
	for _, sel := range sels {
		snap, err := f.open(ctx, sel)
		if err != nil {
			return err
		}
		from, err := snap.Lookup(ctx, sel.Path)
		if err != nil {
			return err
		}
		if err := f.search(ctx, snap, from); err != nil {
			return err
		}
	}
	return nil
}

// everywhere looks in all snapshots, the oldest first. Those that are sealed to
// other keys, or signed by unknown ones, are told and left out.
func (f *finder) everywhere(ctx context.Context) error {
	if err := f.unlock(ctx); err != nil {
		return err
	}
	believed, err := f.believed(ctx)
	if err != nil {
		return err
	}
	var ids []object.ID // 32 bytes for each snapshot
	err = f.store.Snapshots(ctx, func(s *object.Snapshot) error {
		if f.only.Match(s.Manifest) {
			ids = append(ids, s.ID())
		}
		return nil
	})
	if err := f.partly(err); err != nil {
		return err
	}
	for _, id := range ids {
		s, err := f.store.Snapshot(ctx, id)
		if errors.Is(err, object.CodeNotFound) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return err
		}
		if err := believed(s); err != nil {
			f.warnf("snapshot %s is left out: %v", id.Short(), err)
			continue
		}
		snap, err := f.reader.Open(ctx, s)
		if errors.Is(err, crypto.ErrNotRecipient) {
			f.warnf("snapshot %s is sealed to other keys than this one", id.Short())
			continue
		}
		if err != nil {
			return err
		}
		if err := f.search(ctx, snap, snap.Root()); err != nil {
			return err
		}
	}
	return nil
}

// search prints what matches in one snapshot.
func (f *finder) search(ctx context.Context, snap *view.Snapshot, from view.Place) error {
	out := bufio.NewWriterSize(f.ui.Stdout(), 64<<10)
	first := true
	err := f.reader.Walk(ctx, from, func(it *view.Item) error {
		switch {
		case it.Step == view.Leave && it.Err != nil:
			f.lost++
			f.warnf("snapshot %s %s: its list of files: %v", snap.ID().Short(), ui.Quote(it.Path), it.Err)
		case it.Step != view.Leave && it.Path != "/" && f.matches(it.Path, it.Entry.Name):
			f.hits++
			if first && !f.ui.JSON {
				first = false
				received := time.Unix(0, snap.Received)
				if _, err := fmt.Fprintf(out, "snapshot %s of %s/%s, received %s:\n", snap.ID().Short(), snap.Manifest.Client, snap.Manifest.Job, ui.Time(received)); err != nil {
					return err
				}
			}
			return f.print(out, snap.ID(), it.Path, it.Entry)
		}
		return nil
	})
	return errors.Join(err, out.Flush())
}

func (f *finder) print(w io.Writer, snap object.ID, at string, e *tree.Entry) error {
	if !f.ui.JSON {
		return f.printEntry(w, at, e, f.long)
	}
	_, err := w.Write(ui.JSONLine(struct {
		MessageType string `json:"message_type"`
		Snapshot    string `json:"snapshot"`
		entryLine
	}{"match", snap.String(), newEntryLine(at, e)}))
	return err
}
