package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"syscall"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// keepCopy copies a damaged pack to the folder damaged, durably. Of one that is
// not there an empty file tells that something is lost: what is in that folder
// decides whether a sender's base may have holes.
func (rp *packRepairer) keepCopy(p index.Pack) (err error) {
	from := p.Name.Path(p.Type)
	to := path.Join("damaged", path.Base(from))
	f, err := rp.r.fs.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		there, err := exists(rp.r.fs, to)
		if err == nil && !there {
			err = createFile(rp.r.fs, to, nil)
		}
		return errors.Join(err, rp.r.syncDirs("damaged"))
	}
	if err != nil {
		return storeError("opening", from, err)
	}
	defer f.Close()
	if err := rp.r.fs.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", to, err) // of a repair that was cut off
	}
	copied, err := rp.r.fs.Create(to)
	if err != nil {
		return storeError("creating", to, err)
	}
	err = copyReadable(copied, f)
	if err == nil {
		err = copied.Sync()
	}
	if err := errors.Join(err, copied.Close()); err != nil {
		return storeError("writing", to, err)
	}
	return rp.r.syncDirs("damaged")
}

// copyReadable copies f, with zeros for what the disk doesn't give any more.
func copyReadable(w io.Writer, f disk.File) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for at := int64(0); at < size; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), size-at)]
		if n, err := f.ReadAt(b, at); err != nil && n < len(b) {
			if !isLoss(err) && !errors.Is(err, io.EOF) {
				return err
			}
			clear(b[n:])
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// placeLayout is that of the rows of damaged packs: pack, offset, and the
// entry's position in the index.
var placeLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 's', 'a', 'l', 'v', 1}, Key: locationSize, Row: locationSize + 8}

// places returns what the index has in damaged packs, to be read pack by pack.
func (rp *packRepairer) places(ctx context.Context) (*table.Sorter, error) {
	places, err := table.NewSorter(rp.r.fs, rp.scratch.file("places"), placeLayout, listMemory)
	if err != nil {
		return nil, storeError("sorting in", rp.scratch.dir, err)
	}
	for position := range rp.v.set.Len() {
		if position%4096 == 0 && ctx.Err() != nil {
			return nil, errors.Join(interrupted(ctx.Err()), places.Close())
		}
		e, err := rp.v.set.Entry(position)
		if err != nil {
			return nil, errors.Join(damaged("the index", err, repairCommand), places.Close())
		}
		if rp.bad[e.Pack] == nil {
			continue
		}
		row := binary.BigEndian.AppendUint64(appendLocation(nil, e.Location), uint64(position))
		if err := places.Add(row); err != nil {
			return nil, errors.Join(storeError("sorting in", rp.scratch.dir, err), places.Close())
		}
	}
	return places, nil
}

