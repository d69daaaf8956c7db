package repo

import (
	"context"
	"errors"
	"path"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// readOld takes from the old CURRENT what can still be known.
func (rp *repairer) readOld(ctx context.Context) error {
	if err := rp.openSegments(); err != nil {
		return err
	}
	_, cur, err := rp.r.readCurrent()
	if err != nil {
		rp.problem(Problem{What: "CURRENT", Name: currentName, Detail: err.Error()})
		return nil
	}
	rp.old = cur
	v, err := rp.r.acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		rp.problem(Problem{What: "index", Detail: err.Error()})
		return nil
	}
	rp.oldView = v
	for _, seg := range v.set.Segments() {
		if err := seg.Verify(); err != nil {
			rp.problem(Problem{What: "index", Name: seg.Name(), Detail: err.Error()})
			rp.oldView = nil
		}
	}
	if rp.oldView == nil {
		return v.release()
	}
	return nil
}

func (rp *repairer) openSegments() error {
	entries, err := list(rp.r.fs, "index")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if seg, err := index.OpenSegment(rp.r.fs, path.Join("index", e.Name)); err == nil {
			rp.segments = append(rp.segments, seg)
		}
	}
	return nil
}

// readSessions finds out which packs are an upload's and so in no index. A
// session whose snapshot is there is no upload any more, only its file is left.
func (rp *repairer) readSessions() error {
	return rp.r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err != nil {
			if !errors.Is(err, errEmptySession) {
				rp.problem(Problem{What: "session", Name: sessionName(id), Detail: err.Error()})
			}
			// Who still runs has packs that must not be listed half-written.
			alive, err := rp.r.alive(sessionName(id))
			rp.unnamed[id] = alive
			return err
		}
		if !s.committing.IsZero() {
			_, err := rp.r.findSnapshot(s.committing)
			if err == nil {
				return nil
			}
			if !errors.Is(err, object.CodeNotFound) {
				rp.problem(Problem{What: "snapshot", ID: s.committing, Detail: err.Error()})
				return nil
			}
		}
		rp.uploads = append(rp.uploads, s)
		return nil
	})
}

// isUpload reports whether a session file names the pack. One that the old
// CURRENT lists counts as committed even so: its commit was cut off later.
func (rp *repairer) isUpload(name pack.Name) (bool, error) {
	named := rp.names(name)
	if !named || rp.oldView == nil {
		return named, nil
	}
	_, listed, err := rp.oldView.set.FindPack(name)
	return !listed, err
}

// names reports whether a session file names the pack.
func (rp *repairer) names(name pack.Name) bool {
	named := rp.unnamed[name.Session()]
	for _, s := range rp.uploads {
		named = named || s.names(name)
	}
	return named
}

// readPacks collects what all packs hold.
func (rp *repairer) readPacks(ctx context.Context) error {
	dirs, err := list(rp.r.fs, pack.Dir)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if !dir.Dir {
			continue
		}
		entries, err := list(rp.r.fs, path.Join(pack.Dir, dir.Name))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return interrupted(err)
			}
			file := path.Join(pack.Dir, dir.Name, e.Name)
			name, typ, err := pack.ParseFile(e.Name)
			if err != nil || name.Path(typ) != file {
				rp.problem(Problem{What: "pack", Name: file, Detail: "a file that is no pack's name, or in the wrong folder; it was left alone"})
				continue
			}
			if err := rp.readPack(name, typ, uint64(e.ModTime)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readPack collects one pack's records, unless it is an upload's.
func (rp *repairer) readPack(name pack.Name, typ pack.Type, written uint64) error {
	upload, err := rp.isUpload(name)
	if err != nil || upload {
		return err
	}
	file := name.Path(typ)
	f, err := rp.r.fs.Open(file)
	if err != nil {
		rp.problem(Problem{What: "pack", Name: file, Detail: err.Error()})
		return nil
	}
	defer f.Close()
	p := index.Pack{Name: name, Type: typ, Sequence: written}
	for _, seg := range rp.segments {
		if ordinal, ok, err := seg.FindPack(name); err == nil && ok {
			if old, err := seg.Pack(ordinal); err == nil {
				p.Sequence = old.Sequence
			}
		}
	}
	var failed error
	scanned, err := pack.Scan(f, name, typ, func(offset uint32, rec *object.Record) error {
		l := index.Location{Pack: name, Offset: offset, Length: uint32(rec.Size()), Kind: rec.Kind}
		if failed = rp.rows.Add(index.Entry{ID: rec.ID, Key: rec.Key, Location: l}); failed != nil {
			return failed
		}
		p.Size = offset + l.Length
		p.Records++
		return nil
	})
	if failed != nil {
		return storeError("sorting in", rp.scratch.dir, failed)
	}
	if err != nil {
		rp.problem(Problem{What: "pack", Name: file, Detail: err.Error()})
	}
	for _, d := range scanned.Damage {
		rp.problem(Problem{What: "pack", Name: file, Detail: d.Error()})
	}
	rp.result.Packs++
	rp.result.PacksRead++
	rp.result.Bytes += uint64(p.Size)
	rp.result.Objects += uint64(p.Records)
	if p.Records > 0 {
		rp.packs = append(rp.packs, p)
	}
	return nil
}
