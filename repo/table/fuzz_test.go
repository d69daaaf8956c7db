package table

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

var fuzzLayout = Layout{Magic: [8]byte{'f', 'u', 'z', 'z', 'r', 'o', 'w', 1}, Key: 4, Row: 12}

func tableBytes(t testing.TB, l Layout, rows [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mend makes the checksums of b right as far as its lengths allow, so that
// mutated bytes get past them.
func mend(b []byte, l Layout) []byte {
	if len(b) < headSize+countSize+tailSize {
		return b
	}
	b = bytes.Clone(b)
	copy(b, l.appendHead(nil))
	tail := b[len(b)-tailSize:]
	copy(tail[16:], l.Magic[:])
	n := binary.BigEndian.Uint64(tail)
	if n > uint64(len(b)/l.Row) {
		return b
	}
	rows := b[headSize:][:min(int(n)*l.Row, len(b)-headSize)]
	end := b[headSize+len(rows):]
	for i := 0; i*l.perBlock() < int(n) && len(end) >= (i+1)*sumSize; i++ {
		size := l.perBlock() * l.Row
		if i*size >= len(rows) {
			break
		}
		block := rows[i*size : min((i+1)*size, len(rows))]
		binary.BigEndian.PutUint64(end[i*sumSize:], checksum(block))
	}
	binary.BigEndian.PutUint64(tail[24:], checksum(end[:max(len(end)-8, 0)]))
	return b
}

// FuzzOpen looks rows up in whatever the bytes are. A table that passes Verify
// must be exactly what a Writer makes of its rows.
func FuzzOpen(f *testing.F) {
	for _, n := range []int{0, 1, 3, 100, 1500} {
		b := tableBytes(f, fuzzLayout, testRows(fuzzLayout, n, uint64(n)))
		f.Add(b, true)
		f.Add(b, false)
		f.Add(b[:len(b)-1], true)
		b = bytes.Clone(b)
		b[len(b)/2] ^= 4
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, mended bool) {
		if mended {
			b = mend(b, fuzzLayout)
		}
		tab, err := New(b, "fuzz", fuzzLayout)
		if err != nil {
			return
		}
		var rows [][]byte
		for row, err := range tab.Rows(0) {
			if err != nil {
				break
			}
			rows = append(rows, row)
		}
		rng := rand.New(rand.NewPCG(1, uint64(len(b))))
		for range 20 {
			key := binary.BigEndian.AppendUint32(nil, rng.Uint32())
			if len(rows) > 0 && rng.IntN(2) == 0 {
				copy(key, rows[rng.IntN(len(rows))])
			}
			if i, ok, err := tab.Find(key); err == nil && (i < 0 || i > tab.Len() || ok && !bytes.Equal(rows[i][:4], key)) {
				t.Fatalf("Find(%x) = %d, %v of %d rows", key, i, ok, tab.Len())
			}
		}
		if tab.Verify() != nil {
			return
		}
		if again := tableBytes(t, fuzzLayout, rows); !bytes.Equal(again, b) {
			t.Fatalf("%d bytes verify, but a Writer makes %d other ones of the %d rows", len(b), len(again), len(rows))
		}
	})
}
