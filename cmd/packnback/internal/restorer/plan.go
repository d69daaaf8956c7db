package restorer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Bounds of a window. Both together keep its bookkeeping below 4 MiB; content
// passes through one object at a time.
const (
	windowObjects = 256  // distinct objects, about 256 MiB: bundles that many files share come once
	windowSteps   = 8192 // entries, pieces and steps of all kinds
)

// window is a run of the walk.
type window struct {
	pieces map[object.ID][]*piece
	ids    []object.ID
	verify []*piece // with Verify, all pieces in order
	inline []task   // what needs no content
	steps  []step   // what must wait for this window and all before it
	count  int
	done   chan struct{} // closed when everything but the steps is done
}

// task is something a window's worker does before it fetches.
type task struct {
	file  *file // an empty one, to be finished; or nil
	dir   *folder
	entry *tree.Entry
	adopt bool // only its metadata are to be set
}

// step is something to do when all windows up to here are done.
type step struct {
	dir   *folder
	entry *tree.Entry
	first string // path of the other name when a hard link is to be made
	// Where first is empty, the folder dir is left.
	apply  bool // set its metadata
	delete bool // remove what the snapshot does not have
	times  bool // set only its times
	tidy   bool // remove unfinished files of earlier runs
}

func newWindow() *window {
	return &window{pieces: map[object.ID][]*piece{}, done: make(chan struct{})}
}

// level is one folder between where the restore begins and where the walk is.
type level struct {
	name     string
	entry    *tree.Entry
	dir      *folder // nil until something in it is wanted
	selected bool
	skipped  bool // nothing in it is restored
	reserved bool // something in it is called like an unfinished file
}

// planner turns the walk into windows. It makes folders on the way down.
type planner struct {
	*run
	levels []level
	window *window
	send   func(*window) error
}

func (p *planner) visit(it *view.Item) error {
	if n := len(p.levels); n > 0 && it.Step != view.Leave && tempPattern.MatchString(it.Entry.Name) {
		p.levels[n-1].reserved = true
	}
	switch it.Step {
	case view.Enter:
		return p.enter(it)
	case view.Leave:
		return p.leave(it)
	}
	if len(p.levels) == 0 { // a single file is restored into the target
		p.levels = append(p.levels, level{dir: p.root, selected: true})
	}
	return p.entry(it)
}

// relative returns the path of it from where the restore begins.
func (p *planner) relative(it *view.Item) string {
	if it.Depth == 0 {
		return "/" + it.Entry.Name
	}
	return strings.TrimPrefix(it.Path, strings.TrimSuffix(p.job.From.Path, "/"))
}

func (p *planner) enter(it *view.Item) error {
	if it.Depth == 0 {
		p.levels = append(p.levels, level{entry: it.Entry, dir: p.root, selected: true})
		return nil
	}
	path := p.relative(it)
	selected, below := p.selects(path)
	if p.levels[len(p.levels)-1].skipped {
		selected, below = false, false // it was reported with what it is in
	}
	p.levels = append(p.levels, level{name: it.Entry.Name, entry: it.Entry, selected: selected, skipped: !selected && !below})
	if !selected && !below {
		return view.ErrSkipDir
	}
	if !selected {
		return nil
	}
	n := len(p.levels) - 1
	if err := p.ensure(n-1, path); err != nil {
		return err
	}
	// Names that are not selected need not be kept: --delete leaves them alone.
	if err := p.keeper.keep(p.levels[n-1].dir, it.Entry.Name); err != nil {
		return err
	}
	return p.ensure(n, path)
}

// ensure makes the folders up to level n, which is at path. When one can't be
// made it is reported, and the walk is told to skip what is inside.
func (p *planner) ensure(n int, path string) error {
	for i := 1; i <= n; i++ {
		l := &p.levels[i]
		if l.dir != nil {
			continue
		}
		var err error
		if l.dir, err = p.makeFolder(p.levels[i-1].dir, l); err == nil {
			continue
		}
		for j := i; j <= n; j++ {
			p.levels[j].skipped = true
		}
		if concernsAll(err) {
			return &PathError{path, err}
		}
		p.report.lost(p.levels[i-1].dir.path(l.name), fmt.Errorf("the folder with everything in it: %w", err))
		return view.ErrSkipDir
	}
	return nil
}

// makeFolder makes l's folder in parent, unless it is there. What is not a
// folder makes room, if Overwrite permits that.
func (p *planner) makeFolder(parent *folder, l *level) (*folder, error) {
	e, unlock := l.entry, l.selected && p.opt.Overwrite != Never
	if p.opt.DryRun {
		return p.folders.imagine(parent, e.Name)
	}
	d, err := p.folders.enter(parent, e.Name, unlock)
	if !errors.Is(err, os.ErrExist) {
		return d, err
	}
	err = p.folders.use(parent, func(fd int) error {
		st, err := stat(fd, e.Name)
		if err != nil || st == nil {
			return err
		}
		if p.opt.Overwrite == Never || p.opt.Overwrite == IfNewer && !newer(e.Mtime, st) {
			return fmt.Errorf("a %s is in its place, which --overwrite %s keeps", typeOf(st), p.opt.Overwrite)
		}
		return unix.Unlinkat(fd, e.Name, 0)
	})
	if err != nil {
		return nil, err
	}
	return p.folders.enter(parent, e.Name, unlock)
}

