package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

var damageName = NewName(testSession, 99)

// smallPack returns the bytes of a meta pack of five records and where those
// begin, the end of the last included.
func smallPack(t testing.TB, seal bool) (b []byte, starts []int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(21, 5))
	recs := []*object.Record{
		testRecord(rng, object.KindDir, 2, 40),
		testRecord(rng, object.KindKey, 0, 150),
		testRecord(rng, object.KindList, 3, 1),
		testRecord(rng, object.KindDir, 0, 99),
		testRecord(rng, object.KindDir, 1, 8),
	}
	fsys := disk.OS(t.TempDir())
	for _, p := range makePack(t, fsys, damageName, Meta, recs, seal) {
		starts = append(starts, int64(p.offset))
	}
	b = packBytes(t, fsys, damageName, Meta)
	end := int64(len(b))
	if seal {
		end -= SealSize
	}
	return b, append(starts, end)
}

// scanBytes scans b and checks what holds for every result: records, damage
// and torn end follow each other without gap or overlap.
func scanBytes(t *testing.T, b []byte, headers bool) (Scanned, []int64) {
	t.Helper()
	type span struct{ off, end int64 }
	var found []int64
	var spans []span
	note := func(off uint32, h object.Header) error {
		found = append(found, int64(off))
		spans = append(spans, span{int64(off), int64(off) + int64(h.Size())})
		return nil
	}
	var sum Scanned
	var err error
	if headers {
		sum, err = ScanHeaders(memFile(b), damageName, Meta, note)
	} else {
		sum, err = Scan(memFile(b), damageName, Meta, func(off uint32, r *object.Record) error {
			return note(off, object.Header{Kind: r.Kind, ID: r.ID, Key: r.Key, Refs: len(r.Refs), Sealed: len(r.Sealed)})
		})
	}
	if err != nil {
		t.Fatalf("scanning %d bytes: %v", len(b), err)
	}
	at := min(int64(HeaderSize), sum.Size-sum.Torn)
	for _, d := range sum.Damage {
		if d.Length <= 0 || d.Err == nil {
			t.Fatalf("damage %+v", d)
		}
		if d.Offset >= HeaderSize {
			spans = append(spans, span{d.Offset, d.Offset + d.Length})
		}
	}
	limit := sum.Size - sum.Torn
	if sum.Sealed {
		limit -= SealSize
	}
	for at < limit {
		next := int64(-1)
		for _, s := range spans {
			if s.off == at {
				next = s.end
			}
		}
		if next < 0 {
			t.Fatalf("nothing is said of the bytes from %d on; %+v", at, sum)
		}
		at = next
	}
	return sum, found
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	b, starts := smallPack(t, true)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x20
		sum, found := scanBytes(t, bad, false)
		switch {
		case i < HeaderSize:
			if len(sum.Damage) != 1 || sum.Damage[0].Offset != 0 || len(found) != 5 {
				t.Fatalf("header byte %d: %+v", i, sum)
			}
		case int64(i) >= starts[5]:
			if sum.Sealed || sum.Torn != SealSize || len(found) != 5 {
				t.Fatalf("seal byte %d: %+v", i, sum)
			}
		default:
			hit := 0
			for hit < 4 && int64(i) >= starts[hit+1] {
				hit++
			}
			if len(found) != 4 || len(sum.Damage) != 1 || sum.Damage[0].Offset != starts[hit] ||
				sum.Damage[0].Length != starts[hit+1]-starts[hit] {
				t.Fatalf("byte %d of record %d: records at %v, %+v", i, hit, found, sum)
			}
			err := sum.Damage[0].Err
			if !errors.Is(err, object.ErrChecksum) && !errors.Is(err, object.ErrMalformed) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
		scanBytes(t, bad, true)
	}
}

func TestEveryCutIsTorn(t *testing.T) {
	for _, seal := range []bool{false, true} {
		b, starts := smallPack(t, seal)
		for n := range b {
			want := 0
			for want < 5 && starts[want+1] <= int64(n) {
				want++
			}
			sum, found := scanBytes(t, b[:n], false)
			end := starts[want]
			if n < HeaderSize {
				if sum.Torn != int64(n) {
					t.Fatalf("cut to %d: %+v", n, sum)
				}
				continue
			}
			if len(found) != want || sum.Sealed || len(sum.Damage) > 0 || sum.End != end || sum.Torn != int64(n)-end {
				t.Fatalf("cut to %d: %d records, %+v, want %d records up to %d", n, len(found), sum, want, end)
			}
		}
	}
}

