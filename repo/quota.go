package repo

import (
	"context"
	"errors"
	"io/fs"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

const (
	// leaseSize is what a session takes of its client's quota at once; leaseShare
	// is the part of what is left that it takes at most, so that several sessions
	// can come close to the end together.
	leaseSize  = 64 << 20
	leaseShare = 8
)

// charge makes sure that size more bytes may be received. The caller holds
// s.mu.
func (s *Session) charge(ctx context.Context, size uint64) error {
	if s.req.Quota == 0 || s.received+size <= s.lease {
		return nil
	}
	lock, err := s.r.lockIn(ctx, quotaFolder(s.req.Client), clientLock(s.req.Client))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	others, err := s.r.usedBy(s.req.Client, s.file.id)
	if err != nil {
		return err
	}
	need := s.received + size
	left := s.req.Quota - min(s.req.Quota, others)
	if need > left {
		return object.CodeQuota.Errorf("client %s has used %d MiB of its quota of %d MiB, and this upload needs more; forget snapshots and prune, or raise the quota; earlier snapshots are unharmed",
			s.req.Client, (others+s.received)>>20, s.req.Quota>>20)
	}
	lease := max(need, s.received+min(leaseSize, (left-s.received)/leaseShare))
	if err := s.file.append(leaseRecord(lease)); err != nil {
		return s.poison(err)
	}
	s.lease = lease
	return nil
}

// usedBy returns how many bytes count against a client's quota, without the
// session except. The caller holds client.lock.
func (r *Repository) usedBy(client string, except object.SessionID) (uint64, error) {
	u, err := r.readUsed(client)
	if err != nil {
		return 0, err
	}
	total := u.bytes
	err = r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err == nil && s.client == client && id != except && !u.has(id) {
			total += s.charged()
		}
		return nil
	})
	return total, err
}

func (r *Repository) readUsed(client string) (*used, error) {
	name := usedName(client)
	b, err := disk.ReadFile(r.fs, name, maxUsed)
	if errors.Is(err, fs.ErrNotExist) {
		return &used{repository: r.id}, nil
	}
	if err != nil {
		return nil, storeError("reading", name, err)
	}
	u, err := unmarshalUsed(b)
	if err == nil && u.repository != r.id {
		err = errors.New("it belongs to another repository")
	}
	if err != nil {
		return nil, damaged(name, err, "remove it; the next prune counts anew")
	}
	return u, nil
}

// settle charges what a committed session has received to its client for good.
// Doing it twice charges once, so a crash between this and the removal of the
// session file does no harm.
func (r *Repository) settle(ctx context.Context, client string, session object.SessionID, bytes uint64) error {
	lock, err := r.lockIn(ctx, quotaFolder(client), clientLock(client))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	u, err := r.readUsed(client)
	if err != nil {
		return err
	}
	first := u.bytes == 0 && len(u.settled) == 0
	if err := r.dropSettled(u); err != nil {
		return err
	}
	u.settle(session, bytes)
	if err := r.replaceFile(usedName(client), u.append(nil)); err != nil || !first {
		return err
	}
	return r.syncDirs("quota")
}

// dropSettled takes out of u the sessions whose file is gone: they can't be
// counted again.
func (r *Repository) dropSettled(u *used) error {
	kept := u.settled[:0]
	for _, id := range u.settled {
		there, err := exists(r.fs, sessionName(id))
		if err != nil {
			return err
		}
		if there {
			kept = append(kept, id)
		}
	}
	u.settled = kept
	return nil
}
