package client

import (
	"context"
	"fmt"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Administer asks the store for an operation. arguments, the events passed to
// event and the result are as packnback-protocol(7) has them for op; event may
// be nil.
func (c *Conn) Administer(ctx context.Context, op protocol.Operation, arguments []byte, event func([]byte) error) ([]byte, error) {
	if len(arguments) > protocol.MaxArguments {
		return nil, object.CodeInvalid.Errorf("%s: %d bytes of arguments, the limit is %d", op, len(arguments), protocol.MaxArguments)
	}
	request := func(n uint32) protocol.Message {
		return &protocol.Administer{Number: n, Window: window, Operation: op, Arguments: arguments}
	}
	last, err := c.stream(ctx, request, func(m protocol.Message) error {
		e, ok := m.(*protocol.Outcome)
		if !ok {
			return c.broke(m, protocol.TypeAdminister)
		}
		if event == nil {
			return nil
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

// Init makes the repository that the connection is about.
func (c *Conn) Init(ctx context.Context, arguments []byte) error {
	result, err := c.Administer(ctx, protocol.OpInit, arguments, nil)
	if err != nil {
		return err
	}
	if len(result) != object.RepositoryIDSize {
		return fmt.Errorf("%w message: a repository id of %d bytes", object.ErrMalformed, len(result))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.welcome.Repository = object.RepositoryID(result)
	return nil
}
