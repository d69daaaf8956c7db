package sender

import (
	"context"
	"errors"
	"fmt"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/repo/object"
)

// errEmpty keeps a snapshot of nothing from becoming the newest one.
var errEmpty = errors.New("nothing to back up: the folder is empty or everything in it is excluded")

// pass walks once and commits.
func (r *runner) pass(ctx context.Context) (sum Summary, err error) {
	r.events.again()
	if err := r.trust.findSparse(); err != nil {
		return sum, err
	}
	build, err := r.cache.NewBuild(r.trust.carried(), r.cfg.Options.DryRun)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, build.Abandon()) }()
	p := &pass{
		cfg: r.cfg, events: r.events, cache: r.cache, build: build, trust: r.trust, ids: r.ids, up: r.up,
		link: r.link, chunks: r.chunks, comp: r.comp, counts: new(counters), adoption: r.adoption,
	}
	p.increment.wanted = r.cfg.Options.Level == chunk.LevelDefault && r.trust.gen != nil
	root, err := p.run(ctx)
	if err != nil {
		return sum, err
	}
	if root.tally.empty() {
		return sum, errEmpty
	}
	if r.cfg.Options.DryRun {
		r.summarise(&sum, p, root)
		return sum, nil
	}
	if gen := r.trust.gen; r.cfg.Options.SkipIfUnchanged && gen != nil && gen.Base == r.link.standing.Head && gen.Root == root.id {
		r.summarise(&sum, p, root)
		sum.Skipped = true
		return sum, nil
	}
	// The manifest names both keys, so this session must have them, even if an
	// earlier one of this run was the one to need them.
	if err := p.putKey(ctx, object.ClassMetadata); err != nil {
		return sum, err
	}
	if r.up.Used(object.ClassContent) {
		if err := p.putKey(ctx, object.ClassContent); err != nil {
			return sum, err
		}
	}
	r.summarise(&sum, p, root)
	return sum, r.commit(ctx, p, root, &sum)
}

// summarise fills in what is known before the commit.
func (r *runner) summarise(sum *Summary, p *pass, root *rootFolder) {
	c := r.cfg.About
	t := root.tally
	c.Start, c.End = treeTime(r.start), treeTime(r.cfg.now())
	c.FilesNew, c.FilesChanged, c.FilesUnmodified = t.files[New], t.files[Changed], t.files[Unmodified]
	c.DirsNew, c.DirsChanged, c.DirsUnmodified = t.dirs[New], t.dirs[Changed], t.dirs[Unmodified]
	c.Others, c.TotalBytes = t.others, t.bytes
	c.Added, c.AddedPacked = p.counts.added, p.counts.packed
	c.Errors = r.events.errors
	c.Root = root.entry
	sum.Counts = c
}

// commit signs a manifest, makes it durable here, and asks the store for the
// snapshot.
func (r *runner) commit(ctx context.Context, p *pass, root *rootFolder, sum *Summary) error {
	s := &r.link.standing
	m := &object.Manifest{
		Repository: r.cfg.Repository, Client: r.cfg.Key.Client(), Job: r.cfg.Job,
		Seq: s.Seq + 1, Prev: s.Head, Root: root.id, Time: r.cfg.now().UnixNano(),
	}
	plain, err := sum.Counts.Append(nil)
	if err != nil {
		return fmt.Errorf("summary of the snapshot: %w", err)
	}
	part, err := r.up.SealPart(m, plain)
	if err != nil {
		return err
	}
	if err := r.cfg.Key.Sign(m); err != nil {
		return err
	}
	id := m.ID()
	uncached := p.build.Finish(id, root.id)
	if err := uncached; err != nil {
		r.events.warning(fmt.Sprintf("no cache for the next run, which will read everything: %v", err))
		r.cache.Discard()
	}
	if err := r.state.prepare(m); err != nil {
		return err
	}
	receipt, err := r.link.commit(ctx, m, part)
	if err != nil {
		return r.refused(err)
	}
	sum.Snapshot, sum.Seq, sum.Receipt = id, m.Seq, receipt
	if uncached != nil {
		r.cache.ForgetUploads() // a disk that is full should not stay so because of us
	}
	// From here on the snapshot is there, whatever goes wrong.
	if err := errors.Join(r.state.committed(m, receipt.Received), r.cache.Settle(id)); err != nil {
		r.events.warning(fmt.Sprintf("snapshot %s is committed, but this machine can't remember it: %v", id.Short(), err))
	}
	return nil
}

// refused clears up after a commit that was certainly not made. After any other
// error the next run finds out.
func (r *runner) refused(err error) error {
	if !errors.Is(err, object.CodeMissing) {
		return err
	}
	return errors.Join(err, r.state.forget(), r.cache.Settle(object.ID{}))
}
