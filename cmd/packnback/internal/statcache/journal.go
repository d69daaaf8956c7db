package statcache

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/packnback/packnback/repo/object"
)

// logMagic begins a log of puts; its last byte is the version.
const logMagic = "PNBputs\x01"

const (
	logHeader = len(logMagic) + bindingSize + len(object.SessionID{})
	logRecord = object.IDSize + 8
)

// The kinds of file that a run leaves when it is cut off.
const (
	partialKind = "partial" // a walk file without its end
	putsKind    = "puts"    // puts-SESSION: the ids of all puts, in order
)

// Log writes down which objects a session has put, in the order of the puts,
// so that a later run knows what the store means when it says how many of them
// are durable. It is safe for one goroutine.
type Log struct{ f walkFile }

// NewLog begins the log of a session. It fails when the session has one.
func (c *Cache) NewLog(session object.SessionID) (*Log, error) {
	name := putsKind + "-" + hex.EncodeToString(session[:])
	f, err := c.fsys.Create(name)
	if err != nil {
		return nil, fmt.Errorf("cache: creating %q: %w", name, err)
	}
	head := append([]byte(logMagic), c.binding[:]...)
	if _, err := f.Write(append(head, session[:]...)); err != nil {
		return nil, errors.Join(fmt.Errorf("cache: writing %q: %w", name, err), f.Close())
	}
	return &Log{f: f}, nil
}

// Put appends one id. It outlives the process at once; a power cut may lose
// it, which costs a question or two.
func (l *Log) Put(id object.ID) error {
	row := append(make([]byte, 0, logRecord), id[:]...)
	if _, err := l.f.Write(binary.BigEndian.AppendUint64(row, xxhash.Sum64(id[:]))); err != nil {
		return fmt.Errorf("cache: writing log of puts: %w", err)
	}
	return nil
}

// Close closes the log; the file stays until the upload is in a snapshot or
// given up.
func (l *Log) Close() error { return l.f.Close() }

// Adoption is what earlier runs that were cut off have left of use: their
// walks, and the objects of theirs that are durable.
type Adoption struct {
	Durable  *IDSet // what the store has of the adopted uploads, as far as it is known here
	Complete bool   // Durable has all of it: nothing else of these uploads is in the store
	partials []*walkReader
}

// Adopt reads what runs before this one have left. Logs of uploads that the
// store has not adopted are removed.
func (c *Cache) Adopt(adopted []object.Adopted) (*Adoption, error) {
	a := &Adoption{Complete: true}
	var err error
	if a.Durable, err = c.NewIDSet(objectMemory); err != nil {
		return nil, err
	}
	var keep []string
	for _, up := range adopted {
		name := putsKind + "-" + hex.EncodeToString(up.Session[:])
		n, err := c.readLog(name, up, a.Durable)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.note(fmt.Sprintf("cache: log of a cut-off upload is unusable: %v", err))
		}
		if n < up.Durable {
			a.Complete = false
		}
		keep = append(keep, name)
	}
	c.forgetUploads(keep)
	if len(adopted) > 0 {
		c.openPartials(a)
	}
	return a, nil
}

// Walk returns a cursor over what the cut-off walks have seen, nil when there
// is nothing.
func (a *Adoption) Walk() *Walk {
	if len(a.partials) == 0 {
		return nil
	}
	return newWalk(a.partials...)
}

// Close lets go of everything.
func (a *Adoption) Close() error {
	errs := []error{a.Durable.Close()}
	for _, p := range a.partials {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// readLog puts the first up.Durable ids of a log into set and returns how many
// it found.
func (c *Cache) readLog(name string, up object.Adopted, set *IDSet) (n uint64, err error) {
	f, err := c.fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReader(io.NewSectionReader(f, 0, size))
	head := make([]byte, logHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, fmt.Errorf("%q: %w", name, err)
	}
	want := append(append([]byte(logMagic), c.binding[:]...), up.Session[:]...)
	if string(head) != string(want) {
		return 0, fmt.Errorf("%q: not a version 1 log of this upload", name)
	}
	var row [logRecord]byte
	for ; n < up.Durable; n++ {
		if _, err := io.ReadFull(r, row[:]); err != nil {
			return n, nil // a torn end is what a cut-off run leaves
		}
		id := object.ID(row[:object.IDSize])
		if xxhash.Sum64(id[:]) != binary.BigEndian.Uint64(row[object.IDSize:]) {
			return n, nil
		}
		if _, err := set.Claim(id); err != nil {
			return n, err
		}
	}
	return n, nil
}

// openPartials opens the walks of cut-off runs, newest first, and removes those
// that reach no further than a newer one.
func (c *Cache) openPartials(a *Adoption) {
	for _, name := range c.named(partialKind) {
		r, err := openWalk(c.fsys, name, c.binding, false)
		if err == nil && r.end > walkHeader && (len(a.partials) == 0 || Compare(r.last, a.partials[len(a.partials)-1].last) > 0) {
			a.partials = append(a.partials, r)
			continue
		}
		if err == nil {
			_ = r.close()
		}
		_ = c.fsys.Remove(name)
	}
}

// named returns the names of all files of a kind, those with the highest
// numbers first.
func (c *Cache) named(kind string) []string {
	files, err := c.fsys.List(".")
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range files {
		if strings.HasPrefix(f.Name, kind+"-") {
			names = append(names, f.Name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(b, a)
	})
	return names
}

// ForgetUploads removes what cut-off runs have left, when there is nothing to go
// on with and no new generation to take its place.
func (c *Cache) ForgetUploads() { c.forgetUploads(nil) }

// forgetUploads removes the logs of cut-off uploads but those named in keep,
// and when none are kept the unfinished walks too.
func (c *Cache) forgetUploads(keep []string) {
	kinds := []string{putsKind}
	if len(keep) == 0 {
		kinds = append(kinds, partialKind)
	}
	for _, kind := range kinds {
		for _, name := range c.named(kind) {
			if !slices.Contains(keep, name) {
				_ = c.fsys.Remove(name)
			}
		}
	}
	c.sweep()
}
