package repo

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// fewExpired is how many snapshots of a client may always go at once, whatever
// share of them that is: with a handful of snapshots every share is large.
const fewExpired = 5

// checkShare refuses to delete most of a client's snapshots at once: a policy
// that was set wrong, or a clock, does that more often than a person. A dry run
// only counts the clients.
func (p *pruning) checkShare(ctx context.Context) error {
	if p.opt.Yes || len(p.expired) <= fewExpired {
		return nil
	}
	all, gone := map[string]int{}, map[string]int{} // by client
	for _, folder := range []string{"snapshots", "trash"} {
		err := p.r.eachSnapshot(ctx, folder, func(s *object.Snapshot) error {
			all[s.Manifest.Client]++
			if folder == "trash" && slices.Contains(p.expired, s.ID()) {
				gone[s.Manifest.Client]++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	limit := p.r.percent(settingMaxDeleted)
	for client, n := range gone {
		switch {
		case n <= fewExpired || float64(n)*100 <= limit*float64(all[client]):
		case p.opt.DryRun:
			p.result.Braked++
		default:
			return object.CodeBraked.Errorf("%d of the %d snapshots of %s would be deleted for good, which is more than %g %% (setting %s); nothing was deleted; look at them, then use --yes, or bring them back with unforget",
				n, all[client], client, limit, settingMaxDeleted)
		}
	}
	return nil
}

// estimate fills in the result of a dry run.
func (p *pruning) estimate(m *marker) error {
	s := &sweeping{p: p, v: m.v}
	position := -1
	err := s.count(context.Background(), func(index.Entry) (bool, error) {
		position++
		in, err := m.packOf(position)
		return err == nil && !in.outside && !m.reached.Has(position), err
	})
	if err != nil {
		return err
	}
	rewrite, err := s.choose()
	if err != nil {
		return err
	}
	res := &p.result
	res.Snapshots = len(p.expired)
	res.Strays = len(p.strays)
	for _, x := range p.strays {
		res.BytesFreed += uint64(x.size)
	}
	for _, u := range rewrite {
		u.gone, u.copied = true, true
		res.PacksRewritten++
		res.BytesCopied += u.live
		res.BytesFreed += u.unused()
	}
	for i := range s.use {
		if u := &s.use[i]; u.gone && !u.copied {
			res.PacksDeleted++
			res.BytesFreed += u.fileSize()
		}
	}
	s.tally()
	return nil
}

// tally adds up what stays.
func (s *sweeping) tally() {
	res := &s.p.result
	res.ObjectsKept, res.BytesKept, res.BytesUnused = 0, 0, 0
	for i := range s.use {
		u := &s.use[i]
		res.ObjectsKept += u.kept
		switch {
		case !u.gone:
			res.BytesKept += u.fileSize()
			res.BytesUnused += u.unused()
		case u.copied && s.p.opt.DryRun:
			res.BytesKept += u.live
		}
	}
	for _, p := range s.made {
		res.BytesKept += uint64(p.Size) + pack.SealSize
	}
}

// finish does what needs no lock and may be left out without harm: visible sets
// become exact, and clients are charged what their snapshots reach.
func (p *pruning) finish(ctx context.Context) error {
	p.say("counting anew what clients see and use")
	if err := p.r.removeStrays(ctx); err != nil {
		return err
	}
	folders, err := list(p.r.fs, "heads")
	if err != nil {
		return err
	}
	var clients []string
	for _, f := range folders {
		clients = append(clients, f.Name)
	}
	charges, err := p.charges(ctx, clients...)
	if err != nil {
		return err
	}
	for _, client := range clients {
		jobs, err := list(p.r.fs, "heads/"+client)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if err := p.exactVisible(ctx, client, job.Name); err != nil {
				return err
			}
			if err := p.tidyHead(ctx, client, job.Name); err != nil {
				return err
			}
		}
		if err := p.rebase(ctx, client, charges[client]); err != nil {
			return err
		}
	}
	return nil
}

// exactVisible replaces a job's visible sets, which may hold too much, by what
// its newest snapshot reaches. If the job commits meanwhile, its sets stay.
func (p *pruning) exactVisible(ctx context.Context, client, job string) error {
	h, err := p.r.readHead(client, job)
	if err != nil || len(h.visible) == 0 {
		return err
	}
	v, err := p.r.acquire(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	m, err := newMarker(v, func(object.ID, object.ID) {})
	if err != nil {
		return err
	}
	gone, err := p.r.onlyLink(h.id)
	if err != nil {
		return err
	}
	if !gone {
		if err := m.markSnapshot(h.id); err != nil {
			return err
		}
	}
	if err := m.run(ctx); err != nil {
		return err
	}
	tmp := p.scratch.file("visible")
	rows, err := p.r.writeVisible(tmp, m.ids())
	if err != nil {
		return err
	}
	bytes, err := m.bytes()
	if err != nil {
		return err
	}
	if err := p.publishExact(ctx, h, tmp, rows, bytes); err != nil {
		return err
	}
	if err := p.r.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", tmp, err)
	}
	return nil
}

// publishExact puts the set tmp in the place of all visible sets of was, unless
// the head has moved since, or an upload of the job is running: what it relies
// on by the old sets must still be visible when it has become the head. bytes is
// what was's snapshot reaches, of which its history had an estimate.
func (p *pruning) publishExact(ctx context.Context, was *head, tmp string, rows, bytes uint64) error {
	lock, err := p.r.lockHead(ctx, was.client, was.job)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	h, err := p.r.readHead(was.client, was.job)
	if err != nil || h.id != was.id || !slices.Equal(h.visible, was.visible) {
		return err
	}
	past := unmarshalHistory(h.history)
	exact := len(h.visible) == 1 && h.visible[0].rows == rows // a superset of the same size
	if exact && past.all == bytes {
		return nil
	}
	running := false
	err = p.r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err != nil || running || s.client != h.client || s.job != h.job {
			return nil // one that can't be read has not begun, or has nothing to commit
		}
		running, err = p.r.alive(sessionName(id))
		return err
	})
	if err != nil || running {
		return err
	}
	past.all = bytes
	h.history = past.append(nil)
	if exact {
		return p.r.writeHead(h)
	}
	return p.r.swapVisible(h, 0, len(h.visible), tmp, rows)
}

// tidyHead removes what crashes have left beside a head: visible sets that it
// doesn't name.
func (p *pruning) tidyHead(ctx context.Context, client, job string) error {
	lock, err := p.r.lockHead(ctx, client, job)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	h, err := p.r.readHead(client, job)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, ref := range h.visible {
		named[visibleName(client, job, ref.number)] = true
	}
	entries, err := list(p.r.fs, headFolder(client, job))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(headFolder(client, job), e.Name)
		if path.Ext(name) != ".visible" || named[name] {
			continue
		}
		if err := p.r.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError("removing", name, err)
		}
	}
	return p.r.removeUnfinished(headName(client, job))
}

