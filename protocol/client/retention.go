package client

import (
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Forget moves snapshots to the trash. Beyond protocol.MaxForgotten of them it
// takes several requests, and a refusal undoes none that came before.
func (c *Conn) Forget(ctx context.Context, a protocol.ForgetArguments) error {
	ids := a.IDs
	for len(ids) > 0 {
		a.IDs = ids[:min(len(ids), protocol.MaxForgotten)]
		ids = ids[len(a.IDs):]
		if _, err := c.administer(ctx, protocol.OpForget, a.Append(nil), nil); err != nil {
			return err
		}
	}
	return nil
}

// ApplyPolicy forgets what a policy doesn't keep, and calls decided with what
// becomes of each snapshot after all of that is done.
func (c *Conn) ApplyPolicy(ctx context.Context, a protocol.PolicyArguments, decided func(protocol.Decision)) error {
	_, err := c.administer(ctx, protocol.OpApplyPolicy, a.Append(nil), c.held("decisions", func(b []byte) error {
		d, err := protocol.UnmarshalDecision(b)
		if err == nil {
			decided(*d)
		}
		return err
	}))
	return err
}

// Unforget brings a snapshot back from the trash.
func (c *Conn) Unforget(ctx context.Context, id object.ID) error {
	_, err := c.administer(ctx, protocol.OpUnforget, protocol.AppendIDs(nil, []object.ID{id}), nil)
	return err
}

// Acknowledge takes the unusual flag off a snapshot.
func (c *Conn) Acknowledge(ctx context.Context, id object.ID) error {
	_, err := c.administer(ctx, protocol.OpAcknowledge, protocol.AppendIDs(nil, []object.ID{id}), nil)
	return err
}

// Trash calls yield with every snapshot in the trash, oldest received first.
// Their sealed parts are left out.
func (c *Conn) Trash(ctx context.Context, yield func(*object.Snapshot) error) error {
	_, err := c.administer(ctx, protocol.OpTrash, nil, c.held("snapshots in the trash", func(b []byte) error {
		s, err := object.UnmarshalSnapshot(b)
		if err != nil {
			return err
		}
		return yield(s)
	}))
	return err
}

// Prune frees the space of what no snapshot reaches, and calls step at the
// beginning of each step.
func (c *Conn) Prune(ctx context.Context, a protocol.PruneArguments, step func(string)) (protocol.PruneResult, error) {
	result, err := c.administer(ctx, protocol.OpPrune, a.Append(nil), func(b []byte) error {
		s, err := protocol.UnmarshalStep(b)
		if err == nil {
			step(s)
		}
		return err
	})
	if err != nil {
		return protocol.PruneResult{}, err
	}
	r, err := protocol.UnmarshalPruneResult(result)
	return *r, err
}

// Status returns how the repository stands, after calling yield for each
// client's jobs, in order of their names.
func (c *Conn) Status(ctx context.Context, yield func(protocol.JobStatus)) (protocol.Status, error) {
	result, err := c.administer(ctx, protocol.OpStatus, nil, c.held("jobs", func(b []byte) error {
		s, err := protocol.UnmarshalJobStatus(b)
		if err == nil {
			yield(*s)
		}
		return err
	}))
	if err != nil {
		return protocol.Status{}, err
	}
	s, err := protocol.UnmarshalStatus(result)
	return *s, err
}

// RecordDrill lets the store note the outcome of trying to restore a snapshot.
func (c *Conn) RecordDrill(ctx context.Context, a protocol.DrillArguments) error {
	_, err := c.administer(ctx, protocol.OpDrill, a.Append(nil), nil)
	return err
}
