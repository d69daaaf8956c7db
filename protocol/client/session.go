package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Session is one upload to a store; it has the methods of a local repository's
// session. Have and Put may be called by several goroutines at once.
type Session struct {
	c        *Conn
	number   uint32 // of its Open
	standing object.Standing

	mu        sync.Mutex
	open      bool   // the store has opened it
	puts      uint64 // sent so far
	kept      uint64 // durable so far, of those
	err       error  // why puts fail
	committed bool
	closed    bool
}

// ahead is an upload that was asked for before the store had answered the
// greeting.
type ahead struct {
	open    protocol.Open
	session *Session
	call    *call
}

// openAhead sends open. Where that fails the connection does, and Connect tells.
func (c *Conn) openAhead(ctx context.Context, open *protocol.Open) {
	a := &ahead{open: *open, session: &Session{c: c}}
	c.session = a.session
	var err error
	a.call, err = c.request(ctx, func(n uint32) protocol.Message {
		a.session.number, a.open.Number = n, n
		return &a.open
	})
	if err == nil {
		c.ahead = a
	}
}

// takeAhead returns the upload that was asked for with the greeting if it is
// the one that is wanted. Another one is given up. It does so once.
func (c *Conn) takeAhead(client, job string, base object.ID) *ahead {
	c.mu.Lock()
	a := c.ahead
	c.ahead = nil
	c.mu.Unlock()
	if a == nil {
		return nil
	}
	if a.open.Client != client || a.open.Job != job || a.open.Base != base {
		a.session.giveUp()
		return nil
	}
	return a
}

// OpenSession begins an upload of client and job; base is the snapshot that
// the caller's cache describes, zero for none. A connection has one upload at a
// time.
func (c *Conn) OpenSession(ctx context.Context, client, job string, base object.ID) (*Session, error) {
	if a := c.takeAhead(client, job, base); a != nil {
		m, err := c.answer(ctx, a.call)
		return a.session.begin(m, err)
	}
	return c.openSession(ctx, func(n uint32) protocol.Message {
		return &protocol.Open{Number: n, Client: client, Job: job, Base: base}
	})
}

// openSession begins the upload that open asks for by its number.
func (c *Conn) openSession(ctx context.Context, open func(n uint32) protocol.Message) (*Session, error) {
	s := &Session{c: c}
	c.mu.Lock()
	if c.session != nil {
		c.mu.Unlock()
		return nil, object.CodeBusy.Errorf("an upload is open on this connection")
	}
	c.session = s
	c.mu.Unlock()
	m, err := c.ask(ctx, func(n uint32) protocol.Message {
		s.number = n
		return open(n)
	})
	return s.begin(m, err)
}

// begin returns s if m, or err, says that it is open.
func (s *Session) begin(m protocol.Message, err error) (*Session, error) {
	if err == nil {
		err = s.opened(m)
	}
	if err != nil {
		s.giveUp()
		return nil, err
	}
	return s, nil
}

// giveUp ends an upload that did not open. Where the request has left, the
// store holds its place until it is told.
func (s *Session) giveUp() {
	s.c.mu.Lock()
	sent := s.number != 0
	if !sent {
		s.c.session = nil
	}
	s.c.mu.Unlock()
	if sent {
		_ = s.Close() // why it did not open is what matters
	}
}

func (s *Session) opened(m protocol.Message) error {
	opened, ok := m.(*protocol.Opened)
	if !ok {
		return s.c.broke(m, protocol.TypeOpen)
	}
	if id := s.c.ID(); opened.Standing.Repository != id {
		err := fmt.Errorf("%w message: the store said it is repository %s, and now %s", object.ErrMalformed, id, opened.Standing.Repository)
		s.c.fail(err)
		return err
	}
	s.standing = opened.Standing
	return nil
}

// begun notes that the store has opened the upload.
func (s *Session) begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = true
}

// broke ends the connection to a store that answered request with m.
func (c *Conn) broke(m protocol.Message, request protocol.Type) error {
	err := fmt.Errorf("%w message: the store answered %s with %s", object.ErrMalformed, request, m.Type())
	c.fail(err)
	return err
}

// Standing returns what the store said when the session opened.
func (s *Session) Standing() object.Standing { return s.standing }

