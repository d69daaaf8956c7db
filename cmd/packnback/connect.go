package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/packnback/packnback/cmd/packnback/internal/copier"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// store is a repository wherever it is: on a disk of this machine or behind a
// connection. Commands take it from openStore and never know which. Safe for
// concurrent use until Close.
type store interface {
	reader
	uploader
	keeper
	retainer
	replicator
	Close() error
}

// reader is what restoring and listing need.
type reader interface {
	view.Store
	view.Links
	ID() object.RepositoryID
	Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error)
	// Keys yields all key objects, in any order, some perhaps twice.
	Keys(ctx context.Context, yield func(*object.Record) error) error
}

// uploader is what backup and copy need.
type uploader interface {
	openSession(ctx context.Context, req repo.SessionRequest) (session, error)
}

// session is one upload, as repo.Session describes it.
type session interface {
	Standing() object.Standing
	Have(ctx context.Context, ids []object.ID) ([]bool, error)
	Put(ctx context.Context, rec *object.Record) error
	Durable() uint64
	Checkpoint(ctx context.Context) error
	Commit(ctx context.Context, m *object.Manifest, sealed []byte) (object.Receipt, error)
	Close() error
}

// replicator is what copying to a repository needs beyond that.
type replicator interface {
	// mayReplicate says why the repository can't be copied to, if it can't.
	mayReplicate() error
	OpenReplica(ctx context.Context, client, job string) (copier.Session, error)
	AddLinks(ctx context.Context, links []*object.Snapshot) (added int, err error)
}

// keeper is what looking after a repository needs.
type keeper interface {
	Check(ctx context.Context, opt repo.CheckOptions, report func(repo.Problem)) (repo.CheckResult, error)
	RepairIndex(ctx context.Context, report func(repo.Problem)) (repo.CheckResult, error)
	RepairPacks(ctx context.Context, report func(repo.Problem)) (repo.CheckResult, error)
	MarkBad(ctx context.Context, ids []object.ID) error
	Stats(ctx context.Context) (repo.Stats, error)
	Settings(ctx context.Context) ([]repo.Setting, error)
	SetSetting(ctx context.Context, key, value string) error
}

// openStore opens the repository that --repo names. The caller closes it.
func (p *program) openStore(ctx context.Context) (store, error) {
	at, err := p.location()
	if err != nil {
		return nil, err
	}
	return p.openAt(ctx, at)
}

// openAt opens the repository at a place. The caller closes it.
func (p *program) openAt(ctx context.Context, at transport.Location) (store, error) {
	if at.Remote() {
		return p.connect(ctx, at)
	}
	r, err := repo.Open(ctx, at.Path)
	if err != nil {
		return nil, err
	}
	return localStore{r}, nil
}

// withStore opens the repository, calls do and closes it again.
func (p *program) withStore(ctx context.Context, do func(s store) error) error {
	s, err := p.openStore(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// location returns where the repository is.
func (p *program) location() (transport.Location, error) {
	if p.repository == "" {
		return transport.Location{}, errNoRepository
	}
	return parseLocation(p.repository)
}

func parseLocation(text string) (transport.Location, error) {
	at, err := transport.ParseLocation(text)
	if err != nil {
		return at, usageErrorf("%v", err)
	}
	return at, nil
}

var errNoRepository = withHint(usageErrorf("no repository given"), "name it with -r REPO or in $PACKNBACK_REPO")

// localStore is a repository on this machine, used without a protocol between.
type localStore struct{ *repo.Repository }

// Settings lists the repository's settings.
func (l localStore) Settings(context.Context) ([]repo.Setting, error) {
	return l.Repository.Settings(), nil
}

func (l localStore) openSession(ctx context.Context, req repo.SessionRequest) (session, error) {
	s, err := l.OpenSession(ctx, req)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// mayReplicate leaves it to the file system to say no.
func (l localStore) mayReplicate() error { return nil }

// OpenReplica begins an upload that copies a snapshot.
func (l localStore) OpenReplica(ctx context.Context, client, job string) (copier.Session, error) {
	s, err := l.OpenSession(ctx, repo.SessionRequest{Client: client, Job: job, Replica: true})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// cachePath returns the folder of the cache, made if need be; empty with
// --no-cache.
func (p *program) cachePath() (string, error) {
	if p.noCache {
		return "", nil
	}
	dir, err := p.cacheDir, error(nil)
	if dir == "" {
		dir, err = p.env.CacheDir()
	}
	if err == nil {
		dir, err = makePrivate(dir)
	}
	return dir, withHint(err, "name a folder with --cache-dir, or do without one: --no-cache")
}

// statePath returns the folder for what must not be lost, made if need be.
func (p *program) statePath() (string, error) {
	dir, err := p.env.StateDir()
	if err == nil {
		dir, err = makePrivate(dir)
	}
	return dir, withHint(err, hintState)
}

// hintState is for a state that can't be written.
const hintState = "what must not be lost needs a folder that can be written: set XDG_STATE_HOME to its absolute path"

// knownClients returns the name of the known_clients file, which need not
// exist.
func (p *program) knownClients() (string, error) {
	dir, err := p.env.StateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "known_clients"), nil
}

// makePrivate makes dir, for its owner only, and those above it.
func makePrivate(dir string) (string, error) {
	return dir, os.MkdirAll(dir, 0o700)
}
