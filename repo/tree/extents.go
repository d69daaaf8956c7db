package tree

import (
	"encoding/binary"
	"fmt"

	"github.com/packnback/packnback/repo/object"
)

// codeNext is the extent kind, in a plaintext only, of a bundle slice that
// begins where the last one ended.
const codeNext = 0

// check applies the rules for one extent.
func (x *Extent) check(lists bool) error {
	if x.Length == 0 || x.Length > maxFileSize {
		return fmt.Errorf("extent of %d bytes", x.Length)
	}
	if x.Kind != ExtentBundle && x.Offset != 0 {
		return fmt.Errorf("extent of kind %d with an offset", x.Kind)
	}
	if (x.Kind == ExtentHole) != x.ID.IsZero() {
		return fmt.Errorf("extent of kind %d with object %s", x.Kind, x.ID.Short())
	}
	switch x.Kind {
	case ExtentBundle, ExtentChunk:
		if uint64(x.Offset)+x.Length > object.MaxPlaintext {
			return fmt.Errorf("extent ends %d bytes into an object", uint64(x.Offset)+x.Length)
		}
	case ExtentList:
		if !lists {
			return fmt.Errorf("list in a list")
		}
	case ExtentHole:
	default:
		return fmt.Errorf("unknown kind %d of extent", x.Kind)
	}
	return nil
}

// extentColumns builds the four columns of a node's extents; their refs go to
// the node's refColumn.
type extentColumns struct {
	n                       int
	kinds, lengths, offsets []byte
	next                    nextSlice
}

// nextSlice is where the last bundle slice of a node ended.
type nextSlice struct {
	id  object.ID // zero before the first slice
	end uint32
}

func (s *nextSlice) follows(x *Extent) bool { return x.ID == s.id && x.Offset == s.end }

func (s *nextSlice) set(x *Extent) {
	s.id, s.end = x.ID, x.Offset+uint32(x.Length)
}

func (c *extentColumns) reset() {
	c.n, c.kinds, c.lengths, c.offsets = 0, c.kinds[:0], c.lengths[:0], c.offsets[:0]
	c.next = nextSlice{}
}

func (c *extentColumns) add(x *Extent, refs *refColumn) {
	c.n++
	c.lengths = binary.AppendUvarint(c.lengths, x.Length)
	code := byte(x.Kind)
	switch x.Kind {
	case ExtentBundle:
		if c.next.follows(x) {
			code = codeNext
		} else {
			c.offsets = binary.AppendUvarint(c.offsets, uint64(x.Offset))
			refs.add(x.ID)
		}
		c.next.set(x)
	case ExtentChunk, ExtentList:
		refs.add(x.ID)
	case ExtentHole:
	}
	c.kinds = append(c.kinds, code)
}

func (c *extentColumns) appendTo(dst []byte) []byte {
	dst = append(dst, c.kinds...)
	dst = append(dst, c.lengths...)
	return append(dst, c.offsets...)
}

func (c *extentColumns) size() int { return len(c.kinds) + len(c.lengths) + len(c.offsets) }

// readExtents takes the kinds, lengths and offsets of n extents. The objects
// come later; until then Kind 0 stands for a slice that follows the last one.
func readExtents(d *decoder, n int) []Extent {
	kinds := d.bytes(n)
	if len(kinds) == 0 {
		return nil
	}
	xs := make([]Extent, n)
	for i := range xs {
		xs[i].Kind = ExtentKind(kinds[i])
		xs[i].Length = d.uvarint()
	}
	for i := range xs {
		if xs[i].Kind == ExtentBundle {
			v := d.uvarint()
			if v > object.MaxPlaintext {
				d.fail("offset %d in a bundle", v)
			}
			xs[i].Offset = uint32(v)
		}
	}
	return xs
}

// extentResolver gives extents their objects, in order.
type extentResolver struct {
	refs  *refReader
	next  nextSlice
	lists bool
}

func (r *extentResolver) resolve(d *decoder, x *Extent) {
	switch x.Kind {
	case codeNext:
		if r.next.id.IsZero() {
			d.fail("extent follows on nothing")
			return
		}
		x.Kind, x.ID, x.Offset = ExtentBundle, r.next.id, r.next.end
	case ExtentBundle:
		x.ID = r.refs.next(d)
		if d.err == nil && r.next.follows(x) {
			d.fail("extent follows on the last one and does not say so")
		}
	case ExtentChunk, ExtentList:
		x.ID = r.refs.next(d)
	}
	if d.err != nil {
		return
	}
	if err := x.check(r.lists); err != nil {
		d.fail("%w", err)
		return
	}
	if x.Kind == ExtentBundle {
		r.next.set(x)
	}
}
