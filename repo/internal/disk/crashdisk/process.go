package crashdisk

import (
	"io/fs"
	"path"
	"slices"
	"syscall"

	"github.com/packnback/packnback/repo/internal/disk"
)

// Process is a disk.FS through which one process uses a Disk.
type Process struct {
	disk  *Disk
	n     int
	dead  bool
	files map[*file]bool
	locks map[*lock]bool
}

var _ disk.FS = (*Process)(nil)

// Process returns a new process.
func (d *Disk) Process() *Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &Process{disk: d, n: len(d.procs) + 1, files: make(map[*file]bool), locks: make(map[*lock]bool)}
	d.procs = append(d.procs, p)
	return p
}

// Kill ends the process: its locks are released, its files closed, and
// every call that it makes or is waiting in fails with ErrKilled.
func (p *Process) Kill() {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	p.dead = true
	for l := range p.locks {
		l.release()
	}
	for f := range p.files {
		f.close()
	}
	p.disk.wake()
}

// PowerOff ends all processes of the Disk. What Crash returns afterwards is
// what it returned before.
func (d *Disk) PowerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.procs {
		p.kill()
	}
}

// do runs one call under the Disk's lock, with failures before and the hook
// after it. f is told of an injected failure, and decides what it spoils.
func (p *Process) do(op Op, f func(injected error) error) error {
	d := p.disk
	d.mu.Lock()
	if p.dead {
		d.mu.Unlock()
		return ErrKilled
	}
	d.ops++
	op.N, op.Process = d.ops, p.n
	var err error
	if d.fail != nil {
		err = d.fail(op)
	}
	err = f(err)
	after := d.after
	d.mu.Unlock()
	if err == nil && after != nil {
		after(op)
	}
	return err
}

// plain is do for calls that an injected failure simply prevents.
func (p *Process) plain(op Op, f func() error) error {
	return p.do(op, func(injected error) error {
		if injected != nil {
			return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: injected}
		}
		return f()
	})
}

// full returns ENOSPC when not even a name fits.
func (d *Disk) full(op Op) error {
	if d.capacity != 1<<63-1 && d.used() >= d.capacity {
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: syscall.ENOSPC}
	}
	return nil
}

// Create implements disk.FS.
func (p *Process) Create(name string) (f disk.File, err error) {
	op := Op{Kind: OpCreate, Name: name}
	err = p.plain(op, func() error {
		e, err := p.disk.place("create", name)
		if err != nil {
			return err
		}
		if e.now() != nil {
			return &fs.PathError{Op: "create", Path: name, Err: syscall.EEXIST}
		}
		if err := p.disk.full(op); err != nil {
			return err
		}
		n := p.disk.newNode(false)
		e.change(n)
		f = p.open(n, name, true)
		return nil
	})
	return f, err
}

// Open implements disk.FS.
func (p *Process) Open(name string) (disk.File, error) { return p.existing(OpOpen, name, false) }

// Append implements disk.FS.
func (p *Process) Append(name string) (disk.File, error) { return p.existing(OpAppend, name, true) }

func (p *Process) existing(kind OpKind, name string, write bool) (f disk.File, err error) {
	err = p.plain(Op{Kind: kind, Name: name}, func() error {
		n, err := p.disk.find(string(kind), name)
		if err != nil {
			return err
		}
		if n.dir {
			return &fs.PathError{Op: string(kind), Path: name, Err: syscall.EISDIR}
		}
		f = p.open(n, name, write)
		return nil
	})
	return f, err
}

// Mkdir implements disk.FS.
func (p *Process) Mkdir(name string) error {
	op := Op{Kind: OpMkdir, Name: name}
	return p.plain(op, func() error { return p.mkdir(op, name) })
}

func (p *Process) mkdir(op Op, name string) error {
	if n, err := p.disk.find("mkdir", name); err == nil {
		if !n.dir {
			return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
		}
		return nil
	} else if !fs.ValidPath(name) {
		return err
	}
	if err := p.mkdir(op, path.Dir(name)); err != nil {
		return err
	}
	if err := p.disk.full(op); err != nil {
		return err
	}
	e, err := p.disk.place("mkdir", name)
	if err != nil {
		return err
	}
	n := p.disk.newNode(true)
	n.made = e.change(n)
	return nil
}

