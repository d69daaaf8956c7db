package sender

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
	"golang.org/x/sync/errgroup"
)

// RolledBackError says that a store has less than it has acknowledged: its
// newest snapshot of the job is not the one that this machine knows, nor one
// after it. errors.Is(err, object.CodeDamaged) is true for it.
type RolledBackError struct {
	Client, Job string
	KnownSeq    uint64
	Known       object.ID
	StoreSeq    uint64
	Store       object.ID
}

// Error says what is wrong and what may be behind it.
func (e *RolledBackError) Error() string {
	return fmt.Sprintf("the store's newest snapshot of %s/%s is number %d (%s), but number %d (%s) was committed before; "+
		"the repository was rolled back, replaced, or is not the one it says it is",
		e.Client, e.Job, e.StoreSeq, e.Store.Short(), e.KnownSeq, e.Known.Short())
}

// Is makes the error one of damage.
func (e *RolledBackError) Is(target error) bool { return target == object.CodeDamaged }

// runner is one call of Run.
type runner struct {
	cfg    *Config
	events *events
	state  *state
	cache  *statcache.Cache
	link   *link
	ids    *crypto.IDs
	up     *crypto.Upload
	chunks *chunk.Chunker
	comp   *chunk.Compressor
	start  time.Time

	trust    *trust
	adoption *statcache.Adoption
	absent   map[object.ID]bool // survives from one session to the next
}

// Run makes one backup. It returns when the snapshot is committed, or with an
// error and no snapshot; a Summary without error that is Incomplete has one in
// which something is missing. When ctx ends, what is durable so far is kept
// for the next run. The errors of the store come back unchanged.
func Run(ctx context.Context, cfg Config, open Open, ev Events) (sum Summary, err error) {
	if err := object.CheckName("job", cfg.Job); err != nil {
		return sum, err
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
	if cfg.pause == nil {
		cfg.pause = pause
	}
	r := &runner{cfg: &cfg, events: newEvents(ev), start: cfg.now(), absent: make(map[object.ID]bool)}
	binding := statcache.Binding{Repository: cfg.Repository, SendKey: cfg.Key.Fingerprint(), Client: cfg.Key.Client(), Job: cfg.Job}
	if r.state, err = openState(cfg.at(cfg.Folders.State), binding.Hash(), r.events.warning); err != nil {
		return sum, err
	}
	if err := r.openCache(binding); err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := cfg.Source.leaveOut(r.cache.Dir()); err != nil {
		return sum, err
	}
	if err := r.prepareKeys(); err != nil {
		return sum, err
	}
	r.link = &link{
		open: open, cache: r.cache, dry: cfg.Options.DryRun, events: r.events,
		pause: cfg.pause, tries: cfg.Reconnects, keeps: cfg.Reconnects > 0,
	}
	return r.attempts(ctx)
}

func (r *runner) openCache(b statcache.Binding) (err error) {
	dir := ""
	if r.cfg.Folders.Cache != "" {
		dir = r.cfg.at(r.cfg.Folders.Cache)
		if err := tagCache(r.cfg.Folders.Cache); err != nil {
			return err
		}
	}
	r.cache, err = statcache.Open(dir, b, r.events.note)
	if errors.Is(err, statcache.ErrBusy) {
		r.events.note("another backup of this job uses the cache; this one reads everything")
		r.cache, err = statcache.Open("", b, r.events.note)
	}
	return err
}

// cacheTag tells programs that back up, this one among them, that a folder need
// not be kept: https://bford.info/cachedir/.
const cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder holds what packnback remembers of its last backups.\n"

func tagCache(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "CACHEDIR.TAG"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("marking the cache folder: %w", err)
	}
	_, err = f.WriteString(cacheTag)
	return errors.Join(err, f.Close())
}

func (r *runner) prepareKeys() (err error) {
	r.ids = crypto.NewIDs(r.cfg.Key)
	r.chunks = chunk.New(r.ids.ChunkerSecret())
	if r.comp, err = chunk.NewCompressor(r.cfg.Options.Level, r.cfg.Options.sealers()); err != nil {
		return err
	}
	r.up, err = crypto.NewUpload(r.cfg.Key)
	return err
}

func (r *runner) close() error {
	errs := []error{r.disconnect()}
	if r.cache != nil {
		errs = append(errs, r.cache.Close())
	}
	return errors.Join(errs...)
}

// disconnect ends the session and lets go of what was known about it.
func (r *runner) disconnect() error {
	var errs []error
	if r.link != nil {
		errs = append(errs, r.link.hangUp())
	}
	if t := r.trust; t != nil {
		errs = append(errs, t.claimed.Close())
		if t.verified != nil {
			errs = append(errs, t.verified.Close())
		}
		r.trust = nil
	}
	if r.adoption != nil {
		errs = append(errs, r.adoption.Close())
		r.adoption = nil
	}
	return errors.Join(errs...)
}

// reliance says how much of the cache a session relies upon.
type reliance int

const (
	relyAll      reliance = iota // on everything, if the store still has its base as the newest snapshot
	relyVerified                 // on what the store says it has
	relyNothing
)

