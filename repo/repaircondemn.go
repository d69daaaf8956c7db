package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// maxSaved bounds what is copied to the folder damaged: the largest files that
// are replaced as a whole.
const maxSaved = maxCurrent

func (r *Repository) readWhole(name string) ([]byte, error) {
	return disk.ReadFile(r.fs, name, maxSaved)
}

// condemn marks from everything that is a root and publishes what was not
// reached as condemned, with I0 and R3, as a prune does.
func (rp *repairer) condemn(ctx context.Context, v *view) error {
	m, err := newMarker(v, func(id, by object.ID) {
		detail := "missing; a snapshot or upload needs it"
		if !by.IsZero() {
			detail = fmt.Sprintf("missing; object %s needs it", by)
		}
		rp.problem(Problem{What: "object", ID: id, Detail: detail})
	})
	if err != nil {
		return err
	}
	// What an upload has put stays out of it, as in a prune: whoever continues the
	// upload takes it for granted.
	for i := range m.packs {
		if rp.names(m.packs[i].Name) {
			m.packs[i].outside, m.outside = true, true
		}
	}
	roots, err := table.NewSorter(rp.r.fs, rp.scratch.file("roots"), rootLayout, listMemory)
	if err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	defer roots.Close()
	if err := rp.markRoots(m, roots); err != nil {
		return err
	}
	if err := m.run(ctx); err != nil {
		return err
	}
	for position := range m.reached.All(0, v.set.Len()) {
		if m.expanded.Has(position) {
			continue
		}
		e, err := v.set.Entry(position)
		if err != nil {
			return err
		}
		rp.problem(Problem{What: "object", Name: e.Pack.Path(e.Type()), ID: e.ID, Detail: "unreadable; snapshots need it"})
	}
	return rp.publishCondemned(m, roots)
}

// markRoots marks from snapshots, trash, and uploads that may still be
// committed, and notes the snapshots in roots.
func (rp *repairer) markRoots(m *marker, roots *table.Sorter) error {
	for _, folder := range []string{"snapshots", "trash"} {
		entries, err := list(rp.r.fs, folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, err := object.ParseID(e.Name)
			if err != nil {
				continue
			}
			// One that can't be read marks nothing; as it is no part of R3 then, a
			// prune spares what it needs when its file was put back, or refuses.
			if _, err := rp.r.findSnapshot(id); err == nil {
				if err := roots.Add(id[:]); err != nil {
					return storeError("sorting in", rp.scratch.dir, err)
				}
			}
			if err := m.markSnapshot(id); err != nil {
				return err
			}
			if folder == "snapshots" {
				rp.result.Snapshots++
			}
		}
	}
	for _, s := range rp.uploads {
		if err := m.markUpload(s); err != nil {
			return err
		}
	}
	return nil
}

// publishCondemned publishes the three lists if anything was not reached.
func (rp *repairer) publishCondemned(m *marker, roots *table.Sorter) error {
	rows, err := table.NewSorter(rp.r.fs, rp.scratch.file("condemned"), locationLayout, listMemory)
	if err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	defer rows.Close()
	for position := range m.v.set.Len() {
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
		e, err := m.v.set.Entry(position)
		if err == nil {
			err = rows.Add(appendLocation(nil, e.Location))
		}
		if err != nil {
			return storeError("sorting in", rp.scratch.dir, err)
		}
	}
	if rows.Len() == 0 {
		return nil
	}
	names, err := table.NewSorter(rp.r.fs, rp.scratch.file("names"), packLayout, listMemory)
	if err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	defer names.Close()
	for _, p := range rp.packs {
		if rp.names(p.Name) {
			continue
		}
		if err := names.Add(p.Name[:]); err != nil {
			return storeError("sorting in", rp.scratch.dir, err)
		}
	}
	l := &rp.cur.lists
	for _, list := range []struct {
		number *uint64
		layout table.Layout
		rows   *table.Sorter
	}{{&l.condemned, locationLayout, rows}, {&l.packs, packLayout, names}, {&l.roots, rootLayout, roots}} {
		tmp := rp.scratch.file("list")
		if err := rp.r.writeList(tmp, list.layout, table.Dedup(list.rows.Rows())); err != nil {
			return err
		}
		if *list.number, err = rp.r.publishNumbered(rp.cur, tmp, "gc", listName); err != nil {
			return err
		}
	}
	rp.cur.published = rp.r.now()
	return nil
}

