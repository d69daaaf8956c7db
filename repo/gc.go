package repo

import (
	"context"
	"errors"
	"time"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

const (
	// deadSession is how long the upload of a dead session can be resumed.
	deadSession = 72 * time.Hour
	// foreignSession is how long another machine's session is believed to run:
	// its lock may not be seen here.
	foreignSession = 7 * 24 * time.Hour
	// longSession is the age from which a session no longer keeps from deletion
	// what it relies on; its commit checks again and puts what is gone.
	longSession = 24 * time.Hour
	// pruneRounds bounds how often a step is repeated without a lock because of
	// what was committed meanwhile.
	pruneRounds = 8
	// listMemory is in repair.go.
)

// PruneOptions are Prune's choices. The zero value prunes by the settings.
type PruneOptions struct {
	Grace      time.Duration // how long forgotten snapshots stay; negative: at once; 0: the setting
	MaxUnused  float64       // percent of the packs' bytes that may stay unused; negative: none; 0: the setting
	DryRun     bool          // change nothing, say what would be freed
	Yes        bool          // delete any share of a client's snapshots
	TrustClock bool          // the clock is right, whatever the repository has recorded
	Progress   func(string)  // called at the beginning of each step; nil: nobody wants to know
}

// PruneResult says what a prune has done, or with DryRun would do.
type PruneResult struct {
	Snapshots      int    // forgotten ones that are gone for good now
	Sessions       int    // files of dead sessions removed
	Strays         int    // packs removed that nothing named
	ObjectsKept    int    // locations
	ObjectsDeleted int    // locations
	PacksDeleted   int    // nothing in them was live
	PacksRewritten int    // what was live in them was copied
	BytesCopied    uint64 // for that
	BytesFreed     uint64 // by which the packs have become less
	BytesKept      uint64 // in packs, with what is unused
	BytesUnused    uint64 // in kept packs
	Braked         int    // with DryRun, clients of which so much would go that a prune without Yes refuses
}

// pruning is one Prune under way: the steps of packnback-repository(5),
// "Prune". Its memory is two bits a row of the index and some hundred bytes a
// pack.
type pruning struct {
	r       *Repository
	opt     PruneOptions
	scratch *scratch
	result  PruneResult
	expired []object.ID // snapshots whose grace is over
	strays  []strayPack // candidates
}

// Prune frees the space of what no snapshot reaches. It needs no key and lets
// uploads, forgets and restores go on meanwhile. Interrupted at any point it
// loses nothing, and the next one goes on where it was. CodeBusy says that
// another prune is running; CodeDamaged that something which snapshots need
// can't be read, in which case nothing is deleted.
func (r *Repository) Prune(ctx context.Context, opt PruneOptions) (PruneResult, error) {
	p := &pruning{r: r, opt: opt}
	err := r.withReserve(func() error {
		lock, ok, err := r.tryLock(pruneLock, exclusive)
		if err != nil {
			return err
		}
		if !ok {
			return object.CodeBusy.Errorf("another prune is running; wait for it to end")
		}
		defer lock.Unlock()
		return p.run(ctx)
	})
	return p.result, err
}

func (p *pruning) run(ctx context.Context) (err error) {
	if err := p.r.checkClock(p.opt.TrustClock); err != nil {
		return err
	}
	if err := p.r.checkMachines(); err != nil {
		return err
	}
	if err := p.r.sweep(); err != nil {
		return err
	}
	if p.scratch, err = p.r.newScratch(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.scratch.close()) }()
	began := p.r.now()
	for begun, swept := false, false; ; {
		cur, err := p.current()
		switch {
		case err != nil:
			return err
		case cur.lists.deleting != 0 && !p.opt.DryRun:
			err = p.sweepPacks(ctx)
			swept = begun
		case cur.lists.condemned != 0 && !p.opt.DryRun:
			if !begun {
				err = p.stillWhole(ctx)
			}
			if err == nil {
				err = p.spare(ctx, cur.generation)
			}
		case begun && !swept: // nothing to delete, but perhaps something to rewrite
			err = p.sweepPacks(ctx)
			swept = true
		case begun:
			if err := p.finish(ctx); err != nil {
				return err
			}
			return p.record(began)
		default:
			begun = true
			err = p.begin(ctx)
		}
		if err != nil {
			return err
		}
		if p.opt.DryRun {
			return nil
		}
	}
}

