package main

import (
	"context"
	"errors"
	"sync"

	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// remoteStore is a repository behind a connection. A connection that is lost
// is replaced by a new one when the next upload session is opened.
type remoteStore struct {
	dial func(ctx context.Context) (*client.Conn, error)
	id   object.RepositoryID

	mu   sync.Mutex
	conn *client.Conn
}

// connect connects to the repository at a place on another machine.
func (p *program) connect(ctx context.Context, at transport.Location) (store, error) {
	conn, err := p.dial(ctx, at)
	if err != nil {
		return nil, err
	}
	if conn.ID() == (object.RepositoryID{}) {
		return nil, errors.Join(object.CodeNoRepo.Errorf("there is no repository at %q", at), conn.Close())
	}
	return p.newRemoteStore(conn, at), nil
}

// initRemote makes a repository at a place on another machine.
func (p *program) initRemote(ctx context.Context, at transport.Location) (store, error) {
	conn, err := p.dial(ctx, at)
	if err != nil {
		return nil, err
	}
	if err := conn.Init(ctx, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p.newRemoteStore(conn, at), nil
}

func (p *program) newRemoteStore(conn *client.Conn, at transport.Location) *remoteStore {
	return &remoteStore{
		dial: func(ctx context.Context) (*client.Conn, error) { return p.dial(ctx, at) },
		id:   conn.ID(),
		conn: conn,
	}
}

func (p *program) dial(ctx context.Context, at transport.Location) (*client.Conn, error) {
	link, err := transport.Dial(ctx, at, transport.Options{
		Command:  p.sshCommand,
		Program:  p.remoteCommand,
		Upload:   p.limitUpload,
		Download: p.limitDownload,
		Stderr:   p.env.Stderr,
		Getenv:   p.env.Getenv,
		Ask: func(question string, secret bool) (string, error) {
			if secret {
				return p.env.ReadPassphrase(question)
			}
			return p.env.Ask(question)
		},
	})
	if err != nil {
		return nil, err
	}
	return client.Connect(ctx, link, client.Greeting{Path: at.Path, Program: buildVersion()})
}

func (s *remoteStore) current() *client.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// ID returns the repository's id.
func (s *remoteStore) ID() object.RepositoryID { return s.id }

// Close ends the connection.
func (s *remoteStore) Close() error { return s.current().Close() }

// Snapshots lists what is not forgotten, oldest first.
func (s *remoteStore) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return s.current().Snapshots(ctx, yield)
}

// Snapshot returns one snapshot.
func (s *remoteStore) Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error) {
	return s.current().Snapshot(ctx, id)
}

// Links lists what is left of forgotten snapshots.
func (s *remoteStore) Links(ctx context.Context, yield func(*object.Snapshot) error) error {
	return s.current().Links(ctx, yield)
}

// Push yields the metadata objects below root.
func (s *remoteStore) Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error {
	return s.current().Push(ctx, root, yield)
}

// Fetch yields objects by their ids.
func (s *remoteStore) Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	return s.current().Fetch(ctx, ids, yield)
}

// openSession opens an upload. Quota and blindness are the store's affair.
// Where the connection is lost it makes a new one.
func (s *remoteStore) openSession(ctx context.Context, req repo.SessionRequest) (session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	up, err := s.conn.OpenSession(ctx, req.Client, req.Job, req.Base)
	var lost *client.LostError
	if errors.As(err, &lost) {
		if err := s.reconnect(ctx); err != nil {
			return nil, err
		}
		up, err = s.conn.OpenSession(ctx, req.Client, req.Job, req.Base)
	}
	if err != nil {
		return nil, err
	}
	return up, nil
}

// reconnect puts a new connection in the place of the one that was lost. s.mu
// is held.
func (s *remoteStore) reconnect(ctx context.Context) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	if conn.ID() != s.id {
		return errors.Join(object.CodeDamaged.Errorf("the store answers with repository %s now, and with %s before", conn.ID(), s.id), conn.Close())
	}
	err = s.conn.Close()
	s.conn = conn
	return err
}

// errOnStore refuses what the protocol has no words for.
func errOnStore(what string) error {
	return withHint(object.CodeDenied.Errorf("%s works on the store's own machine", what), "run it there, with -r and the folder of the repository")
}

// Check needs the repository's files.
func (s *remoteStore) Check(context.Context, repo.CheckOptions, func(repo.Problem)) (repo.CheckResult, error) {
	return repo.CheckResult{}, errOnStore("check")
}

// RepairIndex needs the repository's files.
func (s *remoteStore) RepairIndex(context.Context, func(repo.Problem)) (repo.CheckResult, error) {
	return repo.CheckResult{}, errOnStore("repair index")
}

// MarkBad needs the repository's files.
func (s *remoteStore) MarkBad(context.Context, []object.ID) error {
	return errOnStore("marking objects as bad")
}

// Stats needs the repository's files.
func (s *remoteStore) Stats(context.Context) (repo.Stats, error) {
	return repo.Stats{}, errOnStore("counting what the repository holds")
}
