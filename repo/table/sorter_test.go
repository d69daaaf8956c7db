package table

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func collect(t *testing.T, rows iter.Seq2[[]byte, error]) [][]byte {
	t.Helper()
	var all [][]byte
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.Clone(row))
	}
	return all
}

func equalRows(a, b [][]byte) bool {
	return slices.EqualFunc(a, b, bytes.Equal)
}

func TestSorterAcrossTiers(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1000, 20000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			rows := testRows(testLayout, n, uint64(n))
			shuffled := slices.Clone(rows)
			rng := rand.New(rand.NewPCG(uint64(n), 2))
			rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })

			fsys := OS(t.TempDir())
			s, err := NewSorter(fsys, "tmp-", testLayout, 0) // 64 rows a run
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for i, row := range shuffled {
				if ok, err := s.Has(row[:32]); err != nil || (i < 5 && ok) {
					t.Fatalf("row %d before it was added: %v, %v", i, ok, err)
				}
				if err := s.Add(row); err != nil {
					t.Fatal(err)
				}
				back := shuffled[i/2]
				got, ok, err := s.Find([]byte("x"), back[:32])
				if err != nil || !ok || !bytes.Equal(got[1:33], back[:32]) || got[0] != 'x' {
					t.Fatalf("after %d rows: Find gave %x, %v, %v", i+1, got, ok, err)
				}
			}
			if got := collect(t, s.Rows()); !equalRows(got, rows) {
				t.Errorf("Rows: %d rows, not those that were added", len(got))
			}
			if s.Len() != n {
				t.Errorf("Len: got %d, want %d", s.Len(), n)
			}
			w, err := Create(fsys, "out", testLayout)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.WriteTo(w), w.Close()); err != nil {
				t.Fatal(err)
			}
			checkTable(t, openTable(t, fsys, "out", testLayout), rows)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left, err := fsys.List("."); err != nil || len(left) != 1 {
				t.Errorf("files left: %v, %v", left, err)
			}
		})
	}
}

func TestSorterConcurrent(t *testing.T) {
	rows := testRows(testLayout, 4000, 11)
	s, err := NewSorter(OS(t.TempDir()), "tmp-", testLayout, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := g; i < len(rows); i += 4 {
				if err := s.Add(rows[i]); err != nil {
					t.Error(err)
					return
				}
				if ok, err := s.Has(rows[i][:32]); !ok || err != nil {
					t.Errorf("own row %d: %v, %v", i, ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := collect(t, s.Rows()); !equalRows(got, rows) {
		t.Errorf("Rows: %d rows, want the %d that were added", len(got), len(rows))
	}
}

// TestSorterManyEqualKeys would take minutes if equal keys made long probe
// sequences.
func TestSorterManyEqualKeys(t *testing.T) {
	l := Layout{Magic: testLayout.Magic, Key: 4, Row: 12}
	s, err := NewSorter(OS(t.TempDir()), "tmp-", l, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := make([]byte, l.Row)
	for i := range 300000 {
		row[11], row[10], row[9] = byte(i), byte(i>>8), byte(i>>16)
		if err := s.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for row, err := range s.Rows() {
		if err != nil || int(row[11])|int(row[10])<<8|int(row[9])<<16 != n {
			t.Fatalf("row %d: %x, %v", n, row, err)
		}
		n++
	}
}

func TestMerge(t *testing.T) {
	rows := testRows(testLayout, 1000, 13)
	seqs := make([]iter.Seq2[[]byte, error], 5)
	parts := make([][][]byte, len(seqs))
	for i, row := range rows {
		parts[(i*i)%4] = append(parts[(i*i)%4], row) // part 2, 3 and 4 stay empty or small
	}
	for i := range seqs {
		seqs[i] = func(yield func([]byte, error) bool) {
			for _, row := range parts[i] {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
	if got := collect(t, Merge(seqs...)); !equalRows(got, rows) {
		t.Errorf("Merge gave %d rows, want %d in order", len(got), len(rows))
	}
	twice := Merge(append(seqs, seqs...)...)
	if got := collect(t, Dedup(twice)); !equalRows(got, rows) {
		t.Errorf("Dedup of everything twice gave %d rows, want %d", len(got), len(rows))
	}
	for range twice { // leaving early must end the inputs too
		break
	}
	broken := errors.New("broken")
	fail := func(yield func([]byte, error) bool) { _ = yield(rows[0], nil) && yield(nil, broken) }
	var last error
	for _, err := range Merge(seqs[0], fail) {
		last = err
	}
	if last != broken {
		t.Errorf("error of an input: got %v", last)
	}
}
