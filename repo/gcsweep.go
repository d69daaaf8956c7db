package repo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"slices"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
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

// copyPack is a new pack that is being written.
type copyPack struct {
	index.Pack
	w *pack.Writer
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
	worthIt = 100
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

// copyAll copies what lives in the packs to new ones and makes those durable.
func (s *sweeping) copyAll(ctx context.Context, packs []*packUse) error {
	if _, err := rand.Read(s.session[:]); err != nil {
		return object.CodeInternal.Errorf("no randomness: %w", err)
	}
	for i, u := range packs {
		if i == 0 {
			s.p.say("copying what lives in packs that are mostly unused")
		}
		if err := s.copyOne(ctx, u); err != nil {
			return err
		}
	}
	for t := range s.open {
		if err := s.seal(pack.Type(t)); err != nil {
			return err
		}
	}
	if len(s.made) == 0 {
		return nil
	}
	for folder := range s.fresh {
		if err := syncDir(s.p.r.fs, folder); err != nil {
			return err
		}
	}
	return syncDir(s.p.r.fs, pack.Dir)
}

// copyOne copies what lives in one pack. A pack of which something can't be
// read whole stays as it is: check tells of it.
func (s *sweeping) copyOne(ctx context.Context, u *packUse) error {
	places, whole, err := s.livePlaces(u)
	if err != nil || !whole {
		return err
	}
	for _, at := range places { // first look, so that no copy is made of half a pack
		if _, _, err := s.live(u, at); err != nil {
			return nil
		}
	}
	var entries []index.Entry
	for _, at := range places {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		b, rec, err := s.live(u, at)
		if err != nil {
			return storeError("reading", u.Name.Path(u.Type), err)
		}
		e, err := s.append(u, b, rec)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		if err := s.copies.Add(e); err != nil {
			return s.p.sorting(err)
		}
	}
	u.gone, u.copied = true, true
	s.p.result.BytesCopied += u.live
	return nil
}

// live returns the verified record at a place in u, and its bytes.
func (s *sweeping) live(u *packUse, at record) ([]byte, *object.Record, error) {
	b, err := s.p.r.files.Read(nil, u.Name, u.Type, at.offset, at.length)
	if err != nil {
		return nil, nil, err
	}
	rec, err := object.UnmarshalRecord(b)
	if err == nil && rec.ID != at.id {
		err = object.ErrMalformed
	}
	return b, rec, err
}

// livePlaces returns where in a pack live records are; whole is false when they
// are not all found.
func (s *sweeping) livePlaces(u *packUse) (places []record, whole bool, err error) {
	f, err := s.p.r.fs.Open(u.Name.Path(u.Type))
	if err != nil {
		return nil, false, nil
	}
	defer f.Close()
	_, err = pack.ScanHeaders(f, u.Name, u.Type, func(offset uint32, h object.Header) error {
		found, err := s.v.find(nil, h.ID)
		if err != nil {
			return err
		}
		for _, at := range found {
			if at.Pack != u.Name || at.Offset != offset {
				continue
			}
			dead, err := s.v.isDeleting(at.Location)
			if err == nil && !dead {
				places = append(places, record{h.ID, offset, at.Length})
			}
			return err
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return places, len(places) == u.kept, nil
}

// append adds one encoded record of u to a new pack.
func (s *sweeping) append(u *packUse, b []byte, rec *object.Record) (index.Entry, error) {
	p := s.open[u.Type]
	if p != nil && p.w.Size()+int64(len(b)) > s.p.r.tune.packSize && p.Records > 0 {
		if err := s.seal(u.Type); err != nil {
			return index.Entry{}, err
		}
		p = nil
	}
	if p == nil {
		s.counter++
		p = &copyPack{Pack: index.Pack{Name: pack.NewName(s.session, s.counter), Type: u.Type, Sequence: u.Sequence}}
		var err error
		if p.w, err = pack.Create(s.p.r.fs, p.Name, u.Type); err != nil {
			return index.Entry{}, storeError("creating", p.Name.Path(u.Type), err)
		}
		s.fresh[p.Name.Folder()] = true
		s.open[u.Type] = p
	}
	offset, length, err := p.w.AppendEncoded(b)
	if err != nil {
		return index.Entry{}, storeError("writing", p.Name.Path(u.Type), err)
	}
	p.Records++
	return index.Entry{ID: rec.ID, Location: index.Location{Pack: p.Name, Offset: offset, Length: length, Kind: rec.Kind}}, nil
}

// seal ends the new pack of a type, durably.
func (s *sweeping) seal(t pack.Type) error {
	p := s.open[t]
	if p == nil {
		return nil
	}
	s.open[t] = nil
	size := p.w.Size()
	p.Size = uint32(size)
	if err := p.w.Seal(); err != nil {
		return errors.Join(storeError("writing", p.Name.Path(t), err), p.w.Close())
	}
	s.made = append(s.made, p.Pack)
	return nil
}

// discard removes the new packs after a failure. Those that stay are strays.
func (s *sweeping) discard() error {
	var errs []error
	for t, p := range s.open {
		if p != nil {
			errs = append(errs, p.w.Close(), s.p.r.removePack(p.Name, pack.Type(t)))
		}
	}
	for _, p := range s.made {
		errs = append(errs, s.p.r.removePack(p.Name, p.Type))
	}
	return errors.Join(errs...)
}

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
		if err := s.clearQuarantine(cur); err != nil {
			return err
		}
		cur.lists.deleting, cur.lists.packs, cur.lists.roots, cur.published = 0, 0, 0, 0
		cur.generation++
		return nil
	})
	return err
}

// clearQuarantine takes the locations that go off the quarantine list. The
// caller holds current.lock.
func (s *sweeping) clearQuarantine(cur *current) error {
	if cur.lists.quarantine == 0 {
		return nil
	}
	r := s.p.r
	old, err := table.Open(r.fs, listName(cur.lists.quarantine), locationLayout)
	if err != nil {
		return damaged(listName(cur.lists.quarantine), err, repairCommand)
	}
	defer old.Close()
	kept := 0
	tmp := s.p.scratch.file("quarantine")
	err = r.writeList(tmp, locationLayout, func(yield func([]byte, error) bool) {
		for row, err := range old.Rows(0) {
			gone := false
			if err == nil {
				gone, err = s.gone(row)
			}
			if gone && err == nil {
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

// writeCopies writes the segment of the new packs.
func (s *sweeping) writeCopies() (tmp string, rows int, err error) {
	if s.copies.Len() == 0 {
		return "", 0, nil
	}
	tmp = s.p.scratch.file("copied")
	if err := index.Write(s.p.r.fs, tmp, s.made, s.copies.Entries()); err != nil {
		return "", 0, storeError("writing", tmp, err)
	}
	return tmp, s.copies.Len(), nil
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