// onlyLink reports whether nothing but its link is left of a snapshot.
func (r *Repository) onlyLink(id object.ID) (bool, error) {
	for _, folder := range []string{"snapshots", "trash"} {
		there, err := exists(r.fs, snapshotName(folder, id))
		if err != nil || there {
			return false, err
		}
	}
	return true, nil
}

// rebaseTries is how often rebase begins again because the client committed.
const rebaseTries = 3

// charge is what a client was charged when its snapshots were listed.
type charge struct {
	before    uint64
	snapshots []object.ID
}

// charges returns the charges of clients, and for all of them in one go which
// snapshots they have, live ones and those in trash. Charges are read first: a
// snapshot that isn't listed has raised its client's since.
func (p *pruning) charges(ctx context.Context, clients ...string) (map[string]*charge, error) {
	all := map[string]*charge{}
	for _, client := range clients {
		before, err := p.r.chargedNow(ctx, client)
		if err != nil {
			return nil, err
		}
		all[client] = &charge{before: before}
	}
	for _, folder := range []string{"snapshots", "trash"} {
		err := p.r.eachSnapshot(ctx, folder, func(s *object.Snapshot) error {
			if c := all[s.Manifest.Client]; c != nil {
				c.snapshots = append(c.snapshots, s.ID())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rebase charges a client what its snapshots reach, and what was received since
// that was looked up. A client that commits all the time keeps its old charge,
// which is too high rather than too low.
func (p *pruning) rebase(ctx context.Context, client string, c *charge) error {
	for try := range rebaseTries {
		if try > 0 {
			again, err := p.charges(ctx, client)
			if err != nil {
				return err
			}
			c = again[client]
		}
		total, err := p.reachedBy(ctx, c.snapshots)
		if err != nil {
			return err
		}
		done, err := p.r.recharge(ctx, client, c.before, total)
		if err != nil || done {
			return err
		}
	}
	return nil
}

// reachedBy returns the bytes of the objects that snapshots reach, each counted
// once.
func (p *pruning) reachedBy(ctx context.Context, snapshots []object.ID) (uint64, error) {
	v, err := p.r.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer v.release()
	m, err := newMarker(v, func(object.ID, object.ID) {})
	if err != nil {
		return 0, err
	}
	for _, id := range snapshots {
		if err := m.markSnapshot(id); err != nil {
			return 0, err
		}
	}
	if err := m.run(ctx); err != nil {
		return 0, err
	}
	return m.bytes()
}

// chargedNow returns what a client's committed uploads are charged.
func (r *Repository) chargedNow(ctx context.Context, client string) (uint64, error) {
	lock, err := r.lockIn(ctx, quotaFolder(client), clientLock(client))
	if err != nil {
		return 0, err
	}
	defer lock.Unlock()
	u, err := r.readUsed(client)
	if err != nil {
		return 0, err
	}
	return u.bytes, nil
}

// recharge replaces the charge before by total; done is false when it has
// changed meanwhile.
func (r *Repository) recharge(ctx context.Context, client string, before, total uint64) (done bool, err error) {
	lock, err := r.lockIn(ctx, quotaFolder(client), clientLock(client))
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	u, err := r.readUsed(client)
	if err != nil || u.bytes != before {
		return false, err
	}
	if err := r.removeUnfinished(usedName(client)); err != nil {
		return false, err
	}
	if u.bytes == total {
		return true, nil
	}
	u.bytes = total
	return true, r.replaceFile(usedName(client), u.append(nil))
}
