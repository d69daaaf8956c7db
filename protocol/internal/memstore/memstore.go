// Package memstore is a repository in memory, for the tests of protocol/client
// and protocol/server: small enough to see that it is right, strict where the
// protocol relies on the repository, and able to fail on request. The program
// never links it.
package memstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// Store is all repositories of a machine, by folder. Safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	Repos map[string]*Repository
}

// New returns a store with an empty repository in each of dirs.
func New(dirs ...string) *Store {
	s := &Store{Repos: make(map[string]*Repository)}
	for _, d := range dirs {
		s.Repos[d] = newRepository(d)
	}
	return s
}

// Open returns the repository in dir.
func (s *Store) Open(_ context.Context, dir string) (server.Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.Repos[dir]
	if !ok {
		return nil, object.CodeNoRepo.Errorf("there is no repository at %q", dir)
	}
	return r, nil
}

// Init makes a repository in dir.
func (s *Store) Init(_ context.Context, dir string, id object.RepositoryID, _ []protocol.Setting) (server.Repository, []string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Repos[dir] != nil {
		return nil, nil, object.CodeExists.Errorf("there is a repository at %q already", dir)
	}
	s.Repos[dir] = newRepository(dir)
	if id != (object.RepositoryID{}) {
		s.Repos[dir].id = id
	}
	return s.Repos[dir], []string{"this repository is only in memory"}, nil
}

// Repository is one of them. Fail, if it is set, is asked before every call
// with its name.
type Repository struct {
	Fail   func(call string) error
	Events [][]byte // what every operation reports
	Result []byte   // and returns

	mu        sync.Mutex
	id        object.RepositoryID
	objects   map[object.ID]*object.Record
	order     []object.ID
	snapshots []*object.Snapshot
	links     []*object.Snapshot
	open      int // uploads
	opened    uint64
}

// newRepository makes a repository whose id, unlike a real one's, is always the
// same for the same folder, so that transcripts can be compared.
func newRepository(dir string) *Repository {
	r := &Repository{objects: make(map[object.ID]*object.Record)}
	sum := sha256.Sum256([]byte(dir))
	copy(r.id[:], sum[:])
	return r
}

func (r *Repository) fail(call string) error {
	if r.Fail == nil {
		return nil
	}
	return r.Fail(call)
}

// Add puts objects in the repository that no snapshot reaches.
func (r *Repository) Add(records ...*object.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range records {
		r.add(rec)
	}
}

func (r *Repository) add(rec *object.Record) {
	if r.objects[rec.ID] == nil {
		r.objects[rec.ID] = rec
		r.order = append(r.order, rec.ID)
	}
}

// AddLink puts a forgotten snapshot in the repository.
func (r *Repository) AddLink(s *object.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links = append(r.links, s)
}

// Open returns how many uploads are open.
func (r *Repository) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// Len returns how many objects and snapshots there are.
func (r *Repository) Len() (objects, snapshots int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.objects), len(r.snapshots)
}

// ID returns the repository's id.
func (r *Repository) ID() object.RepositoryID { return r.id }

// Close does nothing.
func (r *Repository) Close() error { return nil }

// Snapshots yields the live snapshots.
func (r *Repository) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return r.each(ctx, "Snapshots", &r.snapshots, yield)
}

// Links yields the forgotten ones.
func (r *Repository) Links(ctx context.Context, yield func(*object.Snapshot) error) error {
	return r.each(ctx, "Links", &r.links, yield)
}

