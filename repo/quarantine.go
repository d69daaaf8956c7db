package repo

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// listMemory is what a list of locations is sorted in.
const listMemory = 4 << 20

// MarkBad quarantines the locations from which the objects ids are read at
// present: those of them whose records fail their checksum or, where none does,
// the one that readers take. Later backups store such objects anew. It deletes
// nothing. An id without a location is no error. Only an administrator may
// cause it: somebody who can quarantine what he likes can make other people's
// backups large.
func (r *Repository) MarkBad(ctx context.Context, ids []object.ID) error {
	scratch, err := r.newScratch(ctx)
	if err != nil {
		return err
	}
	defer scratch.close()
	rows, err := table.NewSorter(r.fs, scratch.file("bad"), locationLayout, listMemory)
	if err != nil {
		return storeError("sorting in", scratch.dir, err)
	}
	defer rows.Close()
	rd, err := r.newReader(ctx)
	if err != nil {
		return err
	}
	defer rd.close()
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		if err := rd.addBad(rows, id); err != nil {
			return err
		}
	}
	if rows.Len() == 0 {
		return nil
	}
	return r.quarantine(ctx, scratch, rows)
}

// addBad adds the bad locations of id to rows.
func (rd *reader) addBad(rows *table.Sorter, id object.ID) error {
	found, err := rd.locations(id)
	if err != nil || len(found) == 0 {
		return err
	}
	bad := found[:0:0]
	for _, f := range found {
		rec, err := rd.r.files.Record(f.Pack, f.Type(), f.Offset, f.Length)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the whole pack is gone, or will be with the next CURRENT
		}
		if err != nil || rec.ID != id {
			bad = append(bad, f)
		}
	}
	if len(bad) == 0 {
		bad = found[:1]
	}
	for _, f := range bad {
		if err := rows.Add(appendLocation(nil, f.Location)); err != nil {
			return storeError("sorting in", rd.r.dir, err)
		}
	}
	return nil
}

// quarantine adds rows to the quarantine list. The generation moves, so that
// running uploads look again at what they rely on.
func (r *Repository) quarantine(ctx context.Context, scratch *scratch, rows *table.Sorter) error {
	old := uint64(0)
	_, err := r.updateCurrent(ctx, func(cur *current) error {
		inputs := []iter.Seq2[[]byte, error]{rows.Rows()}
		if old = cur.lists.quarantine; old != 0 {
			t, err := table.Open(r.fs, listName(old), locationLayout)
			if err != nil {
				return damaged(listName(old), err, repairCommand)
			}
			defer t.Close()
			inputs = append(inputs, t.Rows(0))
		}
		tmp := scratch.file("list")
		if err := r.writeList(tmp, locationLayout, table.Dedup(table.Merge(inputs...))); err != nil {
			return err
		}
		number, err := r.publishNumbered(cur, tmp, "gc", listName)
		if err != nil {
			return err
		}
		cur.lists.quarantine = number
		cur.generation++
		return nil
	})
	if err != nil || old == 0 {
		return err
	}
	if err := r.fs.Remove(listName(old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", listName(old), err)
	}
	return nil
}

// leaveQuarantine takes off cur's quarantine list the locations that gone says
// leave CURRENT: who replaces a pack would otherwise leave marks behind that
// nothing ends any more. tmp is a file in the caller's scratch. The old list's
// file stays, for removeStrays. The caller holds current.lock.
func (r *Repository) leaveQuarantine(cur *current, tmp string, gone func(location []byte) (bool, error)) error {
	number := cur.lists.quarantine
	if number == 0 {
		return nil
	}
	old, err := table.Open(r.fs, listName(number), locationLayout)
	if err != nil {
		return damaged(listName(number), err, repairCommand)
	}
	defer old.Close()
	kept := 0
	err = r.writeList(tmp, locationLayout, func(yield func([]byte, error) bool) {
		for row, err := range old.Rows(0) {
			left := false
			if err == nil {
				left, err = gone(row)
			}
			if left && err == nil {
				continue
			}
			kept++
			if !yield(row, err) {
				return
			}
		}
	})
	if err != nil || kept == old.Len() {
		return err
	}
	if cur.lists.quarantine = 0; kept > 0 {
		cur.lists.quarantine, err = r.publishNumbered(cur, tmp, "gc", listName)
	}
	return err
}

// inPack is a gone for leaveQuarantine that goes by the pack alone.
func inPack(gone func(pack.Name) bool) func([]byte) (bool, error) {
	return func(location []byte) (bool, error) { return gone(pack.Name(location[:pack.NameSize])), nil }
}

// writeList writes rows, ascending, to the new list file tmp, durably.
func (r *Repository) writeList(tmp string, l table.Layout, rows iter.Seq2[[]byte, error]) error {
	w, err := table.Create(r.fs, tmp, l)
	if err != nil {
		return storeError("creating", tmp, err)
	}
	for row, err := range rows {
		if err == nil {
			err = w.Add(row)
		}
		if err != nil {
			return errors.Join(storeError("writing", tmp, err), w.Discard())
		}
	}
	if err := w.Close(); err != nil {
		return storeError("writing", tmp, err)
	}
	return nil
}
