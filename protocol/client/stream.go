package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// window is how many bytes of a stream may be on their way or waiting for the
// consumer. At 100 ms of round trip it lets one stream run at 40 MB/s, twice
// what an ssh channel carries there.
const window = 4 << 20

// stream is one stream that is under way.
type stream struct {
	ready chan struct{} // has a token when items or last may have changed

	mu    sync.Mutex
	items []queued
	owed  int              // bytes the store may still send
	last  protocol.Message // its last message, when it has come
	gone  bool             // the consumer is; items are thrown away
}

type queued struct {
	message protocol.Message
	size    int
}

// push takes an item from the reader.
func (st *stream) push(m protocol.Message, size int) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.owed <= 0 {
		return fmt.Errorf("%w message: the store sends more than it may", object.ErrMalformed)
	}
	st.owed -= size
	if st.gone {
		return nil
	}
	st.items = append(st.items, queued{m, size})
	st.wake()
	return nil
}

// finish takes the stream's last message from the reader.
func (st *stream) finish(m protocol.Message) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.last = m
	st.wake()
}

func (st *stream) wake() {
	select {
	case st.ready <- struct{}{}:
	default:
	}
}

// next returns what has come: an item, or when there is none left the last
// message, or neither.
func (st *stream) next() (queued, protocol.Message) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.items) == 0 {
		return queued{}, st.last
	}
	q := st.items[0]
	st.items[0] = queued{}
	st.items = st.items[1:]
	return q, nil
}

// abandon drops what has come and will come.
func (st *stream) abandon() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.gone, st.items = true, nil
}

// grant lets the store send n bytes more.
func (st *stream) grant(n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.owed += n
}

// stream sends the request that build makes and calls each with every item of
// the answer. It returns the last message. When each fails or ctx ends, it
// cancels the stream and doesn't wait for its end.
func (c *Conn) stream(ctx context.Context, build func(n uint32) protocol.Message, each func(protocol.Message) error) (protocol.Message, error) {
	select {
	case c.slots <- struct{}{}: // given back by the reader when the last message has come
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
		return nil, c.failure()
	}
	st := &stream{ready: make(chan struct{}, 1), owed: window}
	var n uint32
	err := c.out.SendNext(ctx, func() protocol.Message {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.number++
		n = c.number
		c.streams[n] = st
		return build(n)
	})
	if err != nil {
		<-c.slots
		return nil, c.reason(err)
	}
	last, err := c.consume(ctx, n, st, each)
	if err != nil {
		st.abandon()
		c.cancelStream(ctx, n)
		return nil, err
	}
	if e, ok := last.(*protocol.Error); ok {
		return nil, e.Err()
	}
	return last, nil
}

// cancelStream asks the store to end stream n, if it hasn't already.
func (c *Conn) cancelStream(ctx context.Context, n uint32) {
	c.mu.Lock()
	_, running := c.streams[n]
	c.mu.Unlock()
	if running {
		// A connection that can't take it has no streams either.
		_ = c.out.Send(context.WithoutCancel(ctx), &protocol.Bare{Kind: protocol.TypeCancel, Number: n})
	}
}

// consume calls each with the items of st until its last message, and tells
// the store as room becomes free.
func (c *Conn) consume(ctx context.Context, n uint32, st *stream, each func(protocol.Message) error) (protocol.Message, error) {
	used := 0
	for {
		q, last := st.next()
		switch {
		case last != nil:
			return last, nil
		case q.message == nil:
			select {
			case <-st.ready:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-c.done:
				if q, last = st.next(); q.message == nil && last == nil {
					return nil, c.failure()
				} else if last != nil {
					return last, nil
				}
			}
		}
		if q.message == nil {
			continue
		}
		if err := each(q.message); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if used += q.size; used >= window/2 {
			st.grant(used)
			if err := c.out.Send(ctx, &protocol.Window{Number: n, More: uint32(used)}); err != nil {
				return nil, c.reason(err)
			}
			used = 0
		}
	}
}
