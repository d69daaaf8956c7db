package client_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/storetest"
)

// remote is a repository on disk behind the protocol, a connection for each
// session and reader, as serve makes them.
type remote struct {
	t   *testing.T
	dir string
}

// TestConformance runs what a local repository has to pass over a connection.
func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		dir := t.TempDir()
		r, err := repo.Init(t.Context(), dir, repo.InitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return remote{t, dir}
	})
}

func (b remote) dial(opt server.Options) (*client.Conn, error) {
	ours, theirs := net.Pipe()
	ctx := context.WithoutCancel(b.t.Context())
	opt.Repository = b.dir
	go server.Serve(ctx, theirs, server.Disks{}, opt, "test")
	return client.Connect(ctx, ours, client.Greeting{})
}

// session closes its connection with itself.
type session struct {
	*client.Session
	conn *client.Conn
}

func (s session) Close() error { return errors.Join(s.Session.Close(), s.conn.Close()) }

func (b remote) Open(ctx context.Context, req storetest.Request) (storetest.Session, error) {
	conn, err := b.dial(server.Options{Mode: server.WriteOnly, Client: req.Client, Jobs: []string{req.Job}, Quota: req.Quota, Blind: req.Blind})
	if err != nil {
		return nil, err
	}
	s, err := conn.OpenSession(ctx, req.Client, req.Job, req.Base)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return session{s, conn}, nil
}

func (b remote) Reader(context.Context) (storetest.Reader, error) {
	conn, err := b.dial(server.Options{Mode: server.ReadOnly})
	if err != nil {
		return nil, err
	}
	b.t.Cleanup(func() { conn.Close() })
	return conn, nil
}
