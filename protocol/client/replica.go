package client

import (
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// InitReplica makes the repository that the connection is about, as a replica of
// the one that a names. It returns the store's doubts about the place.
func (c *Conn) InitReplica(ctx context.Context, a protocol.ReplicaArguments) (warnings []string, err error) {
	return c.init(ctx, protocol.OpInitReplica, a.Append(nil))
}

// OpenReplica begins an upload that copies a snapshot of another repository. It
// ends with CommitReplica.
func (c *Conn) OpenReplica(ctx context.Context, client, job string) (*Session, error) {
	c.takeAhead("", "", object.ID{}) // what was asked for with the greeting is something else
	return c.openSession(ctx, func(n uint32) protocol.Message {
		return &protocol.Replicate{Number: n, Client: client, Job: job}
	})
}

// CommitReplica makes an upload that OpenReplica began the snapshot snap, as
// Commit does with others.
func (s *Session) CommitReplica(ctx context.Context, snap *object.Snapshot) (object.Receipt, error) {
	if _, err := object.UnmarshalSnapshot(snap.Append(nil)); err != nil {
		return object.Receipt{}, object.CodeMalformed.Errorf("%w", err)
	}
	m, err := s.c.ask(ctx, func(n uint32) protocol.Message { return &protocol.Replica{Number: n, Snapshot: snap} })
	if err != nil {
		return object.Receipt{}, err
	}
	return s.receipt(m, snap.ID())
}

// AddLinks adds links of snapshots that are not copied, those of one job in the
// order of their numbers, and returns how many were not there.
func (c *Conn) AddLinks(ctx context.Context, links []*object.Snapshot) (added int, err error) {
	for len(links) > 0 {
		part := links[:min(len(links), protocol.MaxLinks)]
		links = links[len(part):]
		result, err := c.administer(ctx, protocol.OpAddLinks, protocol.AppendLinks(nil, part), nil)
		if err != nil {
			return added, err
		}
		r, err := protocol.UnmarshalLinksResult(result)
		if err != nil {
			return added, err
		}
		added += int(min(r.Added, uint64(len(part))))
	}
	return added, nil
}
