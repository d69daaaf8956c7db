package repo

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// crashSeeds are the outcomes that are looked at after each step. Those above
// KeepAll are mixed with the step's number.
var crashSeeds = []uint64{crashdisk.LoseAll, crashdisk.KeepAll, 2, 3}

// seedsFor returns the seeds for one step: all of them, or in the short form one
// after the other.
func seedsFor(step int) []uint64 {
	seeds := crashSeeds
	if testing.Short() {
		seeds = crashSeeds[step%len(crashSeeds):][:1]
	}
	mixed := make([]uint64, len(seeds))
	for i, seed := range seeds {
		if mixed[i] = seed; seed > crashdisk.KeepAll {
			mixed[i] += uint64(step) << 8
		}
	}
	return mixed
}

// afterCrash opens what a crash has left: what was committed must be whole, the
// repository must open without repair, and the upload that was cut off must
// come to its end. pending may have been committed or not; acknowledged says
// that somebody was told it is.
func afterCrash(t *testing.T, d *crashdisk.Disk, committed []*upload, pending *upload, acknowledged bool) error {
	t.Helper()
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	defer r.Close()
	ctx := context.Background()
	again := *pending
	again.promised = 0
	s, err := r.OpenSession(ctx, SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	now := committed
	if again.manifest != nil && s.Standing().Head == again.manifest.ID() {
		now = append(committed[:len(committed):len(committed)], &again)
	} else if acknowledged {
		return errors.Join(fmt.Errorf("the acknowledged snapshot is not the head: %+v", s.Standing()), s.Close())
	} else if err := wantPromised(s, pending.promised); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := wantSound(r, now...); err != nil {
		return errors.Join(fmt.Errorf("before going on: %w", err), s.Close())
	}
	if err := wantAdopted(s, pending); err != nil {
		return errors.Join(err, s.Close())
	}
	_, err = again.sendTo(ctx, s)
	if err := errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("going on with the upload: %w", err)
	}
	if err := wantSound(r, append(committed[:len(committed):len(committed)], &again)...); err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	next := newUpload(77, &again)
	if _, err := next.send(ctx, r); err != nil {
		return fmt.Errorf("the upload after: %w", err)
	}
	return wantSound(r, append(committed[:len(committed):len(committed)], &again, next)...)
}

// wantPromised checks that what a store called durable was adopted.
func wantPromised(s *Session, promised uint64) error {
	if promised == 0 {
		return nil
	}
	for _, a := range s.Standing().Adopted {
		if a.Durable >= promised {
			return nil
		}
	}
	return fmt.Errorf("%d puts were called durable; adopted: %+v", promised, s.Standing().Adopted)
}

// wantAdopted checks that what a store called durable needs no sending again.
func wantAdopted(s *Session, pending *upload) error {
	recs := pending.records()
	for _, a := range s.Standing().Adopted {
		for _, rec := range recs[:min(int(a.Durable), len(recs))] {
			have, err := s.Have(context.Background(), []object.ID{rec.ID})
			if err != nil || !have[0] {
				return fmt.Errorf("%s %s was durable and is gone (%v)", rec.Kind, rec.ID.Short(), err)
			}
		}
	}
	return nil
}

// TestPowerCut cuts the power after every step of uploads and their commits
// that changes the disk.
func TestPowerCut(t *testing.T) {
	d := newDisk(t)
	var committed []*upload
	var last *upload
	for n := range uint64(3) {
		u := newUpload(n, last)
		cutEverywhere(t, d, committed, u)
		committed = append(committed, u)
		last = u
	}
}

