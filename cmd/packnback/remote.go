package main

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/packnback/packnback/protocol"
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
	return p.newRemoteStore(ctx, conn, at), nil
}

// initRemote makes a repository at a place on another machine.
func (p *program) initRemote(ctx context.Context, at transport.Location) (store, error) {
	conn, err := p.dial(ctx, at)
	if err != nil {
		return nil, err
	}
	warnings, err := conn.Init(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	for _, w := range warnings {
		p.warnf("%s", w)
	}
	return p.newRemoteStore(ctx, conn, at), nil
}

// newRemoteStore wraps a connection made under ctx, the command's. A connection
// that replaces it lives as long, and not only as long as the part of the run
// that has missed it.
func (p *program) newRemoteStore(ctx context.Context, conn *client.Conn, at transport.Location) *remoteStore {
	return &remoteStore{
		dial: func(context.Context) (*client.Conn, error) { return p.dial(ctx, at) },
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
		Stderr:   p.farRemarks(),
		Getenv:   p.env.Getenv,
		Ask: func(question string, secret bool) (string, error) {
			if secret {
				return p.env.ReadPassphrase(ctx, question)
			}
			return p.env.Ask(ctx, question)
		},
	})
	if err != nil {
		return nil, err
	}
	greeting := client.Greeting{Path: at.Path, Program: buildVersion(), Open: p.ahead}
	p.ahead = nil // the next connection of this run won't begin with the same
	if p.env.Attended() {
		greeting.Patience = -1 // whoever is typing for ssh can break it off
	}
	return client.Connect(ctx, link, greeting)
}

// farRemarks returns where the lines go that the far side says on stderr.
func (p *program) farRemarks() io.Writer {
	if p.ui.JSON {
		return jsonRemarks{p}
	}
	return p.env.Stderr
}

// jsonRemarks makes objects of the lines that transport writes one by one.
type jsonRemarks struct{ to *program }

func (r jsonRemarks) Write(b []byte) (int, error) {
	r.to.say("remote", strings.TrimPrefix(strings.TrimSuffix(string(b), "\n"), "remote: "))
	return len(b), nil
}

func (s *remoteStore) current() *client.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// ID returns the repository's id.
func (s *remoteStore) ID() object.RepositoryID { return s.id }

// pinnedTo returns the client whose snapshots are all that the store shows;
// empty when it shows all.
func (s *remoteStore) pinnedTo() string { return s.current().Welcome().Client }

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

// Keys yields all key objects.
func (s *remoteStore) Keys(ctx context.Context, yield func(*object.Record) error) error {
	return s.current().Keys(ctx, yield)
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

// Settings lists the repository's settings.
func (s *remoteStore) Settings(ctx context.Context) ([]repo.Setting, error) {
	list, err := s.current().Settings(ctx)
	out := make([]repo.Setting, len(list))
	for i, one := range list {
		out[i] = repo.Setting(one)
	}
	return out, err
}

// SetSetting changes one setting; an empty value restores its default.
func (s *remoteStore) SetSetting(ctx context.Context, key, value string) error {
	return s.current().SetSetting(ctx, key, value)
}

// Check lets the store check the repository.
func (s *remoteStore) Check(ctx context.Context, opt repo.CheckOptions, report func(repo.Problem)) (repo.CheckResult, error) {
	r, err := s.current().Check(ctx, protocol.CheckArguments(opt), func(pr protocol.Problem) { report(repo.Problem(pr)) })
	return checkResult(r), err
}

// RepairIndex lets the store build the index anew.
func (s *remoteStore) RepairIndex(ctx context.Context, report func(repo.Problem)) (repo.CheckResult, error) {
	r, err := s.current().RepairIndex(ctx, func(pr protocol.Problem) { report(repo.Problem(pr)) })
	return checkResult(r), err
}

// RepairPacks lets the store save what is whole of damaged packs.
func (s *remoteStore) RepairPacks(ctx context.Context, report func(repo.Problem)) (repo.CheckResult, error) {
	r, err := s.current().RepairPacks(ctx, func(pr protocol.Problem) { report(repo.Problem(pr)) })
	return checkResult(r), err
}

func checkResult(r protocol.CheckResult) repo.CheckResult {
	return repo.CheckResult{
		Snapshots: r.Snapshots, Packs: r.Packs, PacksRead: r.PacksRead, Objects: r.Objects, Bytes: r.Bytes,
		Problems: int(min(r.Problems, math.MaxInt32)),
	}
}

// MarkBad quarantines the places that ids are read from.
func (s *remoteStore) MarkBad(ctx context.Context, ids []object.ID) error {
	return s.current().MarkBad(ctx, ids)
}

// Stats returns the repository's figures.
func (s *remoteStore) Stats(ctx context.Context) (repo.Stats, error) {
	st, err := s.current().Stats(ctx)
	return repo.Stats{
		Snapshots: st.Snapshots, Objects: st.Objects, Packs: st.Packs, Segments: st.Segments, Sessions: st.Sessions,
		PackBytes: st.PackBytes, IndexBytes: st.IndexBytes, Free: st.Free, Total: st.Total,
	}, err
}
