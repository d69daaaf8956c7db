package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// The suite's names for client and job.
const (
	client = "web1"
	job    = "default"
)

func open(t *testing.T, b Backend, req Request) Session {
	t.Helper()
	if req.Client == "" {
		req.Client = client
	}
	if req.Job == "" {
		req.Job = job
	}
	s, err := b.Open(t.Context(), req)
	if err != nil {
		t.Fatalf("opening a session for %s/%s: %v", req.Client, req.Job, err)
	}
	return s
}

func closeSession(t *testing.T, s Session) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("closing the session: %v", err)
	}
}

func put(t *testing.T, s Session, recs ...*object.Record) {
	t.Helper()
	for _, rec := range recs {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatalf("putting %s %s: %v", rec.Kind, rec.ID.Short(), err)
		}
	}
}

// putAndAsk puts rec and returns the error with which it was refused. Over a
// connection that is known at the next question.
func putAndAsk(t *testing.T, s Session, rec *object.Record) error {
	t.Helper()
	if err := s.Put(t.Context(), rec); err != nil {
		return err
	}
	return s.Checkpoint(t.Context())
}

// commit commits u's snapshot of root after the session's head.
func commit(t *testing.T, s Session, u *Upload, root object.ID) object.Receipt {
	t.Helper()
	receipt, err := tryCommit(s, u, root)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return receipt
}

func tryCommit(s Session, u *Upload, root object.ID) (object.Receipt, error) {
	m, sealed := u.Manifest(s.Standing(), client, job, root)
	return s.Commit(context.Background(), m, sealed)
}

// snapshotOf stores a tree in a session of its own and commits it.
func snapshotOf(t *testing.T, b Backend, seed uint64, files int) (object.Receipt, *Upload, []*object.Record) {
	t.Helper()
	s := open(t, b, Request{})
	defer closeSession(t, s)
	u := NewUpload(client, seed)
	tree := u.Tree(files, 200, 10)
	put(t, s, u.Metadata, u.Content)
	put(t, s, tree...)
	return commit(t, s, u, rootOf(tree)), u, tree
}

func rootOf(tree []*object.Record) object.ID { return tree[len(tree)-1].ID }

func have(t *testing.T, s Session, recs ...*object.Record) []bool {
	t.Helper()
	ids := make([]object.ID, len(recs))
	for i, r := range recs {
		ids[i] = r.ID
	}
	got, err := s.Have(t.Context(), ids)
	if err != nil {
		t.Fatalf("have: %v", err)
	}
	if len(got) != len(ids) {
		t.Fatalf("have: %d answers to %d questions", len(got), len(ids))
	}
	return got
}

func wantHave(t *testing.T, s Session, want bool, recs ...*object.Record) {
	t.Helper()
	for i, got := range have(t, s, recs...) {
		if got != want {
			t.Errorf("have %s %s: got %v, want %v", recs[i].Kind, recs[i].ID.Short(), got, want)
		}
	}
}

func wantCode(t *testing.T, what string, err error, want object.Code) {
	t.Helper()
	if object.CodeOf(err) != want || err == nil {
		t.Errorf("%s: got error %v (code %d), want code %d", what, err, object.CodeOf(err), want)
	}
}

func reader(t *testing.T, b Backend) Reader {
	t.Helper()
	r, err := b.Reader(t.Context())
	if err != nil {
		t.Fatalf("opening a reader: %v", err)
	}
	return r
}

func snapshots(t *testing.T, b Backend) []*object.Snapshot {
	t.Helper()
	var all []*object.Snapshot
	err := reader(t, b).Snapshots(t.Context(), func(s *object.Snapshot) error {
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatalf("listing snapshots: %v", err)
	}
	return all
}

// wantWhole reads all of tree back, as a restore would.
func wantWhole(t *testing.T, b Backend, tree []*object.Record) {
	t.Helper()
	r := reader(t, b)
	byID := map[object.ID]*object.Record{}
	for _, rec := range tree {
		byID[rec.ID] = rec
	}
	var leaves []object.ID
	seen := map[object.ID]bool{}
	err := r.Push(t.Context(), rootOf(tree), func(rec *object.Record) error {
		sameRecord(t, rec, byID[rec.ID])
		seen[rec.ID] = true
		for _, ref := range rec.Refs {
			if byID[ref] == nil || !byID[ref].Kind.HasRefs() {
				leaves = append(leaves, ref)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	err = r.Fetch(t.Context(), leaves, func(rec *object.Record) error {
		if seen[rec.ID] {
			t.Errorf("fetch yielded %s twice", rec.ID.Short())
		}
		seen[rec.ID] = true
		sameRecord(t, rec, byID[rec.ID])
		return nil
	})
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	for id, rec := range byID {
		if !seen[id] {
			t.Errorf("%s %s did not come back", rec.Kind, id.Short())
		}
	}
}

func sameRecord(t *testing.T, got, want *object.Record) {
	t.Helper()
	if want == nil {
		t.Errorf("got %s %s, which nobody put", got.Kind, got.ID.Short())
		return
	}
	if string(got.Append(nil)) != string(want.Append(nil)) {
		t.Errorf("%s %s came back altered", want.Kind, want.ID.Short())
	}
}

func wantMissing(t *testing.T, err error, want ...object.ID) {
	t.Helper()
	var missing *object.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got error %v, want a MissingError", err)
	}
	got := map[object.ID]bool{}
	for _, id := range missing.IDs {
		got[id] = true
	}
	for _, id := range want {
		if !got[id] {
			t.Errorf("%s is not listed as missing", id.Short())
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d objects are missing, want %d", len(got), len(want))
	}
}
