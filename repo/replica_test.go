package repo

import (
	"context"
	"errors"
	"fmt"
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

// TestPowerCutReplica cuts the power after every step of copies and links that
// changes the disk: what was copied is whole, and the next run comes to the end.
func TestPowerCutReplica(t *testing.T) {
	c := newCopying(t, 4)
	all := c.uploads
	steps := []func(r *Repository) error{
		func(r *Repository) error { return c.replicate(r, all[0]) },
		func(r *Repository) error { return c.addLinks(r, all[1], all[2]) },
		func(r *Repository) error { return c.replicate(r, all[3], all[1], all[2]) },
		func(r *Repository) error { return c.replicate(r, all[2]) }, // of which there is the link
	}
	c.cutEverywhere(steps, func(r *Repository) error {
		// The link of the last one may have been left behind, which does no harm.
		for i, want := range []bool{false, true} {
			if there, err := exists(r.fs, snapshotName("links", all[i].manifest.ID())); err != nil || there != want {
				return fmt.Errorf("the link of snapshot %d: got %v, %w; want %v", i, there, err, want)
			}
		}
		return errors.Join(c.sameTimes(r, all[0], all[2], all[3]), wantTree(r, all[3].root, all))
	})
}

// TestPowerCutBeforeTheHead does the same with a snapshot that stands in the
// chain before the head and brings objects along.
func TestPowerCutBeforeTheHead(t *testing.T) {
	c := newCopyingOf(t, 2, false)
	all := c.uploads
	steps := []func(r *Repository) error{
		func(r *Repository) error { return c.addLinks(r, all[0]) },
		func(r *Repository) error { return c.replicate(r, all[1]) },
		func(r *Repository) error { return c.replicate(r, all[0]) },
	}
	c.cutEverywhere(steps, func(r *Repository) error {
		return errors.Join(c.sameTimes(r, all...), wantTrees(r, all...))
	})
	wantVisible(t, c.process(), "default", all[0])
	wantVisible(t, c.process(), "default", all[1])
}

// cutEverywhere does the steps and cuts the power after each change of the disk.
// Whatever is left must be sound, and come to what final wants by the same steps.
func (c *copying) cutEverywhere(steps []func(r *Repository) error, final func(r *Repository) error) {
	t := c.t
	t.Helper()
	for i, do := range steps {
		p := c.d.Process()
		r := c.opened(p)
		step := 0
		c.d.After(func(op crashdisk.Op) {
			if !op.Kind.Changes() || t.Failed() {
				return
			}
			step++
			for _, seed := range seedsFor(step) {
				if err := c.afterCrash(c.d.Crash(seed), steps, final); err != nil {
					t.Errorf("part %d, step %d (%s), seed %d: %v", i, step, op, seed, err)
				}
			}
		})
		err := do(r)
		c.d.After(nil)
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		if step < 10 {
			t.Errorf("part %d has only %d steps", i, step)
		}
		if t.Failed() {
			t.FailNow()
		}
		p.Kill()
	}
}

// sameTimes checks that snapshots have the times of the source.
func (c *copying) sameTimes(r *Repository, ups ...*upload) error {
	for i, u := range ups {
		got, err := r.Snapshot(context.Background(), u.manifest.ID())
		if err != nil {
			return err
		}
		if want := c.snapshot(u).Received; got.Received != want {
			return fmt.Errorf("snapshot %d was received at %d, want %d", i, got.Received, want)
		}
	}
	return nil
}

func (c *copying) addLinks(r *Repository, ups ...*upload) error {
	var links []*object.Snapshot
	for _, u := range ups {
		links = append(links, c.link(u))
	}
	_, err := r.AddLinks(context.Background(), links)
	return err
}

// afterCrash checks what a crash has left, does all steps again, those that were
// done to no effect, and checks that.
func (c *copying) afterCrash(d *crashdisk.Disk, steps []func(r *Repository) error, final func(r *Repository) error) error {
	p := d.Process()
	defer p.Kill()
	r := c.opened(p)
	defer r.Close()
	check := func() error {
		var problems []error
		_, err := r.Check(context.Background(), CheckOptions{ReadData: true}, func(p Problem) {
			problems = append(problems, fmt.Errorf("check: %s %s %s: %s", p.What, p.Name, p.ID.Short(), p.Detail))
		})
		return errors.Join(append(problems, err)...)
	}
	if _, err := c.readStanding(r); err != nil { // takes the head forward
		return err
	}
	if err := check(); err != nil {
		return fmt.Errorf("before going on: %w", err)
	}
	for i, do := range steps {
		if err := do(r); err != nil {
			return fmt.Errorf("going on with part %d: %w", i, err)
		}
	}
	if err := check(); err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	return final(r)
}

func (c *copying) readStanding(r *Repository) (object.Standing, error) {
	s, err := r.OpenSession(context.Background(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		return object.Standing{}, err
	}
	return s.Standing(), s.Close()
}
