package crashdisk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/packnback/packnback/repo/internal/disk"
)

// file is an open file of a process.
type file struct {
	p      *Process
	node   *node
	name   string
	write  bool
	closed bool
}

func (p *Process) open(n *node, name string, write bool) *file {
	f := &file{p: p, node: n, name: name, write: write}
	p.files[f] = true
	return f
}

func (f *file) close() {
	if !f.closed {
		f.closed = true
		delete(f.p.files, f)
	}
}

func (f *file) error(op OpKind, err error) error {
	return &fs.PathError{Op: string(op), Path: f.name, Err: err}
}

// do runs a call on an open file.
func (f *file) do(kind OpKind, bytes int, call func(injected error) error) error {
	return f.p.do(Op{Kind: kind, Name: f.name, Bytes: bytes}, func(injected error) error {
		if f.closed {
			return f.error(kind, fs.ErrClosed)
		}
		return call(injected)
	})
}

func (f *file) Write(b []byte) (n int, err error) {
	err = f.do(OpWrite, len(b), func(injected error) error {
		d := f.p.disk
		switch {
		case !f.write:
			return f.error(OpWrite, syscall.EBADF)
		case injected != nil:
			n, err = len(b)/2, f.error(OpWrite, injected)
		case d.capacity != 1<<63-1 && d.used()+int64(len(b)) > d.capacity:
			n, err = int(max(d.capacity-d.used(), 0)), f.error(OpWrite, syscall.ENOSPC)
		default:
			n = len(b)
		}
		f.node.data = append(f.node.data, b[:n]...)
		f.node.modTime = d.clock()
		return err
	})
	return n, err
}

func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.do(OpRead, len(b), func(injected error) error {
		switch {
		case injected != nil:
			return f.error(OpRead, injected)
		case off < 0:
			return f.error(OpRead, fs.ErrInvalid)
		case off < int64(len(f.node.data)):
			n = copy(b, f.node.data[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (f *file) Sync() error {
	return f.do(OpSync, 0, func(injected error) error {
		n := f.node
		if injected != nil {
			// The kernel reports the failure once and takes the pages for clean.
			n.lost = append(n.lost, span{n.synced, len(n.data)})
		}
		n.synced = len(n.data)
		if injected != nil {
			return f.error(OpSync, injected)
		}
		return nil
	})
}

func (f *file) Size() (size int64, err error) {
	err = f.do(OpStat, 0, func(injected error) error {
		if injected != nil {
			return f.error(OpStat, injected)
		}
		size = int64(len(f.node.data))
		return nil
	})
	return size, err
}

// Map returns the bytes as they are. Nobody ever writes to them: files only
// grow, and Corrupt makes new ones.
func (f *file) Map() (b []byte, err error) {
	err = f.do(OpRead, 0, func(injected error) error {
		if injected != nil {
			return f.error(OpRead, injected)
		}
		n := len(f.node.data)
		b = f.node.data[:n:n]
		return nil
	})
	if len(b) == 0 {
		return nil, err
	}
	return b, err
}

func (f *file) Close() error {
	d := f.p.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.p.dead {
		return ErrKilled
	}
	if f.closed {
		return f.error("close", fs.ErrClosed)
	}
	f.close()
	return nil
}

// lock is a lock that a process holds.
type lock struct {
	p    *Process
	node *node
	name string
	held bool
}

// Lock implements disk.FS. Fail is asked and After told once for each call,
// before it waits.
func (p *Process) Lock(ctx context.Context, name string, mode disk.LockMode) (disk.Lock, error) {
	op := Op{Kind: OpLock, Name: name}
	var n *node
	err := p.plain(op, func() error {
		e, err := p.disk.place("lock", name)
		if err != nil {
			return err
		}
		if n = e.now(); n == nil {
			if err := p.disk.full(op); err != nil {
				return err
			}
			n = p.disk.newNode(false)
			e.change(n)
		}
		if n.dir {
			return &fs.PathError{Op: "lock", Path: name, Err: syscall.EISDIR}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for {
		l, changed, err := p.tryLock(n, name, mode)
		if l != nil {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, &fs.PathError{Op: "lock", Path: name, Err: errors.Join(disk.ErrLocked, ctx.Err())}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// tryLock returns the lock, or what to wait for.
func (p *Process) tryLock(n *node, name string, mode disk.LockMode) (*lock, <-chan struct{}, error) {
	d := p.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.dead {
		return nil, nil, ErrKilled
	}
	if n.exclusive != nil || mode == disk.Exclusive && len(n.shared) > 0 {
		return nil, d.changed, nil
	}
	l := &lock{p: p, node: n, name: name, held: true}
	if mode == disk.Exclusive {
		n.exclusive = l
	} else {
		if n.shared == nil {
			n.shared = make(map[*lock]bool)
		}
		n.shared[l] = true
	}
	p.locks[l] = true
	return l, nil, nil
}

// release frees the lock. The caller holds the Disk's mutex.
func (l *lock) release() {
	if !l.held {
		return
	}
	l.held = false
	delete(l.p.locks, l)
	delete(l.node.shared, l)
	if l.node.exclusive == l {
		l.node.exclusive = nil
	}
	l.p.disk.wake()
}

func (l *lock) Unlock() error {
	return l.p.plain(Op{Kind: OpUnlock, Name: l.name}, func() error {
		if !l.held {
			return &fs.PathError{Op: "unlock", Path: l.name, Err: fs.ErrClosed}
		}
		l.release()
		return nil
	})
}

func (l *lock) Linked() (linked bool, err error) {
	err = l.p.plain(Op{Kind: OpStat, Name: l.name}, func() error {
		if !l.held {
			return &fs.PathError{Op: "stat", Path: l.name, Err: fs.ErrClosed}
		}
		n, err := l.p.disk.find("stat", l.name)
		linked = err == nil && n == l.node
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	return linked, err
}
