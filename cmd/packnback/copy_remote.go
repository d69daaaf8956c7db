package main

import (
	"context"
	"errors"

	"github.com/packnback/packnback/cmd/packnback/internal/copier"
	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// mayReplicate says no where the connection has not all rights.
func (s *remoteStore) mayReplicate() error { return fullRights(s.current()) }

func fullRights(conn *client.Conn) error {
	const all = protocol.MayUpload | protocol.MayRead | protocol.MayAdminister
	if may := conn.Welcome().Permissions; may != all {
		return object.CodeDenied.Errorf("the connection to the replica is %s: copying to it needs all rights", may)
	}
	return nil
}

// OpenReplica begins an upload that copies a snapshot.
func (s *remoteStore) OpenReplica(ctx context.Context, client, job string) (copier.Session, error) {
	up, err := s.current().OpenReplica(ctx, client, job)
	if err != nil {
		return nil, err
	}
	return up, nil
}

// AddLinks adds the links of snapshots that are not copied.
func (s *remoteStore) AddLinks(ctx context.Context, links []*object.Snapshot) (int, error) {
	return s.current().AddLinks(ctx, links)
}

// openReplica opens the repository at a place, to which is to be copied from
// another one of that id. Where there is none it makes one, with the settings of
// the other, unless it is only asked for: then it returns nil. The caller closes
// it.
func (p *program) openReplica(ctx context.Context, at transport.Location, from store, only bool) (to store, made bool, err error) {
	if at.Remote() {
		to, made, err = p.connectReplica(ctx, at, from, only)
	} else if to, err = p.openAt(ctx, at); errors.Is(err, object.CodeNoRepo) {
		to, made, err = p.makeReplica(ctx, at, from, only)
	}
	if err != nil || to == nil {
		return nil, made, err
	}
	if err := to.mayReplicate(); err != nil {
		return nil, made, errors.Join(err, to.Close())
	}
	return to, made, nil
}

func (p *program) connectReplica(ctx context.Context, at transport.Location, from store, only bool) (store, bool, error) {
	conn, err := p.dial(ctx, at)
	if err != nil {
		return nil, false, err
	}
	if conn.ID() != (object.RepositoryID{}) {
		return p.newRemoteStore(ctx, conn, at), false, nil
	}
	err = fullRights(conn)
	if err != nil || only {
		return nil, false, errors.Join(err, conn.Close())
	}
	settings, err := changedSettings(ctx, from)
	if err != nil {
		return nil, false, errors.Join(err, conn.Close())
	}
	warnings, err := conn.InitReplica(ctx, protocol.ReplicaArguments{ID: from.ID(), Settings: settings})
	if err != nil {
		return nil, false, errors.Join(err, conn.Close())
	}
	for _, w := range warnings {
		p.warnf("%s", w)
	}
	return p.newRemoteStore(ctx, conn, at), true, nil
}

func (p *program) makeReplica(ctx context.Context, at transport.Location, from store, only bool) (store, bool, error) {
	if only {
		return nil, false, nil
	}
	settings, err := changedSettings(ctx, from)
	if err != nil {
		return nil, false, err
	}
	opt := repo.InitOptions{ID: from.ID(), Settings: map[string]string{}, Warn: func(text string) { p.warnf("%s", text) }}
	for _, s := range settings {
		opt.Settings[s.Key] = s.Value
	}
	r, err := repo.Init(ctx, at.Path, opt)
	if err != nil {
		return nil, false, err
	}
	return localStore{r}, true, nil
}

// changedSettings returns the settings of a repository that are not the
// defaults.
func changedSettings(ctx context.Context, from store) ([]protocol.Setting, error) {
	list, err := from.Settings(ctx)
	var changed []protocol.Setting
	for _, s := range list {
		if !s.Default {
			changed = append(changed, protocol.Setting(s))
		}
	}
	return changed, err
}
