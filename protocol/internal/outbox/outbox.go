package outbox

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/packnback/packnback/protocol"
)

const (
	// budget is how many bytes gather before Send waits. With the buffer that is
	// being written, memory is at most twice this and twice one message.
	budget = 2 << 20
	// step is the most that one write passes on, so that a slow link shows
	// progress and a closed one is noticed early.
	step = 256 << 10
)

// ErrClosed is what Send returns after Close.
var ErrClosed = errors.New("connection is closing")

// Outbox gathers messages for one writer. Its methods may be called by several
// goroutines at once; Run must be called by exactly one.
type Outbox struct {
	w io.Writer

	mu       sync.Mutex
	changed  *sync.Cond // pending, closed or err changed
	pending  []byte
	messages uint64 // sent so far
	closed   bool
	err      error // why nothing can be sent any more
}

// New returns an outbox that writes to w once Run is called.
func New(w io.Writer) *Outbox {
	o := &Outbox{w: w}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// Preamble puts the bytes that begin a direction in front of all messages.
func (o *Outbox) Preamble() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending = append(o.pending, protocol.Preamble...)
	o.changed.Broadcast()
}

// Send waits until there is room and appends m. Nothing of m is used after it
// returns. Messages of one goroutine leave in the order in which it sent them.
func (o *Outbox) Send(ctx context.Context, m protocol.Message) error {
	return o.SendNext(ctx, func() protocol.Message { return m })
}

// SendNext is Send for a message that is made only when its turn has come, so
// that numbers given by next rise on the wire. next must not call the Outbox.
func (o *Outbox) SendNext(ctx context.Context, next func() protocol.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pending) >= budget {
		if err := o.waitForRoom(ctx); err != nil {
			return err
		}
	}
	switch {
	case o.err != nil:
		return o.err
	case o.closed:
		return ErrClosed
	}
	o.pending = protocol.AppendFrame(o.pending, next())
	o.messages++
	o.changed.Broadcast()
	return nil
}

func (o *Outbox) waitForRoom(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})
	defer stop()
	for len(o.pending) >= budget && o.err == nil && !o.closed {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		o.changed.Wait()
	}
	return nil
}

// SendNow appends m without waiting for room; where there is none it does
// nothing, because enough is on its way.
func (o *Outbox) SendNow(m protocol.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err != nil:
		return o.err
	case o.closed:
		return ErrClosed
	case len(o.pending) >= budget:
		return nil
	}
	o.pending = protocol.AppendFrame(o.pending, m)
	o.messages++
	o.changed.Broadcast()
	return nil
}

// Messages returns how many messages were sent so far, for telling whether
// anything was since.
func (o *Outbox) Messages() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.messages
}

// Close lets Run return once everything sent so far is written.
func (o *Outbox) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.changed.Broadcast()
}

// Fail makes Run and every Send return err as soon as they can. What has not
// been written is lost.
func (o *Outbox) Fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.changed.Broadcast()
}

// Run writes what is sent until Close or Fail, or until a write fails.
func (o *Outbox) Run() error {
	var spare []byte
	for {
		batch, err := o.next(spare)
		if err != nil || batch == nil {
			return err
		}
		if err := o.write(batch); err != nil {
			o.Fail(err)
			return err
		}
		spare = batch[:0]
		if cap(spare) > 2*budget {
			spare = nil // a large record made it grow; the next batch is likely small
		}
	}
}

// next waits for something to write and swaps it for spare. It returns nil
// after the last.
func (o *Outbox) next(spare []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) == 0 && !o.closed && o.err == nil {
		o.changed.Wait()
	}
	if o.err != nil {
		return nil, o.err
	}
	if len(o.pending) == 0 {
		return nil, nil
	}
	batch := o.pending
	o.pending = spare
	o.changed.Broadcast()
	return batch, nil
}

func (o *Outbox) write(batch []byte) error {
	for len(batch) > 0 {
		n, err := o.w.Write(batch[:min(step, len(batch))])
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}
