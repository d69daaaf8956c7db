package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// admin opens the repository as the store's administrator does.
func (w *world) admin(t *testing.T) *repo.Repository {
	t.Helper()
	r, err := repo.Open(t.Context(), w.repo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// link starts the server with an SSH key, over the system's ssh.
func (w *world) link(t *testing.T, key string) transport.Link {
	t.Helper()
	link, err := w.dial(t, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	return link
}

// dial is link for goroutines, and who calls it closes what it returns.
func (w *world) dial(t *testing.T, key string) (transport.Link, error) {
	to := transport.Location{User: w.sshd.User, Host: "127.0.0.1", Port: w.sshd.Port}
	return transport.Dial(t.Context(), to, transport.Options{Command: strings.Join(w.sshd.SSH(key), " "), Getenv: os.Getenv})
}

// wire starts the server with an SSH key, over a login that is kept for the
// next time: for attacks that take many connections.
func (w *world) wire(t *testing.T, key string) io.ReadWriteCloser {
	t.Helper()
	if w.logins[key] == nil {
		w.logins[key] = w.login(t, key)
	}
	s, err := w.logins[key].NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("packnback serve"); err != nil {
		t.Fatal(err)
	}
	return struct {
		io.Reader
		io.WriteCloser
	}{out, in}
}

// connect is link and a good greeting.
func (w *world) connect(t *testing.T, key string) *client.Conn {
	t.Helper()
	conn, err := client.Connect(context.WithoutCancel(t.Context()), w.link(t, key), client.Greeting{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// open is connect and an upload of web1.
func (w *world) open(t *testing.T, key string) *client.Session {
	t.Helper()
	s, err := w.connect(t, key).OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// upload puts a tree that a store can't tell from a real one, and returns a
// manifest for it, signed with web1's own key after edit.
func (w *world) upload(t *testing.T, s *client.Session, seed uint64, edit func(m *object.Manifest)) (*object.Manifest, []byte, []*object.Record) {
	t.Helper()
	u := storetest.NewUpload("web1", seed)
	tree := u.Tree(3, 1000, 10)
	for _, r := range append([]*object.Record{u.Metadata, u.Content}, tree...) {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	m, sealed := u.Manifest(s.Standing(), "web1", "default", tree[len(tree)-1].ID)
	m.Time = time.Now().UnixNano()
	if edit != nil {
		edit(m)
	}
	if err := w.web1.Sign(m); err != nil {
		u.Sign(m) // not even a manifest that web1's key would sign
	}
	return m, sealed, tree
}

// refused wants an error of one of codes.
func refused(t *testing.T, what string, err error, codes ...object.Code) {
	t.Helper()
	if err == nil || !slices.Contains(codes, object.CodeOf(err)) {
		t.Errorf("%s: got %v (code %d), want one of the codes %d", what, err, object.CodeOf(err), codes)
	}
}

func frame(m protocol.Message) []byte { return protocol.AppendFrame(nil, m) }
