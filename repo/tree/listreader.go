package tree

import (
	"fmt"
	"iter"

	"github.com/packnback/packnback/repo/object"
)

// listNode is one parsed list object.
type listNode struct {
	Level    int         // 0 for a leaf
	Extents  []Extent    // of a leaf
	Children []listChild // of an interior node
}

// listChild is one subtree of an interior list node.
type listChild struct {
	Length uint64 // bytes of the file that it stands for, at least 1
	ID     object.ID
}

// unmarshalList parses one list object and checks everything that can be
// checked without its children. Errors wrap object.ErrMalformed. The listNode
// shares no memory with its arguments.
func unmarshalList(refs []object.ID, plaintext []byte) (*listNode, error) {
	if err := checkObject(refs, plaintext); err != nil {
		return nil, err
	}
	d := &decoder{b: plaintext}
	rr := &refReader{refs: refs}
	node := new(listNode)
	switch d.magic() {
	case magicList:
		node.readLeaf(d, rr)
	case magicListNode:
		node.readInterior(d, rr)
	default:
		return nil, malformed("not a version 1 list")
	}
	rr.end(d)
	if err := d.end(); err != nil {
		return nil, err
	}
	return node, nil
}

func (node *listNode) readLeaf(d *decoder, rr *refReader) {
	n := d.count("number of extents", maxListExtents)
	if n == 0 {
		d.fail("list without extents")
	}
	node.Extents = readExtents(d, n)
	xr := extentResolver{refs: rr}
	var total uint64
	for i := range node.Extents {
		xr.resolve(d, &node.Extents[i])
		total = addSize(d, total, node.Extents[i].Length)
		if d.err != nil {
			return
		}
	}
}

func (node *listNode) readInterior(d *decoder, rr *refReader) {
	node.Level = readLevel(d)
	node.Children = make([]listChild, readChildCount(d))
	var total uint64
	for i := range node.Children {
		c := &node.Children[i]
		if c.Length = d.uvarint(); c.Length == 0 || c.Length > maxFileSize {
			d.fail("child %d of %d bytes", i, c.Length)
			return
		}
		total = addSize(d, total, c.Length)
	}
	for i := range node.Children {
		node.Children[i].ID = rr.next(d)
	}
}

// length returns how many bytes of a file the node stands for.
func (node *listNode) length() uint64 {
	var total uint64
	for i := range node.Extents {
		total += node.Extents[i].Length
	}
	for i := range node.Children {
		total += node.Children[i].Length
	}
	return total
}

// PlacedExtent is an extent and where in its file it begins.
type PlacedExtent struct {
	At uint64
	Extent
}

// ReadExtents iterates over what the extents of an entry stand for, lists
// resolved, beginning with the extent that holds byte from. It loads no list
// object that lies wholly before from, and holds one of each level. After an
// error it stops.
func ReadExtents(load Load, extents []Extent, from uint64) iter.Seq2[PlacedExtent, error] {
	return func(yield func(PlacedExtent, error) bool) {
		r := listReader{load: load, from: from, yield: yield}
		var at uint64
		for i := range extents {
			x := &extents[i]
			if at+x.Length > from {
				if more, err := r.extent(at, x); err != nil || !more {
					if err != nil {
						yield(PlacedExtent{}, err)
					}
					return
				}
			}
			at += x.Length
		}
	}
}

type listReader struct {
	load  Load
	from  uint64
	yield func(PlacedExtent, error) bool
}

func (r *listReader) extent(at uint64, x *Extent) (more bool, err error) {
	if x.Kind != ExtentList {
		return r.yield(PlacedExtent{At: at, Extent: *x}, nil), nil
	}
	more, err = r.list(at, listChild{Length: x.Length, ID: x.ID}, -1)
	if err != nil {
		return false, fmt.Errorf("list %s: %w", x.ID.Short(), err)
	}
	return more, nil
}

// list yields what is in the list object c, which begins at offset at and must
// be of the given level, or of any with -1. The depth of the recursion is
// bounded because levels descend.
func (r *listReader) list(at uint64, c listChild, level int) (more bool, err error) {
	refs, b, err := r.load(object.KindList, c.ID)
	if err != nil {
		return false, err
	}
	n, err := unmarshalList(refs, b)
	if err != nil {
		return false, err
	}
	if got := n.length(); got != c.Length || (level >= 0 && n.Level != level) {
		return false, malformed("node %s of level %d with %d bytes where level %d and %d belong", c.ID.Short(), n.Level, got, level, c.Length)
	}
	for i := range n.Extents {
		x := &n.Extents[i]
		if at+x.Length > r.from && !r.yield(PlacedExtent{At: at, Extent: *x}, nil) {
			return false, nil
		}
		at += x.Length
	}
	for _, child := range n.Children {
		if at+child.Length > r.from {
			if more, err = r.list(at, child, n.Level-1); !more || err != nil {
				return false, err
			}
		}
		at += child.Length
	}
	return true, nil
}
