package repo

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/table"
)

const (
	// mergeLeast is how many neighbours a merge needs. Eight keeps both the
	// rewriting and the number of files that a lookup must try low.
	mergeLeast = 8
	// mergeRatio is how many times larger than all newer ones together a file may
	// be and still be merged with them.
	mergeRatio = 4
	// mergeSmall is how many rows may be merged without a thought.
	mergeSmall = 4096
)

// mergeRun returns how many of the newest files, which come last in rows, are
// to be merged into one; 0 when there is nothing to do.
func mergeRun(rows []uint64) int {
	n, sum := 0, uint64(0)
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i] > mergeRatio*max(sum, mergeSmall) {
			break
		}
		sum += rows[i]
		n++
	}
	if n < mergeLeast {
		return 0
	}
	return n
}

// mergeSegments merges the newest segments of CURRENT if there are many. It is
// nobody's duty: when another process merges, or anything fails, the next
// commit tries again.
func (r *Repository) mergeSegments(ctx context.Context, s *scratch) error {
	lock, ok, err := r.tryLock(mergeLock, exclusive)
	if err != nil || !ok {
		return err
	}
	defer lock.Unlock()
	v, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	rows := make([]uint64, len(v.cur.segments))
	for i, ref := range v.cur.segments {
		rows[i] = ref.rows
	}
	n := mergeRun(rows)
	if n == 0 {
		return nil
	}
	return r.mergeInto(ctx, s, v, len(rows)-n)
}

// mergeInto replaces the segments of v from first on by one.
func (r *Repository) mergeInto(ctx context.Context, s *scratch, v *view, first int) error {
	inputs := v.cur.segments[first:]
	total := 0
	for _, ref := range inputs {
		total += int(ref.rows)
	}
	tmp := s.file("merged")
	if err := index.Merge(r.fs, tmp, v.set.Segments()[first:], nil); err != nil {
		return storeError("merging into", tmp, err)
	}
	swapped := false
	_, err := r.updateCurrent(ctx, func(cur *current) error {
		at := findRun(cur.segments, inputs)
		if at < 0 {
			return errStale
		}
		ref, err := r.publishSegment(cur, tmp, total)
		if err != nil {
			return err
		}
		cur.segments = slices.Replace(cur.segments, at, at+len(inputs), ref)
		swapped = true
		return nil
	})
	if errors.Is(err, errStale) {
		return r.fs.Remove(tmp)
	}
	if err != nil || !swapped {
		return err
	}
	return r.removeStrays(ctx)
}

// errStale says that what a merge has read is not what CURRENT or a head lists
// any more.
var errStale = errors.New("inputs are out of date")

// findRun returns where run stands in list, or -1.
func findRun[T comparable](list, run []T) int {
	for i := 0; i+len(run) <= len(list); i++ {
		if slices.Equal(list[i:i+len(run)], run) {
			return i
		}
	}
	return -1
}

// removeStrays unlinks the segments and lists that CURRENT doesn't name: inputs
// of merges, lists that are done with, and what crashes have left. Under
// current.lock nobody is publishing one, and CURRENT is durable.
func (r *Repository) removeStrays(ctx context.Context) error {
	lock, err := r.lock(ctx, currentLock, exclusive)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	_, cur, err := r.readCurrent()
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, ref := range cur.segments {
		listed[segmentName(ref.number)] = true
	}
	for _, n := range cur.lists.each() {
		listed[listName(*n)] = true
	}
	for folder, suffix := range map[string]string{"index": ".idx", "gc": ".list"} {
		entries, err := list(r.fs, folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := path.Join(folder, e.Name)
			if listed[name] || e.Dir || path.Ext(name) != suffix {
				continue // in use, or not ours
			}
			if err := r.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return storeError("removing", name, err)
			}
		}
	}
	return r.removeUnfinished(currentName)
}

// removeUnfinished removes what a crash has left of a file that was to replace
// name. The caller holds the lock that protects name.
func (r *Repository) removeUnfinished(name string) error {
	name += newSuffix
	if err := r.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", name, err)
	}
	return nil
}

// mergeVisible merges the newest visible sets of a job if there are many.
func (r *Repository) mergeVisible(ctx context.Context, s *scratch, client, job string) error {
	h, v, err := r.openHeadSets(ctx, client, job)
	if err != nil {
		return err
	}
	defer v.close()
	rows := make([]uint64, len(h.visible))
	for i, ref := range h.visible {
		rows[i] = ref.rows
	}
	n := mergeRun(rows)
	if n == 0 {
		return nil
	}
	first := len(rows) - n
	var inputs []iter.Seq2[[]byte, error]
	for _, t := range v.tables[first:] {
		inputs = append(inputs, t.Rows(0))
	}
	tmp := s.file("visible")
	ids, err := r.writeVisible(tmp, table.Merge(inputs...))
	if err != nil {
		return err
	}
	err = r.replaceVisible(ctx, h, h.visible[first:], tmp, ids)
	if errors.Is(err, errStale) {
		return r.fs.Remove(tmp)
	}
	return err
}

// openHeadSets returns a job's head and its visible sets, open.
func (r *Repository) openHeadSets(ctx context.Context, client, job string) (*head, *visibleSet, error) {
	lock, err := r.lockHead(ctx, client, job)
	if err != nil {
		return nil, nil, err
	}
	defer lock.Unlock()
	h, err := r.readHead(client, job)
	if err != nil {
		return nil, nil, err
	}
	v, err := r.openVisible(h)
	return h, v, err
}

// replaceVisible puts the durable set tmp in the place of the sets old, if the
// head still lists them, and unlinks their files once that is durable.
func (r *Repository) replaceVisible(ctx context.Context, was *head, old []visibleRef, tmp string, rows uint64) error {
	lock, err := r.lockHead(ctx, was.client, was.job)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	h, err := r.readHead(was.client, was.job)
	if err != nil {
		return err
	}
	at := findRun(h.visible, old)
	if at < 0 {
		return errStale
	}
	return r.swapVisible(h, at, len(old), tmp, rows)
}

// swapVisible puts the durable set tmp in the place of n of the head's visible
// sets from at on. The caller holds head.lock.
func (r *Repository) swapVisible(h *head, at, n int, tmp string, rows uint64) error {
	old := slices.Clone(h.visible[at : at+n])
	h.visible = slices.Delete(h.visible, at, at+n)
	if err := r.publishVisible(h, tmp, rows); err != nil {
		return err
	}
	if err := r.writeHead(h); err != nil {
		return err
	}
	for _, ref := range old {
		if err := r.fs.Remove(visibleName(h.client, h.job, ref.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError("removing", visibleName(h.client, h.job, ref.number), err)
		}
	}
	return nil
}