func TestSealCounts(t *testing.T) {
	b, starts := smallPack(t, true)
	// A seal that is right but for its count.
	bad := appendSeal(bytes.Clone(b[:starts[5]]), damageName, Meta, 6, starts[5])
	sum, _ := scanBytes(t, bad, false)
	if !sum.Sealed || len(sum.Damage) != 1 || sum.Damage[0].Offset != starts[5] {
		t.Errorf("wrong count: %+v", sum)
	}
	// The seal of another pack.
	bad = appendSeal(bytes.Clone(b[:starts[5]]), NewName(testSession, 98), Meta, 5, starts[5])
	if sum, _ := scanBytes(t, bad, false); sum.Sealed {
		t.Errorf("another pack's seal: %+v", sum)
	}
}

func TestForeignPack(t *testing.T) {
	b, _ := smallPack(t, true)
	for _, c := range []struct {
		n Name
		t Type
	}{{NewName(testSession, 98), Meta}, {damageName, Data}} {
		sum, err := Scan(memFile(b), c.n, c.t, func(uint32, *object.Record) error { return nil })
		if err != nil || len(sum.Damage) == 0 || sum.Damage[0].Offset != 0 || !errors.Is(sum.Damage[0], object.ErrMalformed) {
			t.Errorf("as %s %s: %+v, %v", c.n, c.t, sum, err)
		}
	}
}

// TestScanOfBeginnings scans bytes that are nothing but beginnings of large
// records: without a limit every one of them would be read to its end.
func TestScanOfBeginnings(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 5))
	r := testRecord(rng, object.KindDir, 0, object.MaxSealed)
	head := r.Append(nil)[:object.HeaderSize]
	b := appendHeader(nil, damageName, Meta)
	for len(b) < 2*object.MaxSealed {
		b = append(b, head...)
	}
	s := scanner{file: memFile(b), name: damageName, typ: Meta, full: true}
	sum, err := s.scan(func(int64, object.Header) error { return nil })
	if err != nil || sum.Torn != int64(len(b)-HeaderSize) {
		t.Fatalf("%+v, %v", sum, err)
	}
	if s.budget > 0 || s.budget < -object.MaxRecord {
		t.Errorf("budget left: %d", s.budget)
	}
}

func TestScanManyDamages(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 5))
	b := appendHeader(nil, damageName, Meta)
	for i := range 2*MaxDamage + 100 {
		rec := testRecord(rng, object.KindDir, 0, 10).Append(nil)
		if i%2 == 0 {
			rec[90] ^= 1
		}
		b = append(b, rec...)
	}
	sum, found := scanBytes(t, b, false)
	if len(sum.Damage) != MaxDamage || len(found) != MaxDamage+50 {
		t.Errorf("%d damages, %d records", len(sum.Damage), len(found))
	}
}

func TestScanStopsForYield(t *testing.T) {
	b, _ := smallPack(t, true)
	stop := errors.New("stop")
	n := 0
	_, err := Scan(memFile(b), damageName, Meta, func(uint32, *object.Record) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("got %v after %d records", err, n)
	}
}

// FuzzScan scans arbitrary bytes both ways. What a full scan finds, parsed and
// appended again, must be the same bytes.
func FuzzScan(f *testing.F) {
	for _, seal := range []bool{false, true} {
		b, starts := smallPack(f, seal)
		f.Add(b)
		f.Add(b[:starts[3]+50])
		bad := bytes.Clone(b)
		binary.BigEndian.PutUint32(bad[starts[2]+12:], 1<<20)
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		scanBytes(t, b, true)
		scanBytes(t, b, false)
		if _, err := Scan(memFile(b), damageName, Meta, func(off uint32, r *object.Record) error {
			if again := r.Append(nil); !bytes.Equal(again, b[off:][:len(again)]) {
				t.Fatalf("record at %d is not canonical", off)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}
