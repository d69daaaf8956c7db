package repo

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

// calendar is a repository whose clock a test sets. It begins at noon UTC on
// 15 January 2027, a Friday.
type calendar struct {
	*Repository
	t     *testing.T
	clock *atomic.Int64
	sent  []*upload
}

func newCalendar(t *testing.T) *calendar {
	t.Helper()
	p := newGCDisk(t).Process()
	c := &calendar{t: t, clock: new(atomic.Int64)}
	c.clock.Store(time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC).UnixNano())
	tune := testTuning()
	tune.now = func() time.Time { return time.Unix(0, c.clock.Add(1000)) }
	var err error
	if c.Repository, err = openFS(t.Context(), p, "test", testMachine, tune); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); p.Kill() })
	return c
}

func (c *calendar) pass(d time.Duration) { c.clock.Add(int64(d)) }

// backup commits a snapshot: all that was there and a little more, or nothing
// of what was there.
func (c *calendar) backup(replaced bool) object.ID {
	c.t.Helper()
	var before *upload
	if n := len(c.sent); n > 0 && !replaced {
		before = c.sent[n-1]
	}
	u := newUpload(uint64(len(c.sent)), before)
	if replaced {
		n := 20 * len(c.sent) * len(c.sent) // more each time, or half would not be new
		more := u.Tree(n, 700, 3)
		root := u.Object(object.KindDir, 80, u.root, more[len(more)-1].ID)
		u.tree, u.root = append(append(u.tree, more...), root), root.ID
	}
	if _, err := u.send(context.Background(), c.Repository); err != nil {
		c.t.Fatalf("backup %d: %v", len(c.sent), err)
	}
	c.sent = append(c.sent, u)
	return u.manifest.ID()
}

