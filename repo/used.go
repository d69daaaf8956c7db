package repo

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/packnback/packnback/repo/object"
)

const (
	usedMagic  = "PNBused\x01"
	maxSettled = 4096
	maxUsed    = 64 + maxSettled*16 + 8
)

// used is what a client is charged: packnback-repository(5), "QUOTA".
type used struct {
	repository object.RepositoryID
	bytes      uint64
	settled    []object.SessionID // ascending; charged in bytes although their file may still exist
}

func quotaFolder(client string) string { return "quota/" + client }
func usedName(client string) string    { return quotaFolder(client) + "/used" }

func (u *used) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, usedMagic...)
	dst = append(dst, u.repository[:]...)
	dst = binary.BigEndian.AppendUint64(dst, u.bytes)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(u.settled)))
	for _, s := range u.settled {
		dst = append(dst, s[:]...)
	}
	return appendSum(dst, start)
}

// unmarshalUsed is append's inverse.
func unmarshalUsed(b []byte) (*used, error) {
	f, err := openSummed(b, usedMagic, maxUsed)
	if err != nil {
		return nil, err
	}
	u := new(used)
	copy(u.repository[:], f.take(len(u.repository)))
	u.bytes = f.uint64()
	n := f.uint32()
	if n > maxSettled || int(n)*16 != len(f.b) {
		return nil, fmt.Errorf("%w: %d sessions in %d bytes", object.ErrMalformed, n, len(f.b))
	}
	for range n {
		u.settled = append(u.settled, f.session())
	}
	for i := 1; i < len(u.settled); i++ {
		if compareSessions(u.settled[i-1], u.settled[i]) >= 0 {
			return nil, fmt.Errorf("%w: sessions out of order", object.ErrMalformed)
		}
	}
	return u, f.end()
}

func compareSessions(a, b object.SessionID) int { return slices.Compare(a[:], b[:]) }

// has reports whether s is charged already.
func (u *used) has(s object.SessionID) bool {
	_, ok := slices.BinarySearchFunc(u.settled, s, compareSessions)
	return ok
}

// settle charges n bytes for the session s, once however often it is called.
func (u *used) settle(s object.SessionID, n uint64) {
	i, ok := slices.BinarySearchFunc(u.settled, s, compareSessions)
	if ok {
		return
	}
	u.settled = slices.Insert(u.settled, i, s)
	u.bytes += n
}
