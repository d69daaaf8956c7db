package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Snapshots calls yield with every live snapshot, oldest first. More than
// protocol.MaxListed of them give a *ListError.
func (c *Conn) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return c.list(ctx, protocol.TypeSnapshots, &listed{c: c, what: "snapshots", most: c.maxListed}, yield)
}

// Links calls yield with what the store has kept of every forgotten snapshot,
// with the limit protocol.MaxListedLinks.
func (c *Conn) Links(ctx context.Context, yield func(*object.Snapshot) error) error {
	return c.list(ctx, protocol.TypeLinks, &listed{c: c, what: "forgotten snapshots", most: c.maxLinks}, yield)
}

func (c *Conn) list(ctx context.Context, t protocol.Type, l *listed, yield func(*object.Snapshot) error) error {
	request := func(n uint32) protocol.Message { return &protocol.List{Kind: t, Number: n, Window: window} }
	return c.finished(c.stream(ctx, request, func(m protocol.Message) error {
		s, ok := m.(*protocol.Snapshot)
		if !ok {
			return c.broke(m, t)
		}
		if err := l.add(0); err != nil { // without its sealed part each is small
			return err
		}
		return yield(s.Snapshot)
	}))
}

// Keys calls yield with every key object that the store has, in no order, some
// perhaps more than once. Those that it can't read are reported at the end by
// a *object.MissingError.
func (c *Conn) Keys(ctx context.Context, yield func(*object.Record) error) error {
	request := func(n uint32) protocol.Message {
		return &protocol.List{Kind: protocol.TypeKeys, Number: n, Window: window}
	}
	return c.finished(c.stream(ctx, request, func(m protocol.Message) error {
		o, ok := m.(*protocol.Object)
		if !ok || o.Record.Kind != object.KindKey {
			return c.broke(m, protocol.TypeKeys)
		}
		return yield(o.Record)
	}))
}

// Snapshot returns one snapshot. One that the store doesn't have gives
// object.CodeNotFound.
func (c *Conn) Snapshot(ctx context.Context, id object.ID) (*object.Snapshot, error) {
	var found *object.Snapshot
	request := func(n uint32) protocol.Message { return &protocol.Seek{Number: n, Window: window, ID: id} }
	err := c.finished(c.stream(ctx, request, func(m protocol.Message) error {
		s, ok := m.(*protocol.Snapshot)
		if !ok || found != nil || s.Snapshot.ID() != id {
			return c.broke(m, protocol.TypeLookup)
		}
		found = s.Snapshot
		return nil
	}))
	if err == nil && found == nil {
		err = object.CodeNotFound.Errorf("the store has no snapshot %s", id.Short())
	}
	return found, err
}

// Push calls yield with every directory and list that root reaches: root
// first, depth first in the order of the refs, each before what it refers to
// and again for each time it is referred to.
func (c *Conn) Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error {
	request := func(n uint32) protocol.Message {
		return &protocol.Seek{Push: true, Number: n, Window: window, ID: root}
	}
	first := true
	return c.finished(c.stream(ctx, request, func(m protocol.Message) error {
		o, ok := m.(*protocol.Object)
		if !ok || !o.Record.Kind.HasRefs() || (first && o.Record.ID != root) {
			return c.broke(m, protocol.TypePush)
		}
		first = false
		return yield(o.Record)
	}))
}

// Fetch calls yield with each of the objects ids names, once, in the order in
// which the store likes to read them. Those it lacks are reported at the end by
// a *object.MissingError. Several calls may be under way, also inside yield.
func (c *Conn) Fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	var missing object.MissingError
	for len(ids) > 0 {
		part := ids[:min(len(ids), protocol.MaxFetch)]
		ids = ids[len(part):]
		err := c.fetch(ctx, part, yield)
		var m *object.MissingError
		if !errors.As(err, &m) && err != nil {
			return err
		}
		if m != nil {
			missing.IDs, missing.More = append(missing.IDs, m.IDs...), missing.More || m.More
		}
	}
	if len(missing.IDs) == 0 {
		return nil
	}
	if len(missing.IDs) > object.MaxMissing {
		missing.IDs, missing.More = missing.IDs[:object.MaxMissing], true
	}
	return &missing
}

func (c *Conn) fetch(ctx context.Context, ids []object.ID, yield func(*object.Record) error) error {
	wanted := make(map[object.ID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	request := func(n uint32) protocol.Message { return &protocol.Fetch{Number: n, Window: window, IDs: ids} }
	err := c.finished(c.stream(ctx, request, func(m protocol.Message) error {
		o, ok := m.(*protocol.Object)
		if !ok || !wanted[o.Record.ID] {
			return c.broke(m, protocol.TypeFetch)
		}
		delete(wanted, o.Record.ID)
		return yield(o.Record)
	}))
	if err == nil && len(wanted) > 0 {
		err = fmt.Errorf("%w message: the store left %d objects out without a word", object.ErrMalformed, len(wanted))
		c.fail(err)
	}
	return err
}

// finished takes the outcome of a stream that ends with nothing but Done.
func (c *Conn) finished(last protocol.Message, err error) error {
	if err != nil {
		return err
	}
	if last.Type() != protocol.TypeDone {
		return c.broke(last, protocol.TypeFetch)
	}
	return nil
}
