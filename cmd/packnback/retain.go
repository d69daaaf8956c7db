package main

import (
	"context"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

// retainer is what deciding about the fate of snapshots needs.
type retainer interface {
	Forget(ctx context.Context, ids []object.ID, opt repo.ForgetOptions) error
	applyPolicy(ctx context.Context, req policyRequest) ([]repo.Group, error)
	Unforget(ctx context.Context, id object.ID) error
	Trash(ctx context.Context, yield func(*object.Snapshot) error) error
	Acknowledge(ctx context.Context, id object.ID) error
	Prune(ctx context.Context, opt repo.PruneOptions) (repo.PruneResult, error)
	Status(ctx context.Context) (repo.Status, error)
	RecordDrill(ctx context.Context, client, job string, d repo.Drill) error
}

// policyRequest asks for a policy to be applied.
type policyRequest struct {
	repo.ForgetOptions
	Client, Job string           // only these; empty for all
	Configured  bool             // by the policies in the repository's settings instead of Policy
	Policy      retention.Policy // for each client and job by itself
}

func (l localStore) applyPolicy(ctx context.Context, req policyRequest) ([]repo.Group, error) {
	of := func(client, job string) (retention.Policy, bool) {
		if (req.Client != "" && req.Client != client) || (req.Job != "" && req.Job != job) {
			return retention.Policy{}, false
		}
		if req.Configured {
			return l.PolicyOf(client, job)
		}
		return req.Policy, true
	}
	return l.ApplyPolicy(ctx, of, req.ForgetOptions)
}

// Forget moves snapshots to the trash.
func (s *remoteStore) Forget(ctx context.Context, ids []object.ID, opt repo.ForgetOptions) error {
	return s.current().Forget(ctx, protocol.ForgetArguments{
		DryRun: opt.DryRun, TrustClock: opt.TrustClock, IgnoreUnusual: opt.IgnoreUnusual, IDs: ids,
	})
}

func (s *remoteStore) applyPolicy(ctx context.Context, req policyRequest) ([]repo.Group, error) {
	var groups []repo.Group
	var bad error
	a := protocol.PolicyArguments{
		DryRun: req.DryRun, TrustClock: req.TrustClock, IgnoreUnusual: req.IgnoreUnusual, RemoveAll: req.AllowRemoveAll,
		Configured: req.Configured, Client: req.Client, Job: req.Job, Policy: req.Policy.String(),
	}
	err := s.current().ApplyPolicy(ctx, a, func(d protocol.Decision) {
		last := len(groups) - 1
		if last < 0 || groups[last].Client != d.Client || groups[last].Job != d.Job {
			policy, err := retention.ParsePolicy(d.Policy)
			if err != nil && bad == nil {
				bad = err
			}
			groups = append(groups, repo.Group{Client: d.Client, Job: d.Job, Policy: policy})
			last++
		}
		groups[last].Decisions = append(groups[last].Decisions, retention.Decision{
			Snapshot: retention.Snapshot{ID: d.ID, Received: time.Unix(0, d.Received), Unusual: d.Unusual},
			Keep:     d.Keep, Braked: d.Braked, Reasons: d.Reasons,
		})
	})
	if err != nil {
		return nil, err
	}
	return groups, bad
}

// Unforget brings a snapshot back from the trash.
func (s *remoteStore) Unforget(ctx context.Context, id object.ID) error {
	return s.current().Unforget(ctx, id)
}

// Trash lists what is forgotten and not gone yet, without sealed parts.
func (s *remoteStore) Trash(ctx context.Context, yield func(*object.Snapshot) error) error {
	return s.current().Trash(ctx, yield)
}

// Acknowledge takes the unusual flag off a snapshot.
func (s *remoteStore) Acknowledge(ctx context.Context, id object.ID) error {
	return s.current().Acknowledge(ctx, id)
}

// Prune lets the store free space.
func (s *remoteStore) Prune(ctx context.Context, opt repo.PruneOptions) (repo.PruneResult, error) {
	step := opt.Progress
	if step == nil {
		step = func(string) {}
	}
	r, err := s.current().Prune(ctx, protocol.PruneArguments{
		DryRun: opt.DryRun, TrustClock: opt.TrustClock, Yes: opt.Yes, Grace: int64(opt.Grace), MaxUnused: opt.MaxUnused,
	}, step)
	return repo.PruneResult{
		Snapshots: int(r.Snapshots), Sessions: int(r.Sessions), Strays: int(r.Strays),
		ObjectsKept: int(r.ObjectsKept), ObjectsDeleted: int(r.ObjectsDeleted),
		PacksDeleted: int(r.PacksDeleted), PacksRewritten: int(r.PacksRewritten),
		BytesCopied: r.BytesCopied, BytesFreed: r.BytesFreed, BytesKept: r.BytesKept, BytesUnused: r.BytesUnused,
		Braked: int(r.Braked),
	}, err
}

// Status returns how the repository stands.
func (s *remoteStore) Status(ctx context.Context) (repo.Status, error) {
	var jobs []repo.JobStatus
	st, err := s.current().Status(ctx, func(j protocol.JobStatus) {
		jobs = append(jobs, repo.JobStatus{
			Client: j.Client, Job: j.Job, Last: j.Last, Oldest: j.Oldest, Received: int64(j.Received), Flags: object.Flags(j.Flags),
			Snapshots: j.Snapshots, Trash: j.Trash, Unusual: j.Unusual, Used: j.Used,
			Drill: repo.Drill{Snapshot: j.Drill.Snapshot, Time: int64(j.Drilled), Files: j.Drill.Files, Read: j.Drill.Read, Bytes: j.Drill.Bytes, Lost: j.Drill.Lost},
		})
	})
	return repo.Status{Now: int64(st.Now), Pruned: int64(st.Pruned), Freed: st.Freed, Bad: st.Bad, Jobs: jobs}, err
}
