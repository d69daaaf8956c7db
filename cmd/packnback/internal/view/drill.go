package view

import (
	"context"
	"errors"
	"fmt"

	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Drill says how a snapshot is tried. All of it must be set.
type Drill struct {
	Sample int      // files whose contents are read: 1 to MaxSample
	Seed   [32]byte // of the choice; random, lest somebody know which files are never looked at
	// Report is called for each file or folder that can't be restored.
	Report func(path string, err error)
	// Progress is called now and then with what was read since the last call. It
	// and Report are called by one goroutine at a time.
	Progress func(files, bytes uint64)
}

// DrillResult counts what a drill has seen.
type DrillResult struct {
	Files, Bytes         uint64 // in the snapshot
	FilesRead, BytesRead uint64 // of files whose contents are whole
	Lost                 uint64 // files and folders that can't be restored
	Refused              uint64 // those sealed to other keys
}

// Drill walks all folders of a snapshot, and reads the contents of a random
// sample of its files. The error is about the run (or a tree beyond all
// bounds); what is lost is reported and counted. Memory does not grow with the
// snapshot.
func (r *Reader) Drill(ctx context.Context, s *Snapshot, d Drill) (DrillResult, error) {
	run := &drillRun{Drill: d}
	files := newSample(d.Sample, d.Seed)
	err := r.Walk(ctx, s.Root(), func(it *Item) error {
		switch {
		case it.Err != nil:
			run.lost(it.Path, it.Err)
		case it.Step == File && it.Entry.Type == tree.TypeFile:
			run.result.Files++
			run.result.Bytes += it.Entry.Size
			files.offer(it.Path, it.Entry)
		}
		return nil
	})
	if err != nil {
		return run.result, err
	}
	err = r.Pieces(ctx, func(yield func(Piece) error) error { return r.drillPieces(ctx, files.take(), yield) }, run.piece)
	return run.result, err
}

// drillRun is a drill in progress.
type drillRun struct {
	Drill
	result DrillResult
}

// drillEnd is the token of the piece behind a file's last one.
type drillEnd struct {
	file *picked
	err  error // why there are no more extents, if that is not the end of the file
}

// drillPieces yields the pieces of files, each with its file, and behind each
// file a drillEnd.
func (r *Reader) drillPieces(ctx context.Context, files []picked, yield func(Piece) error) error {
	for i := range files {
		f := &files[i]
		end := drillEnd{file: f}
		for x, err := range tree.ReadExtents(r.load(ctx), f.extents, 0) {
			if Refused(err) {
				end.err = err
				break
			}
			if err == nil {
				err = yield(Piece{Token: f, Extent: x.Extent})
			}
			if err != nil {
				return err
			}
		}
		if err := yield(Piece{Token: end}); err != nil {
			return err
		}
	}
	return nil
}

// piece takes a piece in, with its bytes or why they are lost.
func (d *drillRun) piece(p Piece, b []byte, err error) error {
	if end, ok := p.Token.(drillEnd); ok {
		d.end(end.file, end.err)
		return nil
	}
	f := p.Token.(*picked)
	switch {
	case f.lost:
		return nil
	case Refused(err):
		d.fail(f, fmt.Errorf("content at byte %d: %w", f.got, err))
		return nil
	case err != nil:
		return err
	case p.Extent.Kind == tree.ExtentHole:
		f.got += p.Extent.Length
	default:
		f.got += uint64(len(b))
		d.Progress(0, uint64(len(b)))
	}
	return nil
}

// end judges a file of which all pieces were seen.
func (d *drillRun) end(f *picked, err error) {
	d.Progress(1, 0)
	switch {
	case f.lost:
	case err != nil:
		d.fail(f, fmt.Errorf("content at byte %d: %w", f.got, err))
	case f.got != f.size:
		d.fail(f, fmt.Errorf("%w tree: the content has %d bytes, the file had %d", object.ErrMalformed, f.got, f.size))
	default:
		d.result.FilesRead++
		d.result.BytesRead += f.size
	}
}

func (d *drillRun) fail(f *picked, err error) {
	f.lost = true
	d.lost(f.path, err)
}

func (d *drillRun) lost(path string, err error) {
	if errors.Is(err, crypto.ErrNotRecipient) {
		d.result.Refused++
	} else {
		d.result.Lost++
	}
	d.Report(path, err)
}
