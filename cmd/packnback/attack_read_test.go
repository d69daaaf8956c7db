package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// readAttacks try to learn what the repository holds, or to change it by an
// administrator's means.
var readAttacks = []attack{
	{"list-snapshots", func(t *testing.T, w *world) {
		conn := w.connect(t, "web1")
		refused(t, "Snapshots", conn.Snapshots(t.Context(), nothing[*object.Snapshot](t)), object.CodeDenied)
		refused(t, "Links", conn.Links(t.Context(), nothing[*object.Snapshot](t)), object.CodeDenied)
	}},
	{"read-own-snapshot", func(t *testing.T, w *world) {
		head := w.open(t, "web1").Standing().Head
		_, err := w.connect(t, "web1").Snapshot(t.Context(), head)
		refused(t, "Snapshot of the own head", err, object.CodeDenied)
	}},
	{"read-objects", func(t *testing.T, w *world) {
		conn := w.connect(t, "web1")
		refused(t, "Fetch", conn.Fetch(t.Context(), []object.ID{w.secret, w.foreign}, nothing[*object.Record](t)), object.CodeDenied)
		refused(t, "Push", conn.Push(t.Context(), w.secret, nothing[*object.Record](t)), object.CodeDenied)
		refused(t, "Keys", conn.Keys(t.Context(), nothing[*object.Record](t)), object.CodeDenied)
	}},
	{"read-what-was-just-put", func(t *testing.T, w *world) {
		conn := w.connect(t, "web1")
		s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, tree := w.upload(t, s, 100, nil)
		refused(t, "Fetch of the own put", conn.Fetch(t.Context(), []object.ID{tree[0].ID}, nothing[*object.Record](t)), object.CodeDenied)
	}},
	{"commands-of-readers", func(t *testing.T, w *world) {
		key := w.file("admin", "restore.key") // even with it
		for _, args := range [][]string{{"snapshots"}, {"ls", "latest"}, {"restore", "latest", "-t", w.file("web1", "out")}, {"stats"}, {"check"},
			{"verify"}, {"drill"}, {"find", "a"}, {"diff", w.known[0], w.known[1]}, {"dump", "latest", "/a"}, {"status"}, {"unforget", "--list"}} {
			_, stderr, status := w.run(t, "web1", append(append(w.remote("web1"), "-k", key), args...)...)
			if status != statusRefused {
				t.Errorf("%s: status %d, want %d\n%s", args[0], status, statusRefused, stderr)
			}
		}
	}},
	{"commands-of-administrators", func(t *testing.T, w *world) {
		for _, args := range [][]string{{"init"}, {"config", "set", "grace", "0s"}, {"config", "list"}, {"repair", "index"}, {"forget", "--keep-last", "1"}, {"prune"},
			{"forget", w.known[0]}, {"acknowledge", w.known[0]}, {"unforget", w.known[0]}, {"repair", "packs"},
			{"copy", "--to", w.file("web1", "replica")}, {"copy", "--from-repo", w.repo}} {
			_, stderr, status := w.run(t, "web1", append(w.remote("web1"), args...)...)
			if status != statusRefused {
				t.Errorf("%v: status %d, want %d\n%s", args, status, statusRefused, stderr)
			}
		}
	}},
	{"copying-to-a-replica", func(t *testing.T, w *world) {
		id, err := object.ParseID(w.known[1])
		if err != nil {
			t.Fatal(err)
		}
		snap, err := w.admin(t).Snapshot(t.Context(), id) // its own, which it can have kept
		if err != nil {
			t.Fatal(err)
		}
		link := *snap
		link.Sealed, link.Flags = nil, link.Flags|object.FlagLeftOut
		for _, key := range []string{"web1", "blind", "reader"} {
			_, err = w.connect(t, key).OpenReplica(t.Context(), "web1", "default")
			refused(t, "OpenReplica of "+key, err, object.CodeDenied)
			_, err = w.connect(t, key).AddLinks(t.Context(), []*object.Snapshot{&link})
			refused(t, "AddLinks of "+key, err, object.CodeDenied)
			_, err = w.connect(t, key).InitReplica(t.Context(), protocol.ReplicaArguments{ID: snap.Manifest.Repository})
			refused(t, "InitReplica of "+key, err, object.CodeDenied)
		}
		// In the middle of an upload of its own, where only the mode is in the way.
		s := w.open(t, "web1")
		_, _, _ = w.upload(t, s, 200, nil)
		_, err = s.CommitReplica(t.Context(), snap)
		refused(t, "CommitReplica", err, object.CodeDenied)
	}},
	{"operations", func(t *testing.T, w *world) {
		// Each operation there is, and some that there aren't, as raw requests.
		link := w.wire(t, "web1")
		sent := append([]byte(protocol.Preamble), w.hello()...)
		for op := protocol.Operation(0); op < 100; op++ {
			sent = append(sent, frame(&protocol.Administer{Number: uint32(op) + 1, Window: 1000, Operation: op, Arguments: make([]byte, op)})...)
		}
		if _, err := link.Write(append(sent, 0xff, 0xff, 0xff, 0xff, 0)); err != nil { // and something to hang up at
			t.Fatal(err)
		}
		w.onlyRefusals(t, "an operation", link)
	}},
	{"read-only-key-changes-nothing", func(t *testing.T, w *world) {
		conn := w.connect(t, "reader")
		_, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
		refused(t, "OpenSession", err, object.CodeDenied)
		_, err = conn.Init(t.Context(), nil)
		refused(t, "Init", err, object.CodeDenied)
		refused(t, "SetSetting", conn.SetSetting(t.Context(), "grace", "0s"), object.CodeDenied)
		refused(t, "MarkBad", conn.MarkBad(t.Context(), []object.ID{w.foreign}), object.CodeDenied)
		_, err = conn.RepairIndex(t.Context(), func(protocol.Problem) {})
		refused(t, "RepairIndex", err, object.CodeDenied)
		refused(t, "RecordDrill", conn.RecordDrill(t.Context(), protocol.DrillArguments{Client: "web1", Job: "default", Drill: protocol.Drill{Snapshot: w.foreign}}), object.CodeDenied)
		link := w.wire(t, "reader")
		greeting := append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1})...)
		if _, err := link.Write(append(greeting, frame(&protocol.Put{Record: small()})...)); err != nil {
			t.Fatal(err)
		}
		w.onlyRefusals(t, "Put", link)
	}},
	{"guess-what-was-deleted", func(t *testing.T, w *world) {
		w.isThere(t, w.secret)
		held, err := w.open(t, "web1").Have(t.Context(), []object.ID{w.secret, w.kept})
		if err != nil || held[0] || !held[1] {
			t.Errorf("Have of an object that only an older snapshot has, and of one that the head has: got %v, %v; want false and true", held, err)
		}
	}},
	{"guess-what-others-have", func(t *testing.T, w *world) {
		held, err := w.open(t, "web1").Have(t.Context(), []object.ID{w.foreign})
		if err != nil || held[0] {
			t.Errorf("Have of another client's object: got %v, %v; want false", held, err)
		}
	}},
	{"base-of-others", func(t *testing.T, w *world) {
		for i, name := range []string{"own, but not the newest", "", "another client's"} {
			if name == "" {
				continue
			}
			base, err := object.ParseID(w.known[i])
			if err != nil {
				t.Fatal(err)
			}
			s, err := w.connect(t, "web1").OpenSession(t.Context(), "web1", "default", base)
			if err != nil {
				refused(t, "base "+name, err, object.CodeDenied, object.CodeNotFound)
				continue
			}
			if s.Standing().Based {
				t.Errorf("base %s: it was pinned", name)
			}
			held, err := s.Have(t.Context(), []object.ID{w.foreign, w.secret})
			if err != nil || held[0] || held[1] {
				t.Errorf("base %s: Have got %v, %v; want false", name, held, err)
			}
		}
	}},
	{"blind-key-learns-nothing", func(t *testing.T, w *world) {
		s := w.open(t, "blind")
		var ids []object.ID
		head := s.Standing().Head
		snap, err := w.admin(t).Snapshot(t.Context(), head)
		if err != nil {
			t.Fatal(err)
		}
		err = w.admin(t).Push(t.Context(), snap.Manifest.Root, func(r *object.Record) error {
			ids = append(append(ids, r.ID), r.Refs...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		held, err := s.Have(t.Context(), ids)
		if err != nil || slices.Contains(held, true) {
			t.Errorf("Have of the own head's objects: got %v, %v; want false", held, err)
		}
	}},
	{"oracle", func(t *testing.T, w *world) {
		// The same conversation with two stores, of which one has, out of sight,
		// what the upload puts and relies on.
		without, with := w.oracle(t, false), w.oracle(t, true)
		if without != with {
			t.Errorf("the store's answers tell what it has out of sight:\nwithout: %s\nwith:    %s", without, with)
		}
	}},
}

// nothing is a yield that must not be called.
func nothing[T any](t *testing.T) func(T) error {
	return func(v T) error {
		t.Errorf("the store showed %v", v)
		return nil
	}
}

// onlyRefusals reads what comes and wants no message but Welcome and Errors.
func (w *world) onlyRefusals(t *testing.T, what string, link io.Reader) {
	t.Helper()
	for {
		m, err := readMessage(link)
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *protocol.Welcome:
		case *protocol.Error:
			if m.Number != 0 && m.Code != object.CodeDenied {
				t.Errorf("%s: refused with code %d, want %d", what, m.Code, object.CodeDenied)
			}
		default:
			t.Errorf("%s: answered with %s", what, m.Type())
		}
	}
}

// oracle makes a store, out of sight of its client either with or without some
// objects, and returns all that an upload of these objects learns.
func (w *world) oracle(t *testing.T, has bool) string {
	t.Helper()
	dir := filepath.Join(w.dir, "store", fmt.Sprintf("oracle-%v-%d", has, time.Now().UnixNano()))
	w.must(t, "store", "init", "-r", dir)
	name := filepath.Base(dir)
	w.force(t, name, w.program+" serve --repo "+dir+" --write-only --client web1 --quota 60K")
	r, err := repo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seed := uint64(8) // other objects, of the same sizes
	if has {
		seed = 7
	}
	u := storetest.NewUpload("web1", seed)
	commitLocally(t, r, "web2", u, u.Tree(10, 2000, 4)) // which is out of web1's sight
	own := storetest.NewUpload("web1", 7)
	tree := own.Tree(10, 2000, 4)
	return w.conversation(t, name, own, tree)
}

// commitLocally commits a snapshot of hidden with u's tree.
func commitLocally(t *testing.T, r *repo.Repository, hidden string, u *storetest.Upload, tree []*object.Record) {
	t.Helper()
	s, err := r.OpenSession(t.Context(), repo.SessionRequest{Client: hidden, Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range append([]*object.Record{u.Metadata, u.Content}, tree...) {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	m, sealed := u.Manifest(s.Standing(), hidden, "default", tree[len(tree)-1].ID)
	if _, err := s.Commit(t.Context(), m, sealed); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// conversation uploads u's tree in every way a thief may try and returns what
// was answered, without what is random.
func (w *world) conversation(t *testing.T, key string, u *storetest.Upload, tree []*object.Record) (said string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	note := func(what string, v ...any) { said += fmt.Sprintln(append([]any{what}, v...)...) }
	conn := w.connect(t, key)
	s, err := conn.OpenSession(ctx, "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	st := s.Standing()
	note("standing", st.Seq, st.Head, st.Based, st.Adopted)
	var ids []object.ID
	for _, rec := range tree {
		ids = append(ids, rec.ID)
	}
	held, err := s.Have(ctx, ids)
	note("have", held, err)
	m, sealed := u.Manifest(st, "web1", "default", ids[len(ids)-1])
	_, err = s.Commit(ctx, m, sealed)
	var missing *object.MissingError
	note("commit of nothing", errors.As(err, &missing), missing)
	for _, rec := range append([]*object.Record{u.Metadata, u.Content}, tree[:5]...) {
		note("put", s.Put(ctx, rec))
	}
	note("checkpoint", s.Checkpoint(ctx), s.Durable())
	held, err = s.Have(ctx, ids)
	note("have after puts", held, err)
	_, err = s.Commit(ctx, m, sealed)
	note("commit of half", errors.As(err, &missing), missing)
	for i, rec := range tree[5:] {
		note("put", s.Put(ctx, rec))
		note("checkpoint", s.Checkpoint(ctx), s.Durable(), i)
	}
	receipt, err := s.Commit(ctx, m, sealed)
	note("commit", receipt.Snapshot == m.ID(), receipt.Flags, err) // the id has the repository's in it
	note("close", s.Close())
	// How much of the quota is left, to the byte.
	s, err = conn.OpenSession(ctx, "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	more := storetest.NewUpload("web1", 9)
	for i := 0; ; i++ {
		if err := errors.Join(s.Put(ctx, more.Object(object.KindChunk, 500)), s.Checkpoint(ctx)); err != nil {
			note("quota", i, err)
			return said
		}
	}
}
