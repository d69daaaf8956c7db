package client_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// TestOpenAhead asks for an upload with the greeting, and then wants it, or
// another one, or none.
func TestOpenAhead(t *testing.T) {
	ahead := &protocol.Open{Number: 99, Client: "web1", Job: "default", Base: nameID("base")}
	for _, c := range []struct {
		what      string
		job       string
		base      object.ID
		wantCount uint64 // uploads that the store has opened by then
	}{
		{"the same", "default", ahead.Base, 1},
		{"another base", "default", nameID("other"), 2},
		{"another job", "nightly", ahead.Base, 2},
	} {
		store := memstore.New("/r")
		conn := greet(t, store, server.Options{}, client.Greeting{Path: "/r", Program: "test", Open: ahead})
		s, err := conn.OpenSession(t.Context(), "web1", c.job, c.base)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		id := s.Standing().Session
		if n := binary.BigEndian.Uint64(id[:]); n != c.wantCount {
			t.Errorf("%s: it is the upload %d of the store, want %d", c.what, n, c.wantCount)
		}
		if n := store.Repos["/r"].Open(); n != 1 {
			t.Errorf("%s: %d uploads are open", c.what, n)
		}
		if err := s.Put(t.Context(), key()); err != nil {
			t.Errorf("%s: Put: %v", c.what, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close: %v", c.what, err)
		}
		if s, err = conn.OpenSession(t.Context(), "web1", "default", ahead.Base); err != nil {
			t.Errorf("%s: the next one: %v", c.what, err)
		} else if err := s.Close(); err != nil {
			t.Errorf("%s: Close of the next one: %v", c.what, err)
		}
	}
}

// TestOpenAheadRefused finds out when the upload is wanted, and not before.
func TestOpenAheadRefused(t *testing.T) {
	ahead := &protocol.Open{Client: "web1", Job: "default"}
	conn := greet(t, memstore.New("/r"), server.Options{Mode: server.ReadOnly}, client.Greeting{Path: "/r", Program: "test", Open: ahead})
	if err := conn.Snapshots(t.Context(), func(*object.Snapshot) error { return nil }); err != nil {
		t.Errorf("Snapshots: %v", err)
	}
	for range 2 {
		if _, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{}); !errors.Is(err, object.CodeDenied) {
			t.Errorf("OpenSession: got %v, want %v", err, object.CodeDenied)
		}
	}
	none := greet(t, memstore.New(), server.Options{}, client.Greeting{Path: "/r", Program: "test", Open: ahead})
	if none.ID() != (object.RepositoryID{}) {
		t.Fatal("there is a repository")
	}
	if _, err := none.OpenSession(t.Context(), "web1", "default", object.ID{}); !errors.Is(err, object.CodeNoRepo) {
		t.Errorf("OpenSession without a repository: got %v, want %v", err, object.CodeNoRepo)
	}
}

// TestOpenAheadUnused leaves nothing open.
func TestOpenAheadUnused(t *testing.T) {
	store := memstore.New("/r")
	t.Run("connection", func(t *testing.T) {
		greet(t, store, server.Options{}, client.Greeting{Path: "/r", Program: "test", Open: &protocol.Open{Client: "web1", Job: "default"}})
	})
	if n := store.Repos["/r"].Open(); n != 0 {
		t.Errorf("%d uploads are open after the connection", n)
	}
}
