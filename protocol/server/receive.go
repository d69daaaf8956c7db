package server

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// receive reads and handles the message that h begins. An error ends the
// connection; what fails of a request is answered instead.
func (c *conn) receive(ctx context.Context, h protocol.Header) error {
	need, ok := needs[h.Type]
	if !ok || h.Type == protocol.TypeHello {
		return object.CodeMalformed.Errorf("a client can't send %s now", h.Type)
	}
	if c.granted&need != need {
		return c.deny(ctx, h)
	}
	b, err := c.payload(h.Length)
	if err != nil {
		return err
	}
	switch h.Type {
	case protocol.TypeAlive:
		return nil
	case protocol.TypeOpen:
		return c.open(ctx, b)
	case protocol.TypePut:
		return c.put(ctx, b)
	case protocol.TypeHave:
		return c.have(ctx, b)
	case protocol.TypeCheckpoint:
		return c.checkpoint(ctx, b)
	case protocol.TypeCommit:
		return c.commit(ctx, b)
	case protocol.TypeClose:
		return c.close(ctx, b)
	case protocol.TypeReplicate:
		return c.replicate(ctx, b)
	case protocol.TypeReplica:
		return c.replica(ctx, b)
	case protocol.TypeSnapshots, protocol.TypeLinks, protocol.TypeKeys:
		return c.list(ctx, h.Type, b)
	case protocol.TypeLookup, protocol.TypePush:
		return c.seek(ctx, h.Type, b)
	case protocol.TypeFetch:
		return c.fetch(ctx, b)
	case protocol.TypeAdminister:
		return c.administer(ctx, b)
	case protocol.TypeWindow:
		return c.window(b)
	case protocol.TypeCancel:
		return c.cancel(b)
	}
	return object.CodeInternal.Errorf("no handler for %s", h.Type)
}

// deny refuses a message that the connection's mode does not permit, without
// looking at more of it than its number.
func (c *conn) deny(ctx context.Context, h protocol.Header) error {
	refusal := c.refusal(doing[h.Type])
	if h.Type == protocol.TypePut || h.Length < 4 {
		return refusal
	}
	var b [4]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return unread("a message", err)
	}
	if _, err := c.in.Discard(h.Length - len(b)); err != nil {
		return unread("a message", err)
	}
	c.life.mark()
	n := binary.BigEndian.Uint32(b[:])
	if err := c.number(n); err != nil {
		return err
	}
	if h.Type == protocol.TypeReplicate && c.upload == nil {
		c.upload = &upload{opened: n, failed: refusal} // which its client closes
	}
	return c.out.Send(ctx, protocol.NewError(n, refusal))
}

// number takes a request's number, which must be higher than all before it.
func (c *conn) number(n uint32) error {
	if n <= c.numbered {
		return object.CodeMalformed.Errorf("request number %d after %d", n, c.numbered)
	}
	c.numbered = n
	return nil
}

// fail answers request n with err.
func (c *conn) fail(ctx context.Context, n uint32, err error) error {
	return c.out.Send(ctx, protocol.NewError(n, c.outward(err)))
}

// absent is the error for a request that needs the repository where there is
// none.
func (c *conn) absent() error {
	if c.opt.Repository != "" {
		return object.CodeNoRepo.Errorf("there is no repository where this connection is pinned to")
	}
	return object.CodeNoRepo.Errorf("there is no repository at %q", c.dir)
}
