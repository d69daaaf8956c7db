package server

import (
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Upload is one upload session of a repository. All but Durable are called by
// one goroutine.
type Upload interface {
	Standing() object.Standing
	Have(ctx context.Context, ids []object.ID) ([]bool, error)
	// Put must not keep rec or its bytes after it has returned.
	Put(ctx context.Context, rec *object.Record) error
	Durable() uint64
	Checkpoint(ctx context.Context) error
	Commit(ctx context.Context, manifest *object.Manifest, sealed []byte) (object.Receipt, error)
	// CommitReplica ends an upload that was opened with Replica.
	CommitReplica(ctx context.Context, snap *object.Snapshot) (object.Receipt, error)
	Close() error
}

// Reader is what a repository shows to those who may read. Its methods are
// called by several goroutines at once.
type Reader interface {
	Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error
	Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error)
	Links(ctx context.Context, yield func(*object.Snapshot) error) error
	// Keys may yield a key object more than once.
	Keys(ctx context.Context, yield func(*object.Record) error) error
	Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error
	Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error
}

// Repository is an open repository.
type Repository interface {
	Reader
	ID() object.RepositoryID
	// OpenUpload begins an upload of client and job with the quota and blindness
	// that the connection is pinned to.
	OpenUpload(ctx context.Context, request Request) (Upload, error)
	// Administer carries out an operation. It calls event from one goroutine.
	Administer(ctx context.Context, op Operation, event func([]byte) error) ([]byte, error)
	Close() error
}

// Request is what an upload is opened with: client, job and base as the client
// says, after they were compared with what is pinned, the rest as pinned.
type Request struct {
	Client, Job string
	Base        object.ID
	Quota       uint64 // bytes; 0 not limited
	Blind       bool
	Replica     bool // the upload copies a snapshot of another repository
}

// Store finds repositories.
type Store interface {
	// Open opens the repository in the folder dir; object.CodeNoRepo says that
	// there is none.
	Open(ctx context.Context, dir string) (Repository, error)
	// Init makes one there, with that id unless it is zero. It returns its doubts
	// about the place.
	Init(ctx context.Context, dir string, id object.RepositoryID, settings []protocol.Setting) (Repository, []string, error)
}
