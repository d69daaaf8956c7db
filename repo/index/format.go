package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

// Sizes of the format.
const (
	endSize    = 40
	entryRow   = 48
	packRow    = 40
	collectRow = 96
)

// segmentMagic ends a segment; its last byte is the version.
const segmentMagic = "PNBindx\x01"

var (
	entryLayout   = table.Layout{Magic: [8]byte([]byte("PNBidxe\x01")), Key: object.IDSize, Row: entryRow}
	packLayout    = table.Layout{Magic: [8]byte([]byte("PNBidxp\x01")), Key: pack.NameSize, Row: packRow}
	keyLayout     = table.Layout{Magic: [8]byte([]byte("PNBidxk\x01")), Key: object.IDSize, Row: object.IDSize}
	collectLayout = table.Layout{Magic: [8]byte([]byte("PNBcoll\x01")), Key: object.IDSize, Row: collectRow}
)

// Location says where a record is.
type Location struct {
	Pack   pack.Name
	Offset uint32
	Length uint32 // of the whole record
	Kind   object.Kind
}

// Type returns the type of pack the record is in.
func (l Location) Type() pack.Type { return pack.TypeOf(l.Kind) }

// Entry is a location of an object, and what key object it refers to.
type Entry struct {
	ID  object.ID
	Key object.ID // zero for a key object only
	Location
}

// Compare orders entries as a segment does: by id, then by pack and offset.
func (e Entry) Compare(other Entry) int {
	return cmp.Or(e.ID.Compare(other.ID), e.Pack.Compare(other.Pack), cmp.Compare(e.Offset, other.Offset))
}

// check refuses what can be no record's.
func (e Entry) check() error {
	if e.Key.IsZero() != (e.Kind == object.KindKey) {
		return fmt.Errorf("%s with key object %s", e.Kind, e.Key.Short())
	}
	return e.Location.check()
}

// check refuses what can be no location in any pack.
func (l Location) check() error {
	switch {
	case !l.Kind.Valid():
		return fmt.Errorf("unknown %s", l.Kind)
	case l.Offset < pack.HeaderSize || uint64(l.Offset)+uint64(l.Length) > pack.MaxSize:
		return fmt.Errorf("%d bytes at offset %d of a pack", l.Length, l.Offset)
	case l.Length <= object.HeaderSize+object.TrailerSize || l.Length > object.MaxRecord:
		return fmt.Errorf("record of %d bytes", l.Length)
	}
	return nil
}

// Pack describes a pack that entries of a segment lie in.
type Pack struct {
	Name     pack.Name
	Type     pack.Type
	Sequence uint64 // order in which packs entered the repository; the older the lower
	Size     uint32 // bytes up to the end of the last record that counts
	Records  uint32 // whole records within Size
}

func (p Pack) check() error {
	if !p.Type.Valid() || p.Size < pack.HeaderSize || p.Size > pack.MaxSize {
		return fmt.Errorf("pack %s: %s, %d bytes", p.Name, p.Type, p.Size)
	}
	return nil
}

// merge unites what two segments say of one pack.
func (p Pack) merge(other Pack) Pack {
	p.Sequence = min(p.Sequence, other.Sequence)
	p.Size = max(p.Size, other.Size)
	p.Records = max(p.Records, other.Records)
	return p
}

func (p Pack) appendRow(dst []byte) []byte {
	dst = append(dst, p.Name[:]...)
	dst = append(dst, byte(p.Type), 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, p.Sequence)
	dst = binary.BigEndian.AppendUint32(dst, p.Size)
	return binary.BigEndian.AppendUint32(dst, p.Records)
}

func parsePack(row []byte) (Pack, error) {
	p := Pack{
		Name:     pack.Name(row),
		Type:     pack.Type(row[20]),
		Sequence: binary.BigEndian.Uint64(row[24:]),
		Size:     binary.BigEndian.Uint32(row[32:]),
		Records:  binary.BigEndian.Uint32(row[36:]),
	}
	if row[21]|row[22]|row[23] != 0 {
		return p, fmt.Errorf("pack %s: reserved bytes are not zero", p.Name)
	}
	return p, p.check()
}

// entryNumbers is where a row of the table of entries points to.
type entryNumbers struct{ pack, key uint32 }

// appendEntryRow appends the row of an object.
func appendEntryRow(dst []byte, id object.ID, at entryNumbers, l Location) []byte {
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, at.pack)
	dst = binary.BigEndian.AppendUint32(dst, l.Offset)
	dst = binary.BigEndian.AppendUint32(dst, at.key)
	return binary.BigEndian.AppendUint32(dst, uint32(l.Kind)<<24|l.Length)
}

func rowNumbers(row []byte) entryNumbers {
	return entryNumbers{pack: binary.BigEndian.Uint32(row[32:]), key: binary.BigEndian.Uint32(row[40:])}
}

// parseEntryRow reads all of a row but the pack and the key object, for which
// the numbers stand.
func parseEntryRow(row []byte) (e Entry, at entryNumbers, err error) {
	e.ID = object.ID(row[:32])
	e.Offset = binary.BigEndian.Uint32(row[36:])
	e.Kind = object.Kind(row[44])
	e.Length = binary.BigEndian.Uint32(row[44:]) & (1<<24 - 1)
	at = rowNumbers(row)
	if err := e.Location.check(); err != nil {
		return e, at, err
	}
	if (at.key == noKey) != (e.Kind == object.KindKey) {
		return e, at, fmt.Errorf("%s with key object %d", e.Kind, at.key)
	}
	return e, at, nil
}

// appendCollectRow appends a Collector's row.
func appendCollectRow(dst []byte, e Entry) []byte {
	dst = append(dst, e.ID[:]...)
	dst = append(dst, e.Pack[:]...)
	dst = binary.BigEndian.AppendUint32(dst, e.Offset)
	dst = binary.BigEndian.AppendUint32(dst, e.Length)
	dst = append(dst, byte(e.Kind), 0, 0, 0)
	return append(dst, e.Key[:]...)
}

func parseCollectRow(row []byte) Entry {
	e := Entry{ID: object.ID(row[:32]), Key: object.ID(row[64:])}
	e.Pack = pack.Name(row[32:])
	e.Offset = binary.BigEndian.Uint32(row[52:])
	e.Length = binary.BigEndian.Uint32(row[56:])
	e.Kind = object.Kind(row[60])
	return e
}

// lengths are those of a segment's tables, in bytes.
type lengths struct{ entries, packs, keys uint64 }

// appendEnd appends the end of a segment whose tables are that long.
func appendEnd(dst []byte, l lengths) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, l.entries)
	dst = binary.BigEndian.AppendUint64(dst, l.packs)
	dst = binary.BigEndian.AppendUint64(dst, l.keys)
	dst = append(dst, segmentMagic...)
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// parseEnd returns the lengths of the tables of the segment b.
func parseEnd(b []byte) (l lengths, err error) {
	if len(b) < endSize {
		return l, fmt.Errorf("%d bytes are too few", len(b))
	}
	end := b[len(b)-endSize:]
	l = lengths{binary.BigEndian.Uint64(end), binary.BigEndian.Uint64(end[8:]), binary.BigEndian.Uint64(end[16:])}
	if !bytes.Equal(end, appendEnd(nil, l)) {
		return l, fmt.Errorf("its end makes no sense; is it truncated?")
	}
	body := uint64(len(b) - endSize)
	if l.entries > body || l.packs > body-l.entries || l.keys != body-l.entries-l.packs {
		return l, fmt.Errorf("%d bytes, its end says %d, %d and %d", len(b), l.entries, l.packs, l.keys)
	}
	return l, nil
}
