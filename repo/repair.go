package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// repairMemory is what the rows of all packs are sorted in.
const repairMemory = 64 << 20

// repairer is one RepairIndex under way.
type repairer struct {
	r       *Repository
	report  func(Problem)
	result  CheckResult
	scratch *scratch
	old     *current // nil when it can't be read
	oldView *view    // nil when it can't be opened

	// segments are all that can be read, also where CURRENT can't. They say in
	// which order packs came; the time of a pack's file says so only until
	// somebody copies the repository without times.
	segments []*index.Segment
	uploads  []*sessionState
	unnamed  map[object.SessionID]bool // sessions whose files can't be read
	rows     *index.Collector
	packs    []index.Pack
	cur      *current // being built
}

// RepairIndex builds CURRENT and the index anew from the packs, and heads that
// are missing or can't be read from the snapshots. It reads all packs. Whatever
// no snapshot and no upload reaches is treated as condemned. It removes nothing:
// a CURRENT or head that it replaces goes to the folder damaged first. Problems
// that it finds are reported like Check's; those it mends are among them.
// CodeBusy says that a prune is running; uploads wait.
func (r *Repository) RepairIndex(ctx context.Context, report func(Problem)) (CheckResult, error) {
	prune, ok, err := r.tryLock(pruneLock, exclusive)
	if err != nil {
		return CheckResult{}, err
	}
	if !ok {
		return CheckResult{}, object.CodeBusy.Errorf("a check, prune or repair is running; repair when it is done")
	}
	defer prune.Unlock()
	gc, err := r.lockGC(ctx, exclusive)
	if err != nil {
		return CheckResult{}, err
	}
	defer gc.Unlock()
	rp := &repairer{r: r, report: report, unnamed: map[object.SessionID]bool{}}
	err = rp.run(ctx)
	return rp.result, errors.Join(err, rp.close())
}

func (rp *repairer) problem(p Problem) {
	rp.result.Problems++
	if rp.report != nil {
		rp.report(p)
	}
}

func (rp *repairer) close() error {
	var errs []error
	if rp.rows != nil {
		errs = append(errs, rp.rows.Close())
	}
	if rp.oldView != nil {
		errs = append(errs, rp.oldView.release())
	}
	for _, seg := range rp.segments {
		errs = append(errs, seg.Close())
	}
	if rp.scratch != nil {
		errs = append(errs, rp.scratch.close())
	}
	return errors.Join(errs...)
}

func (rp *repairer) run(ctx context.Context) error {
	r := rp.r
	for _, name := range folders {
		if err := r.fs.Mkdir(name); err != nil {
			return storeError("making the folder", name, err)
		}
	}
	var err error
	if rp.scratch, err = r.newScratch(ctx); err != nil {
		return err
	}
	if rp.rows, err = index.NewCollector(r.fs, rp.scratch.file("rows"), repairMemory); err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	if err := rp.readOld(ctx); err != nil {
		return err
	}
	if err := rp.readSessions(); err != nil {
		return err
	}
	if err := rp.readPacks(ctx); err != nil {
		return err
	}
	return rp.rebuild(ctx)
}

// nextNumber is above every number that a file in index/ or gc/ has or had.
func (rp *repairer) nextNumber() (uint64, error) {
	next := uint64(1)
	if rp.old != nil {
		next = rp.old.next
	}
	for _, folder := range []string{"index", "gc"} {
		entries, err := list(rp.r.fs, folder)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			digits, _, _ := strings.Cut(e.Name, ".")
			if n, err := strconv.ParseUint(digits, 10, 63); err == nil {
				next = max(next, n+1)
			}
		}
	}
	return next, nil
}

// rebuild publishes segment, lists and CURRENT, and then what depends on them.
func (rp *repairer) rebuild(ctx context.Context) error {
	seg, err := rp.rebuildCurrent(ctx)
	if err != nil {
		return err
	}
	var segments []*index.Segment
	if seg != nil {
		defer seg.Close()
		segments = append(segments, seg)
	}
	return rp.heads(ctx, &view{r: rp.r, cur: rp.cur, set: index.NewSet(segments)})
}