// markLost is all that a repair does while a prune that was cut off has something
// condemned: it puts what can't be read into quarantine. A prune doesn't go past
// that otherwise, because it couldn't tell what is needed by it.
func (rp *packRepairer) markLost(ctx context.Context) (err error) {
	bad, err := table.NewSorter(rp.r.fs, rp.scratch.file("bad"), locationLayout, listMemory)
	if err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	defer func() { err = errors.Join(err, bad.Close()) }()
	err = rp.eachPlace(ctx, func(e index.Entry, rec *object.Record) error {
		if rec != nil {
			return nil
		}
		if err := rp.reportLost(e); err != nil {
			return err
		}
		if err := bad.Add(appendLocation(nil, e.Location)); err != nil {
			return storeError("sorting in", rp.scratch.dir, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if bad.Len() == 0 {
		return errCutOff
	}
	if err := rp.r.quarantine(ctx, rp.scratch, bad); err != nil {
		return err
	}
	return object.CodeBusy.Errorf("a prune was cut off, which comes first; what is lost was marked as bad, so that `packnback prune` can end; run that and then repair again")
}

// eachPlace calls do with what the index has in damaged packs, pack by pack, and
// the object; nil when that is lost.
func (rp *packRepairer) eachPlace(ctx context.Context, do func(e index.Entry, rec *object.Record) error) (err error) {
	places, err := rp.places(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, places.Close()) }()
	for row, err := range places.Rows() {
		if err != nil {
			return storeError("sorting in", rp.scratch.dir, err)
		}
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		e, rec, err := rp.read(row)
		if err != nil {
			return err
		}
		if err := do(e, rec); err != nil {
			return err
		}
	}
	return nil
}

// read returns what the index says of a row of places, and the object; nil when
// that is lost.
func (rp *packRepairer) read(row []byte) (index.Entry, *object.Record, error) {
	e, err := rp.v.set.Entry(int(binary.BigEndian.Uint64(row[locationSize:])))
	if err != nil {
		return e, nil, damaged("the index", err, repairCommand)
	}
	rec, err := rp.r.files.Record(e.Pack, e.Type(), e.Offset, e.Length)
	switch {
	case err != nil && !isLoss(err):
		return e, nil, storeError("reading", e.Pack.Path(e.Type()), err)
	case err != nil || rec.ID != e.ID:
		return e, nil, nil
	}
	return e, rec, nil
}

// reportLost reports that e is lost, unless there is another copy.
func (rp *packRepairer) reportLost(e index.Entry) error {
	found, err := rp.v.find(nil, e.ID)
	if err != nil {
		return err
	}
	if len(found) < 2 {
		rp.problem(Problem{What: "object", Name: e.Pack.Path(e.Type()), ID: e.ID, Detail: fmt.Sprintf("the %s at offset %d is lost", e.Kind, e.Offset)})
	}
	return nil
}

// save copies what is whole of the damaged packs to new ones, durably, one after
// the other.
func (rp *packRepairer) save(ctx context.Context) error {
	var s *salvage
	err := rp.eachPlace(ctx, func(e index.Entry, rec *object.Record) error {
		if s != rp.bad[e.Pack] {
			if err := rp.seal(s); err != nil {
				return err
			}
			s = rp.bad[e.Pack]
		}
		return rp.saveOne(s, e, rec)
	})
	if err != nil {
		return err
	}
	return rp.seal(s)
}

// seal ends the new pack of s, durably, if there is one.
func (rp *packRepairer) seal(s *salvage) error {
	if rp.w == nil {
		return nil
	}
	s.made = index.Pack{Name: rp.w.Name(), Type: s.old.Type, Sequence: s.old.Sequence, Size: uint32(rp.w.Size()), Records: rp.w.Records()}
	if err := rp.w.Seal(); err != nil {
		return storeError("sealing", s.made.Name.Path(s.made.Type), err)
	}
	rp.w = nil
	return rp.r.syncDirs(pack.Dir, s.made.Name.Folder())
}

// saveOne copies one object; nil is one that is lost. One that somebody has
// found bad stays behind, whatever its checksum says.
func (rp *packRepairer) saveOne(s *salvage, e index.Entry, rec *object.Record) error {
	state, err := rp.v.condition(e.Location)
	if err != nil {
		return err
	}
	if rec == nil || state != live {
		return rp.reportLost(e)
	}
	if rp.w == nil {
		rp.made++
		name := pack.NewName(rp.session, rp.made)
		if rp.w, err = pack.Create(rp.r.fs, name, s.old.Type); err != nil {
			return storeError("creating", name.Path(s.old.Type), err)
		}
	}
	offset, length, err := rp.w.Append(rec)
	if err != nil {
		return storeError("writing", rp.w.Name().Path(s.old.Type), err)
	}
	err = rp.rows.Add(index.Entry{ID: e.ID, Key: rec.Key, Location: index.Location{Pack: rp.w.Name(), Offset: offset, Length: length, Kind: e.Kind}})
	if err != nil {
		return storeError("sorting in", rp.scratch.dir, err)
	}
	return nil
}

// isLoss reports whether err says that what was to be read is lost: it is not
// there, not what it was, or the disk doesn't give it any more. Anything else,
// such as too many open files, may be over tomorrow.
func isLoss(err error) bool {
	for _, loss := range []error{fs.ErrNotExist, object.ErrMalformed, object.ErrChecksum, syscall.EIO} {
		if errors.Is(err, loss) {
			return true
		}
	}
	return false
}
