package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/repo/tree"
)

// errUnstable says that a file was different after reading from what it was
// before. What was read of it is kept all the same.
var errUnstable = errors.New("changed while it was read; the snapshot may hold a mixture of both states")

// readAll reads what batches need.
func (p *pass) readAll(ctx context.Context) error {
	for {
		b, ok, err := receive(ctx, p.toRead)
		if !ok || err != nil {
			return err
		}
		p.readBatch(b)
		close(b.done)
	}
}

func (p *pass) readBatch(b *batch) {
	size := 0
	for _, it := range b.items {
		if it.task == taskSmall {
			size += int(it.rec.Entry.Size) + 1 // one more shows whether the file has grown
		}
	}
	if size > 0 {
		b.buf = p.buffers.get(size)
	}
	free := 0
	for _, it := range b.items {
		switch it.task {
		case taskMeta, taskLink:
			p.readMeta(it)
		case taskSmall:
			n := int(it.rec.Entry.Size) + 1
			p.readSmall(it, (*b.buf)[free:free+n:free+n])
			free += n
		default:
			continue
		}
		it.release()
	}
}

// readMeta fills in what lstat does not say of an entry that is not opened.
func (p *pass) readMeta(it *item) {
	e := &it.rec.Entry
	if e.Type == tree.TypeSymlink {
		target, err := it.from.Readlink()
		if err != nil {
			it.fail(fmt.Errorf("reading symlink: %w", err))
			return
		}
		e.Target, e.Size = target, uint64(len(target))
	}
	p.readXattrs(it, it.from)
}

// readXattrs reads extended attributes: of a file that is open, since its name may
// lead to another one by now, or else by the name.
func (p *pass) readXattrs(it *item, from interface{ Xattrs() ([]tree.Xattr, error) }) {
	x, err := from.Xattrs()
	gone := from == it.from && errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		p.complain(it, fmt.Errorf("reading extended attributes: %w", err))
	}
	it.rec.Entry.Xattrs = x
}

// complain reports that an entry which is in the snapshot is not whole.
func (p *pass) complain(it *item, err error) {
	kind := source.Unread
	if errors.Is(err, fs.ErrNotExist) {
		kind = source.Vanished
	}
	it.rec.Racy = true // so that the next run looks again
	p.events.problem(source.Problem{Kind: kind, Path: it.path, Err: err})
}

// readSmall reads a file into buf, which is one byte longer than the file was.
func (p *pass) readSmall(it *item, buf []byte) {
	if it.rec.Entry.Size == 0 {
		p.readMeta(it)
		return
	}
	var n int
	stable := false
	for try := 0; try < 2 && !stable; try++ {
		r, err := it.from.Open()
		if err != nil {
			it.fail(err)
			return
		}
		before := r.Stat()
		p.restat(it, before)
		p.readXattrs(it, r)
		if want := min(before.Size, largeFile-1) + 1; want > uint64(len(buf)) {
			buf = make([]byte, want) // it has grown since lstat; rare
		}
		n, err = io.ReadFull(r, buf)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		after, statErr := r.Restat()
		closeErr := r.Close()
		if err = errors.Join(err, statErr, closeErr); err != nil {
			it.fail(fmt.Errorf("reading: %w", err))
			return
		}
		stable = n < largeFile && uint64(n) == after.Size && sameState(before, after)
	}
	if n >= largeFile {
		n = largeFile - 1
	}
	it.data = buf[:n]
	it.rec.Entry.Size = uint64(n)
	if n > 0 {
		it.rec.Content = p.ids.Content(it.data)
	}
	if !stable {
		p.complain(it, errUnstable)
	}
}

// restat takes over what was true when the file was opened, if that is news.
func (p *pass) restat(it *item, s source.Stat) {
	was := it.from.Stat
	if s.Place() == was.Place() && s.Ctime == was.Ctime && s.Mtime == was.Mtime {
		return
	}
	// A file that lost or gained names and was written to may as well be a new one
	// that got the inode number of the old.
	rewritten := s.Size != was.Size || s.Mtime != was.Mtime
	if s.Place() != was.Place() || rewritten && s.Nlink != was.Nlink {
		it.other = true
	}
	it.from.Stat = s
	p.describe(it.rec, it.from)
	it.rec.Racy = true
}

// sameState reports whether nothing happened to a file's contents between two
// looks at it.
func sameState(a, b source.Stat) bool {
	return a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime
}

// content is a large file's source: a file of the walk, or a stream.
type content struct {
	size     uint64
	segments func(yield func(source.Segment) error) error
	open     func(source.Segment) io.Reader
}

// minHole is the length below which a hole is not worth an extent.
const minHole = 64 << 10

// maxReread is the size up to which a large file that changes under the reader
// is read a second time.
const maxReread = 64 << 20

// cutAll cuts large files.
func (p *pass) cutAll(ctx context.Context) error {
	c := newCutter(p)
	for {
		it, ok, err := receive(ctx, p.toCut)
		if !ok || err != nil {
			return err
		}
		err = c.file(ctx, it)
		it.release()
		if err != nil {
			return err
		}
		close(it.done)
	}
}

// file cuts one file of the walk. The error it returns ends the run; what is
// wrong with the file goes into the item.
func (c *cutter) file(ctx context.Context, it *item) error {
	for try := 0; ; try++ {
		r, err := it.from.Open()
		if err != nil {
			it.fail(err)
			return nil
		}
		before := r.Stat()
		c.p.restat(it, before)
		c.p.readXattrs(it, r)
		x, err := c.cut(ctx, content{
			size:     before.Size,
			segments: func(yield func(source.Segment) error) error { return r.Segments(before.Size, minHole, yield) },
			open:     func(s source.Segment) io.Reader { return r.Section(s) },
		})
		after, statErr := r.Restat()
		closeErr := r.Close()
		var bad *readError
		switch {
		case errors.As(err, &bad):
			it.fail(fmt.Errorf("reading: %w", bad.err))
			return nil
		case err != nil:
			return err
		case statErr != nil || closeErr != nil:
			it.fail(fmt.Errorf("reading: %w", errors.Join(statErr, closeErr)))
			return nil
		}
		it.rec.Entry.Extents, it.rec.Entry.Size, it.spool = x.extents, x.size, x.inner
		if sameState(before, after) && x.size == before.Size {
			return nil
		}
		if try == 1 || before.Size > maxReread {
			p := c.p
			p.complain(it, errUnstable)
			return nil
		}
		it.spool.close()
	}
}

// readError is an error of the file and not of the run.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// treeTime converts a time of the clock.
func treeTime(t time.Time) tree.Time {
	return tree.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}
