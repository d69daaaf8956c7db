package sender

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Store is an open session with a store, as far as a sender needs one. Have and
// Put may be called concurrently; Put is only ever called by one goroutine.
type Store interface {
	// Have reports for each of at most 4096 ids whether the upload may rely on it.
	Have(ctx context.Context, ids []object.ID) ([]bool, error)
	// Put hands over one object. It may return before the object is durable.
	Put(ctx context.Context, rec *object.Record) error
	// Durable returns how many puts of this session are durable, in their order.
	Durable() uint64
	// Commit makes the snapshot, or refuses it with an *object.MissingError.
	Commit(ctx context.Context, m *object.Manifest, sealed []byte) (object.Receipt, error)
}

// Open opens a session for the client and job of the backup. base is the
// snapshot that the sender's cache describes, zero when there is none. The
// Closer ends the session; without a commit the upload stays adoptable.
type Open func(ctx context.Context, base object.ID) (Store, object.Standing, io.Closer, error)

// Config says what to back up and how.
type Config struct {
	Key        *crypto.SendKey
	Repository object.RepositoryID // of the store that Open opens sessions with
	Job        string
	Folders    Folders
	Source     Source
	About      tree.Summary // Program, Hostname, Username, Paths, MorePaths, Tags and Excludes; Run fills in the rest
	Options    Options
	Reconnects int // how often a lost connection is opened again; 0: never, and nothing is kept for resending

	now   func() time.Time                          // nil: time.Now
	pause func(context.Context, time.Duration) bool // nil: pause
}

// Folders are where the sender keeps what it remembers. Each is shared by all
// repositories, clients and jobs.
type Folders struct {
	Cache string // "": none, everything is read
	State string // what must not be lost; not ""
}

// at returns where in a folder the files of one job are.
func (c *Config) at(folder string) string {
	return filepath.Join(folder, c.Repository.String(), c.Key.Client(), c.Job)
}

// Options are the choices of a backup; the zero value is the default.
type Options struct {
	DryRun          bool // do everything but store, remember and commit
	Force           bool // read every file, whatever the cache says
	IgnoreCtime     bool // a file with another ctime may be unchanged
	IgnoreInode     bool // a file with another inode number may be unchanged
	WithAtime       bool // keep access times
	SkipIfUnchanged bool // make no snapshot when it would equal the one before
	ReadConcurrency int  // files read at once; 0: twice the number of processors, at most 8
	Level           chunk.Level
}

// Change says how an entry compares with the last backup.
type Change int

// The changes.
const (
	Unmodified Change = iota
	Changed
	New
)

// Events is told what happens. Every field may be nil. Calls are never
// concurrent.
type Events struct {
	Problem  func(source.Problem)                     // an entry that was left out or is incomplete
	Note     func(string)                             // one line for people: something unusual that needs no action
	Warning  func(string)                             // likewise, and somebody should look; nil: Note
	Entry    func(path string, t tree.Type, c Change) // every entry, in walk order
	Progress *Progress                                // kept up to date meanwhile
}

// Progress counts while a backup runs. It is safe for concurrent use.
type Progress struct {
	Files, Dirs atomic.Uint64
	Bytes       atomic.Uint64 // of the files that are done
	Sent        atomic.Uint64 // bytes of records put
	Errors      atomic.Uint64
}

// Summary is the result of a backup.
type Summary struct {
	Snapshot object.ID // zero when none was made
	Seq      uint64
	Receipt  object.Receipt
	Skipped  bool         // nothing had changed and SkipIfUnchanged was set
	Counts   tree.Summary // all that the sealed part of the manifest says
}

// Incomplete reports whether something could not be read.
func (s *Summary) Incomplete() bool { return s.Counts.Errors > 0 }

// events serialises calls of Events and replaces what is nil.
type events struct {
	mu sync.Mutex
	Events
	errors uint64 // problems of this pass that make the snapshot incomplete
}

// again begins counting anew: another pass sees everything once more.
func (e *events) again() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.errors = 0
	for _, n := range [...]*atomic.Uint64{&e.Progress.Files, &e.Progress.Dirs, &e.Progress.Bytes, &e.Progress.Errors} {
		n.Store(0)
	}
}

func newEvents(e Events) *events {
	if e.Problem == nil {
		e.Problem = func(source.Problem) {}
	}
	if e.Note == nil {
		e.Note = func(string) {}
	}
	if e.Warning == nil {
		e.Warning = e.Note
	}
	if e.Progress == nil {
		e.Progress = new(Progress)
	}
	return &events{Events: e}
}

func (e *events) note(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Note(s)
}

func (e *events) warning(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Warning(s)
}

func (e *events) problem(p source.Problem) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.Kind != source.Skipped {
		e.errors++
		e.Progress.Errors.Add(1)
	}
	e.Problem(p)
}

func (e *events) entry(path string, t tree.Type, c Change) {
	if e.Entry == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Entry(path, t, c)
}
