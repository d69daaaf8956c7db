package client_test

import (
	"errors"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

func TestReplicaOverTheWire(t *testing.T) {
	conn, r := pair(t, server.Options{Mode: server.Full})
	r.Add(chunk("there", 100)) // no snapshot reaches it
	root, sealed := dir("root", nameID("there")), []byte("sealed")
	s, err := conn.OpenReplica(t.Context(), "web1", "default")
	if err != nil {
		t.Fatal(err)
	}
	have, err := s.Have(t.Context(), []object.ID{nameID("there"), root.ID})
	if err != nil || !have[0] || have[1] {
		t.Errorf("Have: got %v, %v; want what the store has, whoever put it", have, err)
	}
	for _, rec := range []*object.Record{key(), root} {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	snap := &object.Snapshot{Received: 12345, Flags: object.FlagRate, Manifest: manifest(s.Standing(), root.ID, sealed), Sealed: sealed}
	receipt, err := s.CommitReplica(t.Context(), snap)
	if err != nil || receipt.Snapshot != snap.ID() {
		t.Fatalf("CommitReplica: got %+v, %v", receipt, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	got, err := conn.Snapshot(t.Context(), snap.ID())
	if err != nil || got.Received != 12345 || got.Flags != object.FlagRate {
		t.Errorf("the replica has %+v, %v; want the envelope that was copied", got, err)
	}

	r.Result = (&protocol.LinksResult{Added: 2}).Append(nil)
	link := &object.Snapshot{Received: 1, Flags: object.FlagLeftOut, Manifest: snap.Manifest}
	links := make([]*object.Snapshot, protocol.MaxLinks+2)
	for i := range links {
		links[i] = link
	}
	if n, err := conn.AddLinks(t.Context(), links); err != nil || n != 4 {
		t.Errorf("AddLinks: got %d, %v; want 2 for each of two requests", n, err)
	}
	ordinary, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ordinary.CommitReplica(t.Context(), snap); !errors.Is(err, object.CodeInvalid) {
		t.Errorf("CommitReplica in a sender's upload: got %v", err)
	}
	if err := ordinary.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplicaInsteadOfAhead asks for an upload with the greeting, and then copies.
func TestReplicaInsteadOfAhead(t *testing.T) {
	store := memstore.New("/r")
	conn := greet(t, store, server.Options{}, client.Greeting{Path: "/r", Program: "test", Open: &protocol.Open{Client: "web1", Job: "default"}})
	s, err := conn.OpenReplica(t.Context(), "web1", "default")
	if err != nil {
		t.Fatal(err)
	}
	if n := store.Repos["/r"].Open(); n != 1 {
		t.Errorf("%d uploads are open, want the one that copies", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestReplicaIsForAdministrators(t *testing.T) {
	for _, opt := range []server.Options{{Mode: server.ReadOnly}, {Mode: server.WriteOnly, Client: "web1"}, {Blind: true}} {
		conn, r := pair(t, opt)
		r.Fail = func(call string) error { t.Errorf("mode %d: the store was asked for %s", opt.Mode, call); return nil }
		for range 2 { // a refusal leaves the connection usable
			if _, err := conn.OpenReplica(t.Context(), "web1", "default"); !errors.Is(err, object.CodeDenied) {
				t.Errorf("mode %d: OpenReplica: got %v", opt.Mode, err)
			}
		}
		if opt.Blind {
			continue
		}
		if _, err := conn.AddLinks(t.Context(), []*object.Snapshot{{Flags: object.FlagLeftOut, Manifest: manifest(standing(), nameID("r"), nil)}}); !errors.Is(err, object.CodeDenied) {
			t.Errorf("mode %d: AddLinks: got %v", opt.Mode, err)
		}
		if _, err := conn.InitReplica(t.Context(), protocol.ReplicaArguments{ID: object.RepositoryID{1}}); !errors.Is(err, object.CodeDenied) {
			t.Errorf("mode %d: InitReplica: got %v", opt.Mode, err)
		}
	}
}

// TestALateDurable has a store say that puts of an upload are durable after its
// client has gone on to the next one.
func TestALateDurable(t *testing.T) {
	conn := lie(t, func(l *liar) {
		l.hear()
		l.say(frame(&protocol.Opened{Number: 1, Standing: standing()}))
		l.hear() // a put
		m := l.hear().(*protocol.Commit)
		l.say(frame(&protocol.Committed{Number: 2, Receipt: object.Receipt{Snapshot: m.Manifest.ID()}}))
		l.hear() // Close
		l.hear() // Open
		l.say(frame(&protocol.Durable{Puts: 1}), frame(&protocol.Bare{Kind: protocol.TypeDone, Number: 3}), frame(&protocol.Opened{Number: 4, Standing: standing()}))
		l.hear()
		l.say(frame(&protocol.Held{Number: 5, Held: []bool{true}}))
	})
	var s *client.Session
	var err error
	for i := range 2 {
		if s, err = conn.OpenSession(t.Context(), "web1", "default", object.ID{}); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
		if i == 1 {
			break
		}
		if err := s.Put(t.Context(), key()); err != nil {
			t.Fatal(err)
		}
		sealed := []byte("sealed")
		if _, err := s.Commit(t.Context(), manifest(s.Standing(), nameID("r"), sealed), sealed); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Have(t.Context(), []object.ID{nameID("a")}); err != nil || s.Durable() != 0 {
		t.Errorf("the second upload: %v, with %d durable puts; want none", err, s.Durable())
	}
}
