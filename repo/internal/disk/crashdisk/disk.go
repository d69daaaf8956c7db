package crashdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"sync"
	"syscall"
)

// ErrKilled is what every call of a process returns after its Kill or after
// its Disk's PowerOff.
var ErrKilled = errors.New("process was killed")

// Disk is a disk in memory and the kernel in front of it. Its methods may be
// called by several goroutines at once.
type Disk struct {
	mu       sync.Mutex
	root     *node
	renames  []*rename
	capacity int64
	ops      int
	tick     int64
	now      func() int64
	fail     func(Op) error
	after    func(Op)
	procs    []*Process
	changed  chan struct{} // closed and made anew when a lock is free or a process dead
}

// New returns an empty Disk that never gets full.
func New() *Disk {
	d := &Disk{capacity: math.MaxInt64, changed: make(chan struct{})}
	d.root = d.newNode(true)
	return d
}

// Op is one call to the file system.
type Op struct {
	Kind    OpKind
	Name    string // the file or folder; of Publish and Replace the new name
	From    string // the old name of Publish and Replace
	Bytes   int    // how many are to be written or read
	Process int    // number of the process, from 1
	N       int    // number of the call on this Disk, from 1
}

// String names the call and what it was about.
func (o Op) String() string {
	if o.From != "" {
		return fmt.Sprintf("#%d %s %s as %s", o.N, o.Kind, o.From, o.Name)
	}
	return fmt.Sprintf("#%d %s %s", o.N, o.Kind, o.Name)
}

// OpKind says which call an Op is.
type OpKind string

// The calls.
const (
	OpCreate  OpKind = "create"
	OpOpen    OpKind = "open"
	OpAppend  OpKind = "append"
	OpMkdir   OpKind = "mkdir"
	OpPublish OpKind = "publish"
	OpReplace OpKind = "replace"
	OpRemove  OpKind = "remove"
	OpSyncDir OpKind = "sync folder"
	OpList    OpKind = "list"
	OpStat    OpKind = "stat"
	OpFree    OpKind = "free"
	OpLock    OpKind = "lock"
	OpUnlock  OpKind = "unlock"
	OpWrite   OpKind = "write"
	OpRead    OpKind = "read"
	OpSync    OpKind = "sync"
)

// Changes reports whether the call may change what a power cut leaves.
func (k OpKind) Changes() bool {
	switch k {
	case OpOpen, OpAppend, OpList, OpStat, OpFree, OpUnlock, OpRead:
		return false
	}
	return true
}

// Fail has f called before every call, and lets the call fail with what f
// returns unless that is nil. Half of a failing Write is written; what a failing
// Sync should have covered is never durable. f must not use the Disk. nil ends
// it.
func (d *Disk) Fail(f func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

// FailNth returns a function for Fail that lets the nth call (from 1) for which
// match is true fail with err.
func FailNth(n int, err error, match func(Op) bool) func(Op) error {
	return func(op Op) error {
		if !match(op) {
			return nil
		}
		if n--; n == 0 {
			return err
		}
		return nil
	}
}

// After has f called after every call that did not fail, by the goroutine that
// made it and before the call returns. f may use the Disk: take a Crash of it, or
// kill a process. nil ends it.
func (d *Disk) After(f func(Op)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after = f
}

// Ops returns how many calls were made so far.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// SetClock gives the Disk the clock that files' times are taken from, in
// nanoseconds since 1970. Without one, time is the number of calls made.
func (d *Disk) SetClock(now func() int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = now
}

func (d *Disk) clock() int64 {
	if d.now != nil {
		return d.now()
	}
	d.tick++
	return d.tick
}

// SetCapacity limits the bytes in all files to n. Beyond it a Write writes what
// fits and fails with ENOSPC, and no file or folder can be made.
func (d *Disk) SetCapacity(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = n
}

// Used returns the bytes in all files, those included that have no name and are
// still open.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() int64 {
	seen := make(map[*node]bool)
	var sum int64
	count := func(n *node) {
		if !n.dir && !seen[n] {
			seen[n] = true
			sum += int64(len(n.data))
		}
	}
	var walk func(n *node)
	walk = func(n *node) {
		for _, e := range n.entries {
			if c := e.now(); c != nil && c.dir {
				walk(c)
			} else if c != nil {
				count(c)
			}
		}
	}
	walk(d.root)
	for _, p := range d.procs {
		for f := range p.files {
			count(f.node)
		}
	}
	return sum
}

// Corrupt replaces the bytes of a file, on disk and in the cache, by what change
// makes of a copy.
func (d *Disk) Corrupt(name string, change func([]byte) []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find("corrupt", name)
	if err != nil {
		return err
	}
	n.data = change(append([]byte(nil), n.data...))
	n.synced, n.lost = len(n.data), nil
	return nil
}

// find returns the node of a name.
func (d *Disk) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return d.root, nil
	}
	parent, err := d.find(op, path.Dir(name))
	if err != nil {
		return nil, err
	}
	if !parent.dir {
		return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
	}
	if e := parent.entries[path.Base(name)]; e != nil && e.now() != nil {
		return e.now(), nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOENT}
}

// place returns the entry that name is or would be.
func (d *Disk) place(op, name string) (*entry, error) {
	if name == "." {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	parent, err := d.find(op, path.Dir(name))
	if err != nil {
		return nil, err
	}
	if !parent.dir {
		return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
	}
	return parent.lookup(path.Base(name)), nil
}

// wake lets everybody who waits for a lock look again.
func (d *Disk) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}
