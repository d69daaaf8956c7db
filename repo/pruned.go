package repo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

const (
	prunedName  = "gc/pruned"
	prunedMagic = "PNBprun\x01"
	prunedSize  = len(prunedMagic) + object.RepositoryIDSize + 3*8 + 8
)

// pruned is what the last prune that came to its end left behind:
// packnback-repository(5), "LISTS". Nothing but status reads it.
type pruned struct {
	repository object.RepositoryID
	began      int64 // nanoseconds since 1970, the store's clock
	ended      int64
	freed      uint64 // bytes by which the packs became less
}

func (p *pruned) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, prunedMagic...)
	dst = append(dst, p.repository[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.began))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.ended))
	dst = binary.BigEndian.AppendUint64(dst, p.freed)
	return appendSum(dst, start)
}

// unmarshalPruned is append's inverse.
func unmarshalPruned(b []byte) (*pruned, error) {
	f, err := openSummed(b, prunedMagic, prunedSize)
	if err != nil {
		return nil, err
	}
	p := new(pruned)
	copy(p.repository[:], f.take(len(p.repository)))
	p.began = int64(f.uint64())
	p.ended = int64(f.uint64())
	p.freed = f.uint64()
	if p.began < 0 || p.ended < 0 {
		return nil, fmt.Errorf("%w: impossible time", object.ErrMalformed)
	}
	return p, f.end()
}

// record leaves word of a prune that came to its end. A full disk is no reason
// to call the prune a failure.
func (p *pruning) record(began int64) error {
	word := &pruned{p.r.id, began, p.r.now(), p.result.BytesFreed}
	err := p.r.replaceFile(prunedName, word.append(nil))
	if errors.Is(err, object.CodeNoSpace) {
		return nil
	}
	return err
}

// lastPruned returns what the last prune left behind; where there is none, or
// nothing that can be read, a zero value: the next prune writes it anew.
func (r *Repository) lastPruned() (pruned, error) {
	b, err := disk.ReadFile(r.fs, prunedName, int64(prunedSize))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrLong) {
		return pruned{}, nil
	}
	if err != nil {
		return pruned{}, storeError("reading", prunedName, err)
	}
	p, err := unmarshalPruned(b)
	if err != nil || p.repository != r.id {
		return pruned{}, nil
	}
	return *p, nil
}
