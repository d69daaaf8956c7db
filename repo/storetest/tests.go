package storetest

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/object"
)

func testEmpty(t *testing.T, b Backend) {
	if got := snapshots(t, b); len(got) != 0 {
		t.Errorf("an empty store has %d snapshots", len(got))
	}
	s := open(t, b, Request{Base: object.HashID([]byte("no such snapshot"))})
	defer closeSession(t, s)
	st := s.Standing()
	if st.Seq != 0 || !st.Head.IsZero() || st.Based || len(st.Adopted) != 0 {
		t.Errorf("standing in an empty store: got %+v", st)
	}
	if st.Repository == (object.RepositoryID{}) || st.Session == (object.SessionID{}) {
		t.Errorf("standing names no repository or no session: %+v", st)
	}
	wantHave(t, s, false, NewUpload(client, 1).Content)
}

func testCommitAndRead(t *testing.T, b Backend) {
	receipt, _, tree := snapshotOf(t, b, 1, 57)
	all := snapshots(t, b)
	if len(all) != 1 {
		t.Fatalf("got %d snapshots, want 1", len(all))
	}
	snap := all[0]
	if snap.ID() != receipt.Snapshot || snap.Received != receipt.Received || snap.Flags != receipt.Flags {
		t.Errorf("snapshot %s at %d differs from its receipt %+v", snap.ID(), snap.Received, receipt)
	}
	if snap.Manifest.Client != client || snap.Manifest.Job != job || snap.Manifest.Seq != 1 {
		t.Errorf("wrong manifest: %+v", snap.Manifest)
	}
	if got, want := snap.Measures.NewObjects, uint64(len(tree)+2); got != want {
		t.Errorf("new objects: got %d, want %d", got, want)
	}
	wantWhole(t, b, tree)
}

// testSecondSnapshot relies on the first one without sending any of it again.
func testSecondSnapshot(t *testing.T, b Backend) {
	first, _, tree := snapshotOf(t, b, 1, 30)
	s := open(t, b, Request{Base: first.Snapshot})
	defer closeSession(t, s)
	st := s.Standing()
	if st.Seq != 1 || st.Head != first.Snapshot || !st.Based {
		t.Fatalf("standing: got %+v, want sequence number 1 based on %s", st, first.Snapshot)
	}
	wantHave(t, s, true, tree...)
	u := NewUpload(client, 2)
	chunk := u.Object(object.KindChunk, 100)
	root := u.Object(object.KindDir, 100, rootOf(tree), chunk.ID)
	put(t, s, u.Metadata, u.Content, chunk, root)
	wantHave(t, s, true, chunk, root)
	second := commit(t, s, u, root.ID)
	if second.Received <= first.Received {
		t.Errorf("received times: %d, then %d", first.Received, second.Received)
	}
	wantWhole(t, b, append(tree, chunk, root))
	if all := snapshots(t, b); len(all) != 2 || all[0].ID() != first.Snapshot || all[1].ID() != second.Snapshot {
		t.Errorf("got %d snapshots, not the two in their order", len(all))
	}
}

