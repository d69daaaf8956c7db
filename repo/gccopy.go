package repo

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// copyPack is a new pack that is being written.
type copyPack struct {
	index.Pack
	w *pack.Writer
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
	return index.Entry{ID: rec.ID, Key: rec.Key, Location: index.Location{Pack: p.Name, Offset: offset, Length: length, Kind: rec.Kind}}, nil
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