// rebuildCurrent returns the new segment, open; nil when there are no objects.
func (rp *repairer) rebuildCurrent(ctx context.Context) (*index.Segment, error) {
	lock, err := rp.r.lock(ctx, currentLock, exclusive)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if err := rp.begin(ctx); err != nil {
		return nil, err
	}
	seg, err := rp.buildSegment()
	if err != nil {
		return nil, err
	}
	var segments []*index.Segment
	if seg != nil {
		segments = append(segments, seg)
	}
	err = rp.condemn(ctx, &view{r: rp.r, cur: rp.cur, set: index.NewSet(segments)})
	if err == nil {
		err = rp.save(currentName)
	}
	if err == nil {
		err = rp.r.writeCurrent(rp.cur)
	}
	if err != nil && seg != nil {
		err = errors.Join(err, seg.Close())
	}
	return seg, err
}

func (rp *repairer) buildSegment() (*index.Segment, error) {
	if rp.rows.Len() == 0 {
		return nil, nil
	}
	tmp := rp.scratch.file("segment")
	if err := index.Write(rp.r.fs, tmp, rp.packs, rp.rows.Entries()); err != nil {
		return nil, storeError("writing", tmp, err)
	}
	ref, err := rp.r.publishSegment(rp.cur, tmp, rp.rows.Len())
	if err != nil {
		return nil, err
	}
	rp.cur.segments = []segmentRef{ref}
	seg, err := index.OpenSegment(rp.r.fs, segmentName(ref.number))
	if err != nil {
		return nil, storeError("opening", segmentName(ref.number), err)
	}
	return seg, nil
}

// begin makes the new CURRENT's fixed part. A generation that differs from all
// earlier ones makes every running upload check again.
func (rp *repairer) begin(ctx context.Context) error {
	next, err := rp.nextNumber()
	if err != nil {
		return err
	}
	rp.cur = &current{repository: rp.r.id, generation: uint64(rp.r.now()), next: next}
	if rp.old != nil {
		rp.cur.generation = rp.old.generation + 1
		rp.cur.time = rp.old.time
		if err := rp.keepQuarantine(); err != nil {
			return err
		}
	}
	for _, folder := range []string{"snapshots", "trash", "links"} {
		err := rp.r.eachSnapshot(ctx, folder, func(s *object.Snapshot) error {
			rp.cur.time = max(rp.cur.time, s.Received, s.Forgotten)
			return nil
		})
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			rp.problem(Problem{What: "snapshot", Detail: err.Error()})
		}
	}
	return nil
}

// keepQuarantine goes on with the old quarantine list if it is whole, but for
// what it says of packs that are not there any more.
func (rp *repairer) keepQuarantine() error {
	number := rp.old.lists.quarantine
	if number == 0 {
		return nil
	}
	t, err := table.Open(rp.r.fs, listName(number), locationLayout)
	if err == nil {
		err = errors.Join(t.Verify(), t.Close())
	}
	if err != nil {
		rp.problem(Problem{What: "list", Name: listName(number), Detail: err.Error() + "; what it marked as bad has to be found again"})
		return nil
	}
	rp.cur.lists.quarantine = number
	return rp.r.leaveQuarantine(rp.cur, rp.scratch.file("quarantine"), inPack(rp.noPack))
}

// noPack reports whether there is no file of the pack. One that can't be looked
// at may be readable tomorrow.
func (rp *repairer) noPack(n pack.Name) bool {
	for _, t := range []pack.Type{pack.Data, pack.Meta} {
		if there, err := exists(rp.r.fs, n.Path(t)); there || err != nil {
			return false
		}
	}
	return true
}

// save copies a file that is about to be replaced to the folder damaged.
func (rp *repairer) save(name string) error {
	b, err := rp.r.readWhole(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storeError("reading", name, err)
	}
	for at := rp.r.now(); ; at++ {
		to := fmt.Sprintf("damaged/%s.%d", strings.ReplaceAll(name, "/", "_"), at)
		there, err := exists(rp.r.fs, to)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if err := createFile(rp.r.fs, to, b); err != nil {
			return err
		}
		break
	}
	return rp.r.syncDirs("damaged")
}