// cutEverywhere sends u and looks at a crash after each step.
func cutEverywhere(t *testing.T, d *crashdisk.Disk, committed []*upload, u *upload) {
	t.Helper()
	p := d.Process()
	r := openRepository(t, p)
	step := 0
	d.After(func(op crashdisk.Op) {
		if !op.Kind.Changes() {
			return
		}
		step++
		if t.Failed() {
			return
		}
		for _, seed := range seedsFor(step) {
			if err := afterCrash(t, d.Crash(seed), committed, u, false); err != nil {
				t.Errorf("upload %d, step %d (%s), seed %d: %v", len(committed), step, op, seed, err)
			}
		}
	})
	_, err := u.send(context.Background(), r)
	d.After(nil)
	if err != nil {
		t.Fatalf("upload %d: %v", len(committed), err)
	}
	for _, seed := range crashSeeds {
		if err := afterCrash(t, d.Crash(seed), committed, u, true); err != nil {
			t.Errorf("upload %d, acknowledged, seed %d: %v", len(committed), seed, err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	p.Kill()
}

// uploadsBefore commits n uploads on a fresh disk.
func uploadsBefore(t *testing.T, n int) (*crashdisk.Disk, []*upload) {
	t.Helper()
	d := newDisk(t)
	p := d.Process()
	defer p.Kill()
	r := openRepository(t, p)
	var all []*upload
	var last *upload
	for i := range n {
		last = newUpload(uint64(i), last)
		if _, err := last.send(context.Background(), r); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
		all = append(all, last)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return d, all
}

// TestPowerCutMerging does the same with the commit that merges segments and
// visible sets.
func TestPowerCutMerging(t *testing.T) {
	d, committed := uploadsBefore(t, mergeLeast-1)
	cutEverywhere(t, d, committed, newUpload(100, committed[len(committed)-1]))
	r := openRepository(t, d.Process())
	defer r.Close()
	v, err := r.acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer v.release()
	h, err := r.readHead("web1", "default")
	if err != nil {
		t.Fatal(err)
	}
	if len(v.cur.segments) != 1 || len(h.visible) != 1 {
		t.Errorf("after %d commits: %d segments and %d visible sets, want one of each", mergeLeast, len(v.cur.segments), len(h.visible))
	}
}

// TestKill ends the process after each step of an upload; the disk loses
// nothing, and the next process goes on.
func TestKill(t *testing.T) {
	base, committed := uploadsBefore(t, 2)
	for step := 1; ; step++ {
		d := base.Crash(crashdisk.KeepAll)
		p := d.Process()
		r := openRepository(t, p)
		n := 0
		d.After(func(op crashdisk.Op) {
			if !op.Kind.Changes() {
				return
			}
			if n++; n == step {
				p.Kill()
			}
		})
		u := newUpload(100, committed[len(committed)-1])
		_, err := u.send(context.Background(), r)
		d.After(nil)
		if err := afterCrash(t, d, committed, u, err == nil); err != nil {
			t.Fatalf("killed after step %d: %v", step, err)
		}
		if n < step {
			if step < 50 {
				t.Fatalf("an upload has only %d steps", n)
			}
			return
		}
	}
}

// TestKillThenPowerCut cuts the power after another process has taken up what a
// killed one has left, before anything else made that durable.
func TestKillThenPowerCut(t *testing.T) {
	base, committed := uploadsBefore(t, 2)
	for step := 1; ; step++ {
		d := base.Crash(crashdisk.KeepAll)
		p := d.Process()
		r := openRepository(t, p)
		n := 0
		d.After(func(op crashdisk.Op) {
			if op.Kind.Changes() {
				if n++; n == step {
					p.Kill()
				}
			}
		})
		u := newUpload(100, committed[len(committed)-1])
		_, err := u.send(context.Background(), r)
		d.After(nil)
		s, openErr := openRepository(t, d.Process()).OpenSession(context.Background(), SessionRequest{Client: "web1", Job: "default"})
		if openErr != nil {
			t.Fatalf("after step %d: %v", step, openErr)
		}
		told := err == nil || u.manifest != nil && s.Standing().Head == u.manifest.ID()
		for _, seed := range seedsFor(step) {
			if err := afterCrash(t, d.Crash(seed), committed, u, told); err != nil {
				t.Fatalf("killed after step %d, then power cut, seed %d: %v", step, seed, err)
			}
		}
		if n < step {
			return
		}
	}
}

// TestAdoptionCut cuts off the session that continues an upload that was cut
// off, at each step, by a kill and by a power cut.
func TestAdoptionCut(t *testing.T) {
	base, committed := uploadsBefore(t, 1)
	u := newUpload(100, committed[0])
	p := base.Process()
	s, err := openRepository(t, p).OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range u.records()[:6] {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	u.promised = 6
	for step := 1; ; step++ {
		d := base.Crash(crashdisk.KeepAll)
		p := d.Process()
		n := 0
		d.After(func(op crashdisk.Op) {
			if op.Kind.Changes() {
				if n++; n == step {
					p.Kill()
				}
			}
		})
		s, err := openRepository(t, p).OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
		if err == nil {
			err = s.Checkpoint(t.Context())
		}
		d.After(nil)
		p.Kill()
		for _, seed := range seedsFor(step) {
			if err := afterCrash(t, d.Crash(seed), committed, u, false); err != nil {
				t.Fatalf("adoption cut after step %d, seed %d: %v", step, seed, err)
			}
		}
		if n < step {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// TestFailure lets each call to the disk fail once: with a full disk where it
// writes, with an I/O error anywhere.
func TestFailure(t *testing.T) {
	base, committed := uploadsBefore(t, mergeLeast-1)
	for _, test := range []struct {
		name  string
		err   error
		match func(crashdisk.Op) bool
	}{
		{"full disk", syscall.ENOSPC, func(op crashdisk.Op) bool { return op.Kind == crashdisk.OpWrite || op.Kind == crashdisk.OpCreate }},
		{"I/O error", syscall.EIO, func(op crashdisk.Op) bool { return op.Kind != crashdisk.OpUnlock }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for n := 1; ; n++ {
				d := base.Crash(crashdisk.KeepAll)
				p := d.Process()
				r := openRepository(t, p)
				count := 0
				d.Fail(func(op crashdisk.Op) error {
					if !test.match(op) {
						return nil
					}
					if count++; count == n {
						return test.err
					}
					return nil
				})
				u := newUpload(100, committed[len(committed)-1])
				_, err := u.send(context.Background(), r)
				d.Fail(nil)
				if err != nil && test.err == syscall.ENOSPC && !errors.Is(err, object.CodeNoSpace) {
					t.Errorf("call %d: got %v, want CodeNoSpace", n, err)
				}
				r.Close()
				p.Kill()
				if err := afterCrash(t, d, committed, u, err == nil); err != nil {
					t.Fatalf("after the failure of call %d: %v", n, err)
				}
				if count < n {
					return
				}
			}
		})
	}
}
