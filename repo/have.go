package repo

import (
	"context"

	"github.com/packnback/packnback/repo/object"
)

// Have reports for each id whether the upload may rely on it: whether it is
// visible to the client and job, and at a live location. Everything else is
// answered with false, whether or not the store has it. At most 4096 ids.
func (s *Session) Have(ctx context.Context, ids []object.ID) ([]bool, error) {
	if len(ids) > maxAsked {
		return nil, object.CodeInvalid.Errorf("%d ids in one question, the limit is %d", len(ids), maxAsked)
	}
	v, err := s.viewNow()
	if err != nil {
		return nil, err
	}
	defer v.release()
	have := make([]bool, len(ids))
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		if have[i], err = s.stored(id); err == nil && !have[i] {
			have[i], err = s.relies(v, id)
		}
		if err != nil {
			return nil, err
		}
	}
	return have, nil
}

// relies is known for an answer. Where something was found bad or lost, a list
// or directory may have holes below it; whoever copies to a replica goes down
// from one that it is told is missing, and so finds them.
func (s *Session) relies(v *view, id object.ID) (bool, error) {
	if !s.req.Replica || !s.suspect && v.quarantine == nil {
		return s.known(v, id)
	}
	p, found, err := v.presence(id)
	return p == present && !found.Kind.HasRefs(), err
}

// viewNow returns the view that the session answers by. The caller releases it.
func (s *Session) viewNow() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	return s.view.retain(), nil
}

// stored reports whether the session has stored id itself.
func (s *Session) stored(id object.ID) (bool, error) {
	_, ok, err := s.own.Find(id)
	if err != nil {
		return false, storeError("sorting in", s.scratch.dir, err)
	}
	return ok, nil
}

// known reports whether id is visible through the job's head and live in v.
// Without the first nothing is looked up: an answer, and the time it takes,
// must not depend on what else the store holds. A session that copies to a
// replica is an administrator's, who may ask for anything.
func (s *Session) known(v *view, id object.ID) (bool, error) {
	if !s.req.Replica {
		visible, err := s.visible.has(id)
		if err != nil || !visible {
			return false, err
		}
	}
	p, _, err := v.presence(id)
	return p == present, err
}
