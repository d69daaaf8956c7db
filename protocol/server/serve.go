package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/outbox"
	"github.com/packnback/packnback/repo/object"
)

// farewell is how long a connection that is over may take to pass on its last
// message.
const farewell = 5 * time.Second

// conn is one connection.
type conn struct {
	store   Store
	opt     Options
	program string
	granted protocol.Permissions
	out     *outbox.Outbox
	in      *bufio.Reader
	life    *life
	buf     []byte // payload of the message that is being handled

	dir      string // folder of the repository
	repo     Repository
	refusing bool   // Hello was understood, and is not answered by Welcome
	numbered uint32 // highest request number so far
	upload   *upload
	streams  streams
}

// Failure is how a conversation ended out of order. Its text is what the client
// may know, because whatever the caller prints may reach it too; Err is the
// whole truth, for the store's own log.
type Failure struct {
	Shown error
	Err   error
	// Told says that a client which speaks the protocol was refused, and was sent
	// Shown as a message: there is no need to tell it again.
	Told bool
}

// Error returns what the client may know.
func (f *Failure) Error() string { return f.Shown.Error() }

// Unwrap returns Shown, so that nobody prints Err by mistake.
func (f *Failure) Unwrap() error { return f.Shown }

// Serve speaks with the client at the other end of rw until it is done, breaks
// the protocol, falls silent for opt.Idle or ctx ends. program is the version
// text of the caller's program, printable ASCII. Serve closes rw; it returns
// nil when the client has ended the connection in order, otherwise a *Failure.
func Serve(ctx context.Context, rw io.ReadWriteCloser, store Store, opt Options, program string) error {
	if err := opt.Check(); err != nil {
		return &Failure{Shown: err, Err: errors.Join(err, rw.Close())}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &conn{store: store, opt: opt, program: program[:min(len(program), protocol.MaxProgram)], granted: modes[opt.Mode], out: outbox.New(rw)}
	if opt.Blind {
		c.granted |= protocol.Blind
	}
	c.life = newLife(rw, opt.Idle)
	c.in = bufio.NewReaderSize(c.life, 64<<10)
	var closing sync.Once
	shut := func() { closing.Do(func() { rw.Close() }) } // what is lost by it was to be lost
	stop := context.AfterFunc(ctx, func() {
		c.out.Fail(context.Cause(ctx))
		shut()
	})
	defer stop()

	conversed := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		err := c.out.Run()
		if err != nil {
			err = fmt.Errorf("writing to the client: %w", err)
			// A client that has hung up in order need not take the last answers: the
			// reader is given a moment to find that out.
			timer := time.NewTimer(farewell)
			defer timer.Stop()
			select {
			case <-conversed:
			case <-timer.C:
			}
		}
		cancel(err)
		return err
	})
	g.Go(func() error { c.life.watch(ctx, cancel, c.out); return nil })
	err := c.converse(ctx, cancel)
	close(conversed)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	timer := time.AfterFunc(farewell, func() { cancel(errFarewell) })
	defer timer.Stop()
	told := false
	if err != nil {
		// The peer may be gone or not reading; then it doesn't learn why.
		told = c.out.Send(ctx, protocol.NewError(0, c.outward(broken(err)))) == nil
	}
	c.out.Close()
	told = g.Wait() == nil && told // a client that has hung up in order need not take the last answers
	shut()
	if err == nil {
		return nil
	}
	return &Failure{c.outward(broken(err)), err, told && c.refusing}
}

// broken gives an error about bytes from the wire its code. Those of the
// repository have theirs, and don't end connections.
func broken(err error) error {
	if errors.Is(err, object.ErrMalformed) || errors.Is(err, object.ErrChecksum) {
		return object.CodeMalformed.Errorf("%w", err)
	}
	return err
}

// errFarewell is why a client that doesn't read loses the last messages.
var errFarewell = object.CodeInterrupted.Errorf("the client did not read what it had asked for")

// converse handles messages until the client closes its side or breaks the
// protocol, and then ends everything that it had begun.
func (c *conn) converse(ctx context.Context, giveUp context.CancelCauseFunc) error {
	requests, cancel := context.WithCancelCause(ctx)
	c.streams.init(c)
	err := c.greet(requests)
	for err == nil {
		err = c.next(requests)
	}
	cancel(object.CodeInterrupted.Errorf("the connection has ended"))
	timer := time.AfterFunc(farewell, func() { giveUp(errFarewell) })
	defer timer.Stop()
	if err == errOver {
		err = nil
	}
	err = errors.Join(err, c.streams.group.Wait(), c.closeUpload())
	if c.repo != nil {
		err = errors.Join(err, c.repo.Close())
	}
	return err
}

// errOver ends a conversation in order.
var errOver = errors.New("the client has closed the connection")

// next reads and handles one message. It returns errOver when the client has
// closed its side between two.
func (c *conn) next(ctx context.Context) error {
	h, err := protocol.ReadHeader(c.in)
	if errors.Is(err, io.EOF) {
		return errOver
	}
	if err != nil {
		return unread("a message", err)
	}
	return c.receive(ctx, h)
}

// unread says why something could not be read: it breaks the protocol, or the
// client has gone away in the middle.
func unread(what string, err error) error {
	if errors.Is(err, object.ErrMalformed) {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return object.CodeInterrupted.Errorf("the client went away in the middle of %s: %w", what, err)
}

// greet reads preamble and Hello, opens the repository and answers.
func (c *conn) greet(ctx context.Context) error {
	c.out.Preamble()
	var b [len(protocol.Preamble)]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return unread("the preamble", err)
	}
	if string(b[:]) != protocol.Preamble {
		return object.CodeMalformed.Errorf("this is packnback serve: it is started by packnback on the other side, not by hand")
	}
	h, err := protocol.ReadHeader(c.in)
	if err != nil {
		return unread("Hello", err)
	}
	if h.Type != protocol.TypeHello {
		return object.CodeMalformed.Errorf("%s before Hello", h.Type)
	}
	payload, err := c.payload(h.Length)
	if err != nil {
		return err
	}
	hello, err := protocol.UnmarshalHello(payload)
	if err != nil {
		return err
	}
	version, err := hello.Choose()
	if err != nil {
		return err
	}
	c.refusing = true
	if c.dir, err = c.opt.folder(hello.Path); err != nil {
		return err
	}
	welcome := &protocol.Welcome{
		Version: version, Permissions: c.granted, Idle: uint32(c.opt.Idle / time.Second),
		Quota: c.opt.Quota, Client: c.opt.Client, Jobs: c.opt.jobs(), Program: c.program,
	}
	err = c.life.work(func() error { c.repo, err = c.store.Open(ctx, c.dir); return err })
	switch {
	case err == nil:
		welcome.Repository = c.repo.ID()
	case errors.Is(err, object.CodeNoRepo):
		c.repo = nil
	default:
		return err
	}
	c.refusing = false
	return c.out.Send(ctx, welcome)
}

// payload reads the n bytes of a message's payload, n being within its limit.
// They are valid until the next message.
func (c *conn) payload(n int) ([]byte, error) {
	if cap(c.buf) < n {
		c.buf = make([]byte, max(n, 64<<10))
	}
	b := c.buf[:n]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, unread("a message", err)
	}
	c.life.mark()
	return b, nil
}
