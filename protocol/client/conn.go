package client

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/outbox"
	"github.com/packnback/packnback/repo/object"
)

// Greeting is what the client says first.
type Greeting struct {
	Path    string // repository on the store; empty for the one it was started for
	Program string // version of the program, printable ASCII

	// Open, if it isn't nil, is sent right behind the greeting, which saves a round
	// trip if the first OpenSession is to open just that. Its number is ignored.
	Open *protocol.Open

	// Patience is how long the store may take for its answer, with all that comes
	// before it; 0: protocol.WelcomePatience, below 0: as long as it likes, because
	// somebody may have to type a passphrase first.
	Patience time.Duration
}

// explainer is a transport that knows more about why it ended: the exit status
// of ssh, or what it printed.
type explainer interface {
	Explain(err error) error
}

// Conn is a connection to a store. Its methods may be called by several
// goroutines at once. Close must be called.
type Conn struct {
	rw      io.ReadWriteCloser
	in      *bufio.Reader
	out     *outbox.Outbox
	welcome *protocol.Welcome
	group   errgroup.Group
	slots   chan struct{} // one token for each stream that may be under way

	maxListed, maxListedBytes, maxLinks int // those of protocol; less in tests

	flushed chan struct{} // closed when nothing will be written any more
	done    chan struct{} // closed when err is set
	shut    sync.Once
	stop    func() bool // unties the context of Connect

	mu      sync.Mutex
	err     error // why the connection has ended
	number  uint32
	calls   map[uint32]*call
	streams map[uint32]*stream
	session *Session     // the upload that is open
	ahead   *ahead       // the one that was asked for with the greeting
	heard   atomic.Int64 // when the store last gave a sign of life, nanoseconds since 1970
}

// call is a request that is answered by one message.
type call struct {
	answer chan protocol.Message // room for the one answer, so that nobody who gave up blocks the reader
}

// Connect greets the store at the other end of rw and returns once it has
// answered. When ctx ends, so does the connection. A store that refuses gives a
// *object.StoreError, something that is no store a *NoiseError, and one that
// says nothing a *SilenceError.
func Connect(ctx context.Context, rw io.ReadWriteCloser, greeting Greeting) (*Conn, error) {
	c := &Conn{
		rw: rw, out: outbox.New(rw), maxListed: protocol.MaxListed, maxListedBytes: protocol.MaxListedBytes, maxLinks: protocol.MaxListedLinks,
		slots: make(chan struct{}, protocol.MaxStreams), flushed: make(chan struct{}), done: make(chan struct{}),
		calls: make(map[uint32]*call), streams: make(map[uint32]*stream),
	}
	c.in = bufio.NewReaderSize(hearing{c}, 256<<10)
	c.stop = context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	c.out.Preamble()
	hello := &protocol.Hello{Lowest: protocol.Version, Highest: protocol.Version, Path: greeting.Path, Program: greeting.Program[:min(len(greeting.Program), protocol.MaxProgram)]}
	if len(greeting.Path) > protocol.MaxPath {
		c.stop()
		return nil, errors.Join(object.CodeInvalid.Errorf("path of the repository has %d bytes, limit is %d", len(greeting.Path), protocol.MaxPath), rw.Close())
	}
	if err := c.out.Send(ctx, hello); err != nil {
		c.stop()
		return nil, errors.Join(err, rw.Close())
	}
	c.group.Go(c.write)
	if greeting.Open != nil {
		c.openAhead(ctx, greeting.Open)
	}
	if patience := cmp.Or(greeting.Patience, protocol.WelcomePatience); patience > 0 {
		timer := time.AfterFunc(patience, func() { c.fail(&SilenceError{patience}) })
		defer timer.Stop()
	}
	welcome, err := c.greeted()
	if err != nil {
		c.fail(c.explain(err))
		c.group.Wait()
		return nil, c.err
	}
	c.welcome = welcome
	c.heard.Store(time.Now().UnixNano())
	c.group.Go(func() error { c.read(); return nil })
	c.group.Go(func() error { c.beat(); return nil })
	return c, nil
}

// write runs the outbox. The reader usually knows more about why a write
// failed, from what the store said last or how the stream ended, so it is given
// a moment to say so.
func (c *Conn) write() error {
	err := c.out.Run()
	close(c.flushed)
	if err == nil {
		return nil
	}
	timer := time.NewTimer(patienceAtEnd)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		c.fail(&LostError{err})
	}
	return err
}

