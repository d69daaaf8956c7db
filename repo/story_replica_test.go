package repo

import (
	"context"
	"errors"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// openCopy opens a session that copies a snapshot of the story's job.
func (st *story) openCopy(r *Repository) *Session {
	st.t.Helper()
	s, err := r.OpenSession(st.ctx, SessionRequest{Client: "web1", Job: "default", Replica: true})
	if err != nil {
		st.t.Fatalf("opening a session: %v", err)
	}
	return s
}

// copied is the snapshot of u in the repository that it is copied from.
func (st *story) copied(s *Session, u *upload) *object.Snapshot {
	u.manifest, u.sealed = u.Manifest(s.Standing(), "web1", "default", u.root)
	return &object.Snapshot{Received: st.now().UnixNano(), Manifest: u.manifest, Sealed: u.sealed}
}

// TestCopyRelianceOnCondemned is TestRelianceOnCondemned for a copy, which may
// rely on what no sender sees.
func TestCopyRelianceOnCondemned(t *testing.T) {
	for _, commitAt := range []string{condemnedNow, beforeSpare} {
		t.Run(commitAt, func(t *testing.T) {
			st := newStory(t)
			r := st.process()
			x := st.inner()
			var s *Session
			u := relying(60, x)
			st.prune(map[string]func(){
				beforeMark: func() {
					s = st.openCopy(r)
					st.wantHave(s, true, x)
				},
				commitAt: func() {
					st.put(s, u.records()...)
					if _, err := s.CommitReplica(st.ctx, st.copied(s, u)); err != nil {
						t.Fatalf("commit: %v", err)
					}
				},
			})
			st.end(s, u, below(st.old.tree, x)...)
		})
	}
}

// TestCopyRelianceOnDeleted comes too late with its commit: it is told what is
// missing, and puts that.
func TestCopyRelianceOnDeleted(t *testing.T) {
	st := newStory(t)
	r := st.process()
	x := st.inner()
	var s *Session
	u := relying(60, x)
	st.prune(map[string]func(){
		beforeMark: func() {
			s = st.openCopy(r)
			st.wantHave(s, true, x)
		},
		deletingNow: func() {
			st.put(s, u.records()...)
			_, err := s.CommitReplica(st.ctx, st.copied(s, u))
			var missing *object.MissingError
			if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != x.ID {
				t.Fatalf("commit: got %v, want that %s is missing", err, x.ID.Short())
			}
			st.wantHave(s, false, x)
		},
	})
	st.put(s, st.old.Metadata, st.old.Content)
	st.put(s, below(st.old.tree, x)...)
	if _, err := s.CommitReplica(st.ctx, st.copied(s, u)); err != nil {
		t.Fatalf("second commit: %v", err)
	}
	st.end(s, u, below(st.old.tree, x)...)
}

// TestLeftOutLinkGivesWay forgets a snapshot whose link, which said that it was
// left out, a crash has left behind: in the end the link says that it was
// forgotten.
func TestLeftOutLinkGivesWay(t *testing.T) {
	c := newCopying(t, 2)
	first, second := c.uploads[0], c.uploads[1]
	if err := c.addLinks(c.to, first); err != nil {
		t.Fatal(err)
	}
	if err := c.replicate(c.to, second, first); err != nil {
		t.Fatal(err)
	}
	if err := c.replicate(c.to, first); err != nil {
		t.Fatal(err)
	}
	c.wantCopies(c.to, first, second)
	ctx := context.Background()
	id := first.manifest.ID()
	if there, err := exists(c.to.fs, snapshotName("links", id)); err != nil || there {
		t.Errorf("the link of a snapshot that is live: %v, %v", there, err)
	}
	if err := c.to.replaceFile(snapshotName("links", id), c.link(first).Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := c.to.Forget(ctx, []object.ID{id}, ForgetOptions{IgnoreUnusual: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.to.Prune(ctx, atOnce); err != nil {
		t.Fatal(err)
	}
	l, err := c.to.readSnapshot("links", id)
	if err != nil || l.Flags&object.FlagForgotten == 0 || l.Flags&object.FlagLeftOut != 0 {
		t.Errorf("got %+v, %v; want a link that says forgotten", l, err)
	}
}

// TestRepairAtALink loses the head of a chain that ends with links.
func TestRepairAtALink(t *testing.T) {
	c := newCopying(t, 4)
	all := c.uploads
	if err := errors.Join(c.replicate(c.to, all[0]), c.addLinks(c.to, all[1], all[2])); err != nil {
		t.Fatal(err)
	}
	if err := c.to.fs.Remove(headName("web1", "default")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.to.RepairIndex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h, err := c.to.readHead("web1", "default")
	if err != nil || h.seq != 3 || h.id != all[2].manifest.ID() {
		t.Fatalf("the head is %+v, %v; want that of the last link", h, err)
	}
	wantVisible(t, c.to, "default", all[0])
	if err := c.replicate(c.to, all[3], all[1], all[2]); err != nil {
		t.Fatal(err)
	}
	if err := wantTree(c.to, all[3].root, all); err != nil {
		t.Error(err)
	}
}

// TestLinksRefused has links that no replica takes.
func TestLinksRefused(t *testing.T) {
	c := newCopying(t, 3)
	edit := func(u *upload, change func(s *object.Snapshot, m *object.Manifest)) *object.Snapshot {
		l := c.link(u)
		m := *l.Manifest
		l.Manifest = &m
		change(l, &m)
		return l
	}
	for _, test := range []struct {
		name string
		link *object.Snapshot
		code object.Code
	}{
		{"a live one", edit(c.uploads[0], func(s *object.Snapshot, _ *object.Manifest) { s.Flags = 0 }), object.CodeMalformed},
		{"one with a sealed part", edit(c.uploads[0], func(s *object.Snapshot, _ *object.Manifest) { s.Sealed = []byte("x") }), object.CodeMalformed},
		{"forgotten without a time", edit(c.uploads[0], func(s *object.Snapshot, _ *object.Manifest) { s.Flags = object.FlagForgotten }), object.CodeMalformed},
		{"a signature", edit(c.uploads[0], func(_ *object.Snapshot, m *object.Manifest) { m.Signature[0]++ }), object.CodeDenied},
		{"another repository", edit(c.uploads[0], func(_ *object.Snapshot, m *object.Manifest) { m.Repository[0]++ }), object.CodeDenied},
		{"the future", edit(c.uploads[0], func(s *object.Snapshot, _ *object.Manifest) { s.Received += int64(2 * maxSkew) }), object.CodeClock},
		{"forgotten in the future", edit(c.uploads[0], func(s *object.Snapshot, _ *object.Manifest) {
			s.Flags, s.Forgotten = object.FlagForgotten, s.Received+int64(2*maxSkew)
		}), object.CodeClock},
		{"a gap", c.link(c.uploads[1]), object.CodeHeadMoved},
	} {
		if n, err := c.to.AddLinks(t.Context(), []*object.Snapshot{test.link}); n != 0 || object.CodeOf(err) != test.code {
			t.Errorf("%s: got %d, %v (code %d); want code %d", test.name, n, err, object.CodeOf(err), test.code)
		}
	}
	if n, err := c.to.AddLinks(t.Context(), []*object.Snapshot{c.link(c.uploads[0]), c.link(c.uploads[1])}); n != 2 || err != nil {
		t.Errorf("good ones: %d, %v", n, err)
	}
	if n, err := c.to.AddLinks(t.Context(), []*object.Snapshot{c.link(c.uploads[1]), c.link(c.uploads[2])}); n != 1 || err != nil {
		t.Errorf("one that is there, and one that is not: %d, %v", n, err)
	}
	wantTime(t, c.to, c.link(c.uploads[2]).Received)
	fork := edit(c.uploads[1], func(_ *object.Snapshot, m *object.Manifest) { m.Time++; c.uploads[1].Sign(m) })
	if _, err := c.to.AddLinks(t.Context(), []*object.Snapshot{fork}); !errors.Is(err, object.CodeHeadMoved) {
		t.Errorf("another history: %v", err)
	}
}

// TestReplicaMendsItself has lost an object that several snapshots need: what is
// copied next is complete all the same.
func TestReplicaMendsItself(t *testing.T) {
	c := newCopying(t, 2)
	if err := c.replicate(c.to, c.uploads[0]); err != nil {
		t.Fatal(err)
	}
	lost := c.uploads[0].tree[0]
	if err := c.to.MarkBad(t.Context(), []object.ID{lost.ID}); err != nil {
		t.Fatal(err)
	}
	s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range c.uploads[0].tree {
		have, err := s.Have(t.Context(), []object.ID{rec.ID})
		if want := rec.ID != lost.ID && !rec.Kind.HasRefs(); err != nil || have[0] != want {
			t.Errorf("%s %s: have is %v, %v; want %v", rec.Kind, rec.ID.Short(), have, err, want)
		}
	}
	_, err = c.replicateIn(t.Context(), s, c.uploads[1])
	var missing *object.MissingError
	if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != lost.ID {
		t.Fatalf("got %v; want that %s is missing, which is far below", err, lost.ID.Short())
	}
	if err := s.Put(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitReplica(t.Context(), c.snapshot(c.uploads[1])); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := wantTree(c.to, c.uploads[1].root, c.uploads); err != nil {
		t.Error(err)
	}
}
