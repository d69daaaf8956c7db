package server

import (
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// replicate handles Replicate.
func (c *conn) replicate(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalReplicate(b)
	if err != nil {
		return err
	}
	request, err := c.opt.request(&protocol.Open{Client: m.Client, Job: m.Job})
	if err == nil && request.Blind {
		err = c.refusal(doing[protocol.TypeReplicate])
	}
	request.Replica = true
	return c.openUpload(ctx, m.Number, request, err)
}

// replica handles Replica.
func (c *conn) replica(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalReplica(b)
	if err != nil {
		return err
	}
	u, err := c.during(ctx, protocol.TypeReplica, m.Number)
	if u == nil {
		return err
	}
	return c.conclude(ctx, m.Number, u, func() (object.Receipt, error) { return u.CommitReplica(ctx, m.Snapshot) })
}

func addLinks(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	links, err := protocol.UnmarshalLinks(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	added, err := r.AddLinks(ctx, links)
	if err != nil {
		return nil, err
	}
	return (&protocol.LinksResult{Added: uint64(added)}).Append(nil), nil
}
