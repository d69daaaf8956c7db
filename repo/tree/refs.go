package tree

import (
	"encoding/binary"

	"github.com/packnback/packnback/repo/object"
)

// linearRefs is the number of refs up to which looking at each of them is
// faster than a map.
const linearRefs = 8

// refColumn builds an object's refs and the column of a plaintext that speaks
// of them.
type refColumn struct {
	ids   []object.ID // in the order of first use
	index map[object.ID]int
	last  int // the one used last; most uses are of it again
	col   []byte
}

func (r *refColumn) reset() {
	r.ids, r.col, r.last = r.ids[:0], r.col[:0], 0
	clear(r.index)
}

func (r *refColumn) add(id object.ID) {
	i, ok := r.find(id)
	if ok {
		r.last = i
		r.col = binary.AppendUvarint(r.col, uint64(len(r.ids)-i))
		return
	}
	r.last = len(r.ids)
	r.ids = append(r.ids, id)
	r.col = append(r.col, 0)
	if len(r.ids) <= linearRefs {
		return
	}
	if r.index == nil {
		r.index = make(map[object.ID]int)
	}
	if len(r.index) == 0 {
		for j := range r.ids {
			r.index[r.ids[j]] = j
		}
	}
	r.index[id] = r.last
}

func (r *refColumn) find(id object.ID) (int, bool) {
	if len(r.ids) == 0 {
		return 0, false
	}
	if r.ids[r.last] == id {
		return r.last, true
	}
	if len(r.ids) > linearRefs {
		i, ok := r.index[id]
		return i, ok
	}
	for i := range r.ids {
		if r.ids[i] == id {
			return i, true
		}
	}
	return 0, false
}

// refReader resolves a column of refs.
type refReader struct {
	refs []object.ID
	used int
}

func (r *refReader) next(d *decoder) object.ID {
	v := d.uvarint()
	switch {
	case d.err != nil:
	case v == 0 && r.used < len(r.refs):
		r.used++
		return r.refs[r.used-1]
	case v == 0:
		d.fail("more than the object's %d refs are used", len(r.refs))
	case v <= uint64(r.used):
		return r.refs[r.used-int(v)]
	default:
		d.fail("ref %d back of %d used", v, r.used)
	}
	return object.ID{}
}

// end checks that every ref was used.
func (r *refReader) end(d *decoder) {
	if d.err == nil && r.used != len(r.refs) {
		d.fail("%d refs, only %d of them used", len(r.refs), r.used)
	}
}
