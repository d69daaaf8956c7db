package client

import (
	"context"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// administer asks the store for an operation. arguments, the events passed to
// event and the result are as packnback-protocol(7) has them for op; event is
// nil where there are none.
func (c *Conn) administer(ctx context.Context, op protocol.Operation, arguments []byte, event func([]byte) error) ([]byte, error) {
	if len(arguments) > protocol.MaxArguments {
		return nil, object.CodeInvalid.Errorf("%s: %d bytes of arguments, the limit is %d", op, len(arguments), protocol.MaxArguments)
	}
	request := func(n uint32) protocol.Message {
		return &protocol.Administer{Number: n, Window: window, Operation: op, Arguments: arguments}
	}
	last, err := c.stream(ctx, request, func(m protocol.Message) error {
		e, ok := m.(*protocol.Outcome)
		if !ok || event == nil {
			return c.broke(m, protocol.TypeAdminister)
		}
		return event(e.Body)
	})
	if err != nil {
		return nil, err
	}
	result, ok := last.(*protocol.Outcome)
	if !ok {
		return nil, c.broke(last, protocol.TypeAdminister)
	}
	return result.Body, nil
}

// Init makes the repository that the connection is about, with settings that
// differ from their defaults. It returns the store's doubts about the place.
func (c *Conn) Init(ctx context.Context, settings []protocol.Setting) (warnings []string, err error) {
	return c.init(ctx, protocol.OpInit, protocol.AppendSettings(nil, settings))
}

func (c *Conn) init(ctx context.Context, op protocol.Operation, arguments []byte) (warnings []string, err error) {
	result, err := c.administer(ctx, op, arguments, nil)
	if err != nil {
		return nil, err
	}
	made, err := protocol.UnmarshalInitialized(result)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.welcome.Repository = made.ID
	for i, w := range made.Warnings {
		made.Warnings[i] = protocol.OneLine(w)
	}
	return made.Warnings, nil
}

// Settings returns the repository's settings.
func (c *Conn) Settings(ctx context.Context) ([]protocol.Setting, error) {
	result, err := c.administer(ctx, protocol.OpSettings, nil, nil)
	if err != nil {
		return nil, err
	}
	return protocol.UnmarshalSettings(result)
}

// SetSetting changes one setting; an empty value restores its default.
func (c *Conn) SetSetting(ctx context.Context, key, value string) error {
	_, err := c.administer(ctx, protocol.OpSet, protocol.AppendSettings(nil, []protocol.Setting{{Key: key, Value: value}}), nil)
	return err
}

// Check checks the repository and calls report with each thing that is wrong.
func (c *Conn) Check(ctx context.Context, a protocol.CheckArguments, report func(protocol.Problem)) (protocol.CheckResult, error) {
	return c.inspect(ctx, protocol.OpCheck, a.Append(nil), report)
}

// RepairIndex builds the repository's index anew.
func (c *Conn) RepairIndex(ctx context.Context, report func(protocol.Problem)) (protocol.CheckResult, error) {
	return c.inspect(ctx, protocol.OpRepairIndex, nil, report)
}

// RepairPacks replaces damaged packs by what is whole of them.
func (c *Conn) RepairPacks(ctx context.Context, report func(protocol.Problem)) (protocol.CheckResult, error) {
	return c.inspect(ctx, protocol.OpRepairPacks, nil, report)
}

func (c *Conn) inspect(ctx context.Context, op protocol.Operation, arguments []byte, report func(protocol.Problem)) (protocol.CheckResult, error) {
	result, err := c.administer(ctx, op, arguments, func(b []byte) error {
		p, err := protocol.UnmarshalProblem(b)
		if err == nil {
			report(*p)
		}
		return err
	})
	if err != nil {
		return protocol.CheckResult{}, err
	}
	r, err := protocol.UnmarshalCheckResult(result)
	return *r, err
}

// MarkBad quarantines the places that ids are read from.
func (c *Conn) MarkBad(ctx context.Context, ids []object.ID) error {
	for len(ids) > 0 {
		part := ids[:min(len(ids), protocol.MaxMarked)]
		if _, err := c.administer(ctx, protocol.OpMarkBad, protocol.AppendIDs(nil, part), nil); err != nil {
			return err
		}
		ids = ids[len(part):]
	}
	return nil
}

// Stats returns the repository's figures.
func (c *Conn) Stats(ctx context.Context) (protocol.Stats, error) {
	result, err := c.administer(ctx, protocol.OpStats, nil, nil)
	if err != nil {
		return protocol.Stats{}, err
	}
	s, err := protocol.UnmarshalStats(result)
	return *s, err
}