// stillWhole refuses to go on with a list of condemned that was made before
// this run, unless everything that snapshots need can be read: a repair makes
// such a list of a repository in which something is missing, and what that needs
// is on it. What is still in the trash after its grace doesn't count, or there
// would be no way out.
func (p *pruning) stillWhole(ctx context.Context) error {
	if err := p.findExpired(ctx); err != nil {
		return err
	}
	ids, err := p.r.rootSnapshots(true, p.expired) // before the view, which has all they need
	if err != nil {
		return err
	}
	v, err := p.r.acquire(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	p.say("marking what snapshots need")
	_, err = p.markSnapshots(ctx, v, func(pack.Name) bool { return false }, ids)
	return err
}

func (p *pruning) current() (*current, error) {
	_, cur, err := p.r.readCurrent()
	return cur, err
}

func (p *pruning) say(step string) {
	if p.opt.Progress != nil {
		p.opt.Progress(step)
	}
}

// begin is steps 1, 2 and 3: from the roots to the list of condemned.
func (p *pruning) begin(ctx context.Context) error {
	p.say("collecting roots")
	if err := p.prepare(ctx); err != nil {
		return err
	}
	s, err := p.start(ctx)
	if err != nil {
		return err
	}
	defer s.v.release()
	p.say("marking what snapshots need")
	m, err := p.mark(ctx, s)
	if err != nil {
		return err
	}
	// Not before: where CURRENT is older than the snapshots, these packs are theirs.
	if !p.opt.DryRun {
		if err := p.removeStrays(); err != nil {
			return err
		}
	}
	if p.opt.DryRun {
		return p.estimate(m)
	}
	return p.condemn(ctx, s, m)
}

// condemn is step 3: what of I0 was not reached is published as condemned. No
// marking is left to do under the lock, because R3 is published as what the
// mark began from; step 5 takes care of everything newer.
func (p *pruning) condemn(ctx context.Context, s *started, m *marker) error {
	condemned, err := p.sorter("condemned", locationLayout)
	if err != nil {
		return err
	}
	defer condemned.Close()
	for position := range s.v.set.Len() {
		if m.reached.Has(position) {
			continue
		}
		in, err := m.packOf(position)
		if err != nil {
			return err
		}
		if in.outside {
			continue
		}
		e, err := s.v.set.Entry(position)
		if err != nil {
			return damaged("the index", err, repairCommand)
		}
		if err := condemned.Add(appendLocation(nil, e.Location)); err != nil {
			return p.sorting(err)
		}
	}
	if condemned.Len() == 0 {
		return nil
	}
	names, err := p.sorter("i0", packLayout)
	if err != nil {
		return err
	}
	defer names.Close()
	for i := range m.packs {
		if !m.packs[i].outside {
			if err := names.Add(m.packs[i].Name[:]); err != nil {
				return p.sorting(err)
			}
		}
	}
	roots, err := p.sorter("roots", rootLayout)
	if err != nil {
		return err
	}
	defer roots.Close()
	for _, id := range s.snapshots {
		if err := roots.Add(id[:]); err != nil {
			return p.sorting(err)
		}
	}
	return p.publishLists(ctx, condemned, names, roots)
}

// publishLists publishes condemned, I0 and R3 in one new CURRENT.
func (p *pruning) publishLists(ctx context.Context, condemned, names, roots *table.Sorter) error {
	type list struct {
		tmp    string
		layout table.Layout
		rows   *table.Sorter
	}
	lists := []list{{"condemned.list", locationLayout, condemned}, {"i0.list", packLayout, names}, {"roots.list", rootLayout, roots}}
	for _, l := range lists {
		if err := p.r.writeList(p.scratch.file(l.tmp), l.layout, table.Dedup(l.rows.Rows())); err != nil {
			return err
		}
	}
	gc, err := p.r.lockGC(ctx, exclusive)
	if err != nil {
		return err
	}
	defer gc.Unlock()
	_, err = p.r.updateCurrent(ctx, func(cur *current) error {
		for i, number := range []*uint64{&cur.lists.condemned, &cur.lists.packs, &cur.lists.roots} {
			n, err := p.r.publishNumbered(cur, p.scratch.file(lists[i].tmp), "gc", listName)
			if err != nil {
				return err
			}
			*number = n
		}
		cur.generation++
		cur.published = cur.receive(p.r.now())
		return nil
	})
	return err
}

func (p *pruning) sorter(name string, l table.Layout) (*table.Sorter, error) {
	s, err := table.NewSorter(p.r.fs, p.scratch.file(name), l, listMemory)
	if err != nil {
		return nil, p.sorting(err)
	}
	return s, nil
}

func (p *pruning) sorting(err error) error { return storeError("sorting in", p.scratch.dir, err) }
