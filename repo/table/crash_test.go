package table

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
)

// TestCloseIsDurable cuts the power after Close: the table is whole, as soon
// as its name is.
func TestCloseIsDurable(t *testing.T) {
	d := crashdisk.New()
	p := d.Process()
	rows := testRows(testLayout, 3000, 1)
	writeTable(t, p, "t", testLayout, rows)
	if err := p.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(10) {
		tab := openTable(t, d.Crash(seed).Process(), "t", testLayout)
		if err := tab.Verify(); err != nil || tab.Len() != len(rows) {
			t.Fatalf("seed %d: %d rows, %v", seed, tab.Len(), err)
		}
	}
}

// TestTornTable cuts the power in the middle of writing: no table may come out
// of it that is taken for a whole one.
func TestTornTable(t *testing.T) {
	d := crashdisk.New()
	p := d.Process()
	rows := testRows(testLayout, 20000, 1)
	cuts, whole := 0, 0
	d.After(func(op crashdisk.Op) {
		if op.Kind != crashdisk.OpWrite && op.Kind != crashdisk.OpSync {
			return
		}
		for seed := range uint64(15) {
			tab, err := Open(d.Crash(seed).Process(), "t", testLayout)
			if err != nil {
				cuts++
				continue
			}
			// The end is whole; pages of rows may still be missing.
			verify := tab.Verify()
			if verify != nil && !errors.Is(verify, ErrDamaged) {
				t.Fatalf("cut after %v, seed %d: %v", op, seed, verify)
			}
			if verify == nil {
				whole++
				if !equalRows(collect(t, tab.Rows(0)), rows) {
					t.Fatalf("cut after %v, seed %d: another table", op, seed)
				}
			}
			tab.Close()
		}
	})
	writeTable(t, p, "t", testLayout, rows)
	if cuts == 0 || whole == 0 {
		t.Errorf("%d cuts, %d whole tables: the test tests nothing", cuts, whole)
	}
}

func TestFullDisk(t *testing.T) {
	rows := testRows(testLayout, 5000, 2)
	d := crashdisk.New()
	p := d.Process()
	d.SetCapacity(100 << 10)

	w, err := Create(p, "t", testLayout)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err = w.Add(row); err != nil {
			break
		}
	}
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Writer: got %v, want ENOSPC", err)
	}
	if d.Used() != 0 {
		t.Errorf("the unfinished table has still %d bytes", d.Used())
	}

	s, err := NewSorter(p, "tmp-", testLayout, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err = s.Add(row); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Sorter: got %v, want ENOSPC", err)
	}
	if again := s.Add(rows[0]); !errors.Is(again, syscall.ENOSPC) {
		t.Errorf("Sorter afterwards: got %v, want the same error", again)
	}
	for _, err := range s.Rows() {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("rows of a Sorter that has failed: %v", err)
		}
	}
	if ok, err := s.Has(rows[0][:32]); !ok && err == nil {
		// What was added before is still found; nothing is silently gone.
		t.Error("a row that was added is gone")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if d.Used() != 0 {
		t.Errorf("the sorter left %d bytes", d.Used())
	}
}

// TestSorterReadError corrupts a run below a Sorter. Its file has no name any
// more, so that takes a hook at its creation.
func TestSorterReadError(t *testing.T) {
	d := crashdisk.New()
	p := d.Process()
	d.After(func(op crashdisk.Op) {
		if op.Kind == crashdisk.OpOpen {
			err := d.Corrupt(op.Name, func(b []byte) []byte { b[headSize+5] ^= 1; return b })
			if err != nil {
				t.Error(err)
			}
		}
	})
	s, err := NewSorter(p, "tmp-", testLayout, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := testRows(testLayout, 100, 3)
	for _, row := range rows {
		if err := s.Add(bytes.Clone(row)); err != nil {
			t.Fatal(err)
		}
	}
	var last error
	for _, err := range s.Rows() {
		last = err
	}
	if !errors.Is(last, ErrDamaged) {
		t.Errorf("Rows: got %v, want ErrDamaged", last)
	}
	if _, err := s.Has(rows[0][:32]); !errors.Is(err, ErrDamaged) {
		t.Errorf("Has: got %v, want ErrDamaged", err)
	}
}
