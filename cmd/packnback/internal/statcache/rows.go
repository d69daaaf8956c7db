package statcache

import (
	"encoding/binary"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// Place is where the contents of a small file are: part of a bundle.
type Place struct {
	Bundle         object.ID
	Offset, Length uint32
}

// The rows of the two tables, and of the sorters that hold a run's changes to
// them. The last field is a count, in a change a signed one. Rows of one key
// and place stand side by side, because tables are sorted by whole rows.
var (
	// content id 32 | bundle 32 | offset 4 | length 4 | references 8
	contentLayout = table.Layout{Magic: [8]byte([]byte("PNBcont\x01")), Key: object.IDSize, Row: 80}
	// id 32 | kind 1 | zero 3 | end of a bundle's last place 4 | live 8
	objectLayout = table.Layout{Magic: [8]byte([]byte("PNBobjs\x01")), Key: object.IDSize, Row: 48}
	// id 32
	idLayout = table.Layout{Magic: [8]byte([]byte("PNBidst\x01")), Key: object.IDSize, Row: object.IDSize}
)

const (
	contentPlace = 72 // bytes of a content row before its count
	objectHead   = 40 // bytes of an object row before its count
)

func appendContentRow(dst []byte, content object.ID, p Place, refs int64) []byte {
	dst = append(dst, content[:]...)
	dst = append(dst, p.Bundle[:]...)
	dst = binary.BigEndian.AppendUint32(dst, p.Offset)
	dst = binary.BigEndian.AppendUint32(dst, p.Length)
	return binary.BigEndian.AppendUint64(dst, uint64(refs))
}

func contentRowPlace(row []byte) Place {
	return Place{
		Bundle: object.ID(row[32:64]),
		Offset: binary.BigEndian.Uint32(row[64:]),
		Length: binary.BigEndian.Uint32(row[68:]),
	}
}

// appendObjectRow makes an object row. For a bundle, live counts the bytes of
// its members that some file still has; for every other kind the places that
// refer to it.
func appendObjectRow(dst []byte, kind object.Kind, id object.ID, length uint32, live int64) []byte {
	dst = append(dst, id[:]...)
	dst = append(dst, byte(kind), 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, length)
	return binary.BigEndian.AppendUint64(dst, uint64(live))
}

func rowCount(row []byte) int64 { return int64(binary.BigEndian.Uint64(row[len(row)-8:])) }

func objectRowKind(row []byte) object.Kind { return object.Kind(row[32]) }

func objectRowLength(row []byte) uint32 { return binary.BigEndian.Uint32(row[36:]) }
