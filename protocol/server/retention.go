package server

import (
	"context"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

func forget(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	a, err := protocol.UnmarshalForgetArguments(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	return nil, r.Forget(ctx, a.IDs, repo.ForgetOptions{DryRun: a.DryRun, TrustClock: a.TrustClock, IgnoreUnusual: a.IgnoreUnusual})
}

func applyPolicy(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	a, err := protocol.UnmarshalPolicyArguments(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	policy, err := retention.ParsePolicy(a.Policy)
	if err != nil {
		return nil, object.CodeInvalid.Errorf("%w", err)
	}
	of := func(client, job string) (retention.Policy, bool) {
		if (a.Client != "" && a.Client != client) || (a.Job != "" && a.Job != job) {
			return retention.Policy{}, false
		}
		if a.Configured {
			return r.PolicyOf(client, job)
		}
		return policy, true
	}
	groups, err := r.ApplyPolicy(ctx, of, repo.ForgetOptions{
		DryRun: a.DryRun, TrustClock: a.TrustClock, IgnoreUnusual: a.IgnoreUnusual, AllowRemoveAll: a.RemoveAll,
	})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		text := g.Policy.String()
		for _, d := range g.Decisions {
			m := protocol.Decision{
				Client: g.Client, Job: g.Job, Policy: text, ID: d.Snapshot.ID, Received: d.Snapshot.Received.UnixNano(),
				Keep: d.Keep, Braked: d.Braked, Unusual: d.Snapshot.Unusual, Reasons: d.Reasons,
			}
			if err := event(m.Append(nil)); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// each reads ids and does something with every one of them.
func each(ctx context.Context, arguments []byte, do func(context.Context, object.ID) error) error {
	ids, err := protocol.UnmarshalIDs(arguments)
	if err != nil {
		return object.CodeMalformed.Errorf("%w", err)
	}
	for _, id := range ids {
		if err := do(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func unforget(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	return nil, each(ctx, arguments, r.Unforget)
}

func acknowledge(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	return nil, each(ctx, arguments, r.Acknowledge)
}

// trash sends what is forgotten without its sealed part, which may be larger
// than an event.
func trash(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	if err := bare(arguments); err != nil {
		return nil, err
	}
	return nil, r.Trash(ctx, func(s *object.Snapshot) error {
		s.Sealed = nil
		return event(s.Append(nil))
	})
}

func prune(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	a, err := protocol.UnmarshalPruneArguments(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := r.Prune(ctx, repo.PruneOptions{
		Grace: time.Duration(a.Grace), MaxUnused: a.MaxUnused, DryRun: a.DryRun, Yes: a.Yes, TrustClock: a.TrustClock,
		Progress: func(step string) {
			if err := event(protocol.AppendStep(nil, step)); err != nil {
				cancel(err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	m := protocol.PruneResult{
		Snapshots: uint64(p.Snapshots), Sessions: uint64(p.Sessions), Strays: uint64(p.Strays),
		ObjectsKept: uint64(p.ObjectsKept), ObjectsDeleted: uint64(p.ObjectsDeleted),
		PacksDeleted: uint64(p.PacksDeleted), PacksRewritten: uint64(p.PacksRewritten),
		BytesCopied: p.BytesCopied, BytesFreed: p.BytesFreed, BytesKept: p.BytesKept, BytesUnused: p.BytesUnused,
		Braked: uint64(p.Braked),
	}
	return m.Append(nil), nil
}

func status(ctx context.Context, r *repo.Repository, arguments []byte, event func([]byte) error) ([]byte, error) {
	if err := bare(arguments); err != nil {
		return nil, err
	}
	s, err := r.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, j := range s.Jobs {
		m := protocol.JobStatus{
			Client: j.Client, Job: j.Job, Last: j.Last, Oldest: j.Oldest, Received: uint64(j.Received), Flags: uint64(j.Flags),
			Snapshots: j.Snapshots, Trash: j.Trash, Unusual: j.Unusual, Used: j.Used,
			Drilled: uint64(j.Drill.Time), Drill: protocol.Drill{Snapshot: j.Drill.Snapshot, Files: j.Drill.Files, Read: j.Drill.Read, Bytes: j.Drill.Bytes, Lost: j.Drill.Lost},
		}
		if err := event(m.Append(nil)); err != nil {
			return nil, err
		}
	}
	m := protocol.Status{Now: uint64(s.Now), Pruned: uint64(s.Pruned), Freed: s.Freed, Bad: s.Bad}
	return m.Append(nil), nil
}

func recordDrill(ctx context.Context, r *repo.Repository, arguments []byte, _ func([]byte) error) ([]byte, error) {
	a, err := protocol.UnmarshalDrillArguments(arguments)
	if err != nil {
		return nil, object.CodeMalformed.Errorf("%w", err)
	}
	d := a.Drill
	return nil, r.RecordDrill(ctx, a.Client, a.Job, repo.Drill{Snapshot: d.Snapshot, Files: d.Files, Read: d.Read, Bytes: d.Bytes, Lost: d.Lost})
}
