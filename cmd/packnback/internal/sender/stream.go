package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/tree"
)

// stream is a source of one file whose contents come from a reader.
type stream struct {
	name string
	r    io.Reader
	wait func() error
}

// Stream returns a source of one file with what r gives. name is its path in
// the snapshot; folders in it are made up. After r has ended, wait is called
// (unless it is nil): when it fails, so does the backup, and there is no
// snapshot.
func Stream(name string, r io.Reader, wait func() error) (Source, error) {
	name = strings.Trim(name, "/")
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." || len(part) > tree.MaxName || strings.Contains(part, "\x00") {
			return Source{}, fmt.Errorf("file name %.80q: it can't be stored under that", name)
		}
	}
	return Source{stream: &stream{name: name, r: r, wait: wait}}, nil
}

// streamItems sends the steps of a walk that would have found the stream's
// file. What the cache has of an earlier run is taken back as gone; its chunks
// are known all the same.
func (p *pass) streamItems(ctx context.Context, m *matcher) error {
	s := p.cfg.Source.stream
	it := &item{step: source.File, path: s.name, change: New, rec: p.madeUp(tree.TypeFile, 0o644), counts: true}
	if err := p.readStream(ctx, s, it); err != nil {
		return err
	}
	if m.base != nil {
		if err := m.base.Rest(m.gone); err != nil {
			return err
		}
	}
	b := &batch{}
	parents := []string{""}
	for i, c := range s.name {
		if c == '/' {
			parents = append(parents, s.name[:i])
		}
	}
	for _, path := range parents {
		b.items = append(b.items, &item{step: source.Enter, path: path})
	}
	b.items = append(b.items, it)
	for i := len(parents) - 1; i >= 0; i-- {
		b.items = append(b.items, &item{step: source.Leave, path: parents[i], change: New, counts: true, rec: p.madeUp(tree.TypeDir, 0o755)})
	}
	return p.dispatch(ctx, b)
}

// madeUp returns the record of an entry that is in no file system.
func (p *pass) madeUp(typ tree.Type, mode uint32) *statcache.Record {
	return &statcache.Record{Racy: true, Entry: tree.Entry{
		Type: typ, Mode: mode, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Mtime: treeTime(p.cfg.now()),
	}}
}

// readStream reads the stream to its end and sends what is large of it.
func (p *pass) readStream(ctx context.Context, s *stream, it *item) error {
	head := make([]byte, largeFile)
	n, err := io.ReadFull(s.r, head)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		it.task, it.data = taskSmall, head[:n]
		it.rec.Entry.Size = uint64(n)
		if n > 0 {
			it.rec.Content = p.ids.Content(it.data)
		}
	case err != nil:
		return fmt.Errorf("reading %q: %w", s.name, err)
	default:
		x, err := newCutter(p).cut(ctx, content{
			segments: func(yield func(source.Segment) error) error { return yield(source.Segment{}) },
			open:     func(source.Segment) io.Reader { return io.MultiReader(bytes.NewReader(head), s.r) },
		})
		var bad *readError
		if errors.As(err, &bad) {
			return fmt.Errorf("reading %q: %w", s.name, bad.err)
		}
		if err != nil {
			return err
		}
		it.rec.Entry.Extents, it.rec.Entry.Size, it.spool = x.extents, x.size, x.inner
	}
	if s.wait == nil {
		return nil
	}
	return s.wait()
}
