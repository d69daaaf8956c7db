package repo

import (
	"context"

	"github.com/packnback/packnback/repo/object"
)

// CheckOptions say how much Check reads. The zero value reads no data packs.
type CheckOptions struct {
	ReadData bool    // read every data pack
	Subset   float64 // read this percentage of them, chosen at random
}

// Problem is one thing that is not as it should be.
type Problem struct {
	What   string    // config, CURRENT, index, list, pack, object, snapshot, head, quota or session
	Name   string    // file, if there is one
	ID     object.ID // object or snapshot, if there is one
	Detail string    // one line for people
}

// CheckResult is what a check or repair has looked at.
type CheckResult struct {
	Snapshots, Packs, PacksRead uint64
	Objects                     uint64 // rows of the index
	Bytes                       uint64 // of packs
	Problems                    int
}

func (r *Repository) Check(ctx context.Context, opt CheckOptions, report func(Problem)) (CheckResult, error) {
	panic("soon")
}
func (r *Repository) RepairIndex(ctx context.Context, report func(Problem)) (CheckResult, error) {
	panic("soon")
}
func (r *Repository) MarkBad(ctx context.Context, ids []object.ID) error { panic("soon") }