func (r *Repository) each(ctx context.Context, call string, list *[]*object.Snapshot, yield func(*object.Snapshot) error) error {
	if err := r.fail(call); err != nil {
		return err
	}
	r.mu.Lock()
	now := slices.Clone(*list)
	r.mu.Unlock()
	for _, s := range now {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(s); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot returns one live snapshot.
func (r *Repository) Snapshot(_ context.Context, id object.ID) (*object.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.snapshots {
		if s.ID() == id {
			return s, nil
		}
	}
	return nil, object.CodeNotFound.Errorf("no snapshot %s", id.Short())
}

func (r *Repository) record(id object.ID) *object.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects[id]
}

// Administer reports Events and returns Result.
func (r *Repository) Administer(_ context.Context, _ server.Operation, event func([]byte) error) ([]byte, error) {
	if err := r.fail("Administer"); err != nil {
		return nil, err
	}
	for _, e := range r.Events {
		if err := event(e); err != nil {
			return nil, err
		}
	}
	return r.Result, nil
}

// upload is an open upload.
type upload struct {
	r       *Repository
	request server.Request
	head    *object.Snapshot
	session object.SessionID
	own     map[object.ID]*object.Record
	order   []*object.Record // of the puts
	copied  *object.Snapshot // from another repository

	mu      sync.Mutex
	puts    uint64
	durable uint64
	closed  bool
}

// OpenUpload begins an upload.
func (r *Repository) OpenUpload(_ context.Context, request server.Request) (server.Upload, error) {
	if err := r.fail("OpenUpload"); err != nil {
		return nil, err
	}
	u := &upload{r: r, request: request, own: make(map[object.ID]*object.Record)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	r.opened++
	binary.BigEndian.PutUint64(u.session[:], r.opened)
	for _, s := range r.snapshots {
		if s.Manifest.Client == request.Client && s.Manifest.Job == request.Job {
			u.head = s
		}
	}
	return u, nil
}

func (u *upload) Standing() object.Standing {
	st := object.Standing{Repository: u.r.id, Session: u.session}
	if u.head != nil {
		st.Seq, st.Head = u.head.Manifest.Seq, u.head.ID()
		st.Based = u.request.Base == st.Head
	}
	return st
}

// visible reports whether the upload may rely on id.
func (u *upload) visible(id object.ID) bool {
	if u.own[id] != nil {
		return true
	}
	if u.request.Replica {
		return u.r.record(id) != nil
	}
	if u.request.Blind || u.head == nil {
		return false
	}
	return u.reaches(u.head.Manifest.Roots(), id)
}

func (u *upload) reaches(from []object.ID, id object.ID) bool {
	for _, f := range from {
		if f == id {
			return true
		}
		if rec := u.r.record(f); rec != nil && u.reaches(append([]object.ID{}, rec.Refs...), id) {
			return true
		}
	}
	return false
}

func (u *upload) Have(_ context.Context, ids []object.ID) ([]bool, error) {
	if err := u.r.fail("Have"); err != nil {
		return nil, err
	}
	held := make([]bool, len(ids))
	for i, id := range ids {
		held[i] = u.visible(id)
	}
	return held, nil
}

func (u *upload) Put(_ context.Context, rec *object.Record) error {
	if err := u.r.fail("Put"); err != nil {
		return err
	}
	kept := &object.Record{Kind: rec.Kind, ID: rec.ID, Key: rec.Key, Refs: slices.Clone(rec.Refs), Sealed: slices.Clone(rec.Sealed)}
	u.own[rec.ID] = kept
	u.order = append(u.order, kept)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.puts++
	return nil
}

func (u *upload) Durable() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.durable
}

func (u *upload) Checkpoint(context.Context) error {
	if err := u.r.fail("Checkpoint"); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.durable = u.puts
	return nil
}

func (u *upload) Commit(_ context.Context, m *object.Manifest, sealed []byte) (object.Receipt, error) {
	if err := u.r.fail("Commit"); err != nil {
		return object.Receipt{}, err
	}
	st := u.Standing()
	if m.Client != u.request.Client || m.Job != u.request.Job || m.Repository != u.r.id {
		return object.Receipt{}, object.CodeDenied.Errorf("the manifest is another client's")
	}
	if m.Seq != st.Seq+1 || m.Prev != st.Head {
		return object.Receipt{}, object.CodeHeadMoved.Errorf("the manifest does not extend the chain")
	}
	var missing object.MissingError
	refs := m.Roots()
	for _, rec := range u.own {
		refs = append(append(refs, rec.Refs...), rec.Key)
	}
	for _, id := range refs {
		if !id.IsZero() && !u.visible(id) {
			missing.IDs = append(missing.IDs, id)
		}
	}
	if len(missing.IDs) > 0 {
		return object.Receipt{}, &missing
	}
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	for _, rec := range u.order {
		u.r.add(rec)
	}
	s := &object.Snapshot{Received: int64(len(u.r.snapshots) + 1), Manifest: m, Sealed: slices.Clone(sealed)}
	if u.copied != nil {
		s = u.copied
	}
	u.r.snapshots = append(u.r.snapshots, s)
	return object.Receipt{Snapshot: s.ID(), Received: s.Received}, nil
}

func (u *upload) CommitReplica(ctx context.Context, s *object.Snapshot) (object.Receipt, error) {
	if !u.request.Replica {
		return object.Receipt{}, object.CodeInvalid.Errorf("this upload does not copy")
	}
	u.copied = s
	return u.Commit(ctx, s.Manifest, s.Sealed)
}

func (u *upload) Close() error {
	if u.closed {
		return object.CodeInternal.Errorf("upload closed twice")
	}
	u.closed = true
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.r.open--
	return nil
}
