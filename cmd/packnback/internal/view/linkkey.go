package view

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/tree"
)

// LinkKey returns e's link id and a hash of what the names of one inode have in
// common. Entries of one snapshot with equal keys are taken for names of one
// file; those that only claim to be, or whose inode number changed hands while
// the backup ran, are not.
func LinkKey(e *tree.Entry) [16]byte {
	b := make([]byte, 0, 128)
	b = append(b, byte(e.Type))
	for _, v := range [...]uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), e.Size, uint64(e.Mtime.Sec), uint64(e.Mtime.Nsec), e.Rdev} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, e.Target...)
	var key [16]byte
	binary.BigEndian.PutUint64(key[:], e.LinkID)
	binary.BigEndian.PutUint64(key[8:], xxhash.Sum64(b))
	return key
}
