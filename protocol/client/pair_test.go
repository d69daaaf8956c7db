package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// pair connects a client to a server on a store with one repository, "/r".
func pair(t *testing.T, opt server.Options) (*client.Conn, *memstore.Repository) {
	t.Helper()
	store := memstore.New("/r")
	return connect(t, store, opt, "/r"), store.Repos["/r"]
}

func connect(t *testing.T, store *memstore.Store, opt server.Options, path string) *client.Conn {
	t.Helper()
	return greet(t, store, opt, client.Greeting{Path: path, Program: "test"})
}

func greet(t *testing.T, store *memstore.Store, opt server.Options, greeting client.Greeting) *client.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	ctx := context.WithoutCancel(t.Context()) // which ends before Cleanup
	go func() { served <- server.Serve(ctx, theirs, store, opt, "test") }()
	conn, err := client.Connect(ctx, ours, greeting)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return conn
}

func nameID(name string) object.ID { return object.HashID([]byte(name)) }

func chunk(name string, size int) *object.Record {
	return &object.Record{Kind: object.KindChunk, ID: nameID(name), Key: key().ID, Sealed: bytes.Repeat([]byte{byte(len(name))}, size)}
}

func dir(name string, refs ...object.ID) *object.Record {
	return &object.Record{Kind: object.KindDir, ID: nameID(name), Key: key().ID, Refs: refs, Sealed: []byte(name)}
}

func key() *object.Record {
	sealed := []byte("key")
	return &object.Record{Kind: object.KindKey, ID: object.HashID(sealed), Sealed: sealed}
}

func manifest(st object.Standing, root object.ID, sealed []byte) *object.Manifest {
	return &object.Manifest{Repository: st.Repository, Client: "web1", Job: "default", Seq: st.Seq + 1, Prev: st.Head,
		Root: root, MetadataKey: key().ID, ContentKey: key().ID, SealedHash: object.HashID(sealed)}
}

// backup puts a root directory over the given records and commits it.
func backup(t *testing.T, conn *client.Conn, name string, records ...*object.Record) object.Receipt {
	t.Helper()
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatalf("OpenSession: %v", err)
	}
	root := dir(name)
	for _, r := range records {
		root.Refs = append(root.Refs, r.ID)
	}
	for _, r := range append(append([]*object.Record{key()}, records...), root) {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatalf("Put: %v", err)
		}
	}
	receipt, err := s.Commit(t.Context(), manifest(s.Standing(), root.ID, []byte("sealed")), []byte("sealed"))
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return receipt
}

func TestBackupAndReadBack(t *testing.T) {
	conn, r := pair(t, server.Options{})
	if conn.ID() != r.ID() {
		t.Errorf("ID: got %s, want %s", conn.ID(), r.ID())
	}
	a, b := chunk("a", 1<<20), chunk("b", 100)
	sub := dir("sub", b.ID)
	first := backup(t, conn, "root", a, b, sub)
	second := backup(t, conn, "root2", sub)

	var got []object.ID
	err := conn.Snapshots(t.Context(), func(s *object.Snapshot) error { got = append(got, s.ID()); return nil })
	if err != nil || len(got) != 2 || got[0] != first.Snapshot || got[1] != second.Snapshot {
		t.Errorf("Snapshots: got %v, %v; want %s and %s", got, err, first.Snapshot.Short(), second.Snapshot.Short())
	}
	if s, err := conn.Snapshot(t.Context(), first.Snapshot); err != nil || s.ID() != first.Snapshot {
		t.Errorf("Snapshot: got %v, %v", s, err)
	}
	if _, err := conn.Snapshot(t.Context(), nameID("none")); !errors.Is(err, object.CodeNotFound) {
		t.Errorf("Snapshot of an unknown id: got %v, want %v", err, object.CodeNotFound)
	}
	got = nil
	err = conn.Keys(t.Context(), func(r *object.Record) error { got = append(got, r.ID); return r.Validate() })
	if err != nil || len(got) != 1 || got[0] != key().ID {
		t.Errorf("Keys: got %v, %v; want %s", got, err, key().ID.Short())
	}
	got = nil
	err = conn.Push(t.Context(), nameID("root"), func(r *object.Record) error {
		got = append(got, r.ID)
		// A consumer may ask in the middle of a stream.
		return conn.Fetch(t.Context(), []object.ID{key().ID}, func(*object.Record) error { return nil })
	})
	if err != nil || len(got) != 2 || got[0] != nameID("root") || got[1] != sub.ID {
		t.Errorf("Push: got %v, %v", got, err)
	}
	var fetched []*object.Record
	err = conn.Fetch(t.Context(), []object.ID{b.ID, nameID("none"), a.ID, a.ID}, func(r *object.Record) error { fetched = append(fetched, r); return nil })
	var missing *object.MissingError
	if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != nameID("none") {
		t.Errorf("Fetch: got %v, want the one id that isn't there", err)
	}
	if len(fetched) != 2 || !bytes.Equal(fetched[0].Sealed, a.Sealed) || !bytes.Equal(fetched[1].Sealed, b.Sealed) {
		t.Errorf("Fetch: got %d records", len(fetched))
	}
}