// testVisible asks for what another client and another job have stored.
func testVisible(t *testing.T, b Backend) {
	_, u, tree := snapshotOf(t, b, 1, 5)
	for _, req := range []Request{{Client: "thief"}, {Job: "other"}} {
		s := open(t, b, req)
		wantHave(t, s, false, tree...)
		wantHave(t, s, false, u.Metadata, u.Content)
		// Relying on it anyway is refused just like relying on nothing at all.
		m, sealed := u.Manifest(s.Standing(), orDefault(req.Client, client), orDefault(req.Job, job), rootOf(tree))
		_, err := s.Commit(t.Context(), m, sealed)
		wantMissing(t, err, rootOf(tree), u.Metadata.ID, u.Content.ID)
		closeSession(t, s)
	}
	// What a forgotten or unfinished upload holds is as invisible as nothing.
	s := open(t, b, Request{Client: "thief"})
	defer closeSession(t, s)
	put(t, s, tree[0])
	wantHave(t, s, true, tree[0])
	wantHave(t, s, false, tree[1])
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func testBlind(t *testing.T, b Backend) {
	first, _, tree := snapshotOf(t, b, 1, 5)
	s := open(t, b, Request{Base: first.Snapshot, Blind: true})
	defer closeSession(t, s)
	if s.Standing().Based {
		t.Error("a blind session has a base")
	}
	wantHave(t, s, false, tree...)
	u := NewUpload(client, 2)
	root := u.Object(object.KindDir, 64, tree[0].ID)
	put(t, s, u.Metadata, u.Content, root)
	_, err := tryCommit(s, u, root.ID)
	wantMissing(t, err, tree[0].ID)
	put(t, s, tree[0])
	wantHave(t, s, true, tree[0])
	_, err = tryCommit(s, u, root.ID)
	wantMissing(t, err, tree[0].Key)
}

// testMissing commits with holes of every sort, fills them, and commits.
func testMissing(t *testing.T, b Backend) {
	s := open(t, b, Request{})
	defer closeSession(t, s)
	u := NewUpload(client, 1)
	chunk := u.Object(object.KindChunk, 100)
	list := u.Object(object.KindList, 100, chunk.ID)
	root := u.Object(object.KindDir, 100, list.ID)
	_, err := tryCommit(s, u, root.ID)
	wantMissing(t, err, root.ID, u.Metadata.ID, u.Content.ID)
	put(t, s, root)
	_, err = tryCommit(s, u, root.ID)
	wantMissing(t, err, list.ID, u.Metadata.ID, u.Content.ID)
	put(t, s, list, chunk, u.Metadata)
	_, err = tryCommit(s, u, root.ID)
	wantMissing(t, err, u.Content.ID)
	if all := snapshots(t, b); len(all) != 0 {
		t.Errorf("a refused commit left %d snapshots", len(all))
	}
	put(t, s, u.Content)
	commit(t, s, u, root.ID)
	wantWhole(t, b, []*object.Record{chunk, list, root})
}

func testHeadMoved(t *testing.T, b Backend) {
	one, two := open(t, b, Request{}), open(t, b, Request{})
	defer closeSession(t, two)
	for i, s := range []Session{one, two} {
		u := NewUpload(client, uint64(i))
		tree := u.Tree(3, 50, 10)
		put(t, s, u.Metadata, u.Content)
		put(t, s, tree...)
		_, err := tryCommit(s, u, rootOf(tree))
		if i == 0 && err != nil {
			t.Fatalf("first commit: %v", err)
		}
		if i == 1 {
			wantCode(t, "second commit on the same head", err, object.CodeHeadMoved)
		}
	}
	closeSession(t, one)
	if all := snapshots(t, b); len(all) != 1 {
		t.Errorf("got %d snapshots, want 1", len(all))
	}
}

func testLostAnswer(t *testing.T, b Backend) {
	s := open(t, b, Request{})
	u := NewUpload(client, 1)
	tree := u.Tree(3, 50, 10)
	put(t, s, u.Metadata, u.Content)
	put(t, s, tree...)
	m, sealed := u.Manifest(s.Standing(), client, job, rootOf(tree))
	first, err := s.Commit(t.Context(), m, sealed)
	if err != nil {
		t.Fatal(err)
	}
	closeSession(t, s)
	s = open(t, b, Request{})
	defer closeSession(t, s)
	if s.Standing().Head != m.ID() {
		t.Errorf("head is %s, want %s", s.Standing().Head, m.ID())
	}
	again, err := s.Commit(t.Context(), m, sealed)
	if err != nil || again != first {
		t.Errorf("committing the head again: got %+v, %v; want %+v", again, err, first)
	}
}

// testForeignManifest commits manifests that are not this session's to commit.
func testForeignManifest(t *testing.T, b Backend) {
	s := open(t, b, Request{})
	defer closeSession(t, s)
	u := NewUpload(client, 1)
	tree := u.Tree(3, 50, 10)
	put(t, s, u.Metadata, u.Content)
	put(t, s, tree...)
	for _, test := range []struct {
		name   string
		change func(m *object.Manifest, sealed *[]byte)
		want   object.Code
	}{
		{"another client's name", func(m *object.Manifest, _ *[]byte) { m.Client = "web2"; u.Sign(m) }, object.CodeDenied},
		{"another job", func(m *object.Manifest, _ *[]byte) { m.Job = "other"; u.Sign(m) }, object.CodeDenied},
		{"another repository", func(m *object.Manifest, _ *[]byte) { m.Repository[0]++; u.Sign(m) }, object.CodeDenied},
		{"a broken signature", func(m *object.Manifest, _ *[]byte) { m.Signature[5]++ }, object.CodeDenied},
		{"another sealed part", func(m *object.Manifest, sealed *[]byte) { *sealed = append(*sealed, 0) }, object.CodeMalformed},
		{"no sealed part", func(m *object.Manifest, sealed *[]byte) { *sealed = nil }, object.CodeMalformed},
		{"a later sequence number", func(m *object.Manifest, _ *[]byte) { m.Seq, m.Prev = 7, m.Root; u.Sign(m) }, object.CodeHeadMoved},
		{"a chunk as root", func(m *object.Manifest, _ *[]byte) { m.Root = tree[0].ID; u.Sign(m) }, object.CodeMalformed},
		{"a directory as key", func(m *object.Manifest, _ *[]byte) { m.ContentKey = rootOf(tree); u.Sign(m) }, object.CodeMalformed},
	} {
		m, sealed := u.Manifest(s.Standing(), client, job, rootOf(tree))
		test.change(m, &sealed)
		_, err := s.Commit(t.Context(), m, sealed)
		wantCode(t, test.name, err, test.want)
	}
	commit(t, s, u, rootOf(tree))
}

func testMalformed(t *testing.T, b Backend) {
	s := open(t, b, Request{})
	defer closeSession(t, s)
	u := NewUpload(client, 1)
	good := u.Object(object.KindDir, 100, u.Content.ID)
	for name, change := range map[string]func(r *object.Record){
		"unknown kind":      func(r *object.Record) { r.Kind = 9 },
		"no key object":     func(r *object.Record) { r.Key = object.ID{} },
		"refs of a chunk":   func(r *object.Record) { r.Kind = object.KindChunk },
		"ref to itself":     func(r *object.Record) { r.Refs = []object.ID{r.ID} },
		"empty":             func(r *object.Record) { r.Sealed = nil },
		"too large":         func(r *object.Record) { r.Sealed = make([]byte, object.MaxSealed+1) },
		"key with wrong id": func(r *object.Record) { r.Kind, r.Key, r.Refs = object.KindKey, object.ID{}, nil },
	} {
		rec := *good
		change(&rec)
		wantCode(t, "putting an object: "+name, s.Put(t.Context(), &rec), object.CodeMalformed)
	}
	put(t, s, good)
}

// testResume cuts an upload off after a checkpoint and continues it.
func testResume(t *testing.T, b Backend) {
	s := open(t, b, Request{})
	u := NewUpload(client, 1)
	tree := u.Tree(20, 500, 10)
	put(t, s, u.Metadata, u.Content)
	put(t, s, tree[:10]...)
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Durable(); got != 12 {
		t.Errorf("durable after a checkpoint: got %d, want 12", got)
	}
	cut := s.Standing().Session
	closeSession(t, s)
	s = open(t, b, Request{})
	defer closeSession(t, s)
	adopted := s.Standing().Adopted
	if len(adopted) != 1 || adopted[0] != (object.Adopted{Session: cut, Durable: 12}) {
		t.Fatalf("adopted: got %+v, want 12 puts of %x", adopted, cut)
	}
	wantHave(t, s, true, tree[:10]...)
	wantHave(t, s, false, tree[10:]...)
	put(t, s, tree[10:]...)
	commit(t, s, u, rootOf(tree))
	wantWhole(t, b, tree)
}

func testQuota(t *testing.T, b Backend) {
	const quota = 100_000
	s := open(t, b, Request{Quota: quota})
	defer closeSession(t, s)
	u := NewUpload(client, 1)
	put(t, s, u.Metadata, u.Content)
	sum := u.Metadata.Size() + u.Content.Size()
	for {
		rec := u.Object(object.KindChunk, 3000)
		sum += rec.Size()
		if sum > quota {
			wantCode(t, fmt.Sprintf("byte %d of %d", sum, quota), putAndAsk(t, s, rec), object.CodeQuota)
			break
		}
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatalf("byte %d of %d: %v", sum, quota, err)
		}
	}
	other := open(t, b, Request{Job: "other", Quota: quota})
	defer closeSession(t, other)
	wantCode(t, "a second session of the client", putAndAsk(t, other, u.Object(object.KindChunk, 5000)), object.CodeQuota)
	elsewhere := open(t, b, Request{Client: "web2", Quota: quota})
	defer closeSession(t, elsewhere)
	put(t, elsewhere, u.Object(object.KindChunk, 5000))
}

