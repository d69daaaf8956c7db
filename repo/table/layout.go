package table

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/packnback/packnback/repo/internal/disk"
)

// FS is the file system below a table. The alias lets the sender's cache,
// which can't import the store's internals, keep tables in its own folder.
type FS = disk.FS

// OS returns the FS of the folder dir.
func OS(dir string) FS { return disk.OS(dir) }

// Limits and sizes of the format.
const (
	// MaxRow is the largest width of a row in bytes: a block holds several.
	MaxRow = 4096
	// MaxRows is the largest number of rows of one table: fan-out counts are
	// 32 bits wide.
	MaxRows = 1<<32 - 1

	blockSize  = 16 << 10 // bytes of rows under one checksum, at most
	headSize   = 24
	tailSize   = 32
	sumSize    = 8
	countSize  = 4
	maxFanBits = 16
	// fanRows is how many rows a fan-out bucket has on average until the fan-out
	// has reached maxFanBits.
	fanRows = 64
)

// ErrDamaged is wrapped by every error that says a table's file is not what its
// writer left: truncated, altered, of another layout or of another version.
var ErrDamaged = errors.New("damaged table")

// Layout describes the rows of a table.
type Layout struct {
	Magic [8]byte // kind of file; the last byte is its version
	Key   int     // the first Key bytes of a row are its key
	Row   int     // width of a row in bytes, Key to MaxRow
}

func (l Layout) check() error {
	if l.Key < 1 || l.Key > l.Row || l.Row > MaxRow {
		return fmt.Errorf("table layout %q: key of %d bytes in rows of %d", l.Magic[:], l.Key, l.Row)
	}
	return nil
}

// perBlock returns how many rows stand under one checksum.
func (l Layout) perBlock() int { return blockSize / l.Row }

// blocks returns the number of blocks of n rows.
func (l Layout) blocks(n int) int { return (n + l.perBlock() - 1) / l.perBlock() }

// appendHead appends the head of a table.
func (l Layout) appendHead(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, l.Magic[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.Key))
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.Row))
	return binary.BigEndian.AppendUint64(dst, checksum(dst[start:]))
}

// fanBits returns how many leading bits of the key the fan-out of n rows uses.
func fanBits(n int) int {
	bits := 0
	for bits < maxFanBits && n>>bits > fanRows {
		bits++
	}
	return bits
}

// prefix returns the first 8 bytes of a key as a number that sorts as the key
// does; a shorter key counts as followed by zeros.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}
