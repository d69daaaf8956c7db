package server

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// streams are the streams that a connection has under way, at most
// protocol.MaxStreams.
type streams struct {
	c     *conn
	group errgroup.Group

	mu     sync.Mutex
	active map[uint32]*stream
}

func (s *streams) init(c *conn) {
	s.c = c
	s.active = make(map[uint32]*stream)
}

// stream sends the items of one request, no faster than the client takes them.
type stream struct {
	c      *conn
	number uint32
	cancel context.CancelCauseFunc
	room   chan struct{} // has a token when the window may have grown

	mu     sync.Mutex
	window int64 // bytes that may still be sent
}

// start runs f as the stream of request n and sends its last message: what f
// returns, a Done, or an Error.
func (s *streams) start(ctx context.Context, n, window uint32, f func(context.Context, *stream) (protocol.Message, error)) error {
	if err := s.c.number(n); err != nil {
		return err
	}
	connection := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	st := &stream{c: s.c, number: n, cancel: cancel, room: make(chan struct{}, 1), window: int64(window)}
	if !s.add(st) {
		cancel(nil)
		return s.c.fail(connection, n, object.CodeBusy.Errorf("%d requests are under way on this connection already", protocol.MaxStreams))
	}
	s.group.Go(func() error {
		defer cancel(nil)
		last, err := f(ctx, st)
		switch {
		case err != nil && context.Cause(ctx) != nil:
			last = protocol.NewError(n, context.Cause(ctx))
		case err != nil:
			last = protocol.NewError(n, s.c.outward(err))
		case last == nil:
			last = &protocol.Bare{Kind: protocol.TypeDone, Number: n}
		}
		s.remove(n)
		// Not with the stream's ctx, which a Cancel has ended. When the connection
		// is over nobody waits for the message, and the outbox says so.
		_ = s.c.out.Send(context.WithoutCancel(ctx), last)
		return nil
	})
	return nil
}

func (s *streams) add(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.active) >= protocol.MaxStreams {
		return false
	}
	s.active[st.number] = st
	return true
}

func (s *streams) remove(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, n)
}

// find returns the stream of request n, nil when it has ended.
func (s *streams) find(n uint32) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active[n]
}

// item sends m once the client has room for it.
func (st *stream) item(ctx context.Context, m protocol.Message, size int) error {
	for !st.reserve(size) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-st.room:
		}
	}
	return st.c.out.Send(ctx, m)
}

// reserve takes an item's size off the window if anything is left of it.
func (st *stream) reserve(size int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.window <= 0 {
		return false
	}
	st.window -= int64(size)
	return true
}

// window handles Window.
func (c *conn) window(b []byte) error {
	m, err := protocol.UnmarshalWindow(b)
	if err != nil {
		return err
	}
	st := c.streams.find(m.Number)
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.window += int64(m.More)
	if st.window > protocol.MaxWindow {
		return object.CodeMalformed.Errorf("window of %d bytes, the limit is %d", st.window, protocol.MaxWindow)
	}
	select {
	case st.room <- struct{}{}:
	default:
	}
	return nil
}

// cancel handles Cancel.
func (c *conn) cancel(b []byte) error {
	m, err := protocol.UnmarshalBare(protocol.TypeCancel, b)
	if err != nil {
		return err
	}
	if st := c.streams.find(m.Number); st != nil {
		st.cancel(object.CodeInterrupted.Errorf("cancelled"))
	}
	return nil
}
