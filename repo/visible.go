package repo

import (
	"errors"
	"io/fs"
	"iter"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

var visibleLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'v', 'i', 's', 'i', 1}, Key: object.IDSize, Row: object.IDSize}

// visibleSet holds the ids that a job's head makes visible: its sets, open.
// Safe for concurrent use until close. The zero value holds none.
type visibleSet struct {
	tables []*table.Table
}

// openVisible opens the sets of h. The caller holds head.lock, so none of them
// goes away before it is open.
func (r *Repository) openVisible(h *head) (*visibleSet, error) {
	v := new(visibleSet)
	for _, ref := range h.visible {
		name := visibleName(h.client, h.job, ref.number)
		t, err := table.Open(r.fs, name, visibleLayout)
		if err == nil && uint64(t.Len()) != ref.rows {
			err = errors.Join(object.ErrMalformed, t.Close())
		}
		if err != nil {
			return nil, errors.Join(damaged(name, err, "`packnback prune` writes it anew"), v.close())
		}
		v.tables = append(v.tables, t)
	}
	return v, nil
}

func (v *visibleSet) close() error {
	var errs []error
	for _, t := range v.tables {
		errs = append(errs, t.Close())
	}
	v.tables = nil
	return errors.Join(errs...)
}

// has reports whether id is visible, newest sets first.
func (v *visibleSet) has(id object.ID) (bool, error) {
	for i := len(v.tables) - 1; i >= 0; i-- {
		ok, err := v.tables[i].Has(id[:])
		if err != nil {
			return false, damaged("a visible set", err, "`packnback prune` writes it anew")
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// writeVisible writes a set of ids, ascending and without repeats, to the new
// file tmp, durably, and returns how many there are.
func (r *Repository) writeVisible(tmp string, ids iter.Seq2[[]byte, error]) (rows uint64, err error) {
	w, err := table.Create(r.fs, tmp, visibleLayout)
	if err != nil {
		return 0, storeError("creating", tmp, err)
	}
	for id, err := range table.Dedup(ids) {
		if err == nil {
			err = w.Add(id)
		}
		if err != nil {
			return 0, errors.Join(storeError("writing", tmp, err), w.Discard())
		}
		rows++
	}
	if err := w.Close(); err != nil {
		return 0, storeError("writing", tmp, err)
	}
	return rows, nil
}

// publishVisible gives the durable file tmp the next number of the head's
// visible sets, durably, and adds it to h. The caller holds head.lock, so a file
// that has the name already was left by a crash.
func (r *Repository) publishVisible(h *head, tmp string, rows uint64) error {
	name := visibleName(h.client, h.job, h.nextVisible)
	err := r.fs.Publish(tmp, name)
	if errors.Is(err, fs.ErrExist) {
		if err = r.fs.Remove(name); err == nil {
			err = r.fs.Publish(tmp, name)
		}
	}
	if err != nil {
		return storeError("publishing", name, err)
	}
	h.visible = append(h.visible, visibleRef{h.nextVisible, rows})
	h.nextVisible++
	// Before any head names it: of two names in a folder either may be lost.
	return syncDir(r.fs, headFolder(h.client, h.job))
}
