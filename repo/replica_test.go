package repo

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// copying is a source with a few snapshots and a replica of it that is empty.
type copying struct {
	t        *testing.T
	d        *crashdisk.Disk // the replica's
	from, to *Repository
	uploads  []*upload
}

func newCopying(t *testing.T, snapshots int) *copying {
	t.Helper()
	return newCopyingOf(t, snapshots, true)
}

// newCopyingOf makes a source whose snapshots each hold all before, or share
// nothing.
func newCopyingOf(t *testing.T, snapshots int, chained bool) *copying {
	t.Helper()
	c := &copying{t: t, d: newGCDisk(t)}
	source := newGCDisk(t).Process()
	t.Cleanup(source.Kill)
	c.from = openRepository(t, source)
	c.uploads = sendAll(t, c.from, snapshots, chained)
	c.to = c.process()
	return c
}

// process opens the replica in a process of its own. Its clock is a little
// ahead of the source's.
func (c *copying) process() *Repository {
	c.t.Helper()
	p := c.d.Process()
	c.t.Cleanup(p.Kill)
	return c.opened(p)
}

func (c *copying) opened(p *crashdisk.Process) *Repository {
	c.t.Helper()
	r := openRepository(c.t, p)
	now := r.tune.now
	r.tune.now = func() time.Time { return now().Add(time.Minute) }
	return r
}

func (c *copying) snapshot(u *upload) *object.Snapshot {
	c.t.Helper()
	s, err := c.from.Snapshot(context.Background(), u.manifest.ID())
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// link is what the replica gets of u when it is left out.
func (c *copying) link(u *upload) *object.Snapshot {
	s := c.snapshot(u)
	s.Sealed, s.Flags = nil, s.Flags|object.FlagLeftOut
	return s
}

// replicate copies u: it puts what the replica lacks of it, and of those that it
// holds and that are not there, and commits.
func (c *copying) replicate(r *Repository, u *upload, held ...*upload) error {
	ctx := context.Background()
	s, err := r.OpenSession(ctx, SessionRequest{Client: "web1", Job: "default", Replica: true})
	if err != nil {
		return err
	}
	_, err = c.replicateIn(ctx, s, u, held...)
	return errors.Join(err, s.Close())
}

func (c *copying) replicateIn(ctx context.Context, s *Session, u *upload, held ...*upload) (object.Receipt, error) {
	recs := u.records()
	for _, h := range held {
		recs = append(recs, h.records()...)
	}
	for i, rec := range recs {
		have, err := s.Have(ctx, []object.ID{rec.ID})
		if err == nil && !have[0] {
			err = s.Put(ctx, rec)
		}
		if err == nil && i == 4 {
			err = s.Checkpoint(ctx)
		}
		if err != nil {
			return object.Receipt{}, err
		}
	}
	return s.CommitReplica(ctx, c.snapshot(u))
}

func (c *copying) addLinks(r *Repository, ups ...*upload) error {
	var links []*object.Snapshot
	for _, u := range ups {
		links = append(links, c.link(u))
	}
	_, err := r.AddLinks(context.Background(), links)
	return err
}

// wantCopies checks that the replica is sound and has the envelopes of the
// source for these uploads.
func (c *copying) wantCopies(r *Repository, ups ...*upload) {
	c.t.Helper()
	if err := wantSound(r, ups...); err != nil {
		c.t.Fatal(err)
	}
	for _, u := range ups {
		want := c.snapshot(u)
		got, err := r.Snapshot(context.Background(), u.manifest.ID())
		if err != nil || string(got.Append(nil)) != string(want.Append(nil)) {
			c.t.Fatalf("got %+v, %v; want the source's %+v", got, err, want)
		}
	}
}

// wantTime checks what CURRENT says is the newest time recorded.
func wantTime(t *testing.T, r *Repository, want int64) {
	t.Helper()
	if _, cur, err := r.readCurrent(); err != nil || cur.time != want {
		t.Errorf("CURRENT's time is %d (%v), want %d", cur.time, err, want)
	}
}

// wantVisible checks that a sender of the job may rely on all of u.
func wantVisible(t *testing.T, r *Repository, job string, u *upload) {
	t.Helper()
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: job})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, rec := range u.tree {
		if have, err := s.Have(t.Context(), []object.ID{rec.ID}); err != nil || !have[0] {
			t.Errorf("a sender of %s may not rely on %s %s (%v)", job, rec.Kind, rec.ID.Short(), err)
		}
	}
}

