package repo

import (
	"encoding/binary"
	"fmt"

	"github.com/packnback/packnback/repo/object"
)

const (
	headMagic  = "PNBhead\x01"
	maxHead    = 8 << 10
	maxVisible = 64   // visible sets of one head
	maxHistory = 4096 // bytes of a head's history
)

// head is the file of that name: packnback-repository(5), "HEADS".
type head struct {
	repository  object.RepositoryID
	client, job string
	seq         uint64
	id          object.ID // newest snapshot; zero before the first commit
	next        object.ID // being published, or zero
	signer      [32]byte  // key that signed the newest snapshot
	nextVisible uint64    // number that the next visible set takes
	visible     []visibleRef
	history     []byte // what unusual.go remembers; opaque here
}

// visibleRef names one visible set of a head.
type visibleRef struct {
	number uint64
	rows   uint64
}

func headFolder(client, job string) string { return "heads/" + client + "/" + job }
func headName(client, job string) string   { return headFolder(client, job) + "/head" }
func visibleName(client, job string, number uint64) string {
	return fmt.Sprintf("%s/%d.visible", headFolder(client, job), number)
}

func (h *head) clone() *head {
	c := *h
	c.visible = append([]visibleRef(nil), h.visible...)
	return &c
}

func (h *head) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, headMagic...)
	dst = append(dst, h.repository[:]...)
	dst = appendName(dst, h.client)
	dst = appendName(dst, h.job)
	dst = binary.BigEndian.AppendUint64(dst, h.seq)
	dst = append(dst, h.id[:]...)
	dst = append(dst, h.next[:]...)
	dst = append(dst, h.signer[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.nextVisible)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h.visible)))
	for _, v := range h.visible {
		dst = binary.BigEndian.AppendUint64(dst, v.number)
		dst = binary.BigEndian.AppendUint64(dst, v.rows)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h.history)))
	dst = append(dst, h.history...)
	return appendSum(dst, start)
}

// unmarshalHead is append's inverse.
func unmarshalHead(b []byte) (*head, error) {
	f, err := openSummed(b, headMagic, maxHead)
	if err != nil {
		return nil, err
	}
	h := new(head)
	copy(h.repository[:], f.take(len(h.repository)))
	if h.client, err = f.name("client"); err != nil {
		return nil, err
	}
	if h.job, err = f.name("job"); err != nil {
		return nil, err
	}
	h.seq = f.uint64()
	h.id = f.id()
	h.next = f.id()
	copy(h.signer[:], f.take(len(h.signer)))
	h.nextVisible = f.uint64()
	n := f.uint32()
	if n > maxVisible || int(n)*16 > len(f.b) {
		return nil, fmt.Errorf("%w: %d visible sets", object.ErrMalformed, n)
	}
	h.visible = make([]visibleRef, n)
	for i := range h.visible {
		h.visible[i] = visibleRef{f.uint64(), f.uint64()}
	}
	if n = f.uint32(); n > maxHistory {
		return nil, fmt.Errorf("%w: history of %d bytes", object.ErrMalformed, n)
	}
	h.history = append([]byte(nil), f.take(int(n))...)
	if err := f.end(); err != nil {
		return nil, err
	}
	return h, h.check()
}

func (h *head) check() error {
	if (h.seq == 0) != h.id.IsZero() || h.nextVisible == 0 {
		return fmt.Errorf("%w: sequence number %d with head %s", object.ErrMalformed, h.seq, h.id.Short())
	}
	last := uint64(0)
	for _, v := range h.visible {
		if v.number <= last || v.number >= h.nextVisible {
			return fmt.Errorf("%w: visible set %d out of order", object.ErrMalformed, v.number)
		}
		last = v.number
	}
	return nil
}
