package server

import (
	"context"
	"slices"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// numberSize is what an item's payload has beside its body.
const numberSize = 4

// reading starts a stream that reads from the repository.
func (c *conn) reading(ctx context.Context, n, window uint32, f func(context.Context, *stream, Reader) error) error {
	repo := c.repo // an init that comes later does not concern this stream
	return c.streams.start(ctx, n, window, func(ctx context.Context, st *stream) (protocol.Message, error) {
		if repo == nil {
			return nil, c.absent()
		}
		return nil, f(ctx, st, repo)
	})
}

// list handles Snapshots, Links and Keys.
func (c *conn) list(ctx context.Context, t protocol.Type, b []byte) error {
	m, err := protocol.UnmarshalList(t, b)
	if err != nil {
		return err
	}
	return c.reading(ctx, m.Number, m.Window, func(ctx context.Context, st *stream, repo Reader) error {
		yield := func(s *object.Snapshot) error { return st.snapshot(ctx, s) }
		switch t {
		case protocol.TypeKeys:
			return repo.Keys(ctx, func(r *object.Record) error { return st.object(ctx, r) })
		case protocol.TypeLinks:
			return repo.Links(ctx, yield)
		}
		return repo.Snapshots(ctx, yield)
	})
}

// seek handles Lookup and Push.
func (c *conn) seek(ctx context.Context, t protocol.Type, b []byte) error {
	m, err := protocol.UnmarshalSeek(t, b)
	if err != nil {
		return err
	}
	return c.reading(ctx, m.Number, m.Window, func(ctx context.Context, st *stream, repo Reader) error {
		if m.Push {
			return repo.Push(ctx, m.ID, func(r *object.Record) error { return st.object(ctx, r) })
		}
		s, err := repo.Snapshot(ctx, m.ID)
		if err != nil {
			return err
		}
		if !c.shows(s) {
			return object.CodeNotFound.Errorf("no snapshot %s", m.ID.Short())
		}
		return st.snapshot(ctx, s)
	})
}

// fetch handles Fetch.
func (c *conn) fetch(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalFetch(b)
	if err != nil {
		return err
	}
	return c.reading(ctx, m.Number, m.Window, func(ctx context.Context, st *stream, repo Reader) error {
		return repo.Fetch(ctx, m.IDs, func(r *object.Record) error { return st.object(ctx, r) })
	})
}

// shows reports whether the connection's pins let it see s.
func (c *conn) shows(s *object.Snapshot) bool {
	return (c.opt.Client == "" || s.Manifest.Client == c.opt.Client) &&
		(len(c.opt.Jobs) == 0 || slices.Contains(c.opt.Jobs, s.Manifest.Job))
}

// snapshot sends s, unless the connection is pinned to another client or job.
func (st *stream) snapshot(ctx context.Context, s *object.Snapshot) error {
	if !st.c.shows(s) {
		return ctx.Err()
	}
	m := &protocol.Snapshot{Number: st.number, Snapshot: s}
	return st.item(ctx, m, len(m.Append(nil)))
}

// object sends r.
func (st *stream) object(ctx context.Context, r *object.Record) error {
	return st.item(ctx, &protocol.Object{Number: st.number, Record: r}, numberSize+r.Size())
}
