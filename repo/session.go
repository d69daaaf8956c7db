package repo

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

const (
	// maxSessions is how many sessions of one client may live at once.
	maxSessions = 4
	// maxUnfinished is how many uploads of a client, of whatever jobs, may lie
	// there unfinished: a hostile sender could begin one a second.
	maxUnfinished = 64
	// maxAsked is how many ids one call of Have may ask for.
	maxAsked = 4096
)

// SessionRequest says whose upload a session is. Client, Job and Quota are the
// store's decision, not the sender's.
type SessionRequest struct {
	Client, Job string
	Base        object.ID // snapshot that the sender's cache is bound to; zero: none
	Quota       uint64    // bytes the client may use in all; 0: no limit
	Blind       bool      // nothing is visible but the session's own puts
	Replica     bool      // the snapshot is copied from another repository: see CommitReplica
}

func (req *SessionRequest) sort() sessionSort {
	switch {
	case req.Replica:
		return copyingSession
	case req.Blind:
		return blindSession
	}
	return plainSession
}

// Session is one upload. Have, Put, Durable and Checkpoint may be called by
// several goroutines at once; Commit and Close wait for nobody else's call and
// must be called alone.
type Session struct {
	r        *Repository
	req      SessionRequest
	opened   int64
	file     *sessionFile
	scratch  *scratch
	standing object.Standing
	visible  *visibleSet // empty when blind
	suspect  bool        // a repair had put something aside when the session opened
	sound    bool        // neither that, nor was anything quarantined
	durable  atomic.Uint64

	saving sync.Mutex // held while a checkpoint is made; before mu
	kick   chan struct{}
	stop   context.CancelFunc
	worker errgroup.Group

	mu         sync.Mutex // guards what follows
	room       sync.Cond  // on mu: fewer packs wait to be sealed
	err        error      // why nothing more can be stored
	phase      phase
	refused    bool // the last commit lacked objects, and nothing was put since
	view       *view
	generation uint64 // acknowledged
	base       object.ID

	own      *index.Collector // what this session has stored, adopted packs included
	needs    *table.Sorter    // ids that the own objects refer to
	met      *table.Sorter    // ids that the commit check of a replica's session met in CURRENT; nil for others
	lastKeys [3]object.ID     // key object last seen, by class
	packs    []*ownPack       // all of them, oldest first
	open     [3]*ownPack      // being written, by pack.Type
	full     []*ownPack       // waiting to be sealed
	counter  uint32           // of the newest pack
	fresh    map[string]bool  // folders of packs that are not durable yet

	puts     uint64
	received uint64 // bytes of records, adopted uploads included
	unsaved  int64  // bytes received since the last checkpoint
	lease    uint64
	margin   uint64 // bytes that may be stored before the next look at the free space
	sums     object.Measures
}

// phase is how far a session has got.
type phase int

const (
	uploading phase = iota
	committing
	over
)

// ownPack is a pack of this session or one it has adopted.
type ownPack struct {
	packState              // what is durable
	w         *pack.Writer // nil once sealed, or adopted
}

// OpenSession begins an upload, or continues those of the same client and job
// that were cut off. CodeBusy says that the client has too many sessions.
func (r *Repository) OpenSession(ctx context.Context, req SessionRequest) (*Session, error) {
	if err := errors.Join(object.CheckName("client", req.Client), object.CheckName("job", req.Job)); err != nil {
		return nil, object.CodeInvalid.Errorf("%w", err)
	}
	if req.Blind && req.Replica {
		return nil, object.CodeInvalid.Errorf("a session that copies to a replica can't be blind")
	}
	s := &Session{r: r, req: req, opened: r.now(), visible: new(visibleSet),
		kick: make(chan struct{}, 1), fresh: map[string]bool{}} // one kick waits while a checkpoint is made
	s.room.L = &s.mu
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.worker.Go(func() error { return s.keepSaving(background) })
	return s, nil
}

func (s *Session) start(ctx context.Context) error {
	for _, name := range folders {
		if err := s.r.fs.Mkdir(name); err != nil {
			return storeError("making the folder", name, err)
		}
	}
	if err := s.r.sweep(); err != nil {
		return err
	}
	var err error
	if s.scratch, err = s.r.newScratch(ctx); err != nil {
		return err
	}
	if s.own, err = index.NewCollector(s.r.fs, s.scratch.file("own"), s.r.tune.sorterMemory); err != nil {
		return storeError("sorting in", s.scratch.dir, err)
	}
	if s.needs, err = table.NewSorter(s.r.fs, s.scratch.file("needs"), rootLayout, s.r.tune.sorterMemory); err != nil {
		return storeError("sorting in", s.scratch.dir, err)
	}
	if s.req.Replica {
		if s.met, err = table.NewSorter(s.r.fs, s.scratch.file("met"), rootLayout, descendMemory); err != nil {
			return storeError("sorting in", s.scratch.dir, err)
		}
	}
	if err := s.admit(ctx); err != nil {
		return err
	}
	if err := s.pin(ctx); err != nil {
		return err
	}
	return s.adopt(ctx)
}

