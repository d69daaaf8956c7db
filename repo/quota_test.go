package repo

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// TestQuotaExact lets four sessions of a client, each in a process of its own,
// fill its quota together: not a byte more than it is ever accepted, and little
// less.
func TestQuotaExact(t *testing.T) {
	const quota = 300_000
	d := newDisk(t)
	var accepted atomic.Uint64
	var g errgroup.Group
	var sessions []*Session
	for i := range maxSessions {
		r := openRepository(t, d.Process())
		defer r.Close()
		s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: string(rune('a' + i)), Quota: quota})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sessions = append(sessions, s)
		u := storetest.NewUpload("web1", uint64(i))
		g.Go(func() error {
			for {
				rec := u.Object(object.KindChunk, 1000)
				err := s.Put(context.Background(), rec)
				if errors.Is(err, object.CodeQuota) {
					return nil
				}
				if err != nil {
					return err
				}
				accepted.Add(uint64(rec.Size()))
			}
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := accepted.Load(); got > quota || got < quota*8/10 {
		t.Errorf("%d bytes were accepted, the quota is %d", got, quota)
	}
	// What the others don't use comes back when they end.
	for _, s := range sessions[1:] {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	u := storetest.NewUpload("web1", 99)
	for accepted.Load()+1088 <= quota {
		rec := u.Object(object.KindChunk, 1000)
		if err := sessions[0].Put(t.Context(), rec); err != nil {
			t.Fatalf("after %d of %d bytes: %v", accepted.Load(), quota, err)
		}
		accepted.Add(uint64(rec.Size()))
	}
	wantCode(t, "one more", sessions[0].Put(t.Context(), u.Object(object.KindChunk, 1000)), object.CodeQuota)
}

// TestQuotaChargesOnce kills and cuts an upload at every step and counts, after
// it has come to its end, what the client is charged.
func TestQuotaChargesOnce(t *testing.T) {
	base := newDisk(t)
	u := newUpload(1, nil)
	size := uint64(0)
	for _, rec := range u.records() {
		size += uint64(rec.Size())
	}
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
		one := *u
		one.send(t.Context(), openRepository(t, p))
		d.After(nil)
		r := openRepository(t, d.Process())
		s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default", Quota: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		skip := uint64(0)
		for _, a := range s.Standing().Adopted {
			skip += a.Durable
		}
		if one.manifest == nil || s.Standing().Head != one.manifest.ID() {
			one.manifest, one.sealed = one.Manifest(s.Standing(), "web1", "default", one.root)
			for _, rec := range one.records()[skip:] {
				if err := s.Put(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := s.Commit(t.Context(), one.manifest, one.sealed); err != nil {
			t.Fatalf("killed after step %d: %v", step, err)
		}
		if err := errors.Join(s.Close(), r.Close()); err != nil {
			t.Fatal(err)
		}
		r = openRepository(t, d.Process())
		got, err := r.usedBy("web1", object.SessionID{})
		if err != nil || got != size {
			t.Errorf("killed after step %d: %d bytes are charged (%v), want %d", step, got, err, size)
		}
		for _, name := range files(t, r.fs, "sessions") {
			// One that was never begun is for prune to remove.
			if _, err := r.readSession(name); !errors.Is(err, errEmptySession) {
				t.Errorf("killed after step %d: the session file %s is left: %v", step, name, err)
			}
		}
		r.Close()
		if n < step {
			return
		}
	}
}

// TestMinFree stops an upload before the disk is full, keeps what there was,
// and lets it go on when there is room again.
func TestMinFree(t *testing.T) {
	d, committed := uploadsBefore(t, 1)
	r := openRepository(t, d.Process())
	defer r.Close()
	if err := r.SetSetting(t.Context(), "min-free", "1M"); err != nil {
		t.Fatal(err)
	}
	d.SetCapacity(d.Used() + 1<<20 + 64<<10)
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u := newUpload(1, committed[0])
	for range 200 {
		extra := u.Object(object.KindChunk, 50_000)
		u.tree = append([]*object.Record{extra}, u.tree...)
	}
	_, err = u.sendTo(t.Context(), s)
	wantCode(t, "an upload larger than the disk", err, object.CodeNoSpace)
	if free, _, err := r.fs.Free(); err != nil || free == 0 {
		t.Errorf("%d bytes are free (%v), though uploads stop before", free, err)
	}
	if err := wantSound(r, committed...); err != nil {
		t.Error(err)
	}
	d.SetCapacity(1 << 40)
	if _, err := u.sendTo(t.Context(), s); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
