package source

import (
	"errors"

	"golang.org/x/sys/unix"
)

// push begins with a folder.
func (w *walk) push(l *listing, path, name string) error {
	f := &frame{list: l, path: path, name: name}
	w.frames = append(w.frames, f)
	if n := len(w.frames) - 1 - maxOpenFrames; n >= 0 {
		w.park(w.frames[n])
	}
	if err := w.emit(f, Enter); err != nil {
		return err
	}
	l.finish(max(aheadLimit, (namesBudget-w.names)/2))
	f.names = l.names.bytes
	w.names += f.names
	w.fetchMore(f)
	return nil
}

// park closes a folder far above, so that depth costs no file descriptors.
func (w *walk) park(f *frame) {
	if f.more != nil {
		w.ahead.need(f.more)
	}
	f.list.dir.release()
	f.list.dir = nil
}

// unpark opens the folder f again, from below, which works for paths of any
// length and is checked against what f was.
func (w *walk) unpark(f *frame, below *folder) {
	l := f.list
	if l.dir != nil {
		return
	}
	try := func(dir int, name string, flags int) bool {
		fd, err := openAt(dir, name, flags)
		if err != nil {
			return false
		}
		d := newFolder(fd)
		if self, err := d.self(); err != nil || self.Place() != l.self.Place() {
			d.release()
			return false
		}
		l.dir = d
		return true
	}
	// A folder that was reached through a symlink is not the parent of what is in it.
	if below != nil && try(below.fd, "..", openPath) || try(unix.AT_FDCWD, l.source, openPath) {
		return
	}
	w.report(Unread, l.source, errMoved)
	for i := f.next; i < len(l.batch); i++ {
		w.discard(&l.batch[i])
	}
	if f.more != nil {
		w.ahead.need(f.more)
		for i := range f.fetched {
			w.discard(&f.fetched[i])
		}
	}
	l.batch, l.end, f.next, f.more = nil, true, 0, nil
}

// fetchMore has the next batch examined while this one is visited.
func (w *walk) fetchMore(f *frame) {
	l := f.list
	if l.end {
		return
	}
	f.more = w.ahead.add(func() { f.fetched = l.fill() }, func(bool) {
		for i := range f.fetched {
			f.fetched[i].at.release()
		}
	})
}

// step visits the next entry of f, or leaves it.
func (w *walk) step(f *frame) error {
	l := f.list
	if f.next < len(l.batch) {
		w.lookAhead(f)
		c := &l.batch[f.next]
		f.next++
		return w.visit(f, c)
	}
	switch {
	case f.more != nil:
		w.ahead.need(f.more)
		l.batch, f.fetched, f.more = f.fetched, nil, nil
	case l.end:
		return w.leave(f)
	default:
		l.batch = l.fill()
	}
	f.next, f.looked = 0, 0
	w.fetchMore(f)
	return nil
}

// leave ends the folder f and returns to the one above.
func (w *walk) leave(f *frame) error {
	l := f.list
	if l.listErr != nil {
		w.report(Unread, l.source, l.listErr)
	}
	w.reportMissing(f, "")
	if err := w.emit(f, Leave); err != nil {
		return err
	}
	w.frames = w.frames[:len(w.frames)-1]
	w.names -= f.names
	if len(w.frames) > 0 {
		w.unpark(w.frames[len(w.frames)-1], l.dir)
	}
	l.close()
	return nil
}

// reportMissing reports the operands in f that come before the name next, or
// all that are left if that is "", and that the folder's listing did not have.
func (w *walk) reportMissing(f *frame, next string) {
	p := f.list.plan
	for p != nil && f.planned < len(p.children) {
		c := p.children[f.planned]
		if next != "" && c.name > next {
			return
		}
		f.planned++
		if c.name == next {
			return
		}
		w.reportOperands(c, unix.ENOENT)
	}
}

// reportOperands reports all operands at and below n.
func (w *walk) reportOperands(n *planNode, err error) {
	if n.operand {
		w.report(Unread, n.source, err)
	}
	for _, c := range n.children {
		w.reportOperands(c, err)
	}
}

func (w *walk) report(kind ProblemKind, path string, err error) {
	w.opt.Report(Problem{Kind: kind, Path: path, Err: err})
}

// child returns the absolute path of what is called name in l.
func (l *listing) child(name string) string {
	if l.source == "/" {
		return "/" + name
	}
	return l.source + "/" + name
}

// wants reports whether the filter lets c, an entry of f, pass.
func (w *walk) wants(f *frame, c *child) bool {
	if c.verdict == unasked {
		c.verdict = wanted
		p := f.list.plan.child(c.name)
		onTheWay := p != nil && !p.operand && !f.list.inside
		if !onTheWay && w.opt.Filter.byPath(func() string { return sourceOf(f.list, p, c.name) }) {
			c.verdict = unwanted
		}
	}
	return c.verdict == wanted
}