// live returns which of the backups are live, by their numbers.
func (c *calendar) live() []int {
	c.t.Helper()
	var numbers []int
	err := c.Snapshots(c.t.Context(), func(s *object.Snapshot) error {
		numbers = append(numbers, slices.IndexFunc(c.sent, func(u *upload) bool { return u.manifest.ID() == s.ID() }))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return numbers
}

func (c *calendar) wantLive(want ...int) {
	c.t.Helper()
	if got := c.live(); !slices.Equal(got, want) {
		c.t.Errorf("live: %v, want %v", got, want)
	}
}

// always is the same policy for everybody.
func always(t *testing.T, text string) func(string, string) (retention.Policy, bool) {
	t.Helper()
	p, err := retention.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return func(string, string) (retention.Policy, bool) { return p, true }
}

func TestApplyPolicyOnACalendar(t *testing.T) {
	c := newCalendar(t)
	for range 40 {
		c.backup(false)
		c.pass(24 * time.Hour)
	}
	c.pass(-24 * time.Hour)
	// Backup 39 is of 23 February, 16 of 31 January, 0 of 15 January.
	groups, err := c.ApplyPolicy(t.Context(), always(t, "daily=3,monthly=2"), ForgetOptions{DryRun: true})
	if err != nil || len(groups) != 1 || len(groups[0].Decisions) != 40 {
		t.Fatalf("dry run: got %d groups, %v", len(groups), err)
	}
	if n := len(c.live()); n != 40 {
		t.Fatalf("a dry run has left %d of 40", n)
	}
	if err := c.SetSetting(t.Context(), settingMinAge, "5d"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ApplyPolicy(t.Context(), always(t, "daily=3,monthly=2"), ForgetOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantLive(16, 35, 36, 37, 38, 39)
	if err := c.SetSetting(t.Context(), settingMinAge, "0s"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ApplyPolicy(t.Context(), always(t, "daily=3,monthly=2"), ForgetOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantLive(16, 37, 38, 39)
	// A policy that keeps nothing is stopped, unless it is meant.
	if _, err := c.ApplyPolicy(t.Context(), always(t, ""), ForgetOptions{}); !errors.Is(err, object.CodeBraked) {
		t.Errorf("a policy that keeps nothing: got %v", err)
	}
	c.wantLive(16, 37, 38, 39)
	if _, err := c.ApplyPolicy(t.Context(), always(t, ""), ForgetOptions{AllowRemoveAll: true}); err != nil {
		t.Fatal(err)
	}
	c.wantLive()
	if _, err := c.Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Unforget(t.Context(), c.sent[16].manifest.ID()); err != nil {
		t.Error(err)
	}
	c.wantLive(16)
}

// TestBrakeByHand has one snapshot that replaces everything. What came before
// it is safe from names and policies, what came after is not.
func TestBrakeByHand(t *testing.T) {
	c := newCalendar(t)
	ctx := t.Context()
	for n := range 10 {
		c.backup(n == 5 || n == 8)
		c.pass(24 * time.Hour)
	}
	st, err := c.Status(ctx)
	if err != nil || len(st.Jobs) != 1 || st.Jobs[0].Unusual != 2 || st.Jobs[0].Oldest != c.sent[5].manifest.ID() {
		t.Fatalf("status: got %+v, %v; want two unusual snapshots, the oldest is %s", st, err, c.sent[5].manifest.ID().Short())
	}
	forget := func(n int) error { return c.Forget(ctx, []object.ID{c.sent[n].manifest.ID()}, ForgetOptions{}) }
	for n, want := range []error{object.CodeBraked, object.CodeBraked, nil, nil, nil, object.CodeBraked, nil, nil, nil, nil} {
		if want == nil && n < 6 {
			continue
		}
		if err := forget(n); !errors.Is(err, want) {
			t.Errorf("forget backup %d: got %v, want %v", n, err, want)
		}
	}
	for n := 6; n < 10; n++ {
		if err := c.Unforget(ctx, c.sent[n].manifest.ID()); err != nil {
			t.Fatal(err)
		}
	}
	// Several at once go all or none.
	if err := c.Forget(ctx, []object.ID{c.sent[6].manifest.ID(), c.sent[4].manifest.ID()}, ForgetOptions{}); !errors.Is(err, object.CodeBraked) {
		t.Errorf("one that may go and one that may not: got %v", err)
	}
	c.wantLive(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	if _, err := c.ApplyPolicy(ctx, always(t, "last=1"), ForgetOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantLive(0, 1, 2, 3, 4, 5, 9)
	if err := c.Acknowledge(ctx, c.sent[5].manifest.ID()); err != nil {
		t.Fatal(err)
	}
	if err := forget(4); err != nil {
		t.Error(err)
	}
	if _, err := c.ApplyPolicy(ctx, always(t, "last=1"), ForgetOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantLive(9)
}

func TestClockGuards(t *testing.T) {
	c := newCalendar(t)
	for range 3 {
		c.backup(false)
		c.pass(24 * time.Hour)
	}
	ctx, good := t.Context(), c.clock.Load()
	id := c.sent[0].manifest.ID()
	attempts := map[string]func(trust bool) error{
		"forget": func(trust bool) error {
			return c.Forget(ctx, []object.ID{id}, ForgetOptions{TrustClock: trust, IgnoreUnusual: true, DryRun: true})
		},
		"policy": func(trust bool) error {
			_, err := c.ApplyPolicy(ctx, always(t, "last=1"), ForgetOptions{TrustClock: trust, DryRun: true})
			return err
		},
		"prune": func(trust bool) error {
			_, err := c.Prune(ctx, PruneOptions{TrustClock: trust})
			return err
		},
	}
	for _, at := range []struct {
		now    time.Duration // since the last snapshot
		refuse bool
	}{{0, false}, {-2 * time.Second, true}, {-365 * 24 * time.Hour, true}, {6 * 24 * time.Hour, false}, {8 * 24 * time.Hour, true}, {9000 * time.Hour, true}} {
		for name, try := range attempts {
			c.clock.Store(good - int64(24*time.Hour) + int64(at.now))
			if err := try(false); errors.Is(err, object.CodeClock) != at.refuse || !at.refuse && err != nil {
				t.Errorf("%s %s after the last snapshot: got %v, want a refusal: %v", name, at.now, err, at.refuse)
			}
			c.clock.Store(good - int64(24*time.Hour) + int64(at.now))
			if err := try(true); errors.Is(err, object.CodeClock) {
				t.Errorf("%s %s after the last snapshot, trusting the clock: %v", name, at.now, err)
			}
		}
	}
}

func TestPruneDeletesAShareAtMost(t *testing.T) {
	c := newCalendar(t)
	ctx := t.Context()
	var ids []object.ID
	for range 12 {
		ids = append(ids, c.backup(false))
		c.pass(time.Hour)
	}
	for _, step := range []struct {
		forget, deleted int
		yes             bool
		want            error
	}{
		{5, 5, false, nil},               // five may always go
		{6, 0, false, object.CodeBraked}, // 6 of 7 is above 60 %
		{0, 6, true, nil},                // unless somebody means it
		{0, 0, false, nil},
	} {
		if err := c.Forget(ctx, ids[:step.forget], ForgetOptions{IgnoreUnusual: true}); err != nil {
			t.Fatal(err)
		}
		ids = ids[step.forget:]
		res, err := c.Prune(ctx, PruneOptions{Grace: -1, Yes: step.yes})
		if !errors.Is(err, step.want) || res.Snapshots != step.deleted {
			t.Errorf("%+v: got %d snapshots deleted, %v", step, res.Snapshots, err)
		}
	}
	c.wantLive(11)
}

func TestPolicyOf(t *testing.T) {
	c := newCalendar(t)
	for key, value := range map[string]string{
		"*/*": "last=1", "web*/*": "last=2", "web*/www": "last=3", "web1/*": "last=4", "*/www": "last=5",
	} {
		if err := c.SetSetting(t.Context(), policyPrefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		client, job string
		last        int
	}{{"db", "x", 1}, {"web2", "x", 2}, {"web2", "www", 3}, {"web1", "x", 4}, {"web1", "www", 3}, {"db", "www", 5}} {
		p, ok := c.PolicyOf(want.client, want.job)
		if !ok || p.Last != want.last {
			t.Errorf("%s/%s: got %q, %v; want last=%d", want.client, want.job, p, ok, want.last)
		}
	}
	if err := c.SetSetting(t.Context(), "policy.*/*", ""); err != nil {
		t.Fatal(err)
	}
	if p, ok := c.PolicyOf("db", "x"); ok {
		t.Errorf("db/x: got %q, want none", p)
	}
	for _, value := range []string{"last=0", "newest=1", "daily", "daily=1,daily=2"} {
		if err := c.SetSetting(t.Context(), "policy.a/b", value); !errors.Is(err, object.CodeInvalid) {
			t.Errorf("policy %q: got %v", value, err)
		}
	}
}

func TestStatus(t *testing.T) {
	c := newCalendar(t)
	ctx := t.Context()
	if st, err := c.Status(ctx); err != nil || len(st.Jobs) != 0 || st.Pruned != 0 || st.Bad != 0 {
		t.Errorf("empty repository: got %+v, %v", st, err)
	}
	for range 3 {
		c.backup(false)
		c.pass(time.Hour)
	}
	if err := c.Forget(ctx, []object.ID{c.sent[0].manifest.ID()}, ForgetOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(ctx, PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	pruned := c.clock.Load()
	if err := c.MarkBad(ctx, []object.ID{c.sent[2].tree[0].ID}); err != nil {
		t.Fatal(err)
	}
	st, err := c.Status(ctx)
	if err != nil || len(st.Jobs) != 1 {
		t.Fatalf("got %+v, %v", st, err)
	}
	last, err := c.Snapshot(ctx, c.sent[2].manifest.ID())
	if err != nil {
		t.Fatal(err)
	}
	want := JobStatus{Client: "web1", Job: "default", Snapshots: 2, Trash: 1, Last: last.ID(), Received: last.Received, Used: st.Jobs[0].Used}
	if st.Jobs[0] != want || want.Used == 0 {
		t.Errorf("got %+v, want %+v and some bytes", st.Jobs[0], want)
	}
	if st.Pruned == 0 || st.Pruned > pruned || st.Bad != 1 || st.Now < pruned {
		t.Errorf("got %+v; want a prune before %d and one bad location", st, pruned)
	}
}

// TestPruneLeavesWord cuts the power after every step of a prune's last word.
func TestPruneLeavesWord(t *testing.T) {
	d := newGCDisk(t)
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	if _, err := r.Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	first, err := r.lastPruned()
	if err != nil || first.ended == 0 {
		t.Fatalf("got %+v, %v", first, err)
	}
	steps := 0
	d.After(func(op crashdisk.Op) {
		if !op.Kind.Changes() {
			return
		}
		steps++
		for _, seed := range crashSeeds {
			p := d.Crash(seed).Process()
			after := openRepository(t, p)
			if word, err := after.lastPruned(); err != nil || word.ended < first.ended {
				t.Errorf("step %d (%s): got %+v, %v; want the old word or the new one", steps, op, word, err)
			}
			after.Close()
			p.Kill()
		}
	})
	_, err = r.Prune(t.Context(), PruneOptions{})
	d.After(nil)
	if err != nil || steps == 0 {
		t.Errorf("%d steps, %v", steps, err)
	}
}

// TestUnusualDespiteJunk is a sender that replaces everything and puts beside it
// an object that refers to what was there before, and to which nothing refers:
// that must not pass for keeping it.
func TestUnusualDespiteJunk(t *testing.T) {
	for _, junk := range []bool{false, true} {
		c := newCalendar(t)
		for range 5 {
			c.backup(false)
			c.pass(24 * time.Hour)
		}
		before := c.sent[len(c.sent)-1]
		u := newUpload(100, nil)
		root := u.Object(object.KindDir, 80)
		u.tree, u.root = []*object.Record{root}, root.ID
		if junk {
			u.tree = append([]*object.Record{u.Object(object.KindDir, 80, before.root)}, u.tree...)
		}
		if _, err := u.send(t.Context(), c.Repository); err != nil {
			t.Fatal(err)
		}
		snap, err := c.Snapshot(t.Context(), u.manifest.ID())
		if err != nil {
			t.Fatal(err)
		}
		if m := snap.Measures; snap.Flags&object.FlagMostlyOld == 0 || m.GoneBytes == 0 || m.AllBytes >= m.GoneBytes {
			t.Errorf("junk %v: flags %d, %+v", junk, snap.Flags, m)
		}
	}
}