// Have reports for each of ids, at most protocol.MaxHave, whether the upload
// may rely on it. Several calls may be on their way at once.
func (s *Session) Have(ctx context.Context, ids []object.ID) ([]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > protocol.MaxHave {
		return nil, object.CodeInvalid.Errorf("%d ids in one question, the limit is %d", len(ids), protocol.MaxHave)
	}
	m, err := s.c.ask(ctx, func(n uint32) protocol.Message { return &protocol.Have{Number: n, IDs: ids} })
	if err != nil {
		return nil, err
	}
	held, ok := m.(*protocol.Held)
	if !ok || len(held.Held) != len(ids) {
		return nil, s.c.broke(m, protocol.TypeHave)
	}
	return held.Held, nil
}

// Put sends one object. It returns when there is room for it on its way, with
// the error of an earlier put if the store has refused one. rec and its bytes
// are the caller's again afterwards.
func (s *Session) Put(ctx context.Context, rec *object.Record) error {
	if err := s.failure(); err != nil {
		return err
	}
	if err := rec.Validate(); err != nil {
		return object.CodeMalformed.Errorf("%w", err)
	}
	err := s.c.out.SendNext(ctx, func() protocol.Message {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.puts++
		return &protocol.Put{Record: rec}
	})
	if err != nil {
		return s.c.reason(err)
	}
	return nil
}

// Durable returns how many puts, in the order in which they were made, the
// store has said will survive a power cut.
func (s *Session) Durable() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// acknowledge takes a Durable from the reader.
func (s *Session) acknowledge(puts uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil // of the upload before, whose end nobody waited for
	}
	if puts > s.puts || puts < s.kept {
		return fmt.Errorf("%w message: the store says %d puts are durable, after %d, of %d sent", object.ErrMalformed, puts, s.kept, s.puts)
	}
	s.kept = puts
	return nil
}

// fail takes the refusal of a put from the reader.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *Session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Checkpoint returns when everything that was put before is durable.
func (s *Session) Checkpoint(ctx context.Context) error {
	m, err := s.c.ask(ctx, func(n uint32) protocol.Message {
		return &protocol.Bare{Kind: protocol.TypeCheckpoint, Number: n}
	})
	if err != nil {
		return err
	}
	if m.Type() != protocol.TypeDone {
		return s.c.broke(m, protocol.TypeCheckpoint)
	}
	return nil
}

// Commit makes the upload a snapshot. A *object.MissingError leaves it open:
// what is missing can be put and the commit made again. When the connection
// breaks before the answer, only the store knows whether the snapshot exists.
func (s *Session) Commit(ctx context.Context, manifest *object.Manifest, sealed []byte) (object.Receipt, error) {
	if len(sealed) == 0 || len(sealed) > object.MaxSealedPart {
		return object.Receipt{}, object.CodeMalformed.Errorf("sealed part of %d bytes, want 1 to %d", len(sealed), object.MaxSealedPart)
	}
	if _, err := object.UnmarshalManifest(manifest.Append(nil)); err != nil {
		return object.Receipt{}, object.CodeMalformed.Errorf("%w", err)
	}
	m, err := s.c.ask(ctx, func(n uint32) protocol.Message {
		return &protocol.Commit{Number: n, Manifest: manifest, Sealed: sealed}
	})
	if err != nil {
		return object.Receipt{}, err
	}
	return s.receipt(m, manifest.ID())
}

// receipt reads the answer to the commit of the snapshot want.
func (s *Session) receipt(m protocol.Message, want object.ID) (object.Receipt, error) {
	committed, ok := m.(*protocol.Committed)
	if !ok {
		return object.Receipt{}, s.c.broke(m, protocol.TypeCommit)
	}
	if committed.Receipt.Snapshot != want {
		err := fmt.Errorf("%w message: the store committed snapshot %s instead of %s", object.ErrMalformed, committed.Receipt.Snapshot.Short(), want.Short())
		s.c.fail(err)
		return object.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = true
	return committed.Receipt, nil
}

// Close ends the session. What was put and not committed can be adopted by the
// next one of the same client and job. After a commit it doesn't wait for the
// store, which has nothing to add. Closing twice is no error.
func (s *Session) Close() error {
	s.mu.Lock()
	closed, committed := s.closed, s.committed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), protocol.ClientPatience)
	defer cancel()
	request := func(n uint32) protocol.Message { return &protocol.Bare{Kind: protocol.TypeClose, Number: n} }
	var err error
	if committed {
		_, err = s.c.request(ctx, request)
	} else {
		_, err = s.c.ask(ctx, request)
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.session == s {
		s.c.session = nil
	}
	return err
}
