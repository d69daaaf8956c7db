package repo

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// packUse is how much of a pack is in use: a few bytes for each 64 MiB stored.
type packUse struct {
	index.Pack
	live    uint64 // bytes of live records
	kept    int    // live records
	deleted int    // records on the deleting list
	gone    bool   // leaves the repository: nothing live, or rewritten
	copied  bool   // its live records are in new packs
}

// unused returns the bytes of the pack that no live record takes.
func (u *packUse) unused() uint64 {
	return uint64(u.Size) - min(uint64(u.Size), u.live+pack.HeaderSize)
}

// fileSize returns how long the pack's file is, if no upload was cut off in it.
func (u *packUse) fileSize() uint64 { return uint64(u.Size) + pack.SealSize }

// sweeping is step 6 under way.
type sweeping struct {
	p      *pruning
	v      *view // with the deleting list
	use    []packUse
	number map[pack.Name]int // in use

	copies  *index.Collector
	session object.SessionID // names the new packs; no session has it
	counter uint32
	open    [3]*copyPack // by pack.Type
	made    []index.Pack
	fresh   map[string]bool // folders of new packs
}

// sweepPacks is step 6. Until its new CURRENT is durable nothing that counts is
// gone, and from then on nothing names what is unlinked.
func (p *pruning) sweepPacks(ctx context.Context) (err error) {
	p.say("deleting")
	s := &sweeping{p: p, fresh: map[string]bool{}}
	if s.v, err = p.r.acquire(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.v.release()) }()
	if err := s.count(ctx, func(e index.Entry) (bool, error) { return s.v.isDeleting(e.Location) }); err != nil {
		return err
	}
	if s.copies, err = index.NewCollector(p.r.fs, p.scratch.file("copies"), listMemory); err != nil {
		return p.sorting(err)
	}
	defer func() { err = errors.Join(err, s.copies.Close()) }()
	// On a full disk this makes the room for a new index, and for copies.
	if err := s.unlinkDead(); err != nil {
		return err
	}
	rewrite, err := s.choose()
	if err != nil {
		return err
	}
	if len(rewrite) == 0 && s.v.cur.lists.deleting == 0 {
		s.tally()
		return nil
	}
	if err := s.copyAll(ctx, rewrite); err != nil {
		return errors.Join(err, s.discard())
	}
	if err := s.replaceIndex(ctx); err != nil {
		return err
	}
	s.tally()
	if err := p.r.removeStrays(ctx); err != nil {
		return err
	}
	return s.unlink()
}

// unlinkDead unlinks the packs of which nothing lives. CURRENT still lists them,
// but durably so as deleting: nothing relies on them, and whoever comes after a
// crash goes on here.
func (s *sweeping) unlinkDead() error {
	for i := range s.use {
		u := &s.use[i]
		s.p.result.ObjectsDeleted += u.deleted
		if u.kept > 0 {
			continue
		}
		u.gone = true
		if err := s.free(u); err != nil {
			return err
		}
		s.p.result.PacksDeleted++
	}
	return nil
}

// free unlinks a pack and counts it as freed. The index knows nothing of what a
// cut-off upload left behind the last record.
func (s *sweeping) free(u *packUse) error {
	e, err := s.p.r.fs.Stat(u.Name.Path(u.Type))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // by a prune that was cut off
	}
	if err != nil {
		return storeError("looking at", u.Name.Path(u.Type), err)
	}
	if err := s.p.r.removePack(u.Name, u.Type); err != nil {
		return err
	}
	s.p.result.BytesFreed += uint64(e.Size)
	return nil
}

// isDeleting reports whether a location is on the deleting list. condition
// would hide that from one that is quarantined, too.
func (v *view) isDeleting(l index.Location) (bool, error) {
	if v.deleting == nil {
		return false, nil
	}
	on, err := v.deleting.Has(appendLocation(nil, l))
	if err != nil {
		return false, damaged(v.deleting.Name(), err, repairCommand)
	}
	return on, nil
}

// count fills s.use from the index.
func (s *sweeping) count(ctx context.Context, deleted func(index.Entry) (bool, error)) error {
	s.number = map[pack.Name]int{}
	for _, seg := range s.v.set.Segments() {
		for i := range seg.Packs() {
			in, err := seg.Pack(i)
			if err != nil {
				return damaged(seg.Name(), err, repairCommand)
			}
			if _, ok := s.number[in.Name]; !ok {
				s.number[in.Name] = len(s.use)
				s.use = append(s.use, packUse{Pack: in})
			}
		}
		n := 0
		for e, err := range seg.Entries(0) {
			if n++; n%4096 == 0 && ctx.Err() != nil {
				return interrupted(ctx.Err())
			}
			var dead bool
			if err == nil {
				dead, err = deleted(e)
			}
			if err != nil {
				return damaged(seg.Name(), err, repairCommand)
			}
			u := &s.use[s.number[e.Pack]]
			if dead {
				u.deleted++
			} else {
				u.kept++
				u.live += uint64(e.Length)
			}
		}
	}
	return nil
}

