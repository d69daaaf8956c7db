package server

import (
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// Disks is the Store of this machine's file systems.
type Disks struct{}

// Open opens the repository in the folder dir.
func (Disks) Open(ctx context.Context, dir string) (Repository, error) {
	r, err := repo.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	return disk{r}, nil
}

// Init makes a repository in the folder dir.
func (Disks) Init(ctx context.Context, dir string, id object.RepositoryID, settings []protocol.Setting) (Repository, []string, error) {
	var warnings []string
	opt := repo.InitOptions{ID: id, Settings: make(map[string]string), Warn: func(w string) { warnings = append(warnings, w) }}
	for _, s := range settings {
		opt.Settings[s.Key] = s.Value
	}
	r, err := repo.Init(ctx, dir, opt)
	if err != nil {
		return nil, nil, err
	}
	return disk{r}, warnings[:min(len(warnings), protocol.MaxSettings)], nil
}

// disk is a repository on this machine.
type disk struct{ *repo.Repository }

// OpenUpload begins an upload.
func (d disk) OpenUpload(ctx context.Context, request Request) (Upload, error) {
	s, err := d.OpenSession(ctx, repo.SessionRequest{
		Client: request.Client, Job: request.Job, Base: request.Base, Quota: request.Quota, Blind: request.Blind,
		Replica: request.Replica,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Administer carries out an operation.
func (d disk) Administer(ctx context.Context, op Operation, event func([]byte) error) ([]byte, error) {
	f, ok := operations[op.Code]
	if !ok {
		return nil, object.CodeInternal.Errorf("%s is permitted and not there", op.Code)
	}
	return f(ctx, d.Repository, op.Arguments, event)
}

// operations has what carries out each operation, beside Init.
var operations = map[protocol.Operation]func(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error){
	protocol.OpSettings:    listSettings,
	protocol.OpSet:         set,
	protocol.OpCheck:       check,
	protocol.OpRepairIndex: repairIndex,
	protocol.OpMarkBad:     markBad,
	protocol.OpStats:       stats,
	protocol.OpForget:      forget,
	protocol.OpApplyPolicy: applyPolicy,
	protocol.OpUnforget:    unforget,
	protocol.OpTrash:       trash,
	protocol.OpAcknowledge: acknowledge,
	protocol.OpPrune:       prune,
	protocol.OpStatus:      status,
	protocol.OpRepairPacks: repairPacks,
	protocol.OpDrill:       recordDrill,
	protocol.OpAddLinks:    addLinks,
}

// bare refuses arguments where there are none.
func bare(arguments []byte) error {
	if len(arguments) > 0 {
		return object.CodeMalformed.Errorf("arguments that nobody asked for")
	}
	return nil
}

func listSettings(_ context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	if err := bare(arguments); err != nil {
		return nil, err
	}
	var list []protocol.Setting
	for _, s := range r.Settings() {
		list = append(list, protocol.Setting{Key: s.Key, Value: s.Value, Default: s.Default, Doc: s.Doc})
	}
	return protocol.AppendSettings(nil, list), nil
}

func set(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	list, err := protocol.UnmarshalSettings(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	for _, s := range list {
		if err := r.SetSetting(ctx, s.Key, s.Value); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func check(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	a, err := protocol.UnmarshalCheckArguments(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	return inspect(ctx, event, func(ctx context.Context, report func(repo.Problem)) (repo.CheckResult, error) {
		return r.Check(ctx, repo.CheckOptions{ReadData: a.ReadData, Subset: a.Subset}, report)
	})
}

func repairIndex(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	if err := bare(arguments); err != nil {
		return nil, err
	}
	return inspect(ctx, event, r.RepairIndex)
}

func repairPacks(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	if err := bare(arguments); err != nil {
		return nil, err
	}
	return inspect(ctx, event, r.RepairPacks)
}

// inspect runs something that reports problems. When they can't be passed on it
// is stopped.
func inspect(ctx context.Context, event func([]byte) error, run func(context.Context, func(repo.Problem)) (repo.CheckResult, error)) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := run(ctx, func(p repo.Problem) {
		m := protocol.Problem{What: p.What, Name: p.Name, ID: p.ID, Detail: p.Detail}
		if err := event(m.Append(nil)); err != nil {
			cancel(err)
		}
	})
	if err != nil {
		return nil, err
	}
	m := protocol.CheckResult{Snapshots: r.Snapshots, Packs: r.Packs, PacksRead: r.PacksRead, Objects: r.Objects, Bytes: r.Bytes, Problems: uint64(r.Problems)}
	return m.Append(nil), nil
}

func markBad(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	ids, err := protocol.UnmarshalIDs(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	return nil, r.MarkBad(ctx, ids)
}

func stats(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	if err := bare(arguments); err != nil {
		return nil, err
	}
	s, err := r.Stats(ctx)
	if err != nil {
		return nil, err
	}
	m := protocol.Stats{
		Snapshots: s.Snapshots, Objects: s.Objects, Packs: s.Packs, Segments: s.Segments,
		PackBytes: s.PackBytes, IndexBytes: s.IndexBytes, Free: s.Free, Total: s.Total, Sessions: s.Sessions,
	}
	return m.Append(nil), nil
}
