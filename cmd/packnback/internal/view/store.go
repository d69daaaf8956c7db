package view

import (
	"context"

	"github.com/packnback/packnback/repo/object"
)

// Store is what a reader needs of a repository, near or far. All methods may
// be called by several goroutines at once, and Fetch also while the yield of a
// Push waits: the two must not share a queue that one can block for the other.
// Records belong to the callee once they are yielded.
type Store interface {
	Snapshots
	// Push yields every list and directory object reachable from root, root
	// first, depth first in the order of their refs, repeats included.
	Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error
	// Fetch yields each distinct id's record once, in an order of its own
	// choosing. When some are missing it yields the others and then returns an
	// *object.MissingError.
	Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error
}

// Snapshots lists the snapshots that are not forgotten, oldest first.
type Snapshots interface {
	Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error
}

// Links lists what is left of forgotten snapshots, in any order.
type Links interface {
	Links(ctx context.Context, yield func(*object.Snapshot) error) error
}
