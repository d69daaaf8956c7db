package copier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/object"
)

// groupSize is how many snapshots are looked through together, so that the round
// trips down a tree are made once for all of them; at most so many sealed parts,
// of a mebibyte, are held.
const groupSize = 16

// Chains is what planning needs of either repository.
type Chains interface {
	Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error
	Links(ctx context.Context, yield func(*object.Snapshot) error) error
}

// Source is the repository that is copied from. Fetch may be called by several
// goroutines at once, and inside its own yield.
type Source interface {
	Chains
	Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error)
	Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error
}

// Target is the replica.
type Target interface {
	Chains
	AddLinks(ctx context.Context, links []*object.Snapshot) (int, error)
	OpenReplica(ctx context.Context, client, job string) (Session, error)
}

// Session is an upload to the replica. Have and Put may be called by several
// goroutines at once.
type Session interface {
	Have(ctx context.Context, ids []object.ID) ([]bool, error)
	Put(ctx context.Context, rec *object.Record) error
	CommitReplica(ctx context.Context, snap *object.Snapshot) (object.Receipt, error)
	Close() error
}

// Problem is something that was not copied, and why.
type Problem struct {
	Client, Job string
	Snapshot    object.ID // zero: the whole job
	Err         error
}

// Copier copies from one repository to another. Report is called for what is not
// copied, Copied for each snapshot that was; both from one goroutine.
type Copier struct {
	From       Source
	To         Target // nil: an empty one that is only planned for
	Repository object.RepositoryID
	Scratch    string // an existing folder for temporary files
	Report     func(Problem)
	Copied     func(*object.Snapshot)

	counts struct{ snapshots, links, objects, bytes, problems atomic.Uint64 }
}

// Counts is what a Copier has done so far.
type Counts struct {
	Snapshots, Links uint64
	Objects, Bytes   uint64 // put, and bytes of their records
	Problems         uint64
}

// Counts may be called at any time.
func (c *Copier) Counts() Counts {
	n := &c.counts
	return Counts{n.snapshots.Load(), n.links.Load(), n.objects.Load(), n.bytes.Load(), n.problems.Load()}
}

func (c *Copier) report(p Problem) {
	c.counts.problems.Add(1)
	c.Report(p)
}