// heads writes anew the heads that are missing or can't be read.
func (rp *repairer) heads(ctx context.Context, v *view) error {
	newest := map[string]*lastOf{} // by client and job: a few hundred bytes for each
	for _, folder := range []string{"snapshots", "trash", "links"} {
		err := rp.r.eachSnapshot(ctx, folder, func(s *object.Snapshot) error {
			name := headFolder(s.Manifest.Client, s.Manifest.Job)
			if newest[name] == nil {
				newest[name] = new(lastOf)
			}
			s.Sealed = nil
			newest[name].note(s, folder != "links")
			return nil
		})
		if err != nil && ctx.Err() != nil {
			return err
		}
	}
	for _, last := range newest {
		if err := rp.head(ctx, v, last); err != nil {
			return err
		}
	}
	return nil
}

// lastOf is the end of one job's chain: the newest of all, of which there may be
// the link only, and the newest that has its objects, if there is one.
type lastOf struct{ all, whole *object.Snapshot }

func (l *lastOf) note(s *object.Snapshot, whole bool) {
	if l.all == nil || l.all.Manifest.Seq < s.Manifest.Seq {
		l.all = s
	}
	if whole && (l.whole == nil || l.whole.Manifest.Seq < s.Manifest.Seq) {
		l.whole = s
	}
}

// head looks at one job's head and, if it can't be used, makes one that follows
// from the end of the job's chain: a number must not be given twice.
func (rp *repairer) head(ctx context.Context, v *view, last *lastOf) error {
	m := last.all.Manifest
	h, old, err := rp.r.openHeadSets(ctx, m.Client, m.Job)
	if old != nil {
		err = errors.Join(err, old.close())
	}
	if err == nil && (h.seq >= m.Seq || !h.next.IsZero()) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the head is at number %d, the newest snapshot is number %d", h.seq, m.Seq)
	}
	name := headName(m.Client, m.Job)
	rp.problem(Problem{What: "head", Name: name, Detail: err.Error() + "; made anew from the newest snapshot"})
	lock, err := rp.r.lockHead(ctx, m.Client, m.Job)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := rp.save(name); err != nil {
		return err
	}
	fresh := &head{repository: rp.r.id, client: m.Client, job: m.Job, nextVisible: rp.nextVisible(m.Client, m.Job)}
	fresh.advance(last.all)
	if last.whole != nil {
		if err := rp.exactVisible(ctx, v, fresh, last.whole.ID()); err != nil {
			return err
		}
	}
	if err := rp.r.syncHeadFolders(fresh); err != nil {
		return err
	}
	return rp.r.writeHead(fresh)
}

// nextVisible is above the numbers of all visible sets that are there.
func (rp *repairer) nextVisible(client, job string) uint64 {
	next := uint64(1)
	entries, err := list(rp.r.fs, headFolder(client, job))
	if err != nil {
		return next
	}
	for _, e := range entries {
		var n uint64
		if _, err := fmt.Sscanf(e.Name, "%d.visible", &n); err == nil {
			next = max(next, n+1)
		}
	}
	return next
}

// exactVisible publishes what the snapshot reaches as the head's only visible
// set.
func (rp *repairer) exactVisible(ctx context.Context, v *view, h *head, id object.ID) error {
	m, err := newMarker(v, func(object.ID, object.ID) {})
	if err != nil {
		return err
	}
	if err := m.markSnapshot(id); err != nil {
		return err
	}
	if err := m.run(ctx); err != nil {
		return err
	}
	tmp := rp.scratch.file("visible")
	rows, err := rp.r.writeVisible(tmp, m.ids())
	if err != nil || rows == 0 {
		return err
	}
	return rp.r.publishVisible(h, tmp, rows)
}
