package sender

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
	"github.com/packnback/packnback/repo/tree"
)

// A file with several names is read under its first one. What came of that is
// a row of linkedLayout: linkKey | outcome 1 | racy 1 | content id 32 | mtime 12 |
// size 8 | number of extents 1 | extents of 45 each: kind 1, id 32, offset 4,
// length 8. The times in the key are from before it was read.
var linkedLayout = table.Layout{Magic: [8]byte([]byte("PNBlkd\x00\x01")), Key: len(linkKey{}), Row: linkedExtents + maxDirect*linkedExtent}

const (
	linkedOutcome = len(linkKey{})
	linkedRacy    = linkedOutcome + 1
	linkedContent = linkedRacy + 1
	linkedMtime   = linkedContent + object.IDSize
	linkedSize    = linkedMtime + 12
	linkedCount   = linkedSize + 8
	linkedExtents = linkedCount + 1
	linkedExtent  = 45
)

// linkKey is by what two names are known to be of one file: link id 8, ctime
// 12, mtime 12, size 8. The times are in it because an inode may be removed and
// its number used again while a walk goes on.
type linkKey [40]byte

// Outcomes of reading a file with several names.
const (
	linkFailed  = 0
	linkSmall   = 1 // its content id leads to it
	linkExtents = 2
)

// errLink says that the first name of a file was unreadable, or led to another
// file by then.
var errLink = errors.New("another name of a file that could not be read, or was replaced before it was")

func keyOfLink(r *statcache.Record) (key linkKey) {
	b := binary.BigEndian.AppendUint64(key[:0], r.Entry.LinkID)
	b = appendTime(b, r.Ctime)
	b = appendTime(b, r.Entry.Mtime)
	binary.BigEndian.AppendUint64(b, r.Entry.Size)
	return key
}

func appendTime(b []byte, t tree.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Sec))
	return binary.BigEndian.AppendUint32(b, t.Nsec)
}

// rememberLink notes what came of the first name of a file.
func (a *assembler) rememberLink(it *item) error {
	e := &it.rec.Entry
	row := make([]byte, 0, linkedLayout.Row)
	row = append(row, it.link[:]...)
	switch {
	case it.err != nil || it.other:
		row = append(row, linkFailed)
	case it.task == taskSmall || !it.rec.Content.IsZero():
		row = append(row, linkSmall)
	default:
		row = append(row, linkExtents)
	}
	racy := byte(0)
	if it.rec.Racy {
		racy = 1
	}
	row = append(row, racy)
	row = append(row, it.rec.Content[:]...)
	row = appendTime(row, e.Mtime)
	row = binary.BigEndian.AppendUint64(row, e.Size)
	n := 0
	if it.task != taskSmall {
		n = len(e.Extents)
	}
	row = append(row, byte(n))
	for i := range n {
		x := &e.Extents[i]
		row = append(row, byte(x.Kind))
		row = append(row, x.ID[:]...)
		row = binary.BigEndian.AppendUint32(row, x.Offset)
		row = binary.BigEndian.AppendUint64(row, x.Length)
	}
	return a.links.Add(row[:linkedLayout.Row])
}

// linked gives another name of a file the contents that were found under the
// first one.
func (a *assembler) linked(it *item) error {
	row, ok, err := a.links.Find(nil, it.link[:])
	if err != nil {
		return err
	}
	if !ok || row[linkedOutcome] == linkFailed {
		it.fail(errLink)
		return nil
	}
	if row[linkedRacy] != 0 {
		it.rec.Racy = true // it was read when the first name was, not when the walk came to this one
	}
	e := &it.rec.Entry
	it.rec.Content = object.ID(row[linkedContent:linkedMtime])
	e.Mtime.Sec = int64(binary.BigEndian.Uint64(row[linkedMtime:]))
	e.Mtime.Nsec = binary.BigEndian.Uint32(row[linkedMtime+8:])
	e.Size = binary.BigEndian.Uint64(row[linkedSize:])
	if row[linkedOutcome] == linkSmall {
		if it.rec.Content.IsZero() {
			return nil // an empty file
		}
		found, err := a.place(it)
		if err == nil && !found {
			err = fmt.Errorf("%w: contents of %q are in no bundle", statcache.ErrDamaged, it.path)
		}
		return err
	}
	e.Extents = make([]tree.Extent, row[linkedCount])
	for i := range e.Extents {
		b := row[linkedExtents+i*linkedExtent:]
		e.Extents[i] = tree.Extent{Kind: tree.ExtentKind(b[0]), ID: object.ID(b[1:33]),
			Offset: binary.BigEndian.Uint32(b[33:]), Length: binary.BigEndian.Uint64(b[37:])}
	}
	return nil
}