// Run does what was planned. Its error ends the run; what concerns one snapshot
// or job is reported, and the others are copied.
func (c *Copier) Run(ctx context.Context, p *Plan) error {
	for _, j := range p.Jobs {
		rest := j.items
		for len(rest) > 0 {
			n, copies := 0, 0
			for n < len(rest) && copies < groupSize {
				if !rest[n].link {
					copies++
				}
				n++
			}
			err := c.group(ctx, j, rest[:n])
			if concernsJob(err) {
				c.report(Problem{Client: j.Client, Job: j.Job, Err: err})
				break
			}
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}

// concernsJob reports whether err says that the chain of one job can't go on:
// others may all the same.
func concernsJob(err error) bool {
	for _, code := range []object.Code{object.CodeHeadMoved, object.CodeClock, object.CodeMalformed, object.CodeInvalid} {
		if errors.Is(err, code) {
			return true
		}
	}
	return errors.Is(err, object.ErrSignature)
}

// group is some snapshots of a job that are copied together.
type group struct {
	c     *Copier
	j     *Job
	s     Session // open, nil: none
	w     *walk
	whole map[object.ID]*object.Snapshot // to copy, with their sealed parts
	links []*object.Snapshot             // to add before the next commit
}

// group copies items: it looks through all of them, puts what the replica lacks,
// and commits them one after the other.
func (c *Copier) group(ctx context.Context, j *Job, items []item) (err error) {
	g := &group{c: c, j: j, whole: map[object.ID]*object.Snapshot{}}
	defer func() {
		if g.s != nil {
			err = errors.Join(err, g.s.Close())
		}
		if g.w != nil {
			err = errors.Join(err, g.w.close())
		}
	}()
	for _, it := range items {
		if err := c.trust(it.snap.Manifest); err != nil {
			return err
		}
	}
	if err := g.gather(ctx, items); err != nil {
		return err
	}
	for _, it := range items {
		if err := g.item(ctx, it); err != nil {
			return err
		}
	}
	return g.flush(ctx)
}

// trust checks what the replica would refuse, and says whose fault it is.
func (c *Copier) trust(m *object.Manifest) error {
	if m.Repository != c.Repository {
		return object.CodeMalformed.Errorf("the source has snapshot %s, which was made for repository %s", m.ID().Short(), m.Repository)
	}
	return m.Verify()
}

// gather gets the snapshots to copy, and puts what the replica lacks of them.
func (g *group) gather(ctx context.Context, items []item) error {
	var mu sync.Mutex
	fetch, fetching := errgroup.WithContext(ctx)
	for _, it := range items {
		if it.link {
			continue
		}
		id := it.snap.ID()
		fetch.Go(func() error {
			s, err := g.c.From.Snapshot(fetching, id)
			if err != nil && !errors.Is(err, object.CodeNotFound) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			g.whole[id] = s // nil when it was forgotten since it was planned
			return nil
		})
	}
	if err := fetch.Wait(); err != nil || len(g.whole) == 0 {
		return err
	}
	var err error
	if g.s, err = g.c.To.OpenReplica(ctx, g.j.Client, g.j.Job); err != nil {
		return err
	}
	if g.w, err = g.c.newWalk(g.s); err != nil {
		return err
	}
	var roots []object.ID
	for _, s := range g.whole {
		if s != nil {
			roots = append(roots, s.Manifest.Roots()...)
			g.w.named[s.Manifest.MetadataKey], g.w.named[s.Manifest.ContentKey] = true, true
		}
	}
	return g.w.run(ctx, roots)
}

// item adds one link or commits one snapshot.
func (g *group) item(ctx context.Context, it item) error {
	if it.link {
		g.links = append(g.links, it.snap)
		return nil
	}
	err := g.copy(ctx, g.whole[it.snap.ID()])
	var left *leftBehind
	if !errors.As(err, &left) {
		return err
	}
	g.c.report(Problem{Client: g.j.Client, Job: g.j.Job, Snapshot: it.snap.ID(), Err: left.err})
	if !it.below {
		g.links = append(g.links, linkOf(it.snap, true)) // those after it can still be copied
	}
	return nil
}

// leftBehind says why one snapshot is not copied. Its chain goes on without it.
type leftBehind struct{ err error }

func (e *leftBehind) Error() string { return e.err.Error() }

func (g *group) copy(ctx context.Context, snap *object.Snapshot) error {
	if snap == nil {
		return &leftBehind{object.CodeNotFound.Errorf("it was forgotten in the source while it was copied")}
	}
	if err := g.w.has(snap); err != nil {
		return err
	}
	if err := g.flush(ctx); err != nil {
		return err
	}
	if g.s == nil {
		var err error
		if g.s, err = g.c.To.OpenReplica(ctx, g.j.Client, g.j.Job); err != nil {
			return err
		}
	}
	err := g.commit(ctx, snap)
	if errors.Is(err, object.CodeExists) {
		return &leftBehind{err} // in the replica's trash
	}
	// What can't be committed has holes, which would be in the way of the next.
	s := g.s
	g.s = nil
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	g.c.counts.snapshots.Add(1)
	g.c.Copied(snap)
	return nil
}

// flush adds the links that come before the next snapshot.
func (g *group) flush(ctx context.Context) error {
	if len(g.links) == 0 {
		return nil
	}
	n, err := g.c.To.AddLinks(ctx, g.links)
	g.c.counts.links.Add(uint64(n))
	g.links = nil
	return err
}

// commit makes the open session the snapshot snap. What the replica had when it
// was asked may be gone meanwhile, by a prune, and what a copy that was cut off
// has put may have holes: that is put, and the commit made again, for as long as
// there is something to put.
func (g *group) commit(ctx context.Context, snap *object.Snapshot) error {
	for {
		_, err := g.s.CommitReplica(ctx, snap)
		var missing *object.MissingError
		if !errors.As(err, &missing) {
			return err
		}
		before := g.c.Counts().Objects
		w, err := g.c.newWalk(g.s)
		if err != nil {
			return err
		}
		err = w.run(ctx, missing.IDs)
		if err == nil {
			err = w.has(snap)
		}
		if err == nil && g.c.Counts().Objects == before {
			err = fmt.Errorf("the replica lacks %d objects of snapshot %s, and says that it has them; packnback check there says more", len(missing.IDs), snap.ID().Short())
		}
		if err := errors.Join(err, w.close()); err != nil {
			return err
		}
	}
}