func TestReplica(t *testing.T) {
	c := newCopying(t, 3)
	for i, u := range c.uploads {
		if err := c.replicate(c.to, u); err != nil {
			t.Fatalf("snapshot %d: %v", i, err)
		}
	}
	c.wantCopies(c.to, c.uploads...)
	h, err := c.to.readHead("web1", "default")
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.from.readHead("web1", "default")
	if err != nil || h.seq != 3 || h.id != want.id || string(h.history) != string(want.history) {
		t.Errorf("the replica's head is %+v, the source's %+v (%v)", h, want, err)
	}
	wantVisible(t, c.to, "default", c.uploads[2])
	wantTime(t, c.to, c.snapshot(c.uploads[2]).Received)
	// Once more changes nothing, and says what there is.
	s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := s.CommitReplica(t.Context(), c.snapshot(c.uploads[0]))
	if err != nil || receipt.Received != c.snapshot(c.uploads[0]).Received {
		t.Errorf("a copy of what is there: %+v, %v", receipt, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// The sender may go on with the replica, and the replica forgets and prunes.
	next := newUpload(50, c.uploads[2])
	if _, err := next.send(t.Context(), c.to); err != nil {
		t.Fatal(err)
	}
	if err := c.to.Forget(t.Context(), []object.ID{c.uploads[0].manifest.ID()}, ForgetOptions{IgnoreUnusual: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.to.Prune(t.Context(), atOnce); err != nil {
		t.Fatal(err)
	}
	if err := wantSound(c.to, c.uploads[1], c.uploads[2], next); err == nil {
		t.Error("the tree of the first is gone, although the others hold it")
	}
	if err := wantTree(c.to, next.root, append(slices.Clone(c.uploads), next)); err != nil {
		t.Error(err)
	}
}

// TestReplicaShares copies a snapshot of another job that is there in full: the
// senders of that job may rely on it afterwards.
func TestReplicaShares(t *testing.T) {
	c := newCopying(t, 2)
	last := c.uploads[1]
	for _, u := range c.uploads {
		if err := c.replicate(c.to, u); err != nil {
			t.Fatal(err)
		}
	}
	other := c.snapshot(last)
	m := *other.Manifest
	m.Job, m.Seq, m.Prev = "other", 1, object.ID{}
	last.Sign(&m)
	other.Manifest = &m
	s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "other", Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := s.CommitReplica(t.Context(), other)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if receipt.Received == c.snapshot(last).Received {
		t.Error("two snapshots were received at the same time")
	}
	wantVisible(t, c.to, "other", last)
	wantVisible(t, c.to, "other", c.uploads[0])
}

// TestReplicaRefuses has what no replica takes, and wants that it changes nothing.
func TestReplicaRefuses(t *testing.T) {
	c := newCopying(t, 3)
	if err := c.replicate(c.to, c.uploads[0]); err != nil {
		t.Fatal(err)
	}
	second := func(edit func(s *object.Snapshot, m *object.Manifest)) *object.Snapshot {
		s := c.snapshot(c.uploads[1])
		m := *s.Manifest
		s.Manifest = &m
		edit(s, &m)
		return s
	}
	u := c.uploads[1]
	signed := func(edit func(m *object.Manifest)) func(*object.Snapshot, *object.Manifest) {
		return func(_ *object.Snapshot, m *object.Manifest) { edit(m); u.Sign(m) }
	}
	for _, test := range []struct {
		name string
		snap *object.Snapshot
		code object.Code
	}{
		{"another repository", second(signed(func(m *object.Manifest) { m.Repository[0]++ })), object.CodeDenied},
		{"another client", second(signed(func(m *object.Manifest) { m.Client = "web2" })), object.CodeDenied},
		{"another job", second(signed(func(m *object.Manifest) { m.Job = "db" })), object.CodeDenied},
		{"a signature", second(func(_ *object.Snapshot, m *object.Manifest) { m.Signature[0]++ }), object.CodeDenied},
		{"another past", second(signed(func(m *object.Manifest) { m.Prev[0]++ })), object.CodeHeadMoved},
		{"a gap", c.snapshot(c.uploads[2]), object.CodeHeadMoved},
		{"a rewritten past", second(signed(func(m *object.Manifest) { m.Seq, m.Prev = 1, object.ID{} })), object.CodeHeadMoved},
		{"no sealed part", second(func(s *object.Snapshot, _ *object.Manifest) { s.Sealed = nil }), object.CodeMalformed},
		{"the future", second(func(s *object.Snapshot, _ *object.Manifest) { s.Received += int64(maxSkew + 2*time.Minute) }), object.CodeClock},
		{"before the one before", second(func(s *object.Snapshot, _ *object.Manifest) { s.Received = c.snapshot(c.uploads[0]).Received }), object.CodeMalformed},
		{"before 1970", second(func(s *object.Snapshot, _ *object.Manifest) { s.Received = -1 }), object.CodeMalformed},
		{"a forgotten one", second(func(s *object.Snapshot, _ *object.Manifest) { s.Flags |= object.FlagForgotten; s.Forgotten = 1 }), object.CodeInvalid},
		{"a root that is missing", second(signed(func(m *object.Manifest) { m.Root[0]++ })), object.CodeMissing},
	} {
		s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range slices.Concat(u.records(), c.uploads[2].records()) {
			if err := s.Put(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.CommitReplica(t.Context(), test.snap); object.CodeOf(err) != test.code {
			t.Errorf("%s: got %v (code %d), want code %d", test.name, err, object.CodeOf(err), test.code)
		}
		if _, err := s.Commit(t.Context(), u.manifest, u.sealed); !errors.Is(err, object.CodeInvalid) {
			t.Errorf("an ordinary commit: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitReplica(t.Context(), c.snapshot(u)); !errors.Is(err, object.CodeInvalid) {
		t.Errorf("a copy in a sender's session: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: true, Blind: true}); !errors.Is(err, object.CodeInvalid) {
		t.Errorf("a blind one: %v", err)
	}
	if err := c.to.Forget(t.Context(), []object.ID{c.uploads[0].manifest.ID()}, ForgetOptions{IgnoreUnusual: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.replicate(c.to, c.uploads[0]); !errors.Is(err, object.CodeExists) {
		t.Errorf("one in the trash: %v", err)
	}
	if err := c.to.Unforget(t.Context(), c.uploads[0].manifest.ID()); err != nil {
		t.Fatal(err)
	}
	c.wantCopies(c.to, c.uploads[0])
}

// TestCutOffCopies has a sender and a copy of one job, each cut off: none of
// them goes on with the other's upload, and each with its own.
func TestCutOffCopies(t *testing.T) {
	c := newCopying(t, 2)
	if err := c.replicate(c.to, c.uploads[0]); err != nil {
		t.Fatal(err)
	}
	mine := newUpload(60, nil)
	begin := func(copies bool, recs []*object.Record) {
		p := c.d.Process()
		s, err := c.opened(p).OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: copies})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recs {
			if err := s.Put(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Kill()
	}
	begin(false, mine.records()[:4])
	begin(true, c.uploads[1].records()[:6])
	s, err := c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Standing().Adopted; len(a) != 1 || a[0].Durable != 6 {
		t.Errorf("the copy goes on with %+v, want its own 6 puts", a)
	}
	received := s.received
	if _, err := c.replicateIn(t.Context(), s, c.uploads[1]); err != nil {
		t.Fatal(err)
	}
	want := uint64(0)
	for _, rec := range c.uploads[1].records()[6:] {
		want += uint64(rec.Size())
	}
	if got := s.received - received; got != want {
		t.Errorf("the second copy sent %d bytes, want the %d that were not durable", got, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	c.wantCopies(c.to, c.uploads...)
	s, err = c.to.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Standing().Adopted; len(a) != 1 || a[0].Durable != 4 {
		t.Errorf("the sender goes on with %+v, want its own 4 puts", a)
	}
	if _, err := mine.sendTo(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := wantTrees(c.to, mine); err != nil {
		t.Error(err)
	}
}
