package client

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// hearing is the transport as the reader sees it: each read that brings
// something is a sign of life.
type hearing struct{ c *Conn }

// Read reads from the transport.
func (h hearing) Read(b []byte) (int, error) {
	n, err := h.c.rw.Read(b)
	if n > 0 {
		h.c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// frame reads one message of the store. The payload is the caller's to keep.
func (c *Conn) frame() (protocol.Header, []byte, error) {
	h, err := protocol.ReadHeader(c.in)
	if err != nil {
		if errors.Is(err, object.ErrMalformed) {
			return h, nil, err
		}
		return h, nil, &LostError{err}
	}
	if h.Type.FromClient() {
		return h, nil, fmt.Errorf("%w message: a store can't send %s", object.ErrMalformed, h.Type)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return h, nil, &LostError{err}
	}
	return h, payload, nil
}

// read hands out what the store sends until the connection ends. It never
// waits for a consumer: that keeps the two sides from waiting for each other.
func (c *Conn) read() {
	for {
		h, payload, err := c.frame()
		if err == nil {
			err = c.dispatch(h.Type, payload)
		}
		if err != nil {
			c.fail(c.explain(err))
			return
		}
	}
}

// dispatch handles one message.
func (c *Conn) dispatch(t protocol.Type, payload []byte) error {
	m, err := protocol.Unmarshal(t, payload)
	if err != nil {
		return fmt.Errorf("from the store: %w", err)
	}
	switch m := m.(type) {
	case *protocol.Bare:
		if t == protocol.TypeStoreAlive {
			return nil
		}
		return c.ended(m.Number, m)
	case *protocol.Error:
		if m.Number == 0 {
			return m.Err()
		}
		return c.ended(m.Number, m)
	case *protocol.Durable:
		return c.durable(m.Puts)
	case *protocol.Opened:
		return c.ended(m.Number, m)
	case *protocol.Held:
		return c.ended(m.Number, m)
	case *protocol.Committed:
		return c.ended(m.Number, m)
	case *protocol.Outcome:
		if m.Final {
			return c.ended(m.Number, m)
		}
		return c.item(m.Number, m, len(payload))
	case *protocol.Snapshot:
		return c.item(m.Number, m, len(payload))
	case *protocol.Object:
		return c.item(m.Number, m, len(payload))
	}
	return unasked(t)
}

// unasked is the end of a store that answers what nobody asked.
func unasked(t protocol.Type) error {
	return fmt.Errorf("%w message: the store sent %s, which nobody had asked for", object.ErrMalformed, t)
}

// ended hands the last message of request n to whoever waits for it.
func (c *Conn) ended(n uint32, m protocol.Message) error {
	c.mu.Lock()
	w, st, session := c.calls[n], c.streams[n], c.session
	uploads := session != nil && session.number == n // OpenSession writes the number under mu
	delete(c.calls, n)
	delete(c.streams, n)
	c.mu.Unlock()
	switch {
	case w != nil:
		// From here on what the store says is durable is of this upload, however
		// long whoever opened it takes to look at the answer.
		if m.Type() == protocol.TypeOpened && uploads {
			session.begun()
		}
		w.answer <- m
	case st != nil:
		st.finish(m)
		<-c.slots
	case uploads:
		e, ok := m.(*protocol.Error)
		if !ok {
			return unasked(m.Type())
		}
		session.fail(e.Err())
	default:
		return unasked(m.Type())
	}
	return nil
}

// durable notes what the open upload's store has made durable.
func (c *Conn) durable(puts uint64) error {
	c.mu.Lock()
	session := c.session
	c.mu.Unlock()
	if session == nil {
		return nil // sent just before the store handled Close
	}
	return session.acknowledge(puts)
}

// item hands one item to stream n.
func (c *Conn) item(n uint32, m protocol.Message, size int) error {
	c.mu.Lock()
	st := c.streams[n]
	c.mu.Unlock()
	if st == nil {
		return unasked(m.Type())
	}
	return st.push(m, size)
}
