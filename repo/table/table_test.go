package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"testing"
)

var testLayout = Layout{Magic: [8]byte{'t', 'e', 's', 't', 'r', 'o', 'w', 1}, Key: 32, Row: 48}

// testRows returns n rows with random keys, every tenth key twice, sorted.
func testRows(l Layout, n int, seed uint64) [][]byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	rows := make([][]byte, n)
	for i := range rows {
		row := make([]byte, l.Row)
		for j := range row {
			row[j] = byte(rng.Uint32())
		}
		if i%10 == 9 {
			copy(row, rows[i-1][:l.Key])
		}
		rows[i] = row
	}
	slices.SortFunc(rows, bytes.Compare)
	return rows
}

func writeTable(t testing.TB, fsys FS, name string, l Layout, rows [][]byte) {
	t.Helper()
	w, err := Create(fsys, name, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	want := w.Size()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := fsys.Stat(name); err != nil || e.Size != want {
		t.Fatalf("table of %d rows: %d bytes (%v), Size said %d", len(rows), e.Size, err, want)
	}
}

func openTable(t testing.TB, fsys FS, name string, l Layout) *Table {
	t.Helper()
	tab, err := Open(fsys, name, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

func TestFindAgainstSortSearch(t *testing.T) {
	layouts := []Layout{
		testLayout,
		{Magic: testLayout.Magic, Key: 1, Row: 1},
		{Magic: testLayout.Magic, Key: 3, Row: 700},
		{Magic: testLayout.Magic, Key: 8, Row: 16},
		{Magic: testLayout.Magic, Key: 24, Row: MaxRow},
	}
	for _, l := range layouts {
		for _, n := range []int{0, 1, 2, 10, 341, 342, 5000} {
			t.Run(fmt.Sprintf("key%d/row%d/%d", l.Key, l.Row, n), func(t *testing.T) {
				if l.Row == MaxRow && n > 400 {
					n = 400
				}
				rows := testRows(l, n, uint64(n+l.Row))
				fsys := OS(t.TempDir())
				writeTable(t, fsys, "t", l, rows)
				checkTable(t, openTable(t, fsys, "t", l), rows)
			})
		}
	}
}

func checkTable(t *testing.T, tab *Table, rows [][]byte) {
	t.Helper()
	l := tab.layout
	if tab.Len() != len(rows) {
		t.Fatalf("Len: got %d, want %d", tab.Len(), len(rows))
	}
	i := 0
	for row, err := range tab.Rows(0) {
		if err != nil || !bytes.Equal(row, rows[i]) {
			t.Fatalf("row %d: got %x, %v, want %x", i, row, err, rows[i])
		}
		i++
	}
	if i != len(rows) {
		t.Fatalf("iteration gave %d rows, want %d", i, len(rows))
	}
	keys := [][]byte{make([]byte, l.Key), bytes.Repeat([]byte{0xff}, l.Key)}
	for _, row := range rows {
		keys = append(keys, row[:l.Key])
		near := bytes.Clone(row[:l.Key])
		near[l.Key-1]++
		keys = append(keys, near)
	}
	for _, key := range keys {
		want := sort.Search(len(rows), func(i int) bool { return bytes.Compare(rows[i][:l.Key], key) >= 0 })
		wantOK := want < len(rows) && bytes.Equal(rows[want][:l.Key], key)
		got, ok, err := tab.Find(key)
		if err != nil || got != want || ok != wantOK {
			t.Fatalf("Find(%x): got %d, %v, %v, want %d, %v", key, got, ok, err, want, wantOK)
		}
	}
	if err := tab.Verify(); err != nil {
		t.Error(err)
	}
}

// TestFindUnevenKeys has keys that interpolation guesses badly.
func TestFindUnevenKeys(t *testing.T) {
	l := Layout{Magic: testLayout.Magic, Key: 8, Row: 8}
	for name, f := range map[string]func(i int) uint64{
		"counter":     func(i int) uint64 { return uint64(i) },
		"exponential": func(i int) uint64 { return 1<<(i%64) + uint64(i) },
		"top":         func(i int) uint64 { return 1<<64 - 1 - uint64(i) },
		"same":        func(int) uint64 { return 1 << 40 },
	} {
		t.Run(name, func(t *testing.T) {
			rows := make([][]byte, 3000)
			for i := range rows {
				rows[i] = binary.BigEndian.AppendUint64(nil, f(i))
			}
			slices.SortFunc(rows, bytes.Compare)
			fsys := OS(t.TempDir())
			writeTable(t, fsys, "t", l, rows)
			checkTable(t, openTable(t, fsys, "t", l), rows)
		})
	}
}

func TestWriterRefuses(t *testing.T) {
	fsys := OS(t.TempDir())
	rows := testRows(testLayout, 3, 7)
	for name, add := range map[string][][]byte{
		"order":  {rows[1], rows[0]},
		"short":  {rows[0][:47]},
		"long":   {append(bytes.Clone(rows[0]), 0)},
		"sticky": {rows[1], rows[0], rows[2]},
	} {
		w, err := Create(fsys, name, testLayout)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range add {
			err = w.Add(row)
		}
		if err == nil {
			t.Errorf("%s: Add took it", name)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%s: Close made a table of it", name)
		}
		if _, err := fsys.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: file is still there: %v", name, err)
		}
	}
	for _, l := range []Layout{{Key: 0, Row: 8}, {Key: 9, Row: 8}, {Key: 8, Row: MaxRow + 1}} {
		if _, err := Create(fsys, "bad", l); err == nil {
			t.Errorf("layout %+v was taken", l)
		}
	}
}

// TestDamageIsFound flips every byte of a table in turn and truncates it at
// every length: nothing may go unnoticed, nothing may panic.
func TestDamageIsFound(t *testing.T) {
	l := Layout{Magic: testLayout.Magic, Key: 8, Row: 600}
	dir := t.TempDir()
	writeTable(t, OS(dir), "t", l, testRows(l, 30, 3))
	whole, err := os.ReadFile(filepath.Join(dir, "t"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(b []byte) error {
		tab, err := New(b, "t", l)
		if err != nil {
			return err
		}
		for _, err := range tab.Rows(0) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := verify(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		whole[i] ^= 0x10
		if err := verify(whole); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of %d changed: got %v, want ErrDamaged", i, len(whole), err)
		}
		whole[i] ^= 0x10
	}
	for n := range whole {
		if err := verify(whole[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: got %v, want ErrDamaged", n, len(whole), err)
		}
	}
	if err := verify(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("one byte more: got %v, want ErrDamaged", err)
	}
}

func TestFindReportsDamagedBlock(t *testing.T) {
	dir := t.TempDir()
	rows := testRows(testLayout, 2000, 5)
	writeTable(t, OS(dir), "t", testLayout, rows)
	path := filepath.Join(dir, "t")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[headSize+1000*testLayout.Row+40] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	tab := openTable(t, OS(dir), "t", testLayout)
	if _, _, err := tab.Find(rows[1001][:32]); !errors.Is(err, ErrDamaged) {
		t.Errorf("Find in a damaged block: got %v, want ErrDamaged", err)
	}
	if _, ok, err := tab.Find(rows[100][:32]); !ok || err != nil {
		t.Errorf("Find in a whole block: %v, %v", ok, err)
	}
	if err := tab.Verify(); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify: got %v, want ErrDamaged", err)
	}
}

// TestShrunkFile shortens a mapped file, which is a fault and not an error of
// any system call.
func TestShrunkFile(t *testing.T) {
	dir := t.TempDir()
	rows := testRows(testLayout, 20000, 5)
	writeTable(t, OS(dir), "t", testLayout, rows)
	tab := openTable(t, OS(dir), "t", testLayout)
	if err := os.Truncate(filepath.Join(dir, "t"), 1<<12); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tab.Find(rows[15000][:32]); !errors.Is(err, ErrDamaged) {
		t.Errorf("Find: got %v, want ErrDamaged", err)
	}
	if err := tab.Verify(); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify: got %v, want ErrDamaged", err)
	}
}

func TestConcurrentFind(t *testing.T) {
	rows := testRows(testLayout, 5000, 9)
	fsys := OS(t.TempDir())
	writeTable(t, fsys, "t", testLayout, rows)
	tab := openTable(t, fsys, "t", testLayout)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := g; i < len(rows); i += 3 {
				if ok, err := tab.Has(rows[i][:32]); !ok || err != nil {
					t.Errorf("row %d: %v, %v", i, ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestOtherLayoutIsRefused(t *testing.T) {
	fsys := OS(t.TempDir())
	writeTable(t, fsys, "t", testLayout, testRows(testLayout, 5, 1))
	next := testLayout
	next.Magic[7]++
	for _, l := range []Layout{next, {testLayout.Magic, 32, 47}, {testLayout.Magic, 31, 48}} {
		if _, err := Open(fsys, "t", l); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened as %+v: %v", l, err)
		}
	}
	if _, err := Open(fsys, "none", testLayout); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing table: %v", err)
	}
}
