package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// packRepairer is one RepairPacks under way.
type packRepairer struct {
	r       *Repository
	report  func(Problem)
	result  CheckResult
	scratch *scratch
	v       *view
	bad     map[pack.Name]*salvage
	rows    *index.Collector // of what was saved
	kept    int              // rows of packs that are whole
	session object.SessionID // that the new packs are named after
	made    uint32           // new packs
	w       *pack.Writer     // the one being written, nil: none
}

// errCutOff is for a prune that can go on by itself.
var errCutOff = object.CodeBusy.Errorf("a prune was cut off; run `packnback prune` and then repair")

// salvage is a damaged pack and the pack that takes over what is whole of it.
type salvage struct {
	old  index.Pack
	made index.Pack // without records: nothing was whole
}

// RepairPacks reads all packs and replaces those that are damaged by new ones
// with what is whole of them. A damaged pack goes to the folder damaged before
// anything else changes. Objects that are lost are reported; the next backups
// bring again what their senders still have. CodeBusy says that a check, prune
// or repair is running, or that a prune was cut off and has to end first; what
// kept it from that has been marked as bad.
func (r *Repository) RepairPacks(ctx context.Context, report func(Problem)) (CheckResult, error) {
	prune, ok, err := r.tryLock(pruneLock, exclusive)
	if err != nil {
		return CheckResult{}, err
	}
	if !ok {
		return CheckResult{}, object.CodeBusy.Errorf("a check, prune or repair is running; repair when it is done")
	}
	defer prune.Unlock()
	// Merges would take the segments away that this is about to rewrite.
	merge, err := r.lock(ctx, mergeLock, exclusive)
	if err != nil {
		return CheckResult{}, err
	}
	defer merge.Unlock()
	rp := &packRepairer{r: r, report: report, bad: map[pack.Name]*salvage{}}
	rand.Read(rp.session[:])
	err = rp.run(ctx)
	return rp.result, errors.Join(err, rp.close())
}

func (rp *packRepairer) problem(p Problem) {
	rp.result.Problems++
	if rp.report != nil {
		rp.report(p)
	}
}

func (rp *packRepairer) close() error {
	var errs []error
	if rp.w != nil {
		errs = append(errs, rp.w.Close())
	}
	if rp.rows != nil {
		errs = append(errs, rp.rows.Close())
	}
	if rp.v != nil {
		errs = append(errs, rp.v.release())
	}
	if rp.scratch != nil {
		errs = append(errs, rp.scratch.close())
	}
	return errors.Join(errs...)
}

func (rp *packRepairer) run(ctx context.Context) error {
	var err error
	if rp.v, err = rp.r.acquire(ctx); err != nil {
		return err
	}
	// A condemned object in a new place would not be condemned any more, and
	// what is below it may be half gone.
	lists := rp.v.cur.lists
	if lists.deleting != 0 {
		return errCutOff
	}
	if err := rp.findBad(ctx); err != nil || len(rp.bad) == 0 {
		return err
	}
	if rp.scratch, err = rp.r.newScratch(ctx); err != nil {
		return err
	}
	if lists.condemned != 0 {
		return rp.markLost(ctx)
	}
	if rp.rows, err = index.NewCollector(rp.r.fs, rp.scratch.file("rows"), repairMemory); err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	for _, s := range rp.bad {
		if err := rp.keepCopy(s.old); err != nil {
			return err
		}
	}
	if err := rp.save(ctx); err != nil {
		return err
	}
	if err := rp.publish(ctx); err != nil {
		return err
	}
	return rp.unlink(ctx)
}

// findBad reads all packs and finds those that are not what the index says.
func (rp *packRepairer) findBad(ctx context.Context) error {
	m, err := newMarker(rp.v, nil)
	if err != nil {
		return err
	}
	rows, err := m.rowsByPack(ctx)
	if err != nil {
		return err
	}
	isBad := false
	c := &checker{r: rp.r, opt: CheckOptions{ReadData: true}, report: func(p Problem) {
		isBad = isBad || p.What == "pack"
		rp.problem(p)
	}}
	for i := range m.packs {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		isBad = false
		if err := c.pack(rp.v, m.packs[i].Pack, rows[i]); err != nil {
			return err
		}
		if isBad {
			rp.bad[m.packs[i].Name] = &salvage{old: m.packs[i].Pack}
		} else {
			rp.kept += int(rows[i])
		}
	}
	rp.result.Packs, rp.result.PacksRead, rp.result.Bytes = c.result.Packs, c.result.PacksRead, c.result.Bytes
	rp.result.Objects = uint64(rp.v.set.Len())
	return nil
}

// publish replaces CURRENT by one with the new locations and without the old
// ones. Under the exclusive gc.lock no commit is between its check and its
// snapshot, and the generation makes the others check again.
func (rp *packRepairer) publish(ctx context.Context) error {
	r := rp.r
	var built []builtSegment
	if rp.kept > 0 {
		tmp := rp.scratch.file("kept")
		err := index.Merge(r.fs, tmp, rp.v.set.Segments(), func(e index.Entry) (bool, error) { return rp.bad[e.Pack] == nil, nil })
		if err != nil {
			return storeError("writing", tmp, err)
		}
		built = append(built, builtSegment{tmp, rp.kept})
	}
	if rp.rows.Len() > 0 {
		tmp := rp.scratch.file("saved")
		var packs []index.Pack
		for _, s := range rp.bad {
			if s.made.Records > 0 {
				packs = append(packs, s.made)
			}
		}
		if err := index.Write(r.fs, tmp, packs, rp.rows.Entries()); err != nil {
			return storeError("writing", tmp, err)
		}
		built = append(built, builtSegment{tmp, rp.rows.Len()})
	}
	gc, err := r.lockGC(ctx, exclusive)
	if err != nil {
		return err
	}
	defer gc.Unlock()
	_, err = r.updateCurrent(ctx, func(cur *current) error { return rp.replaceSegments(cur, built) })
	return err
}

// builtSegment is a segment file that is not published yet.
type builtSegment struct {
	tmp  string
	rows int
}

func (rp *packRepairer) replaceSegments(cur *current, built []builtSegment) error {
	old := rp.v.cur.segments
	// What was marked bad since may have been copied as live.
	if findRun(cur.segments[:min(len(old), len(cur.segments))], old) != 0 || cur.lists.quarantine != rp.v.cur.lists.quarantine {
		return object.CodeBusy.Errorf("the index changed meanwhile; repair again")
	}
	var segments []segmentRef
	for _, b := range built {
		ref, err := rp.r.publishSegment(cur, b.tmp, b.rows)
		if err != nil {
			return err
		}
		segments = append(segments, ref)
	}
	if err := rp.r.leaveQuarantine(cur, rp.scratch.file("quarantine"), inPack(func(n pack.Name) bool { return rp.bad[n] != nil })); err != nil {
		return err
	}
	cur.segments = append(segments, cur.segments[len(old):]...)
	cur.generation++
	return nil
}

// unlink removes the damaged packs, of which there are copies, and the segments
// that nobody lists any more.
func (rp *packRepairer) unlink(ctx context.Context) error {
	for name, s := range rp.bad {
		file := name.Path(s.old.Type)
		rp.r.files.Drop(name, s.old.Type)
		if err := rp.r.fs.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError("removing", file, err)
		}
		if err := rp.r.syncDirs(name.Folder()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return rp.r.removeStrays(ctx)
}