// choose decides which packs go and which are rewritten: those with the largest
// unused share first, until what stays unused is within the limit.
func (s *sweeping) choose() (rewrite []*packUse, err error) {
	bad, err := s.packsWithBad()
	if err != nil {
		return nil, err
	}
	var total, unused uint64
	for i := range s.use {
		u := &s.use[i]
		if u.kept == 0 {
			u.gone = true
			continue
		}
		total += uint64(u.Size)
		// A copy would not be on the quarantine list.
		if n := u.unused(); n > 0 && !bad[u.Name] {
			unused += n
			rewrite = append(rewrite, u)
		}
	}
	slices.SortFunc(rewrite, func(a, b *packUse) int {
		return cmp.Compare(float64(b.unused())/float64(b.Size), float64(a.unused())/float64(a.Size))
	})
	room, err := s.roomToCopy()
	if err != nil {
		return nil, err
	}
	n := 0
	for ; n < len(rewrite); n++ {
		u := rewrite[n]
		if s.p.tolerable(u, unused, total) || u.live > room {
			break
		}
		room -= u.live
		unused -= u.unused()
		total -= u.unused()
	}
	rewrite = rewrite[:n]
	// In the order in which they were written, so that what belongs together
	// stays together.
	slices.SortFunc(rewrite, func(a, b *packUse) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return rewrite, nil
}

// packsWithBad returns the packs in which something quarantined stays.
func (s *sweeping) packsWithBad() (map[pack.Name]bool, error) {
	if s.v.quarantine == nil {
		return nil, nil
	}
	bad := map[pack.Name]bool{}
	for row, err := range s.v.quarantine.Rows(0) {
		if err != nil {
			return nil, damaged(s.v.quarantine.Name(), err, repairCommand)
		}
		gone, err := s.gone(row)
		if err != nil {
			return nil, err
		}
		if !gone {
			bad[pack.Name(row[:pack.NameSize])] = true
		}
	}
	return bad, nil
}

const (
	// smallTotal is the size of packs up to which max-unused auto rewrites
	// whatever is worth it: that much is copied in a minute.
	smallTotal = 4 << 30
	// worthIt is the part of a pack that must be unused for that.
	worthIt = 200
	// autoUnused is what auto leaves unused of what is beyond smallTotal, in
	// percent: where a pack is rewritten for a twentieth of it, each byte freed
	// costs no more than twenty copied.
	autoUnused = 5
)

// tolerable reports whether pack u, the one with the largest unused share, may
// stay as it is, with that many unused bytes in all packs together.
func (p *pruning) tolerable(u *packUse, unused, total uint64) bool {
	limit := p.opt.MaxUnused
	switch v := p.r.value(settingMaxUnused); {
	case limit < 0:
		limit = 0
	case limit > 0:
	case v == auto:
		return u.unused() < uint64(u.Size)/worthIt || unused*100 <= (total-min(total, smallTotal))*autoUnused
	default:
		limit = p.r.percent(settingMaxUnused)
	}
	return float64(unused)*100 <= limit*float64(total)
}

// roomToCopy returns how many bytes may be copied before anything is unlinked:
// half of what is free. On a full disk nothing is rewritten; the packs of which
// nothing lives go all the same, and the next prune has room.
func (s *sweeping) roomToCopy() (uint64, error) {
	free, _, err := s.p.r.fs.Free()
	if err != nil {
		return 0, storeError("looking at the free space of", s.p.r.dir, err)
	}
	return free / 2, nil
}

// unlink removes the packs that were rewritten; CURRENT doesn't name them any
// more.
func (s *sweeping) unlink() error {
	res := &s.p.result
	for i := range s.use {
		u := &s.use[i]
		if !u.copied {
			continue
		}
		if err := s.free(u); err != nil {
			return err
		}
		res.PacksRewritten++
	}
	for _, p := range s.made {
		res.BytesFreed -= min(res.BytesFreed, uint64(p.Size)+pack.SealSize)
	}
	return nil
}