func testSessions(t *testing.T, b Backend) {
	var all []Session
	for i := range 4 {
		all = append(all, open(t, b, Request{Job: fmt.Sprintf("job%d", i)}))
	}
	_, err := b.Open(t.Context(), Request{Client: client, Job: "job5"})
	wantCode(t, "fifth session", err, object.CodeBusy)
	closeSession(t, open(t, b, Request{Client: "web2"}))
	closeSession(t, all[0])
	all[0] = open(t, b, Request{Job: "job5"})
	for _, s := range all {
		closeSession(t, s)
	}
}

func testReadMissing(t *testing.T, b Backend) {
	_, _, tree := snapshotOf(t, b, 1, 3)
	r := reader(t, b)
	absent := object.HashID([]byte("absent"))
	n := 0
	count := func(*object.Record) error { n++; return nil }
	wantMissing(t, r.Fetch(t.Context(), []object.ID{absent, tree[0].ID, absent, tree[0].ID}, count), absent)
	if n != 1 {
		t.Errorf("fetch yielded %d records, want 1", n)
	}
	wantMissing(t, r.Push(t.Context(), absent, count), absent)
	if n != 1 {
		t.Errorf("push of a missing root yielded %d records", n-1)
	}
}

// testKeys wants the key objects of all uploads and nothing else.
func testKeys(t *testing.T, b Backend) {
	want := make(map[object.ID]*object.Record)
	for seed := range uint64(3) {
		_, u, _ := snapshotOf(t, b, seed, 20)
		want[u.Metadata.ID], want[u.Content.ID] = u.Metadata, u.Content
	}
	got := make(map[object.ID]bool)
	err := reader(t, b).Keys(t.Context(), func(rec *object.Record) error {
		if want[rec.ID] == nil {
			t.Errorf("got %s %s, which is not one of the key objects", rec.Kind, rec.ID.Short())
			return nil
		}
		sameRecord(t, rec, want[rec.ID])
		got[rec.ID] = true
		return nil
	})
	if err != nil || len(got) != len(want) {
		t.Errorf("got %d key objects, error %v, want %d", len(got), err, len(want))
	}
}

// testMany sends more than one small batch and asks in batches of the maximum.
func testMany(t *testing.T, b Backend) {
	_, _, tree := snapshotOf(t, b, 1, 6000)
	wantWhole(t, b, tree)
	s := open(t, b, Request{})
	defer closeSession(t, s)
	wantHave(t, s, true, tree[:4096]...)
}

func testConcurrentPuts(t *testing.T, b Backend) {
	s := open(t, b, Request{})
	defer closeSession(t, s)
	u := NewUpload(client, 1)
	tree := u.Tree(400, 300, 16)
	put(t, s, u.Metadata, u.Content)
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			for j := i % 4; j < len(tree); j += 4 { // every object twice
				if err := s.Put(t.Context(), tree[j]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Durable(), uint64(2*len(tree)+2); got != want {
		t.Errorf("durable: got %d, want %d", got, want)
	}
	commit(t, s, u, rootOf(tree))
	wantWhole(t, b, tree)
}