// sourceOf returns the absolute path of the entry called name.
func sourceOf(l *listing, p *planNode, name string) string {
	if p != nil {
		return p.source
	}
	return l.child(name)
}

// visit delivers one entry of f.
func (w *walk) visit(f *frame, c *child) error {
	l := f.list
	w.reportMissing(f, c.name)
	p := l.plan.child(c.name)
	if c.err != nil {
		w.reportEntry(l, p, c.name, c.err)
		w.discard(c)
		return nil
	}
	if !w.wants(f, c) {
		w.discard(c)
		return nil
	}
	if c.isDir() {
		return w.visitDir(f, c, p)
	}
	defer w.discard(c)
	if p != nil {
		for _, below := range p.children {
			w.reportOperands(below, errBehind)
		}
	}
	onlyOnTheWay := p != nil && !p.operand && !l.inside
	if onlyOnTheWay || w.opt.Filter.bySize(&c.stat) {
		return nil
	}
	return w.emitFile(f, c)
}

// reportEntry reports why the entry called name could not be had.
func (w *walk) reportEntry(l *listing, p *planNode, name string, err error) {
	switch {
	case errors.Is(err, errSocket):
		w.report(Skipped, sourceOf(l, p, name), err)
	case p != nil:
		w.reportOperands(p, err)
	case errors.Is(err, unix.ENOENT):
		w.report(Vanished, l.child(name), err)
	default:
		w.report(Unread, l.child(name), err)
	}
}

func (w *walk) visitDir(f *frame, c *child, p *planNode) error {
	var l *listing
	if c.opened != nil {
		w.ahead.need(c.opened.task)
		l = c.opened.list
	} else {
		r := w.request(f, c, p)
		l = r.open(&w.opt, false)
	}
	c.opened = nil
	c.at.release()
	c.at = nil
	l.parent = nil // the name is not looked up in it again
	if l.err != nil {
		w.reportEntry(f.list, p, c.name, changed(l.err))
		return nil
	}
	if l.skipped {
		w.report(Skipped, l.source, errSkipped)
		l.close()
		return nil
	}
	return w.push(l, join(f.path, c.name), c.name)
}

// request says how the folder c in f is to be opened.
func (w *walk) request(f *frame, c *child, p *planNode) request {
	l := f.list
	operand := p != nil && p.operand
	r := request{parent: l.dir, name: c.name, source: sourceOf(l, p, c.name), plan: p, inside: l.inside || operand,
		follow: !l.inside && !operand, dev: l.dev, mounts: operand || !w.opt.OneFileSystem}
	if c.at != nil {
		r.parent = c.at
	}
	return r
}

// lookAhead has the next few folders among f's entries opened by the workers.
func (w *walk) lookAhead(f *frame) {
	if f.next < f.looked {
		return
	}
	batch := f.list.batch
	var folders []int
	i := f.next + 1 // the next itself is needed now
	for ; i < len(batch) && len(folders) < aheadFolders; i++ {
		if batch[i].isDir() && w.wants(f, &batch[i]) {
			folders = append(folders, i)
		}
	}
	f.looked = i
	for j := len(folders) - 1; j >= 0; j-- { // queued last is begun first
		c := &batch[folders[j]]
		r := w.request(f, c, f.list.plan.child(c.name))
		parent := r.parent.hold()
		o := new(opened)
		o.task = w.ahead.add(func() {
			o.list = r.open(&w.opt, true)
			parent.release()
		}, func(begun bool) {
			if begun {
				o.list.close()
			} else {
				parent.release()
			}
		})
		if o.task == nil {
			parent.release()
			return
		}
		c.opened = o
	}
}

// discard gives back what an entry holds that is not visited any more.
func (w *walk) discard(c *child) {
	if c.opened != nil {
		w.ahead.need(c.opened.task)
		c.opened.list.close()
		c.opened = nil
	}
	c.at.release()
	c.at = nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func (w *walk) emit(f *frame, step Step) error {
	w.item = Item{Step: step, Path: f.path, Name: f.name, Depth: len(w.frames) - 1, Stat: f.list.self, at: f.list.dir, self: true, source: f.list.source}
	return w.yield(&w.item)
}

func (w *walk) emitFile(f *frame, c *child) error {
	at, source := f.list.dir, f.list.child(c.name)
	if c.at != nil {
		at, source = c.at, f.list.plan.child(c.name).source
	}
	w.item = Item{Step: File, Path: join(f.path, c.name), Name: c.name, Depth: len(w.frames), Stat: c.stat, at: at, source: source}
	return w.yield(&w.item)
}
