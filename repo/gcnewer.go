package repo

import (
	"context"
	"errors"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// newer spares what snapshots that are not in R3 and locations in CURRENT that
// are not in I0 reach, as far as earlier rounds haven't. more is true when there
// was more than limit allows, of which then nothing was dealt with.
func (s *sparing) newer(ctx context.Context, limit int) (more bool, err error) {
	v, err := s.p.r.acquire(ctx)
	if err != nil {
		return false, err
	}
	old := s.v
	s.v = v
	if err := old.release(); err != nil {
		return false, err
	}
	snapshots, packs, err := s.unknown(limit)
	if err != nil || len(snapshots)+len(packs) > limit || limit == fewNew && metaBytes(packs) > fewBytes {
		return err == nil, err
	}
	for _, id := range snapshots {
		if err := s.snapshot(id); err != nil {
			return false, err
		}
		if err := s.seen.Add(id[:]); err != nil {
			return false, s.p.sorting(err)
		}
	}
	for _, in := range packs {
		if err := s.pack(in); err != nil {
			return false, err
		}
		padded := paddedName(in.Name)
		if err := s.seen.Add(padded[:]); err != nil {
			return false, s.p.sorting(err)
		}
	}
	return false, s.descend(ctx)
}

// metaBytes is about what reading the packs' refs takes.
func metaBytes(packs []index.Pack) (n uint64) {
	for _, p := range packs {
		if p.Type == pack.Meta {
			n += uint64(p.Size)
		}
	}
	return n
}

func paddedName(n pack.Name) (padded object.ID) {
	copy(padded[:], n[:])
	return padded
}

// unknown returns the snapshots that are not in R3 and the packs that are not in
// I0, without those dealt with; not many more than limit of them.
func (s *sparing) unknown(limit int) (snapshots []object.ID, packs []index.Pack, err error) {
	ids, err := s.p.r.rootSnapshots(false, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		known, err := s.known(s.r3, id[:], id)
		if err != nil {
			return nil, nil, err
		}
		if !known && len(snapshots) <= limit {
			snapshots = append(snapshots, id)
		}
	}
	for _, seg := range s.v.set.Segments() {
		for i := range seg.Packs() {
			in, err := seg.Pack(i)
			if err != nil {
				return nil, nil, damaged(seg.Name(), err, repairCommand)
			}
			known, err := s.known(s.i0, in.Name[:], paddedName(in.Name))
			if err != nil {
				return nil, nil, err
			}
			if !known && len(packs) <= limit {
				packs = append(packs, in)
			}
		}
	}
	return snapshots, packs, nil
}

// known reports whether list has key, or an earlier round has dealt with mark.
func (s *sparing) known(list *table.Table, key []byte, mark object.ID) (bool, error) {
	on, err := list.Has(key)
	if err != nil {
		return false, damaged(list.Name(), err, repairCommand)
	}
	if on {
		return true, nil
	}
	if on, err = s.seen.Has(mark[:]); err != nil {
		return false, s.p.sorting(err)
	}
	return on, nil
}

func (s *sparing) snapshot(id object.ID) error {
	snap, err := s.p.r.findSnapshot(id)
	if errors.Is(err, object.CodeNotFound) {
		return nil // a base that was forgotten long ago
	}
	if err != nil {
		return err
	}
	for _, root := range snap.Manifest.Roots() {
		if err := s.reach(root); err != nil {
			return err
		}
	}
	return nil
}

// pack spares what the objects of a pack outside I0 refer to. All of them must
// be readable, but for those that an administrator has marked as bad: what an
// object needs that can't be read would be deleted.
func (s *sparing) pack(in index.Pack) error {
	name := in.Name.Path(in.Type)
	f, err := s.p.r.fs.Open(name)
	if err != nil {
		return object.CodeDamaged.Errorf("opening pack %s: %w; nothing was deleted; run `packnback check`", name, err)
	}
	records := uint32(0)
	yield := func(offset uint32, h object.Header, refs []object.ID) error {
		if uint64(offset)+uint64(h.Size()) > uint64(in.Size) {
			return errScanned
		}
		records++
		return eachRef(h, refs, func(ref, _ object.ID) error { return s.reach(ref) })
	}
	if in.Type == pack.Meta {
		_, err = pack.Scan(f, in.Name, in.Type, func(offset uint32, r *object.Record) error {
			return yield(offset, object.Header{Kind: r.Kind, ID: r.ID, Key: r.Key, Refs: len(r.Refs), Sealed: len(r.Sealed)}, r.Refs)
		})
	} else {
		_, err = pack.ScanHeaders(f, in.Name, in.Type, func(offset uint32, h object.Header) error { return yield(offset, h, nil) })
	}
	if errors.Is(err, errScanned) {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return storeError("reading", name, err)
	}
	if records >= in.Records {
		return nil
	}
	bad, err := s.v.quarantinedIn(in.Name)
	if err == nil && records+bad < in.Records {
		err = object.CodeDamaged.Errorf("%s: %d of its %d objects can't be read, so it can't be told what they need; nothing was deleted; run `packnback check --read-data`, then `packnback repair packs`", name, in.Records-records, in.Records)
	}
	return err
}

// quarantinedIn returns how many locations in a pack are quarantined.
func (v *view) quarantinedIn(n pack.Name) (bad uint32, err error) {
	if v.quarantine == nil {
		return 0, nil
	}
	for row, err := range v.quarantine.Rows(0) {
		if err != nil {
			return 0, damaged(v.quarantine.Name(), err, repairCommand)
		}
		if pack.Name(row[:pack.NameSize]) == n {
			bad++
		}
	}
	return bad, nil
}
