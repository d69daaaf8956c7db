package server

import (
	"bytes"
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Operation is what Administer asks for.
type Operation struct {
	Code      protocol.Operation
	Arguments []byte // as packnback-protocol(7) has them for Code
}

// administer handles Administer.
func (c *conn) administer(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalAdminister(b)
	if err != nil {
		return err
	}
	need, known := operationNeeds[m.Operation]
	switch {
	case !known:
		err = object.CodeVersion.Errorf("this store does not know %s; update packnback there", m.Operation)
	case c.granted&need != need:
		err = c.refusal(m.Operation.String())
	case m.Operation == protocol.OpInit, m.Operation == protocol.OpInitReplica:
		return c.init(ctx, m)
	case c.repo == nil:
		err = c.absent()
	}
	if err != nil {
		if err := c.number(m.Number); err != nil {
			return err
		}
		return c.fail(ctx, m.Number, err)
	}
	repo := c.repo
	op := Operation{m.Operation, bytes.Clone(m.Arguments)} // the stream outlives the buffer
	return c.streams.start(ctx, m.Number, m.Window, func(ctx context.Context, st *stream) (protocol.Message, error) {
		result, err := repo.Administer(ctx, op, func(event []byte) error {
			return st.item(ctx, &protocol.Outcome{Number: st.number, Body: event}, numberSize+len(event))
		})
		if err != nil {
			return nil, err
		}
		return &protocol.Outcome{Final: true, Number: st.number, Body: result}, nil
	})
}

// init makes the repository that the connection is about. It is not a stream,
// because nothing else can go on before it is done.
func (c *conn) init(ctx context.Context, m *protocol.Administer) error {
	if err := c.number(m.Number); err != nil {
		return err
	}
	if c.repo != nil {
		return c.fail(ctx, m.Number, object.CodeExists.Errorf("there is a repository at %q already", c.dir))
	}
	a := new(protocol.ReplicaArguments)
	var err error
	if m.Operation == protocol.OpInitReplica {
		a, err = protocol.UnmarshalReplicaArguments(m.Arguments)
	} else {
		a.Settings, err = protocol.UnmarshalSettings(m.Arguments)
	}
	if err != nil {
		return err
	}
	var warnings []string
	err = c.life.work(func() error {
		repo, doubts, err := c.store.Init(ctx, c.dir, a.ID, a.Settings)
		if err == nil {
			c.repo, warnings = repo, doubts
		}
		return err
	})
	if err != nil {
		return c.fail(ctx, m.Number, err)
	}
	made := &protocol.Initialized{ID: c.repo.ID(), Warnings: warnings}
	return c.out.Send(ctx, &protocol.Outcome{Final: true, Number: m.Number, Body: made.Append(nil)})
}