// attempts repeats the pass when what it relied upon is not there: first with
// everything verified, then without any cache. Each has a session of its own,
// because what the refused one has put refers to what is missing.
func (r *runner) attempts(ctx context.Context) (Summary, error) {
	for rely := relyAll; ; {
		sum, err := r.attempt(ctx, rely)
		var missing *object.MissingError
		switch {
		case err == nil || rely == relyNothing || ctx.Err() != nil:
			return sum, err
		case errors.As(err, &missing):
			for _, id := range missing.IDs {
				r.absent[id] = false
			}
			if rely++; missing.More {
				rely = relyNothing
			}
		case errors.Is(err, statcache.ErrDamaged) || errors.Is(err, table.ErrDamaged):
			rely = relyNothing
		default:
			return sum, err
		}
		if rely == relyVerified {
			r.events.note(fmt.Sprintf("%v; reading again what they belong to", err))
			continue
		}
		r.events.note(fmt.Sprintf("%v; reading everything again", err))
		r.cache.Discard()
	}
}

func (r *runner) attempt(ctx context.Context, rely reliance) (Summary, error) {
	if err := r.disconnect(); err != nil {
		return Summary{}, err
	}
	if err := r.connect(ctx, rely); err != nil {
		return Summary{}, err
	}
	return r.pass(ctx)
}

// connect opens a session, settles what the last run left open, and finds out
// what may be relied upon. Absent ids are to be sent again in every session.
func (r *runner) connect(ctx context.Context, rely reliance) error {
	l := r.link
	for id := range r.absent {
		r.absent[id] = false
	}
	base := object.ID{}
	if gen := r.cache.Generation(); gen != nil {
		base = gen.Base
	}
	if next := r.cache.Next(); !next.IsZero() && rely != relyNothing {
		base = next // its commit may have succeeded
	}
	if err := l.dial(ctx, base); err != nil {
		return err
	}
	if l.standing.Repository != r.cfg.Repository {
		return fmt.Errorf("the session is with repository %s, not %s", l.standing.Repository, r.cfg.Repository)
	}
	if err := r.settle(); err != nil {
		return err
	}
	if gen := r.cache.Generation(); gen != nil && gen.Base == l.standing.Head && gen.Base != base {
		if err := l.hangUp(); err != nil {
			return err
		}
		if err := l.dial(ctx, gen.Base); err != nil {
			return err
		}
	}
	if err := r.checkHead(); err != nil {
		return err
	}
	if err := r.adopt(); err != nil {
		return err
	}
	l.begin()
	return r.buildTrust(ctx, rely)
}

// settle finds out from the store's head what became of a commit whose end the
// last run did not see.
func (r *runner) settle() error {
	if r.cfg.Options.DryRun {
		return nil
	}
	head := r.link.standing.Head
	if m := r.state.pending; m != nil {
		if m.ID() == head {
			r.events.note(fmt.Sprintf("the last run's snapshot %s was made, although its end was not seen", head.Short()))
			if err := r.state.committed(m, m.Time); err != nil {
				return err
			}
		} else if err := r.state.forget(); err != nil {
			return err
		}
	}
	return r.cache.Settle(head)
}

// checkHead refuses a store that has lost what it had acknowledged.
func (r *runner) checkHead() error {
	known, s := r.state.head, &r.link.standing
	if known == nil || s.Seq > known.seq || s.Seq == known.seq && s.Head == known.id {
		return nil
	}
	return &RolledBackError{
		Client: r.cfg.Key.Client(), Job: r.cfg.Job,
		KnownSeq: known.seq, Known: known.id, StoreSeq: s.Seq, Store: s.Head,
	}
}

// adopt takes over what cut-off runs have left.
func (r *runner) adopt() (err error) {
	if r.cfg.Options.DryRun {
		return nil // it would tidy up
	}
	adopted := r.link.standing.Adopted
	if r.adoption, err = r.cache.Adopt(adopted); err != nil {
		return err
	}
	if n := r.adoption.Durable.Len(); n > 0 {
		r.events.note(fmt.Sprintf("going on with an upload that was cut off: %d objects are there already", n))
	}
	return nil
}

// claimMemory is what the set of objects that this session has put holds in
// memory, in bytes.
const claimMemory = 4 << 20

func (r *runner) buildTrust(ctx context.Context, rely reliance) (err error) {
	s := &r.link.standing
	t := &trust{absent: r.absent, lacking: len(r.absent) > 0, gen: r.cache.Generation()}
	r.trust = t
	if t.claimed, err = r.cache.NewIDSet(claimMemory); err != nil {
		return err
	}
	complete := len(s.Adopted) == 0
	if r.adoption != nil {
		t.adopted = r.adoption.Durable
		complete = r.adoption.Complete
	}
	based := s.Based && t.gen != nil && t.gen.Base == s.Head
	t.ask = !complete || !based && s.Seq > 0
	if t.gen == nil || based && rely == relyAll {
		return nil
	}
	if !based {
		r.events.note(fmt.Sprintf("the store does not vouch for all of snapshot %s, which the cache is of; asking it about everything", t.gen.Base.Short()))
	}
	if t.verified, err = r.cache.NewIDSet(claimMemory); err != nil || s.Seq == 0 && !t.ask {
		return err
	}
	return r.verify(ctx)
}

// maxHave is how many ids one question may have.
const maxHave = 4096

// verify asks the store which of the cache's objects it has.
func (r *runner) verify(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(askInFlight)
	ask := func(ids []object.ID) {
		g.Go(func() error {
			have, err := r.link.have(gctx, ids)
			if err != nil {
				return err
			}
			for i := range ids {
				if !have[i] {
					continue
				}
				if _, err := r.trust.verified.Claim(ids[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ids := make([]object.ID, 0, maxHave)
	err := r.trust.gen.Objects(func(id object.ID) bool {
		if ids = append(ids, id); len(ids) == maxHave {
			ask(ids)
			ids = make([]object.ID, 0, maxHave)
		}
		return gctx.Err() == nil
	})
	if len(ids) > 0 {
		ask(ids)
	}
	return errors.Join(err, g.Wait())
}
