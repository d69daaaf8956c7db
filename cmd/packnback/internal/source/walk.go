package source

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	maxOpenFrames = 128 // folders on the way down that are kept open
	aheadFolders  = 8   // folders of one batch that are opened ahead of time
)

var (
	errSkipped = errors.New("packnback keeps its own files there")
	errMoved   = errors.New("moved elsewhere while it was read")
	errBehind  = errors.New("lies behind something that is backed up and is no folder")
)

// walk is one run of Plan.Walk. All of it but the listings belongs to the
// goroutine that called Walk.
type walk struct {
	opt    Options
	yield  func(*Item) error
	ahead  *ahead
	frames []*frame // the way down to where the walk is
	names  int      // bytes of names that the frames hold
	item   Item
}

// frame is one folder on the way down.
type frame struct {
	list    *listing // its dir is nil while the walk is so far below that it was closed
	path    string   // in the snapshot
	name    string
	next    int // of list.batch
	looked  int // children before this one have been looked at for opening ahead
	planned int // plan nodes before this one have been met
	more    *task
	fetched []child // what more brings
	names   int     // bytes of names
}

// Walk calls yield for everything in the plan, in the order of
// tree.ComparePaths: a folder's Enter, what is in it by ascending names, its
// Leave. Errors of single entries are reported and the walk goes on; an error
// of yield, operands of which none is there, or the end of ctx ends it.
// Memory grows with the depth of the tree and with nothing else.
func (p *Plan) Walk(ctx context.Context, opt Options, yield func(*Item) error) error {
	if opt.Workers <= 0 {
		opt.Workers = min(runtime.GOMAXPROCS(0), 8)
	}
	if opt.Report == nil {
		opt.Report = func(Problem) {}
	}
	if err := p.root.anyExists(); err != nil {
		return err
	}
	w := &walk{opt: opt, yield: yield, ahead: newAhead()}
	var g errgroup.Group
	for range opt.Workers {
		g.Go(func() error { w.ahead.work(); return nil })
	}
	defer func() {
		w.ahead.close()
		_ = g.Wait() // work returns no error
		w.ahead.dropAll()
		for _, f := range w.frames {
			f.list.close()
			for i := range f.fetched {
				f.fetched[i].at.release()
			}
		}
	}()
	if err := w.enterRoot(p.root); err != nil {
		return err
	}
	for len(w.frames) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.step(w.frames[len(w.frames)-1]); err != nil {
			return err
		}
	}
	return nil
}

// anyExists returns nil when some operand is there, else why the first is not.
func (n *planNode) anyExists() error {
	var first error
	if n.operand {
		var st unix.Stat_t
		err := retry(func() error { return unix.Lstat(n.source, &st) })
		if err == nil || errors.Is(err, unix.ENAMETOOLONG) {
			return nil
		}
		first = fmt.Errorf("nothing to back up: examining %q: %w", n.source, err)
	}
	for _, c := range n.children {
		err := c.anyExists()
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (w *walk) enterRoot(root *planNode) error {
	r := request{source: root.source, plan: root, inside: root.operand, follow: true, mounts: true}
	l := r.open(&w.opt, false)
	if l.err != nil {
		return fmt.Errorf("opening %q: %w", root.source, l.err)
	}
	if l.skipped {
		l.close()
		return fmt.Errorf("backing up %q: %w", root.source, errSkipped)
	}
	return w.push(l, "", "")
}
