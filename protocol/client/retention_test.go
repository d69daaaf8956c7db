package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

func TestRetentionReportsAndReturns(t *testing.T) {
	conn, r := pair(t, server.Options{Mode: server.Full})
	ctx := t.Context()

	decision := protocol.Decision{Client: "web1", Job: "default", Policy: "last=1", ID: nameID("s"), Received: 5, Keep: true, Reasons: []string{"last"}}
	r.Events = [][]byte{decision.Append(nil), decision.Append(nil)}
	var decided []protocol.Decision
	err := conn.ApplyPolicy(ctx, protocol.PolicyArguments{Policy: "last=1"}, func(d protocol.Decision) { decided = append(decided, d) })
	if err != nil || len(decided) != 2 || decided[1].ID != decision.ID || !slices.Equal(decided[1].Reasons, decision.Reasons) {
		t.Errorf("ApplyPolicy: got %+v, %v", decided, err)
	}

	job := protocol.JobStatus{Client: "web1", Job: "default", Last: nameID("s"), Received: 5, Snapshots: 7}
	want := protocol.Status{Now: 9, Pruned: 8, Freed: 7, Bad: 6}
	r.Events, r.Result = [][]byte{job.Append(nil)}, want.Append(nil)
	var jobs []protocol.JobStatus
	st, err := conn.Status(ctx, func(j protocol.JobStatus) { jobs = append(jobs, j) })
	if err != nil || st != want || len(jobs) != 1 || jobs[0] != job {
		t.Errorf("Status: got %+v, %+v, %v", st, jobs, err)
	}

	freed := protocol.PruneResult{BytesFreed: 12}
	r.Events, r.Result = [][]byte{protocol.AppendStep(nil, "marking\x1b[2J")}, freed.Append(nil)
	var steps []string
	result, err := conn.Prune(ctx, protocol.PruneArguments{Grace: -1}, func(s string) { steps = append(steps, s) })
	if err != nil || result != freed || !slices.Equal(steps, []string{"marking?[2J"}) {
		t.Errorf("Prune: got %+v, %q, %v", result, steps, err)
	}
}

// TestRetentionRefusesNonsense has a store that answers with something else.
func TestRetentionRefusesNonsense(t *testing.T) {
	for name, ask := range retentionRequests {
		conn, r := pair(t, server.Options{Mode: server.Full})
		r.Events, r.Result = [][]byte{{1, 2, 3}}, []byte{1}
		if err := ask(t.Context(), conn); !errors.Is(err, object.ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, object.ErrMalformed)
		}
	}
}

func TestRetentionIsForAdministrators(t *testing.T) {
	for _, opt := range []server.Options{{Mode: server.ReadOnly}, {Mode: server.WriteOnly, Client: "web1"}} {
		conn, r := pair(t, opt)
		r.Fail = func(call string) error { t.Errorf("mode %d: the store was asked for %s", opt.Mode, call); return nil }
		for name, ask := range retentionRequests {
			if opt.Mode == server.ReadOnly && (name == "trash" || name == "status") {
				continue
			}
			if err := ask(t.Context(), conn); !errors.Is(err, object.CodeDenied) {
				t.Errorf("mode %d, %s: got %v, want %v", opt.Mode, name, err, object.CodeDenied)
			}
		}
	}
}

// retentionRequests are all that an administrator can ask of retention.
var retentionRequests = map[string]func(context.Context, *client.Conn) error{
	"forget": func(ctx context.Context, c *client.Conn) error {
		return c.Forget(ctx, protocol.ForgetArguments{IDs: []object.ID{nameID("s")}})
	},
	"policy": func(ctx context.Context, c *client.Conn) error {
		return c.ApplyPolicy(ctx, protocol.PolicyArguments{Configured: true}, func(protocol.Decision) {})
	},
	"unforget":    func(ctx context.Context, c *client.Conn) error { return c.Unforget(ctx, nameID("s")) },
	"acknowledge": func(ctx context.Context, c *client.Conn) error { return c.Acknowledge(ctx, nameID("s")) },
	"trash": func(ctx context.Context, c *client.Conn) error {
		return c.Trash(ctx, func(*object.Snapshot) error { return nil })
	},
	"prune": func(ctx context.Context, c *client.Conn) error {
		_, err := c.Prune(ctx, protocol.PruneArguments{}, func(string) {})
		return err
	},
	"drill": func(ctx context.Context, c *client.Conn) error {
		return c.RecordDrill(ctx, protocol.DrillArguments{Client: "web1", Job: "default", Drill: protocol.Drill{Snapshot: nameID("s")}})
	},
	"status": func(ctx context.Context, c *client.Conn) error {
		_, err := c.Status(ctx, func(protocol.JobStatus) {})
		return err
	},
}