// admit makes the session file unless the client has too many living ones.
func (s *Session) admit(ctx context.Context) error {
	lock, err := s.r.lockIn(ctx, quotaFolder(s.req.Client), clientLock(s.req.Client))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	living, unfinished := 0, 0
	err = s.r.eachSession(func(id object.SessionID, other *sessionState, err error) error {
		if err != nil || other.client != s.req.Client {
			return nil
		}
		if other.job != s.req.Job {
			unfinished++
		}
		alive, err := s.r.alive(sessionName(id))
		if alive {
			living++
		}
		return err
	})
	if err != nil {
		return err
	}
	if living >= maxSessions {
		return object.CodeBusy.Errorf("client %s has %d uploads running already, which is the most there may be; wait for one to end", s.req.Client, living)
	}
	if unfinished >= maxUnfinished {
		return object.CodeBusy.Errorf("client %s has unfinished uploads of %d other jobs, which is the most there may be; finish one, or wait for `packnback prune` to remove those older than 72 hours", s.req.Client, unfinished)
	}
	s.file, err = s.r.createSessionFile(ctx, sessionHeader{
		repository: s.r.id, machine: s.r.machine, opened: s.opened,
		sort: s.req.sort(), client: s.req.Client, job: s.req.Job,
	})
	return err
}

// pin reads where the job stands, and keeps its newest snapshot from being
// collected while this session may rely on it.
func (s *Session) pin(ctx context.Context) error {
	gc, err := s.r.lockGC(ctx, shared)
	if err != nil {
		return err
	}
	defer gc.Unlock()
	if s.view, err = s.r.acquire(ctx); err != nil {
		return err
	}
	s.generation = s.view.cur.generation
	h, err := s.readStanding(ctx)
	if err != nil {
		return err
	}
	s.standing = object.Standing{Repository: s.r.id, Session: s.file.id, Seq: h.seq, Head: h.id}
	// Where something was found bad or lost the base may have holes that no ref
	// of a new object shows. A sender without a base asks about all it relies on.
	if s.suspect, err = s.r.repaired(); err != nil {
		return err
	}
	s.sound = !s.suspect && s.view.quarantine == nil
	if h.seq > 0 && !s.req.Blind {
		there, err := exists(s.r.fs, snapshotName("snapshots", h.id))
		if err != nil {
			return err
		}
		if there {
			s.base = h.id
			s.standing.Based = s.req.Base == h.id && s.sound
		}
	}
	return s.file.append(generationRecord(s.generation, s.base))
}

// repaired reports whether a repair has put something aside and nobody has
// cleared that away yet: what was reachable then need not be whole.
func (r *Repository) repaired() (bool, error) {
	names, err := r.fs.List("damaged")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, storeError("listing", "damaged", err)
	}
	return len(names) > 0, nil
}

func (s *Session) readStanding(ctx context.Context) (*head, error) {
	lock, err := s.r.lockHead(ctx, s.req.Client, s.req.Job)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	h, err := s.r.currentHead(s.req.Client, s.req.Job)
	if err != nil || s.req.Blind {
		return h, err
	}
	visible, err := s.r.openVisible(h)
	if err != nil {
		return nil, err
	}
	s.visible = visible
	return h, nil
}

// Standing returns what the store told the sender when the session opened.
func (s *Session) Standing() object.Standing { return s.standing }

// usable says why the session takes nothing more. The caller holds s.mu.
func (s *Session) usable() error {
	switch {
	case s.err != nil:
		return s.err
	case s.phase == committing:
		return object.CodeInvalid.Errorf("the upload is being committed")
	case s.phase == over:
		return object.CodeInvalid.Errorf("the upload is over")
	}
	return nil
}

// Close ends the session. Without a commit the upload is kept, as far as it is
// durable, for the next session of the client and job to continue; one whose
// commit was refused with a MissingError is not, unless more was put since.
func (s *Session) Close() error {
	s.mu.Lock()
	done := s.phase == over
	s.mu.Unlock()
	if s.stop == nil {
		return nil
	}
	s.stop()
	err := s.worker.Wait()
	s.stop = nil
	if !done {
		err = errors.Join(err, s.leave())
	}
	return errors.Join(err, s.release())
}

// leave makes the upload durable for whoever continues it, and gives back what
// it has not used of its lease. An upload without anything leaves no trace.
func (s *Session) leave() error {
	s.mu.Lock()
	s.phase = over
	failed, refused := s.err, s.refused
	s.mu.Unlock()
	if failed != nil {
		return nil // whoever called was told
	}
	if refused {
		// It has objects that refer to what isn't there, and would be refused again
		// whoever continued it. Its packs belong to nobody now: prune removes them.
		if err := s.r.settle(context.Background(), s.req.Client, s.file.id, s.received); err != nil {
			return err
		}
		return s.r.removeSessionFile(s.file.name)
	}
	if err := s.save(); err != nil {
		return err
	}
	if len(s.packs) == 0 {
		err := s.file.remove()
		s.file = nil
		return err
	}
	if s.lease > s.received {
		return s.file.append(leaseRecord(s.received))
	}
	return nil
}

// release closes what the session has open.
func (s *Session) release() error {
	var errs []error
	for _, p := range s.packs {
		if p.w != nil {
			errs = append(errs, p.w.Close())
		}
	}
	if s.own != nil {
		errs = append(errs, s.own.Close())
	}
	if s.needs != nil {
		errs = append(errs, s.needs.Close())
	}
	if s.met != nil {
		errs = append(errs, s.met.Close())
	}
	errs = append(errs, s.visible.close())
	if s.view != nil {
		errs = append(errs, s.view.release())
	}
	if s.file != nil {
		errs = append(errs, s.file.close())
	}
	if s.scratch != nil {
		errs = append(errs, s.scratch.close())
	}
	return errors.Join(errs...)
}
