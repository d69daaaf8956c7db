package index

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/internal/vectortest"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

func TestVectors(t *testing.T) {
	vectortest.Run(t, madeVectors(t), func(t *testing.T, v *vectortest.Vector) string {
		s, err := newSegment(v.Bytes, v.Name)
		if err != nil {
			return outcome("at opening", err)
		}
		for _, err := range s.Entries(0) {
			if err != nil {
				return outcome("at reading", err)
			}
		}
		return outcome("at verifying", s.Verify())
	})
}

// TestMergeVectors merges what the vectors are, without a check before.
func TestMergeVectors(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	for _, v := range vectortest.Load(t) {
		s, err := newSegment(v.Bytes, v.Name)
		if err != nil {
			continue
		}
		err = Merge(fsys, v.Name, []*Segment{s}, nil)
		if v.Expect == "ok" && err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if v.Name == "pack-order" && !errors.Is(err, table.ErrDamaged) {
			t.Errorf("%s: got %v, want that it is damaged", v.Name, err)
		}
	}
}

func outcome(when string, err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, table.ErrDamaged):
		return "damaged, seen " + when
	}
	return err.Error()
}

// madeVectors are segments of two entries in two packs with two key objects.
func madeVectors(t *testing.T) []*vectortest.Vector {
	packs := []Pack{
		{Name: pack.NewName(object.SessionID{1}, 1), Type: pack.Data, Sequence: 7, Size: 1000, Records: 4},
		{Name: pack.NewName(object.SessionID{1}, 2), Type: pack.Meta, Sequence: 8, Size: 500, Records: 2},
	}
	chunk := Location{Pack: packs[0].Name, Offset: 40, Length: 300, Kind: object.KindChunk}
	dir := Location{Pack: packs[1].Name, Offset: 340, Length: 160, Kind: object.KindDir}
	key := Location{Pack: packs[1].Name, Offset: 40, Length: 300, Kind: object.KindKey}
	row := func(id byte, pack, key uint32, l Location) []byte {
		return appendEntryRow(nil, object.ID{id}, entryNumbers{pack, key}, l)
	}
	entries := slices.Concat(row(1, 0, 0, chunk), row(2, 1, 1, dir))
	directory := packs[1].appendRow(packs[0].appendRow(nil))
	first, second := object.ID{0xa1}, object.ID{0xa2}
	keys := slices.Concat(first[:], second[:])

	var vectors []*vectortest.Vector
	raw := func(name, expect, comment string, b []byte) {
		vectors = append(vectors, &vectortest.Vector{Name: name, Comment: comment, Expect: expect, Bytes: b})
	}
	add := func(name, expect, comment string, entries, directory, keys []byte) {
		raw(name, expect, comment, segmentBytes(rawTable(t, entryLayout, entries), rawTable(t, packLayout, directory), rawTable(t, keyLayout, keys)))
	}
	const opening, reading, verifying = "damaged, seen at opening", "damaged, seen at reading", "damaged, seen at verifying"
	add("two", "ok", "two entries in two packs", entries, directory, keys)
	add("empty", "ok", "no entries", nil, nil, nil)
	add("two-places", "ok", "an object in two places of a pack",
		slices.Concat(row(1, 0, 0, chunk), row(1, 0, 0, Location{Offset: 340, Length: 100, Kind: object.KindChunk})), directory[:packRow], first[:])
	add("key-object", "ok", "a directory and the key object it refers to",
		slices.Concat(row(0xa1, 0, noKey, key), row(2, 0, 0, dir)), directory[packRow:], first[:])

	whole := segmentBytes(rawTable(t, entryLayout, entries), rawTable(t, packLayout, directory), rawTable(t, keyLayout, keys))
	raw("nothing", opening, "no bytes", nil)
	raw("cut", opening, "the last byte is missing", whole[:len(whole)-1])
	raw("trailing", opening, "one byte more", append(bytes.Clone(whole), 0))
	raw("version", opening, "another version in the end", vectortest.With(whole, len(whole)-9, 2))
	swapped := segmentBytes(rawTable(t, packLayout, directory), rawTable(t, entryLayout, entries), rawTable(t, keyLayout, keys))
	raw("swapped", opening, "the first two tables in the other order", swapped)
	raw("bit", reading, "an entry that changed", vectortest.With(whole, 24+40, 0xff))

	change := func(at int, part ...byte) []byte { return vectortest.With(entries, at, part...) }
	add("ordinal", reading, "an entry in a pack that is not listed", change(48+35, 2), directory, keys)
	add("key-ordinal", reading, "an entry with a key object that is not listed", change(48+43, 2), directory, keys)
	add("key-none", reading, "a directory without a key object", change(48+40, 0xff, 0xff, 0xff, 0xff), directory, keys)
	add("key-of-key", reading, "a key object with a key object", slices.Concat(row(1, 0, 0, chunk), row(0xa1, 1, 1, key)), directory, keys)
	add("kind", reading, "an entry of kind 6", change(44, 6), directory, keys)
	add("offset", reading, "an entry inside a pack's header", change(36, 0, 0, 0, 39), directory, keys)
	add("length", reading, "an entry of 88 bytes, less than any record", change(45, 0, 0, 88), directory, keys)
	add("length-limit", reading, "an entry of 14,680,153 bytes, more than any record", change(45, 0xe0, 0, 0x59), directory, keys)
	add("beyond", verifying, "an entry that ends one byte behind its pack", change(48+45, 0, 0, 161), directory, keys)
	add("type", verifying, "a list in a data pack", change(44, byte(object.KindList)), directory, keys)
	add("entry-twice", verifying, "one place twice", slices.Concat(entries, entries[:entryRow]), directory, keys)
	add("pack-unused", verifying, "a pack without an entry", entries[:entryRow], directory, first[:])
	add("pack-twice", verifying, "a pack that is listed twice", entries, slices.Concat(directory[:packRow], vectortest.With(directory[:packRow], 39, 5)), keys)
	add("pack-type", verifying, "a pack of type 3", entries, vectortest.With(directory, 20, 3), keys)
	add("pack-reserved", verifying, "a reserved byte of a pack that is not zero", entries, vectortest.With(directory, 23, 1), keys)
	add("pack-size", verifying, "a pack shorter than its header", entries, vectortest.With(directory, 32, 0, 0, 0, 39), keys)
	raw("pack-order", verifying, "two packs in descending order, with checksums that are right",
		segmentBytes(rawTable(t, entryLayout, entries), reversed(t, packLayout, directory), rawTable(t, keyLayout, keys)))
	third := object.ID{0xa3}
	add("key-unused", verifying, "a key object without an entry", entries, directory, slices.Concat(keys, third[:]))
	add("key-twice", verifying, "a key object that is listed twice", entries, directory, slices.Concat(first[:], first[:]))
	add("key-zero", reading, "a key object whose id is zero", entries, directory, vectortest.With(keys, 0, 0))
	return vectors
}
