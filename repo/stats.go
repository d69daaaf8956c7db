package repo

import (
	"context"

	"github.com/packnback/packnback/repo/object"
)

// Stats are a repository's figures.
type Stats struct {
	Snapshots   uint64
	Objects     uint64 // rows of the index; a second copy counts again
	Packs       uint64
	Segments    uint64
	PackBytes   uint64 // of the packs in CURRENT
	IndexBytes  uint64
	Free, Total uint64 // of the file system
	Sessions    uint64 // uploads that are running or were cut off
}

// Stats counts what the repository holds. It reads the index's pack
// directories, not the packs.
func (r *Repository) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	v, err := r.acquire(ctx)
	if err != nil {
		return s, err
	}
	defer v.release()
	for i, seg := range v.set.Segments() {
		s.IndexBytes += v.cur.segments[i].size
		for ordinal := range seg.Packs() {
			p, err := seg.Pack(ordinal)
			if err != nil {
				return s, damaged(seg.Name(), err, repairCommand)
			}
			s.Packs++
			s.PackBytes += uint64(p.Size)
		}
	}
	s.Segments = uint64(len(v.cur.segments))
	s.Objects = uint64(v.set.Len())
	entries, err := list(r.fs, "snapshots")
	if err != nil {
		return s, err
	}
	s.Snapshots = uint64(len(entries))
	err = r.eachSession(func(object.SessionID, *sessionState, error) error { s.Sessions++; return nil })
	if err != nil {
		return s, err
	}
	if s.Free, s.Total, err = r.fs.Free(); err != nil {
		return s, storeError("looking at the free space of", r.dir, err)
	}
	return s, nil
}
