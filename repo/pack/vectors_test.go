package pack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/internal/vectortest"
	"github.com/packnback/packnback/repo/object"
)

// TestVectors scans meta packs. What is expected is what the scan must say:
// sealed or open, whole records, damaged ranges and torn bytes.
func TestVectors(t *testing.T) {
	vectortest.Run(t, madeVectors(), func(t *testing.T, v *vectortest.Vector) string {
		sum, _ := scanBytes(t, v.Bytes, false)
		return describe(sum)
	})
}

func describe(s Scanned) string {
	text := fmt.Sprintf("open, %d records", s.Records)
	if s.Sealed {
		text = fmt.Sprintf("sealed, %d records", s.Records)
	}
	for _, d := range s.Damage {
		text += fmt.Sprintf(", damage %d+%d", d.Offset, d.Length)
	}
	if s.Torn > 0 {
		text += fmt.Sprintf(", torn %d", s.Torn)
	}
	return text
}

// vectorPack returns the parts of a pack of three records: at 40, 245 and 393;
// its end is at 482.
func vectorPack() (header []byte, records [][]byte) {
	id := func(b byte) (id object.ID) {
		for i := range id {
			id[i] = b + byte(i)
		}
		return id
	}
	key := &object.Record{Kind: object.KindKey, Sealed: bytes.Repeat([]byte("key "), 30)[:117]}
	key.ID = object.HashID(key.Sealed)
	dir := &object.Record{Kind: object.KindDir, ID: id(1), Key: key.ID, Refs: []object.ID{id(2)}, Sealed: bytes.Repeat([]byte("dir "), 7)}
	leaf := &object.Record{Kind: object.KindDir, ID: id(3), Key: key.ID, Sealed: []byte("x")}
	return appendHeader(nil, damageName, Meta), [][]byte{key.Append(nil), dir.Append(nil), leaf.Append(nil)}
}

func madeVectors() []*vectortest.Vector {
	header, records := vectorPack()
	open := bytes.Join(append([][]byte{header}, records...), nil)
	sealed := appendSeal(bytes.Clone(open), damageName, Meta, 3, int64(len(open)))
	var vectors []*vectortest.Vector
	add := func(name, expect, comment string, b []byte) {
		vectors = append(vectors, &vectortest.Vector{Name: name, Comment: comment, Expect: expect, Bytes: b})
	}
	add("sealed", "sealed, 3 records", "a sealed pack", sealed)
	add("open", "open, 3 records", "a pack that was cut off between two records", open)
	add("empty", "open, 0 records", "a pack without records", header)
	add("sealed-empty", "sealed, 0 records", "a sealed pack without records", appendSeal(bytes.Clone(header), damageName, Meta, 0, HeaderSize))
	add("nothing", "open, 0 records", "no bytes", nil)
	add("cut-header", "open, 0 records, torn 39", "a header cut off", header[:39])
	add("cut-record", "open, 2 records, torn 88", "a record cut off", open[:len(open)-1])
	add("cut-seal", "open, 3 records, torn 23", "a seal cut off", sealed[:len(sealed)-1])
	add("zero-tail", "open, 3 records, torn 4096", "a page of zeros behind the last record", append(bytes.Clone(open), make([]byte, 4096)...))
	add("version", "sealed, 3 records, damage 0+40", "another version in the header", vectortest.With(sealed, 7, 2))
	add("reserved", "sealed, 3 records, damage 0+40", "a reserved byte of the header that is not zero",
		vectortest.With(sealed, 0, withSum(vectortest.With(header, 9, 1))...))
	other := appendHeader(nil, NewName(testSession, 98), Meta)
	add("other-pack", "sealed, 3 records, damage 0+40", "the header of another pack", vectortest.With(sealed, 0, other...))
	add("other-type", "sealed, 3 records, damage 0+40", "the header of a data pack", vectortest.With(sealed, 0, appendHeader(nil, damageName, Data)...))
	add("bit", "sealed, 2 records, damage 245+148", "a record with a byte that changed", vectortest.With(sealed, 300, 0xff))
	add("magic", "sealed, 2 records, damage 40+205", "a record whose magic changed", vectortest.With(sealed, 40, 'p'))
	add("length", "sealed, 2 records, damage 245+148", "a record that says it is longer", vectortest.With(sealed, 245+15, 0xff))
	add("last", "sealed, 2 records, damage 393+89", "the last record with a byte that changed", vectortest.With(sealed, 481, sealed[481]^1))
	add("open-last", "open, 2 records, torn 89", "the same in a pack that is not sealed", vectortest.With(open, 481, open[481]^1))
	add("missing", "sealed, 2 records, damage 334+24", "a seal that counts a record more", appendSeal(
		bytes.Join([][]byte{header, records[0], records[2]}, nil), damageName, Meta, 3, 334))
	chunk := &object.Record{Kind: object.KindChunk, ID: object.ID{1}, Key: object.ID{2}, Sealed: []byte("x")}
	mixed := bytes.Join([][]byte{header, chunk.Append(nil), records[1]}, nil)
	add("kind", "sealed, 1 records, damage 40+89", "a chunk in a meta pack", appendSeal(mixed, damageName, Meta, 2, int64(len(mixed))))
	hidden := &object.Record{Kind: object.KindDir, ID: object.ID{1}, Key: object.ID{2}, Sealed: records[2]}
	hiding := append(bytes.Clone(header), hidden.Append(nil)...)
	add("hidden", "open, 1 records", "a record among the sealed bytes of another", hiding)
	add("hidden-found", "open, 1 records, damage 40+80, torn 8", "the same, where the outer one is damaged", vectortest.With(hiding, 41, 'n'))
	return vectors
}

// withSum makes the checksum of a header right.
func withSum(header []byte) []byte {
	body := bytes.Clone(header[:HeaderSize-8])
	return binary.BigEndian.AppendUint64(body, xxhash.Sum64(body))
}
