package storetest

import (
	"context"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// Request is what a Backend opens a session for; the fields are those of
// repo.SessionRequest.
type Request struct {
	Client, Job string
	Base        object.ID
	Quota       uint64
	Blind       bool
}

// Session is an upload, as repo.Session has it.
type Session interface {
	Standing() object.Standing
	Have(ctx context.Context, ids []object.ID) ([]bool, error)
	Put(ctx context.Context, rec *object.Record) error
	Durable() uint64
	Checkpoint(ctx context.Context) error
	Commit(ctx context.Context, m *object.Manifest, sealed []byte) (object.Receipt, error)
	Close() error
}

// Reader is what reads a store, as repo.Repository has it.
type Reader interface {
	Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error
	Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error
	Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error
	Keys(ctx context.Context, yield func(*object.Record) error) error
}

// Backend is a store under test. Both methods may be called any number of
// times; what they return is closed by the suite (sessions) or by the test's
// end (readers).
type Backend interface {
	Open(ctx context.Context, req Request) (Session, error)
	Reader(ctx context.Context) (Reader, error)
}

// Run runs the suite. make is called once for each test and makes an empty
// store.
func Run(t *testing.T, make func(t *testing.T) Backend) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b Backend)
	}{
		{"EmptyStore", testEmpty},
		{"CommitAndRead", testCommitAndRead},
		{"SecondSnapshotRelies", testSecondSnapshot},
		{"NothingButVisible", testVisible},
		{"Blind", testBlind},
		{"MissingAtCommit", testMissing},
		{"HeadMoved", testHeadMoved},
		{"LostAnswer", testLostAnswer},
		{"ForeignManifest", testForeignManifest},
		{"MalformedObject", testMalformed},
		{"Resume", testResume},
		{"Quota", testQuota},
		{"Sessions", testSessions},
		{"ReadMissing", testReadMissing},
		{"Keys", testKeys},
		{"ManyObjects", testMany},
		{"ConcurrentPuts", testConcurrentPuts},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, make(t)) })
	}
}
