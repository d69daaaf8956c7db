package pack

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// scanFile scans a pack on fsys and returns the ids of its whole records up
// to the first damage.
func scanFile(t *testing.T, fsys disk.FS, n Name) (Scanned, map[object.ID]bool) {
	t.Helper()
	f, err := fsys.Open(n.Path(Data))
	if errors.Is(err, fs.ErrNotExist) {
		return Scanned{}, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids := map[object.ID]bool{}
	sum, err := Scan(f, n, Data, func(_ uint32, r *object.Record) error {
		ids[r.ID] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum, ids
}

// TestPowerCut cuts a writer off at every step: what Sync has covered must be
// found by a scan, and what is found besides must be records that were
// appended.
func TestPowerCut(t *testing.T) {
	d := crashdisk.New()
	p := d.Process()
	if err := p.Mkdir(Dir); err != nil {
		t.Fatal(err)
	}
	n := NewName(testSession, 1)
	rng := rand.New(rand.NewPCG(5, 5))
	appended := map[object.ID]bool{}
	var durable []object.ID
	cuts, extra := 0, 0
	d.After(func(op crashdisk.Op) {
		if !op.Kind.Changes() {
			return
		}
		for seed := range uint64(12) {
			cuts++
			_, ids := scanFile(t, d.Crash(seed).Process(), n)
			for _, id := range durable {
				if !ids[id] {
					t.Fatalf("cut after %v, seed %d: a durable record is gone", op, seed)
				}
			}
			for id := range ids {
				if !appended[id] {
					t.Fatalf("cut after %v, seed %d: a record that nobody wrote", op, seed)
				}
			}
			extra += len(ids) - len(durable)
		}
	})
	w, err := Create(p, n, Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.SyncDir("."), p.SyncDir(Dir), p.SyncDir(n.Folder())); err != nil {
		t.Fatal(err)
	}
	var all []object.ID
	for i := range 40 {
		r := testRecord(rng, object.KindChunk, 0, 1+rng.IntN(3*directWrite))
		appended[r.ID] = true
		all = append(all, r.ID)
		if _, _, err := w.Append(r); err != nil {
			t.Fatal(err)
		}
		if i%7 == 6 {
			if _, err := w.Sync(); err != nil {
				t.Fatal(err)
			}
			durable = all[:len(all):len(all)]
		}
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	d.After(nil)
	for seed := range uint64(20) {
		if sum, ids := scanFile(t, d.Crash(seed).Process(), n); !sum.Sealed || len(sum.Damage) > 0 || len(ids) != len(all) {
			t.Errorf("seed %d: after Seal: %+v", seed, sum)
		}
	}
	if cuts < 100 || extra == 0 {
		t.Errorf("%d cuts, %d records beyond the durable ones: the test tests nothing", cuts, extra)
	}
}

// TestWriterAfterFailure fails every write and sync in turn: the error must
// stick, nothing after it may be reported as appended or durable.
func TestWriterAfterFailure(t *testing.T) {
	for nth := 1; ; nth++ {
		d := crashdisk.New()
		p := d.Process()
		n := NewName(testSession, 1)
		failed := false
		d.Fail(crashdisk.FailNth(nth, syscall.EIO, func(op crashdisk.Op) bool {
			return op.Kind == crashdisk.OpWrite || op.Kind == crashdisk.OpSync
		}))
		w, err := Create(p, n, Data)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(6, 5))
		for i := range 20 {
			_, _, err := w.Append(testRecord(rng, object.KindChunk, 0, 1+rng.IntN(2*directWrite)))
			if err == nil && i%5 == 4 {
				_, err = w.Sync()
			}
			if failed && err == nil {
				t.Fatalf("write or sync %d failed, and call %d worked again", nth, i)
			}
			if err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("write or sync %d: %v", nth, err)
			}
			failed = failed || err != nil
		}
		err = w.Seal()
		if failed && err == nil {
			t.Fatalf("write or sync %d failed, and the pack could be sealed", nth)
		}
		w.Close()
		if !failed && err == nil {
			if nth < 10 {
				t.Errorf("only %d writes and syncs", nth)
			}
			return
		}
	}
}

func TestFullDisk(t *testing.T) {
	d := crashdisk.New()
	p := d.Process()
	n := NewName(testSession, 1)
	w, err := Create(p, n, Data)
	if err != nil {
		t.Fatal(err)
	}
	d.SetCapacity(1 << 20)
	rng := rand.New(rand.NewPCG(7, 5))
	count := 0
	for ; err == nil && count < 100; count++ {
		if _, _, err = w.Append(testRecord(rng, object.KindChunk, 0, 50000)); err == nil {
			err = w.Flush()
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d records: got %v, want ENOSPC", count, err)
	}
	w.Close()
	if sum, _ := scanFile(t, p, n); int(sum.Records) != count-1 || sum.Torn == 0 || len(sum.Damage) > 0 {
		t.Errorf("what is left: %+v, want the %d records before", sum, count-1)
	}
}