func (p *planner) leave(it *view.Item) error {
	l := p.levels[len(p.levels)-1]
	p.levels = p.levels[:len(p.levels)-1]
	if it.Err != nil {
		p.report.lost(p.relative(it), fmt.Errorf("the folder's list of files: %w", it.Err))
	}
	if l.dir == nil {
		return nil
	}
	s := step{dir: l.dir, entry: it.Entry}
	switch {
	case it.Depth == 0:
		s.apply, s.times = p.job.SetTarget && p.emptyTarget, p.job.SetTarget
	default:
		s.apply = l.dir.fresh || l.selected && p.opt.Overwrite != Never
	}
	// Names that could not be read are not extra ones.
	s.tidy = it.Err == nil && !l.skipped && !l.reserved && !l.dir.fresh && !p.opt.DryRun
	s.delete = p.opt.Delete && it.Err == nil && !l.skipped && !l.dir.fresh
	return p.step(s)
}

// entry plans something that is no folder.
func (p *planner) entry(it *view.Item) error {
	path := p.relative(it)
	if selected, _ := p.selects(path); !selected {
		return nil
	}
	n := len(p.levels) - 1
	if !p.levels[n].skipped {
		if err := p.ensure(n, path); err != nil && !errors.Is(err, view.ErrSkipDir) {
			return err
		}
	}
	if p.levels[n].skipped {
		return nil // it was reported with its folder
	}
	d := p.levels[n].dir
	if err := p.keeper.keep(d, it.Entry.Name); err != nil {
		return err
	}
	verdict, err := p.existing(d, it.Entry)
	if err != nil {
		return p.report.outcome(Restored, path, it.Entry, err)
	}
	e := new(tree.Entry)
	*e = *it.Entry
	e.Extents = nil // they may be many, and are planned now
	switch {
	case verdict == leave:
		p.report.done(Kept, path, e)
		return nil
	case p.opt.DryRun:
		return p.imagine(verdict, path, e)
	}
	if e.LinkID != 0 {
		first, err := p.firstName(e, path)
		if err != nil {
			return err
		}
		if first != "" {
			return p.step(step{dir: d, entry: e, first: first})
		}
	}
	switch {
	case verdict == linked:
		p.report.content(e)
		p.report.done(Unchanged, path, e)
		return nil
	case verdict == adopt || e.Type != tree.TypeFile:
		return p.task(task{dir: d, entry: e, adopt: verdict == adopt})
	}
	return p.file(it, d, e)
}

// existing decides what to do about e in d.
func (p *planner) existing(d *folder, e *tree.Entry) (v verdict, err error) {
	if d.fresh || d.absent {
		return replace, nil
	}
	err = p.folders.use(d, func(fd int) error {
		st, err := stat(fd, e.Name)
		if err == nil {
			v = p.opt.judge(fd, e, st)
		}
		return err
	})
	return v, err
}

// firstName returns the path of the name under which e's inode was restored
// first, or notes that this one is it and returns "".
func (p *planner) firstName(e *tree.Entry, path string) (string, error) {
	if p.links == nil {
		if err := p.makeScratch(); err != nil {
			return "", err
		}
		var err error
		if p.links, err = newLinks(p.scratch); err != nil {
			return "", err
		}
	}
	return p.links.first(e, path)
}

// imagine reports what a run that is not dry would do.
func (p *planner) imagine(v verdict, path string, e *tree.Entry) error {
	a := Unchanged
	if v == replace {
		a = Restored
	}
	if (e.Type == tree.TypeChar || e.Type == tree.TypeBlock) && !p.w.meta.privileged {
		p.report.lost(path, fmt.Errorf("device node: %w", errPrivileged))
		return nil
	}
	p.report.content(e)
	p.report.done(a, path, e)
	return nil
}

// file plans the content of e.
func (p *planner) file(it *view.Item, d *folder, e *tree.Entry) error {
	f := &file{dir: d, entry: e, left: 1, fd: -1}
	planned := false
	for x, err := range it.Extents() {
		if err != nil {
			if !view.Lost(err) {
				return err
			}
			done, err := p.w.fail(f, fmt.Errorf("the list of its content: %w", err))
			return p.finished(f, done, err)
		}
		if x.Kind == tree.ExtentHole {
			continue
		}
		if err := p.piece(&piece{file: f, at: x.At, extent: x.Extent}); err != nil {
			return err
		}
		planned = true
	}
	if !planned {
		return p.task(task{file: f, dir: d, entry: e})
	}
	// The last piece is in the window at hand, so this finishes nothing.
	f.mu.Lock()
	f.left--
	f.mu.Unlock()
	return nil
}

func (p *planner) piece(x *piece) error {
	id := x.extent.ID
	if _, have := p.window.pieces[id]; !have {
		if len(p.window.ids) >= windowObjects {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if err := p.room(); err != nil {
		return err
	}
	w := p.window
	if _, have := w.pieces[id]; !have {
		w.ids = append(w.ids, id)
	}
	w.pieces[id] = append(w.pieces[id], x)
	more := 1
	if p.opt.Verify {
		w.verify = append(w.verify, x)
		more = 2 // it counts as dealt with when it was read again
	}
	x.file.mu.Lock()
	x.file.left += more
	x.file.mu.Unlock()
	return nil
}

func (p *planner) task(t task) error {
	if err := p.room(); err != nil {
		return err
	}
	p.window.inline = append(p.window.inline, t)
	return nil
}

func (p *planner) step(s step) error {
	if err := p.room(); err != nil {
		return err
	}
	p.window.steps = append(p.window.steps, s)
	return nil
}

// room counts one thing more in the window and sends it off when it is full.
func (p *planner) room() error {
	if p.window.count >= windowSteps {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.window.count++
	return nil
}

func (p *planner) flush() error {
	w := p.window
	p.window = newWindow()
	if w.count == 0 {
		return nil
	}
	return p.send(w)
}
