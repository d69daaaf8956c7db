package statcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// tempPrefix begins the names of files that no later run has a use for.
const tempPrefix = "tmp-"

// lockName is the file whose lock keeps two runs out of one cache.
const lockName = "lock"

// ErrBusy says that another run uses the cache.
var ErrBusy = errors.New("cache is in use by another backup")

// Cache is the open cache of one client and job. Its methods are for one
// goroutine unless they say otherwise.
type Cache struct {
	fsys    table.FS
	dir     string
	remove  bool // the folder goes when the cache is closed
	binding bindingHash
	unlock  func() error
	note    func(string)
	gen     *Generation
	number  uint64 // highest number in the name of a file
	temps   atomic.Uint64
}

// Open opens the cache in the folder dir, which is made with mode 0700 when it
// is missing, and keeps other runs out of it until Close. With an empty dir the
// cache is a new one in the system's folder for temporary files, and gone after
// Close. What is unusable is removed, and note (which may be nil) is told why
// in one line. ErrBusy is wrapped when another run has the cache.
func Open(dir string, b Binding, note func(string)) (*Cache, error) {
	c := &Cache{dir: dir, binding: b.hash(), note: note}
	if note == nil {
		c.note = func(string) {}
	}
	var err error
	if dir == "" {
		c.remove = true
		if c.dir, err = os.MkdirTemp("", "packnback-*"); err != nil {
			return nil, fmt.Errorf("cache: making a temporary folder: %w", err)
		}
	} else if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache: making folder %q: %w", dir, err)
	}
	c.fsys = table.OS(c.dir)
	if err = c.start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cache) start() error {
	once, cancel := context.WithCancel(context.Background())
	cancel() // try once
	lock, err := c.fsys.Lock(once, lockName, table.Exclusive)
	if err != nil {
		if errors.Is(err, table.ErrLocked) {
			err = ErrBusy
		}
		return fmt.Errorf("cache %q: %w", c.dir, err)
	}
	c.unlock = lock.Unlock
	files, err := c.fsys.List(".")
	if err != nil {
		return fmt.Errorf("cache %q: %w", c.dir, err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name, tempPrefix) {
			_ = c.fsys.Remove(f.Name)
		}
		if n, ok := fileNumber(f.Name); ok {
			c.number = max(c.number, n)
		}
	}
	c.load()
	return nil
}

// fileNumber returns the number at the end of a name.
func fileNumber(name string) (uint64, bool) {
	_, digits, ok := strings.Cut(name, "-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// temp returns a new prefix for names of temporary files.
func (c *Cache) temp(what string) string {
	return fmt.Sprintf("%s%s-%d-", tempPrefix, what, c.temps.Add(1))
}

// load opens the current generation, or throws it away.
func (c *Cache) load() {
	c.gen = nil
	h, err := readHeader(c.fsys, currentName)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && h.binding != c.binding {
		err = errors.New("it belongs to another repository, key, client or job")
	}
	if err == nil {
		c.gen, err = openGeneration(c.fsys, h)
	}
	if err != nil {
		c.note(fmt.Sprintf("cache discarded, this run reads everything: %v", err))
		_ = c.fsys.Remove(currentName)
	}
}

// Dir returns the folder that c is in. Files in it change while a run goes on.
func (c *Cache) Dir() string { return c.dir }

// Generation returns the generation in use, or nil when there is none. It is
// good until the next call of Settle, Discard or Close.
func (c *Cache) Generation() *Generation { return c.gen }

// Next returns the base of a generation that was finished by a run which did
// not live to learn whether the store has the snapshot; zero when there is none.
func (c *Cache) Next() object.ID {
	h, err := readHeader(c.fsys, nextName)
	if err != nil || h.binding != c.binding {
		return object.ID{}
	}
	return h.base
}

// Settle makes the finished generation the current one if its base is head, and
// otherwise removes it. It removes the log and the unfinished walks too when
// the generation became current, because all of it is in the snapshot then.
func (c *Cache) Settle(head object.ID) error {
	next := c.Next()
	if next.IsZero() {
		return nil
	}
	if next != head {
		_ = c.fsys.Remove(nextName)
		c.sweep()
		return nil
	}
	if err := c.fsys.Replace(nextName, currentName); err != nil {
		return fmt.Errorf("cache %q: %w", c.dir, err)
	}
	if err := c.fsys.SyncDir("."); err != nil {
		return fmt.Errorf("cache %q: %w", c.dir, err)
	}
	c.closeGeneration()
	c.load()
	c.forgetUploads(nil)
	return nil
}

// Discard throws the current generation away.
func (c *Cache) Discard() {
	c.closeGeneration()
	_ = c.fsys.Remove(currentName)
	c.sweep()
}

// sweep removes files of generations that no header names.
func (c *Cache) sweep() {
	keep := map[string]bool{} // at most six names
	for _, name := range [...]string{currentName, nextName} {
		if h, err := readHeader(c.fsys, name); err == nil {
			keep[h.walk.name(walkKind)] = true
			keep[h.content.name(contentKind)] = true
			keep[h.objects.name(objectsKind)] = true
		}
	}
	files, err := c.fsys.List(".")
	if err != nil {
		return // what stays now goes next time
	}
	for _, f := range files {
		kind, _, _ := strings.Cut(f.Name, "-")
		switch kind {
		case walkKind, contentKind, objectsKind:
			if !keep[f.Name] {
				_ = c.fsys.Remove(f.Name)
			}
		}
	}
}

func (c *Cache) closeGeneration() {
	if c.gen != nil {
		_ = c.gen.close() // only read from
		c.gen = nil
	}
}

// Close lets go of the cache; a temporary one is removed.
func (c *Cache) Close() error {
	c.closeGeneration()
	var err error
	if c.unlock != nil {
		err = c.unlock()
		c.unlock = nil
	}
	if c.remove {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}
