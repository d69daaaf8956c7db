package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packnback/packnback/repo/object"
)

// maxRechecks is how often a commit checks again without a lock because a prune
// has moved the generation; after that it checks under gc.lock.
const maxRechecks = 6 // a whole prune moves it three times

// Commit makes the upload a snapshot. When it returns without an error the
// snapshot is durable and complete, and the session is over. A MissingError
// names what the upload relies on and the store doesn't have for it: it may be
// put and the commit tried again. CodeHeadMoved says that another upload of the
// job was committed meanwhile. Committing the manifest that is the job's head
// already returns the receipt it was given.
func (s *Session) Commit(ctx context.Context, m *object.Manifest, sealed []byte) (object.Receipt, error) {
	if s.req.Replica {
		return object.Receipt{}, object.CodeInvalid.Errorf("this session copies to a replica; it can't commit a snapshot of its own")
	}
	if err := s.checkManifest(m, sealed); err != nil {
		return object.Receipt{}, err
	}
	return s.makeSnapshot(ctx, &publication{s: s, m: m, sealed: sealed, id: m.ID()})
}

// makeSnapshot commits what p describes and was checked.
func (s *Session) makeSnapshot(ctx context.Context, p *publication) (object.Receipt, error) {
	s.mu.Lock()
	err := s.usable()
	if err == nil {
		s.phase = committing
	}
	s.mu.Unlock()
	if err != nil {
		return object.Receipt{}, err
	}
	snap, err := s.commit(ctx, p)
	s.mu.Lock()
	s.phase = uploading
	s.refused = errors.Is(err, object.CodeMissing)
	if err == nil {
		s.phase = over
	}
	s.mu.Unlock()
	if errors.Is(err, object.CodeMissing) {
		// The check may have seen newer lists than the session answers by. What is
		// missing by them must not be dropped as known when it is put again.
		err = errors.Join(err, s.follow(ctx))
	}
	if err != nil {
		return object.Receipt{}, err
	}
	s.conclude(context.WithoutCancel(ctx))
	return object.Receipt{Snapshot: snap.ID(), Received: snap.Received, Flags: snap.Flags}, nil
}

// checkManifest checks what needs no look into the repository.
func (s *Session) checkManifest(m *object.Manifest, sealed []byte) error {
	err := errors.Join(object.CheckName("client", m.Client), object.CheckName("job", m.Job))
	if err == nil {
		_, err = object.UnmarshalManifest(m.Append(nil))
	}
	switch {
	case err != nil:
		return object.CodeMalformed.Errorf("refused the manifest: %w", err)
	case m.Repository != s.r.id:
		return object.CodeDenied.Errorf("the manifest is for repository %s; this is %s", m.Repository, s.r.id)
	case m.Client != s.req.Client || m.Job != s.req.Job:
		return object.CodeDenied.Errorf("the manifest is of %s/%s; this session may commit for %s/%s only", m.Client, m.Job, s.req.Client, s.req.Job)
	case len(sealed) == 0 || len(sealed) > object.MaxSealedPart:
		return object.CodeMalformed.Errorf("the manifest's sealed part has %d bytes; 1 to %d are allowed", len(sealed), object.MaxSealedPart)
	case object.HashID(sealed) != m.SealedHash:
		return object.CodeMalformed.Errorf("the sealed part is not the one that the manifest names")
	}
	if err := m.Verify(); err != nil {
		return object.CodeDenied.Errorf("refused the manifest: %w", err)
	}
	return nil
}

// commit does the steps of packnback-repository(5), "Commit", up to the durable
// head.
func (s *Session) commit(ctx context.Context, p *publication) (*object.Snapshot, error) {
	if snap, err := p.already(ctx); snap != nil || err != nil {
		return snap, err
	}
	if err := s.finishPacks(); err != nil {
		return nil, err
	}
	defer p.discard()
	for try := 0; ; try++ {
		v, err := s.r.acquire(ctx)
		if err != nil {
			return nil, err
		}
		snap, again, err := p.attempt(ctx, v, try >= maxRechecks)
		err = errors.Join(err, v.release())
		if !again || err != nil {
			return snap, err
		}
	}
}

// attempt checks against v and publishes if nothing has changed meanwhile.
func (p *publication) attempt(ctx context.Context, v *view, last bool) (snap *object.Snapshot, again bool, err error) {
	err = p.s.checkClosure(ctx, v, p.m)
	if errors.Is(err, fs.ErrNotExist) && !last {
		return nil, true, nil // a prune has rewritten what v names
	}
	if err != nil {
		return nil, false, notFoundIsDamage(err)
	}
	if err := p.build(ctx, v); err != nil {
		return nil, false, err
	}
	if err := p.weigh(ctx, v); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !last {
			return nil, true, nil
		}
		return nil, false, notFoundIsDamage(err)
	}
	gc, err := p.s.r.lockGC(ctx, shared)
	if err != nil {
		return nil, false, err
	}
	defer gc.Unlock()
	now, err := p.s.r.acquire(ctx)
	if err != nil {
		return nil, false, err
	}
	defer now.release()
	if now.cur.generation != v.cur.generation {
		if !last {
			return nil, true, nil
		}
		err := p.s.checkClosure(ctx, now, p.m)
		if err == nil {
			err = p.build(ctx, now) // a replica's session may have met more
		}
		if err != nil {
			return nil, false, notFoundIsDamage(err)
		}
	}
	snap, err = p.publish(ctx)
	return snap, false, err
}

// notFoundIsDamage is for where no newer CURRENT can explain a missing file.
func notFoundIsDamage(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return damaged("the repository", fmt.Errorf("a pack is missing: %w", err), "run `packnback check`")
	}
	return err
}

// conclude does what follows a durable snapshot. Nothing in it can take that
// back, and what fails is done by a later session or prune, so there is nobody
// to tell.
func (s *Session) conclude(ctx context.Context) {
	if err := s.r.settle(ctx, s.req.Client, s.file.id, s.received); err != nil {
		return // the file stays, and with it the charge
	}
	if s.r.removeSessionFile(s.file.name) != nil {
		return
	}
	if s.r.mergeVisible(ctx, s.scratch, s.req.Client, s.req.Job) != nil {
		return
	}
	s.r.mergeSegments(ctx, s.scratch)
}