// Welcome returns what the store said about the connection: the permissions
// granted, and what it is pinned to.
func (c *Conn) Welcome() protocol.Welcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.welcome
}

// ID returns the repository's id; zero when there is no repository yet.
func (c *Conn) ID() object.RepositoryID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome.Repository
}

// Close ends the connection in order: what was sent still goes out, and the
// store has closed its end when Close returns. Requests that are under way
// fail.
func (c *Conn) Close() error {
	c.out.Close()
	timer := time.NewTimer(patienceAtEnd)
	defer timer.Stop()
	select {
	case <-c.flushed:
	case <-c.done:
	case <-timer.C:
	}
	c.fail(errClosed)
	c.group.Wait()
	return nil
}

// patienceAtEnd is how long Close waits for the store to take what was sent.
const patienceAtEnd = 10 * time.Second

// errClosed is what requests get that were under way at Close.
var errClosed = object.CodeInterrupted.Errorf("the connection to the store was closed")

// fail ends the connection; the first reason is the one everybody gets.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		close(c.done)
	}
	err = c.err
	c.mu.Unlock()
	c.out.Fail(err)
	c.shut.Do(func() {
		c.stop()
		c.rw.Close() // nothing that could be lost by it is still wanted
	})
}

// failure returns why the connection has ended, once done is closed.
func (c *Conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// explain asks the transport for the reason behind err.
func (c *Conn) explain(err error) error {
	var refused *object.StoreError
	var noise *NoiseError
	if errors.As(err, &noise) && noise.Err == nil {
		return err // it is still running, so nothing is known of its end
	}
	if errors.As(err, &refused) || errors.Is(err, object.ErrMalformed) || errors.Is(err, object.ErrChecksum) {
		return err // there is nothing left to explain
	}
	if e, ok := c.rw.(explainer); ok {
		err = e.Explain(err)
	}
	return err
}

// beat tells the store that the client is there when it has said nothing for a
// while, and gives up on a store that has fallen silent.
func (c *Conn) beat() {
	every := protocol.AliveInterval
	if idle := time.Duration(c.welcome.Idle) * time.Second; idle > 0 {
		every = min(every, idle/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var said uint64
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		if silent := time.Since(time.Unix(0, c.heard.Load())); silent > protocol.ClientPatience {
			c.fail(&LostError{fmt.Errorf("nothing came from the store for %v", silent.Round(time.Second))})
			return
		}
		if now := c.out.Messages(); now != said {
			said = now
			continue
		}
		if err := c.out.SendNow(&protocol.Bare{Kind: protocol.TypeAlive}); err != nil {
			return
		}
		said++
	}
}

// request sends the request that build makes for its number. Its one answer
// comes to the call that it returns.
func (c *Conn) request(ctx context.Context, build func(n uint32) protocol.Message) (*call, error) {
	w := &call{answer: make(chan protocol.Message, 1)}
	err := c.out.SendNext(ctx, func() protocol.Message {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.number++
		c.calls[c.number] = w
		return build(c.number)
	})
	if err != nil {
		return nil, c.reason(err)
	}
	return w, nil
}

// ask sends a request and returns the one message that answers it.
func (c *Conn) ask(ctx context.Context, build func(n uint32) protocol.Message) (protocol.Message, error) {
	w, err := c.request(ctx, build)
	if err != nil {
		return nil, err
	}
	return c.answer(ctx, w)
}

// answer waits for the answer to a request.
func (c *Conn) answer(ctx context.Context, w *call) (protocol.Message, error) {
	select {
	case m := <-w.answer:
		if e, ok := m.(*protocol.Error); ok {
			return nil, e.Err()
		}
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
		select {
		case m := <-w.answer: // the answer came before the end
			if e, ok := m.(*protocol.Error); ok {
				return nil, e.Err()
			}
			return m, nil
		default:
			return nil, c.failure()
		}
	}
}

// reason returns why the connection has ended when err is the consequence of
// that, and err otherwise.
func (c *Conn) reason(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, outbox.ErrClosed) {
		return errClosed
	}
	<-c.done // write closes it soon after it has failed
	return c.failure()
}
