package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"strconv"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
	"github.com/packnback/packnback/repo/table"
)

// historySize is the length of an encoded history: packnback-repository(5),
// "HEADS".
const historySize = 4 + 32 + 8 + 8 + retention.HistoryDays*24

// history is what a head remembers of its job in order to know what is unusual.
type history struct {
	retention.History
	all uint64 // bytes reachable from the newest snapshot, as far as the store counted
}

func (h *history) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, h.Snapshots)
	dst = append(dst, h.Signer[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.First))
	dst = binary.BigEndian.AppendUint64(dst, h.all)
	for _, d := range h.Days {
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.Number))
		dst = binary.BigEndian.AppendUint64(dst, d.New)
		dst = binary.BigEndian.AppendUint64(dst, d.Gone)
	}
	return dst
}

// unmarshalHistory is append's inverse; nothing at all is an empty history. A
// history of any other length was written by a program that counts otherwise:
// the job's is begun anew, which flags nothing for its first snapshots.
func unmarshalHistory(b []byte) history {
	var h history
	if len(b) != historySize {
		return h
	}
	f := fields{b: b}
	h.Snapshots = f.uint32()
	copy(h.Signer[:], f.take(len(h.Signer)))
	h.First = int64(f.uint64())
	h.all = f.uint64()
	for i := range h.Days {
		h.Days[i] = retention.Day{Number: int64(f.uint64()), New: f.uint64(), Gone: f.uint64()}
	}
	return h
}

// commitOf is what the rule for unusual snapshots looks at.
func (h *history) commitOf(snap *object.Snapshot) retention.Commit {
	return retention.Commit{
		Received: snap.Received, New: snap.Measures.NewContent, Gone: snap.Measures.GoneBytes,
		All: snap.Measures.AllBytes, Previous: h.all, Signer: snap.Manifest.Signer,
	}
}

// remember returns the history of a head after snap became its newest.
func remember(old []byte, snap *object.Snapshot) []byte {
	h := unmarshalHistory(old)
	h.History = h.After(h.commitOf(snap), snap.Flags)
	h.all = snap.Measures.AllBytes
	return h.append(nil)
}

// measure completes what is known of a snapshot that is about to become the
// newest of head h, and says what is unusual about it.
func (p *publication) measure(h *head, snap *object.Snapshot) {
	past := unmarshalHistory(h.history)
	m := &snap.Measures
	*m = p.s.sums
	m.GoneObjects, m.GoneBytes = p.gone.objects, p.gone.bytes
	m.AllBytes = max(past.all-min(past.all, m.GoneBytes)+p.gone.added, p.gone.added)
	snap.Flags |= past.Judge(past.commitOf(snap), p.s.r.thresholds())
}

// thresholds returns the settings of the rule for unusual snapshots.
func (r *Repository) thresholds() retention.Thresholds {
	factor, err := strconv.ParseFloat(r.value(settingFactor), 64)
	if err != nil {
		factor = 0 // the default
	}
	return retention.Thresholds{
		New: int(r.percent(settingNew)), Gone: int(r.percent(settingGone)),
		Rate: int(r.percent(settingRate)), Factor: int(factor * 10),
	}
}

// gone is what the snapshot before reaches and the new one doesn't.
type gone struct {
	objects, bytes uint64
	added          uint64 // bytes of the upload's objects that the new one reaches
}

