package repo

import (
	"context"

	"github.com/packnback/packnback/repo/object"
)

// InitOptions are Init's choices.
type InitOptions struct {
	Settings map[string]string // settings that differ from their defaults
	Warn     func(string)      // called with one line per doubt, such as a network file system
}

// Repository is an open repository. Safe for concurrent use until Close.
type Repository struct{}

func Init(ctx context.Context, dir string, opt InitOptions) (*Repository, error) { panic("soon") }
func Open(ctx context.Context, dir string) (*Repository, error)                  { panic("soon") }
func (r *Repository) ID() object.RepositoryID                                    { panic("soon") }
func (r *Repository) Close() error                                               { panic("soon") }

// Setting is one setting and its value.
type Setting struct {
	Key, Value string
	Default    bool   // Value is the default
	Doc        string // one line
}

func (r *Repository) Settings() []Setting                                     { panic("soon") } // in order of keys
func (r *Repository) Setting(key string) (Setting, error)                     { panic("soon") }
func (r *Repository) SetSetting(ctx context.Context, key, value string) error { panic("soon") } // value "" = back to default

type SessionRequest struct {
	Client, Job string
	Base        object.ID // snapshot the sender's cache is bound to; zero: none
	Quota       uint64    // bytes the client may use in all; 0: no limit
	Blind       bool
}
type Session struct{}

func (r *Repository) OpenSession(ctx context.Context, req SessionRequest) (*Session, error) {
	panic("soon")
}
func (s *Session) Standing() object.Standing                                 { panic("soon") }
func (s *Session) Have(ctx context.Context, ids []object.ID) ([]bool, error) { panic("soon") }
func (s *Session) Put(ctx context.Context, rec *object.Record) error         { panic("soon") }
func (s *Session) Durable() uint64                                           { panic("soon") }
func (s *Session) Checkpoint(ctx context.Context) error                      { panic("soon") }
func (s *Session) Commit(ctx context.Context, m *object.Manifest, sealed []byte) (object.Receipt, error) {
	panic("soon")
}
func (s *Session) Close() error { panic("soon") }

func (r *Repository) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	panic("soon")
}
func (r *Repository) Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error) {
	panic("soon")
}
func (r *Repository) Links(ctx context.Context, yield func(*object.Snapshot) error) error {
	panic("soon")
}
func (r *Repository) Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error {
	panic("soon")
}
func (r *Repository) Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	panic("soon")
}

// CheckOptions say how much Check reads. The zero value reads no data packs.
type CheckOptions struct {
	ReadData bool    // read every data pack
	Subset   float64 // read this percentage of them, chosen at random
}
type Problem struct {
	What   string    // "pack", "index", "CURRENT", "head", "snapshot", "object", "session"
	Name   string    // file, if there is one
	ID     object.ID // object or snapshot, if there is one
	Detail string
}
type CheckResult struct {
	Snapshots, Packs, PacksRead, Objects uint64
	Bytes                                uint64
	Problems                             int
}

func (r *Repository) Check(ctx context.Context, opt CheckOptions, report func(Problem)) (CheckResult, error) {
	panic("soon")
}
func (r *Repository) RepairIndex(ctx context.Context, report func(Problem)) (CheckResult, error) {
	panic("soon")
}
func (r *Repository) MarkBad(ctx context.Context, ids []object.ID) error { panic("soon") } // quarantines the locations these ids are read from now

// Stats are the repository's figures.
type Stats struct {
	Snapshots, Objects, Packs, Segments uint64
	PackBytes                           uint64 // of packs in CURRENT
	IndexBytes                          uint64
	Free, Total                         uint64 // of the file system
}

func (r *Repository) Stats(ctx context.Context) (Stats, error) { panic("soon") }
