package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/packnback/packnback/repo/internal/vectortest"
)

func TestVectors(t *testing.T) {
	vectortest.Run(t, madeVectors(t), func(t *testing.T, v *vectortest.Vector) string {
		tab, err := New(v.Bytes, v.Name, fuzzLayout)
		if err == nil {
			err = tab.Verify()
		}
		switch {
		case err == nil:
			return "ok"
		case errors.Is(err, ErrDamaged):
			return "damaged"
		}
		return err.Error()
	})
}

// madeVectors are tables of keys of 4 and rows of 12 bytes; 1,365 rows make a
// block, 65 rows the first bit of fan-out.
func madeVectors(t *testing.T) []*vectortest.Vector {
	rows := make([][]byte, 0, 70)
	for i := range 70 {
		row := binary.BigEndian.AppendUint32(nil, uint32(i)<<25|1)
		rows = append(rows, binary.BigEndian.AppendUint64(row, uint64(i)))
	}
	var vectors []*vectortest.Vector
	add := func(name, expect, comment string, b []byte) {
		vectors = append(vectors, &vectortest.Vector{Name: name, Comment: comment, Expect: expect, Bytes: b})
	}
	three := tableBytes(t, fuzzLayout, rows[:3])
	seventy := tableBytes(t, fuzzLayout, rows)
	add("empty", "ok", "no rows", tableBytes(t, fuzzLayout, nil))
	add("three", "ok", "three rows, no fan-out", three)
	add("seventy", "ok", "70 rows, fan-out by one bit", seventy)
	add("equal-rows", "ok", "two equal rows", tableBytes(t, fuzzLayout, [][]byte{rows[1], rows[1]}))
	add("nothing", "damaged", "no bytes", nil)
	add("version", "damaged", "another version in the magic", vectortest.With(three, 7, 2))
	add("layout", "damaged", "rows of 13 bytes, by the head", mend(vectortest.With(three, 15, 13), Layout{fuzzLayout.Magic, 4, 13}))
	add("cut", "damaged", "the last byte is missing", three[:len(three)-1])
	add("cut-row", "damaged", "a row is missing", append(bytes.Clone(three[:headSize+24]), three[headSize+36:]...))
	add("trailing", "damaged", "one byte more", append(bytes.Clone(three), 0))
	add("row", "damaged", "a row that changed", vectortest.With(three, headSize+20, 0xff))
	add("sum", "damaged", "a block's checksum that changed", mendEnd(vectortest.With(three, headSize+36, 0xff)))
	add("order", "damaged", "two rows that changed places", mend(vectortest.With(three, headSize, append(bytes.Clone(rows[1]), rows[0]...)...), fuzzLayout))
	end := headSize + 70*12 + sumSize
	add("fan-down", "damaged", "a fan-out that goes down", mendEnd(vectortest.With(seventy, end, 0, 0, 0, 71)))
	add("fan-total", "damaged", "a fan-out that ends before the rows do", mendEnd(vectortest.With(seventy, end+4, 0, 0, 0, 69)))
	add("fan-wrong", "damaged", "a row in another bucket than its key's", mendEnd(vectortest.With(seventy, end, 0, 0, 0, 63)))
	tail := len(three) - tailSize
	add("rows-huge", "damaged", "2^64-1 rows, by the tail", mendEnd(vectortest.With(three, tail, bytes.Repeat([]byte{0xff}, 8)...)))
	add("fan-bits", "damaged", "more fan-out than three rows have", mendEnd(vectortest.With(three, tail+11, 1)))
	add("reserved", "damaged", "reserved bytes of the tail that are not zero", mendEnd(vectortest.With(three, tail+12, 1)))
	return vectors
}

// mendEnd makes the checksum of a table's end right, and nothing else.
func mendEnd(b []byte) []byte {
	b = bytes.Clone(b)
	rows := 0 // as many as make this length
	for ; headSize+rows*12+sumSize*fuzzLayout.blocks(rows)+countSize<<fanBits(rows)+tailSize != len(b); rows++ {
		if rows > len(b) {
			return b
		}
	}
	end := b[headSize+rows*12:]
	binary.BigEndian.PutUint64(end[len(end)-8:], checksum(end[:len(end)-8]))
	return b
}