// weigh counts what is gone, by descending from the previous snapshot's root as
// far as the upload refers to nothing any more: its work is bounded by what has
// changed, its memory is flat. What is shared with an unchanged folder and not
// referred to by a changed one counts as gone although it isn't; prune counts
// anew.
func (p *publication) weigh(ctx context.Context, v *view) error {
	p.gone = gone{}
	if p.envelope != nil {
		return nil
	}
	kept, err := p.reach(ctx)
	if err != nil {
		return err
	}
	defer kept.Close()
	if p.m.Prev.IsZero() {
		return nil
	}
	prev, err := p.s.r.findSnapshot(p.m.Prev)
	if errors.Is(err, object.CodeNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	seen, err := p.sorter("weighed")
	if err != nil {
		return err
	}
	defer seen.Close()
	level, err := p.sorter("level0")
	if err != nil {
		return err
	}
	if err := level.Add(prev.Manifest.Root[:]); err != nil {
		return errors.Join(err, level.Close())
	}
	for n := 1; level.Len() > 0; n++ {
		next, err := p.sorter("level" + strconv.Itoa(n%2))
		if err != nil {
			return errors.Join(err, level.Close())
		}
		err = p.weighLevel(ctx, v, level, next, seen, kept)
		if err = errors.Join(err, level.Close()); err != nil {
			return errors.Join(err, next.Close())
		}
		level = next
	}
	return level.Close()
}

func (p *publication) sorter(name string) (*table.Sorter, error) {
	s, err := table.NewSorter(p.s.r.fs, p.s.scratch.file(name), rootLayout, descendMemory)
	if err != nil {
		return nil, storeError("sorting in", p.s.scratch.dir, err)
	}
	return s, nil
}

func (p *publication) weighLevel(ctx context.Context, v *view, level, next, seen, reached *table.Sorter) error {
	for row, err := range table.Dedup(level.Rows()) {
		if err != nil {
			return storeError("sorting in", p.s.scratch.dir, err)
		}
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		id := object.ID(row)
		kept, err := p.keeps(id, seen, reached)
		if err != nil {
			return err
		}
		if kept {
			continue
		}
		if err := seen.Add(row); err != nil {
			return storeError("sorting in", p.s.scratch.dir, err)
		}
		if err := p.weighOne(v, id, next); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether the new snapshot reaches id, as far as the upload tells,
// or whether it was counted already.
func (p *publication) keeps(id object.ID, seen, reached *table.Sorter) (bool, error) {
	for _, s := range []*table.Sorter{seen, reached} {
		if has, err := s.Has(id[:]); err != nil || has {
			return has, err
		}
	}
	return false, nil
}

// reach returns what the new snapshot reaches of the upload, and what that refers
// to. What a sender has put beside it must not count: by an object that nothing
// refers to he could make the store believe that he still has everything.
func (p *publication) reach(ctx context.Context) (reached *table.Sorter, err error) {
	if reached, err = p.sorter("reached"); err != nil {
		return nil, err
	}
	level, err := p.sorter("reach0")
	if err == nil {
		err = level.Add(p.m.Root[:])
	}
	for n := 1; err == nil && level.Len() > 0; n++ {
		var next *table.Sorter
		if next, err = p.sorter("reach" + strconv.Itoa(n%2)); err != nil {
			break
		}
		err = errors.Join(p.reachLevel(ctx, level, next, reached), level.Close())
		level = next
	}
	if level != nil {
		err = errors.Join(err, level.Close())
	}
	if err != nil {
		return nil, errors.Join(err, reached.Close())
	}
	return reached, nil
}

func (p *publication) reachLevel(ctx context.Context, level, next, reached *table.Sorter) error {
	for row, err := range table.Dedup(level.Rows()) {
		if err != nil {
			return storeError("sorting in", p.s.scratch.dir, err)
		}
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		before, err := reached.Has(row)
		if err == nil && !before {
			err = reached.Add(row)
		}
		if err != nil {
			return storeError("sorting in", p.s.scratch.dir, err)
		}
		l, own, err := p.s.own.Find(object.ID(row))
		if err != nil {
			return storeError("sorting in", p.s.scratch.dir, err)
		}
		if before || !own {
			continue
		}
		p.gone.added += uint64(l.Length)
		if !l.Kind.HasRefs() {
			continue
		}
		rec, err := p.s.r.files.Record(l.Pack, l.Type(), l.Offset, l.Length)
		if err != nil {
			return storeError("reading", l.Pack.Path(l.Type()), err)
		}
		for _, ref := range rec.Refs {
			if err := next.Add(ref[:]); err != nil {
				return storeError("sorting in", p.s.scratch.dir, err)
			}
		}
	}
	return nil
}

func (p *publication) weighOne(v *view, id object.ID, next *table.Sorter) error {
	where, found, err := v.presence(id)
	if err != nil || where == absent {
		return err
	}
	p.gone.objects++
	p.gone.bytes += uint64(found.Length)
	if !found.Kind.HasRefs() {
		return nil
	}
	rec, err := v.metadata(id, found)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return nil // it only counts for less: rot in an old snapshot must not stop a new one
	}
	for _, ref := range rec.Refs {
		if err := next.Add(ref[:]); err != nil {
			return storeError("sorting in", p.s.scratch.dir, err)
		}
	}
	return nil
}
