package repo

import (
	"context"
	"slices"

	"github.com/packnback/packnback/repo/object"
)

const (
	// pushRefs is how many refs the stack of a Push holds: 64 MiB of them. Those
	// further down are read again when it comes back to them.
	pushRefs = 2 << 20
	// pushDepth is how deep lists and directories may lie in each other. No file
	// system has trees as deep; a snapshot with a deeper one is an attack.
	pushDepth = 1 << 17
)

// Push yields every list and directory object that is reachable from root: root
// first, depth first in the order of refs, each as often as it is referred to.
// Chunks, bundles and key objects are left out. What is missing or can't be
// read is left out with everything below it, and named by the MissingError that
// comes at the end. Records belong to yield's callee. Safe for concurrent use.
func (r *Repository) Push(ctx context.Context, root object.ID, yield func(*object.Record) error) error {
	return r.pushWithin(ctx, root, pushRefs, yield)
}

// pushWithin is Push with at most about room refs in memory.
func (r *Repository) pushWithin(ctx context.Context, root object.ID, room int, yield func(*object.Record) error) error {
	rd, err := r.newReader(ctx)
	if err != nil {
		return err
	}
	defer rd.close()
	p := &push{rd: rd, room: room, yield: yield, above: map[object.ID]bool{}}
	if err := p.enter(ctx, root); err != nil {
		return err
	}
	for len(p.stack) > 0 {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return p.missing.err()
}

// push is one Push under way.
type push struct {
	rd      *reader
	room    int
	yield   func(*object.Record) error
	stack   []level
	above   map[object.ID]bool // ids on the stack
	held    int                // refs on the stack
	missing missing
}

// level is an object on the stack and how far its refs have been walked.
type level struct {
	id   object.ID
	next int
	refs []object.ID // nil when dropped for want of room
}

// step goes on from the deepest level by one ref.
func (p *push) step(ctx context.Context) error {
	top := &p.stack[len(p.stack)-1]
	if top.refs == nil {
		rec, _, err := p.rd.object(ctx, top.id)
		if err != nil {
			return err
		}
		if rec != nil {
			top.refs = rec.Refs
			p.held += len(top.refs)
		}
	}
	if top.next >= len(top.refs) {
		p.held -= len(top.refs)
		delete(p.above, top.id)
		p.stack = p.stack[:len(p.stack)-1]
		return nil
	}
	top.next++
	return p.enter(ctx, top.refs[top.next-1])
}

// enter yields the object id and puts it on the stack, if it is one to push.
func (p *push) enter(ctx context.Context, id object.ID) error {
	found, err := p.rd.v.find(nil, id)
	if err != nil {
		return err
	}
	if len(found) > 0 && !found[0].Kind.HasRefs() {
		return nil
	}
	rec, _, err := p.rd.object(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case rec == nil:
		p.missing.add(id)
		return nil
	case !rec.Kind.HasRefs():
		return nil
	case p.above[id] || len(p.stack) >= pushDepth:
		return object.CodeMalformed.Errorf("object %s lies below itself, or %d levels deep; the snapshot was made by a hostile program", id, len(p.stack))
	}
	if err := p.yield(rec); err != nil {
		return err
	}
	if len(rec.Refs) == 0 {
		return nil
	}
	p.above[id] = true
	p.stack = append(p.stack, level{id: id, refs: slices.Clone(rec.Refs)})
	p.held += len(rec.Refs)
	p.trim()
	return nil
}

// trim drops the refs of the lowest levels while there are too many.
func (p *push) trim() {
	for i := 0; p.held > p.room && i < len(p.stack)-1; i++ {
		p.held -= len(p.stack[i].refs)
		p.stack[i].refs = nil
	}
}
