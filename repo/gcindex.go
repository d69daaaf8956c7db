package repo

import (
	"context"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// replaceIndex publishes a CURRENT with the new locations and without the old
// ones. Commits that come meanwhile only add segments behind those of the
// view; merge.lock keeps others from merging.
func (s *sweeping) replaceIndex(ctx context.Context) error {
	r := s.p.r
	lock, err := r.lock(ctx, mergeLock, exclusive)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	v, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer v.release()
	merged, rows, err := s.merge(v)
	if err != nil {
		return err
	}
	copies, copied, err := s.writeCopies()
	if err != nil {
		return err
	}
	inputs := v.cur.segments
	_, err = r.updateCurrent(ctx, func(cur *current) error {
		at := findRun(cur.segments, inputs)
		if at < 0 {
			return object.CodeInternal.Errorf("the index was merged while prune held its lock")
		}
		var refs []segmentRef
		for _, f := range []struct {
			tmp  string
			rows int
		}{{merged, rows}, {copies, copied}} {
			if f.rows == 0 {
				continue
			}
			ref, err := r.publishSegment(cur, f.tmp, f.rows)
			if err != nil {
				return err
			}
			refs = append(refs, ref)
		}
		cur.segments = slices.Replace(cur.segments, at, at+len(inputs), refs...)
		if err := s.p.r.leaveQuarantine(cur, s.p.scratch.file("quarantine"), s.gone); err != nil {
			return err
		}
		cur.lists.deleting, cur.lists.packs, cur.lists.roots, cur.published = 0, 0, 0, 0
		cur.generation++
		return nil
	})
	return err
}

// gone reports whether a location leaves CURRENT.
func (s *sweeping) gone(row []byte) (bool, error) {
	i, ok := s.number[pack.Name(row[:pack.NameSize])]
	if ok && s.use[i].gone {
		return true, nil
	}
	if s.v.deleting == nil {
		return false, nil
	}
	on, err := s.v.deleting.Has(row)
	if err != nil {
		return false, damaged(s.v.deleting.Name(), err, repairCommand)
	}
	return on, nil
}

// merge writes what stays of v's segments to one file.
func (s *sweeping) merge(v *view) (tmp string, rows int, err error) {
	tmp = s.p.scratch.file("kept")
	keep := func(e index.Entry) (bool, error) {
		if i, ok := s.number[e.Pack]; ok && s.use[i].gone {
			return false, nil
		}
		dead, err := s.v.isDeleting(e.Location)
		return !dead, err
	}
	if err := index.Merge(s.p.r.fs, tmp, v.set.Segments(), keep); err != nil {
		return "", 0, storeError("merging into", tmp, err)
	}
	seg, err := index.OpenSegment(s.p.r.fs, tmp)
	if err != nil {
		return "", 0, storeError("opening", tmp, err)
	}
	return tmp, seg.Len(), seg.Close()
}