func TestHaveAnswersManyAtOnce(t *testing.T) {
	conn, r := pair(t, server.Options{Mode: server.WriteOnly, Client: "web1"})
	hidden := chunk("hidden", 10)
	r.Add(hidden)
	backup(t, conn, "root", chunk("a", 10), chunk("c", 10))
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			ids := []object.ID{nameID("a"), nameID(fmt.Sprint("none", i)), nameID("c"), hidden.ID}
			held, err := s.Have(t.Context(), ids[i%2:])
			want := []bool{true, false, true, false}[i%2:]
			if err != nil || fmt.Sprint(held) != fmt.Sprint(want) {
				t.Errorf("Have %d: got %v, %v; want %v", i, held, err, want)
			}
		})
	}
	wg.Wait()
}

func TestCheckpointsComeBack(t *testing.T) {
	conn, _ := pair(t, server.Options{})
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 10 {
		if err := s.Put(t.Context(), chunk(fmt.Sprint(i), 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Durable(); got != 0 {
		t.Errorf("Durable before a checkpoint: got %d, want 0", got)
	}
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Durable(); got != 10 {
		t.Errorf("Durable after a checkpoint: got %d, want 10", got)
	}
}

func TestMissingAtCommitLeavesTheUploadOpen(t *testing.T) {
	conn, _ := pair(t, server.Options{})
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	lost := chunk("lost", 10)
	root := dir("root", lost.ID)
	for _, r := range []*object.Record{key(), root} {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	m := manifest(s.Standing(), root.ID, []byte("sealed"))
	var missing *object.MissingError
	if _, err := s.Commit(t.Context(), m, []byte("sealed")); !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != lost.ID {
		t.Fatalf("Commit: got %v, want %s missing", err, lost.ID.Short())
	}
	if err := s.Put(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), m, []byte("sealed")); err != nil {
		t.Fatalf("Commit after the missing object was put: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close, twice: %v", err)
	}
}

func TestARefusedPutEndsTheUploadAndNotTheConnection(t *testing.T) {
	conn, r := pair(t, server.Options{})
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	r.Fail = func(call string) error {
		if call == "Put" {
			return object.CodeQuota.Errorf("full")
		}
		return nil
	}
	if err := s.Put(t.Context(), chunk("a", 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Have(t.Context(), []object.ID{nameID("a")}); !errors.Is(err, object.CodeQuota) {
		t.Errorf("Have after a refused put: got %v, want %v", err, object.CodeQuota)
	}
	if err := s.Put(t.Context(), chunk("b", 10)); !errors.Is(err, object.CodeQuota) {
		t.Errorf("Put after a refused put: got %v, want %v", err, object.CodeQuota)
	}
	if _, err := s.Commit(t.Context(), manifest(s.Standing(), nameID("root"), []byte("x")), []byte("x")); !errors.Is(err, object.CodeQuota) {
		t.Errorf("Commit after a refused put: got %v, want %v", err, object.CodeQuota)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r.Fail = nil
	backup(t, conn, "root")
	if err := conn.Snapshots(t.Context(), func(*object.Snapshot) error { return nil }); err != nil { // the store has handled Close by then
		t.Fatal(err)
	}
	if n := r.Open(); n != 0 {
		t.Errorf("%d uploads are open, want 0", n)
	}
}

func TestARefusedOpenLeavesTheConnectionUsable(t *testing.T) {
	conn, _ := pair(t, server.Options{Mode: server.WriteOnly, Client: "web1", Jobs: []string{"default", "db"}})
	for _, c := range []struct{ client, job string }{{"web2", "default"}, {"web1", "other"}} {
		if _, err := conn.OpenSession(t.Context(), c.client, c.job, object.ID{}); !errors.Is(err, object.CodeDenied) {
			t.Errorf("OpenSession of %s/%s: got %v, want %v", c.client, c.job, err, object.CodeDenied)
		}
	}
	backup(t, conn, "root")
}

func TestReadOnlyAndWriteOnly(t *testing.T) {
	reads := func(conn *client.Conn) []error {
		_, err := conn.Snapshot(t.Context(), nameID("x"))
		return []error{
			conn.Snapshots(t.Context(), func(*object.Snapshot) error { return nil }),
			conn.Links(t.Context(), func(*object.Snapshot) error { return nil }), err,
			conn.Push(t.Context(), nameID("x"), func(*object.Record) error { return nil }),
			conn.Fetch(t.Context(), []object.ID{nameID("x")}, func(*object.Record) error { return nil }),
			conn.Keys(t.Context(), func(*object.Record) error { return nil }),
			initialize(t, conn),
		}
	}
	conn, _ := pair(t, server.Options{Mode: server.WriteOnly, Client: "web1"})
	for i, err := range reads(conn) {
		if !errors.Is(err, object.CodeDenied) {
			t.Errorf("read %d on a write-only connection: got %v, want %v", i, err, object.CodeDenied)
		}
	}
	backup(t, conn, "root")
	conn, _ = pair(t, server.Options{Mode: server.ReadOnly})
	for i, err := range reads(conn)[:6] {
		if errors.Is(err, object.CodeDenied) {
			t.Errorf("read %d on a read-only connection: got %v", i, err)
		}
	}
	if err := initialize(t, conn); !errors.Is(err, object.CodeDenied) {
		t.Errorf("Init on a read-only connection: got %v", err)
	}
	if _, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{}); !errors.Is(err, object.CodeDenied) {
		t.Errorf("OpenSession on a read-only connection: got %v", err)
	}
}

func initialize(t *testing.T, conn *client.Conn) error {
	_, err := conn.Init(t.Context(), nil)
	return err
}

func TestInitOverTheWire(t *testing.T) {
	store := memstore.New()
	conn := connect(t, store, server.Options{}, "/new")
	if (conn.ID() != object.RepositoryID{}) {
		t.Errorf("ID before Init: got %s", conn.ID())
	}
	if _, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{}); !errors.Is(err, object.CodeNoRepo) {
		t.Errorf("OpenSession before Init: got %v, want %v", err, object.CodeNoRepo)
	}
	if err := initialize(t, conn); err != nil {
		t.Fatal(err)
	}
	if conn.ID() != store.Repos["/new"].ID() {
		t.Errorf("ID after Init: got %s", conn.ID())
	}
	if err := initialize(t, conn); !errors.Is(err, object.CodeExists) {
		t.Errorf("Init again: got %v, want %v", err, object.CodeExists)
	}
	backup(t, conn, "root")
}

func TestTheConnectionEndsWithItsContext(t *testing.T) {
	store := memstore.New("/r")
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), theirs, store, server.Options{}, "") }()
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := client.Connect(ctx, ours, client.Greeting{Path: "/r"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := conn.OpenSession(ctx, "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		err = s.Checkpoint(context.Background())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Checkpoint after the context ended: got %v", err)
	}
	conn.Close()
	select {
	case <-served:
	case <-time.After(time.Minute):
		t.Fatal("the server outlives its connection")
	}
	if n := store.Repos["/r"].Open(); n != 0 {
		t.Errorf("%d uploads are open after the connection ended, want 0", n)
	}
}

func TestACutConnectionIsALostError(t *testing.T) {
	store := memstore.New("/r")
	ours, theirs := net.Pipe()
	go server.Serve(t.Context(), theirs, store, server.Options{}, "")
	conn, err := client.Connect(t.Context(), ours, client.Greeting{Path: "/r"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	var lost *client.LostError
	if err := s.Checkpoint(t.Context()); !errors.As(err, &lost) || !errors.Is(err, object.CodeInterrupted) || !errors.Is(err, io.EOF) {
		t.Errorf("Checkpoint on a cut connection: got %v", err)
	}
}

func TestOperationsReportAndReturn(t *testing.T) {
	conn, r := pair(t, server.Options{Mode: server.ReadOnly})
	for i := range 200 {
		p := protocol.Problem{What: "pack", Name: fmt.Sprint(i), Detail: string(bytes.Repeat([]byte("x"), protocol.MaxText))}
		r.Events = append(r.Events, bytes.Repeat(p.Append(nil), 1))
	}
	want := protocol.CheckResult{Snapshots: 1, Problems: 200}
	r.Result = want.Append(nil)
	var got []string
	result, err := conn.Check(t.Context(), protocol.CheckArguments{ReadData: true}, func(p protocol.Problem) { got = append(got, p.Name) })
	if err != nil || result != want || len(got) != 200 || got[199] != "199" {
		t.Errorf("Check: got %+v, %v and %d problems; want %+v and 200", result, err, len(got), want)
	}
	if err := conn.SetSetting(t.Context(), "grace", "0"); !errors.Is(err, object.CodeDenied) {
		t.Errorf("SetSetting on a read-only connection: got %v", err)
	}
	if err := conn.MarkBad(t.Context(), []object.ID{nameID("a")}); !errors.Is(err, object.CodeDenied) {
		t.Errorf("MarkBad on a read-only connection: got %v", err)
	}
}