// Publish implements disk.FS.
func (p *Process) Publish(tmp, name string) error { return p.rename(OpPublish, tmp, name, false) }

// Replace implements disk.FS.
func (p *Process) Replace(tmp, name string) error { return p.rename(OpReplace, tmp, name, true) }

func (p *Process) rename(kind OpKind, tmp, name string, replace bool) error {
	return p.plain(Op{Kind: kind, Name: name, From: tmp}, func() error {
		n, err := p.disk.find(string(kind), tmp)
		if err != nil {
			return err
		}
		from, err := p.disk.place(string(kind), tmp)
		if err != nil {
			return err
		}
		to, err := p.disk.place(string(kind), name)
		if err != nil {
			return err
		}
		switch old := to.now(); {
		case old != nil && !replace:
			return &fs.PathError{Op: string(kind), Path: name, Err: syscall.EEXIST}
		case n.dir || old != nil && old.dir:
			return &fs.PathError{Op: string(kind), Path: name, Err: syscall.EISDIR}
		case old == n:
			return nil
		}
		p.disk.renames = append(p.disk.renames, &rename{to: to.change(n), from: from.change(nil)})
		return nil
	})
}

// Remove implements disk.FS.
func (p *Process) Remove(name string) error {
	return p.plain(Op{Kind: OpRemove, Name: name}, func() error {
		n, err := p.disk.find("remove", name)
		if err != nil {
			return err
		}
		e, err := p.disk.place("remove", name)
		if err != nil {
			return err
		}
		if n.dir && len(n.names(false)) > 0 {
			return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
		}
		e.change(nil)
		return nil
	})
}

// SyncDir implements disk.FS.
func (p *Process) SyncDir(name string) error {
	return p.plain(Op{Kind: OpSyncDir, Name: name}, func() error {
		n, err := p.folder("sync", name)
		if err != nil {
			return err
		}
		for _, name := range n.names(true) {
			e := n.entries[name]
			p.disk.settle(version{e, e.last()})
			if e.now() == nil {
				delete(n.entries, name)
			}
		}
		p.disk.forgetRenames()
		return nil
	})
}

func (p *Process) folder(op, name string) (*node, error) {
	n, err := p.disk.find(op, name)
	if err == nil && !n.dir {
		err = &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
	}
	return n, err
}

// List implements disk.FS.
func (p *Process) List(name string) (entries []disk.Entry, err error) {
	err = p.plain(Op{Kind: OpList, Name: name}, func() error {
		n, err := p.folder("list", name)
		if err != nil {
			return err
		}
		for _, name := range n.names(false) {
			entries = append(entries, n.entries[name].now().describe(name))
		}
		return nil
	})
	return entries, err
}

// Stat implements disk.FS.
func (p *Process) Stat(name string) (e disk.Entry, err error) {
	err = p.plain(Op{Kind: OpStat, Name: name}, func() error {
		n, err := p.disk.find("stat", name)
		if err == nil {
			e = n.describe(path.Base(name))
		}
		return err
	})
	return e, err
}

func (n *node) describe(name string) disk.Entry {
	return disk.Entry{Name: name, Dir: n.dir, Size: int64(len(n.data)), ModTime: n.modTime}
}

// Free implements disk.FS. A Disk without SetCapacity has an exbibyte.
func (p *Process) Free() (free, total uint64, err error) {
	err = p.plain(Op{Kind: OpFree, Name: "."}, func() error {
		capacity := min(p.disk.capacity, 1<<60)
		total = uint64(capacity)
		free = uint64(max(capacity-p.disk.used(), 0))
		return nil
	})
	return free, total, err
}

// Locked returns the names of the locks that the process holds, for tests that
// look for what was left behind.
func (p *Process) Locked() []string {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	var names []string
	for l := range p.locks {
		names = append(names, l.name)
	}
	slices.Sort(names)
	return names
}
