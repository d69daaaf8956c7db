package tree

import (
	"slices"
	"strings"
)

// The functions below each take one group of a leaf's columns into es, in the
// order in which they stand there. They leave what Entry.check sees to it.

// readKinds takes the kinds and which entry is of which.
func readKinds(d *decoder, es []Entry) {
	n := d.count("number of kinds", len(es))
	if (n == 0) != (len(es) == 0) {
		d.fail("%d kinds for %d entries", n, len(es))
	}
	if d.err != nil || n == 0 {
		return
	}
	kinds := make([]kind, n)
	var seen map[kind]struct{}
	if n > linearRefs {
		seen = make(map[kind]struct{}, n)
	}
	for i := range kinds {
		k := kind{typ: Type(d.uint8()), mode: uint32(d.count("mode", ModeMask)), uid: d.uint32var("uid"), gid: d.uint32var("gid")}
		k.user, k.group = d.string("user name", MaxUserName), d.string("group name", MaxUserName)
		repeated := false
		if seen == nil {
			repeated = slices.Contains(kinds[:i], k)
		} else {
			_, repeated = seen[k]
			seen[k] = struct{}{}
		}
		if repeated {
			d.fail("kind %d is a repetition", i)
		}
		if d.err != nil {
			return
		}
		kinds[i] = k
	}
	next := firstUse{limit: n}
	for i := range es {
		k := &kinds[0]
		if n > 1 {
			j := next.take(d, "kind", 0)
			k = &kinds[j]
		}
		es[i].Type, es[i].Mode, es[i].UID, es[i].GID, es[i].User, es[i].Group = k.typ, k.mode, k.uid, k.gid, k.user, k.group
	}
	if n > 1 {
		next.end(d, "kinds")
	}
}

// firstUse checks that a column's indices into a dictionary use it all, and
// for the first time in its own order.
type firstUse struct{ used, limit int }

// take takes an index that is counted from base.
func (f *firstUse) take(d *decoder, what string, base int) int {
	v := d.uvarint()
	i := int(v) - base
	if d.err != nil || v > uint64(f.used+base) || i >= f.limit {
		d.fail("%s %d after %d of %d were used", what, v, f.used, f.limit)
		return 0
	}
	if i == f.used {
		f.used++
	}
	return i
}

func (f *firstUse) end(d *decoder, what string) {
	if f.used != f.limit {
		d.fail("%d of %d %s used", f.used, f.limit, what)
	}
}

func readMtimes(d *decoder, es []Entry, nsec bool) {
	var last int64
	for i := range es {
		last += unzigzag(d.uvarint())
		es[i].Mtime.Sec = last
	}
	if !nsec {
		return
	}
	any := false
	for i := range es {
		es[i].Mtime.Nsec = d.uint32()
		any = any || es[i].Mtime.Nsec != 0
	}
	if !any {
		d.fail("column of nanoseconds that are all zero")
	}
}

func readAtimes(d *decoder, es []Entry) {
	if readBools(d, "atime", es, func(e *Entry) *bool { return &e.HasAtime }) == 0 {
		d.fail("column of atimes without any")
	}
	for i := range es {
		if e := &es[i]; e.HasAtime {
			e.Atime.Sec = e.Mtime.Sec + unzigzag(d.uvarint())
			e.Atime.Nsec = d.uint32()
		}
	}
}

// readBools takes one byte for each entry for which field is not nil and
// returns how many were 1.
func readBools(d *decoder, what string, es []Entry, field func(*Entry) *bool) int {
	n := 0
	for i := range es {
		p := field(&es[i])
		if p == nil {
			continue
		}
		v := d.uint8()
		if v > 1 {
			d.fail("%s flag %d", what, v)
		}
		*p = v == 1
		n += int(v & 1)
	}
	return n
}

// readContents takes the extents of files and the subtrees of directories.
func readContents(d *decoder, es []Entry, rr *refReader) {
	total := 0
	counts := make([]uint8, len(es))
	for i := range es {
		if es[i].Type == TypeFile {
			counts[i] = uint8(d.count("number of extents", MaxExtents))
			total += int(counts[i])
		}
	}
	all := readExtents(d, total)
	xr := extentResolver{refs: rr, lists: true}
	for i := range es {
		e := &es[i]
		if e.Type == TypeDir {
			e.Subtree = rr.next(d)
		}
		if d.err != nil {
			return
		}
		n := int(counts[i])
		if n == 0 {
			continue
		}
		e.Extents, all = all[:n:n], all[n:]
		for j := range e.Extents {
			xr.resolve(d, &e.Extents[j])
			// The sum is below 2^63 * 64; check refuses what wrapped or is over the limit.
			e.Size = addSize(d, e.Size, e.Extents[j].Length)
		}
	}
}

// addSize adds lengths of which each is at most maxFileSize.
func addSize(d *decoder, size, length uint64) uint64 {
	if size+length > maxFileSize {
		d.fail("size over the limit of %d", uint64(maxFileSize))
		return 0
	}
	return size + length
}

func readTargets(d *decoder, es []Entry) {
	sizes := make([]int, 0, 16)
	total := 0
	for i := range es {
		if es[i].Type == TypeSymlink {
			n := d.count("symlink target", MaxTarget)
			sizes = append(sizes, n)
			total += n
		}
	}
	text := string(d.bytes(total))
	if d.err != nil {
		return
	}
	for i := range es {
		if es[i].Type != TypeSymlink {
			continue
		}
		// Cloned: one target must not keep the others in memory.
		es[i].Target = strings.Clone(text[:sizes[0]])
		es[i].Size = uint64(sizes[0])
		text, sizes = text[sizes[0]:], sizes[1:]
	}
}

func readLinks(d *decoder, es []Entry) {
	has := make([]bool, len(es))
	i := -1
	n := readBools(d, "link id", es, func(e *Entry) *bool {
		i++
		if e.Type == TypeDir {
			return nil
		}
		return &has[i]
	})
	if n == 0 {
		d.fail("column of link ids without any")
	}
	for i := range es {
		if !has[i] {
			continue
		}
		if es[i].LinkID = d.uint64(); es[i].LinkID == 0 {
			d.fail("link id 0")
		}
	}
}

// readXattrSets takes the sets of extended attributes and which entry has
// which. Entries share the memory of their set.
func readXattrSets(d *decoder, es []Entry) {
	n := d.count("number of attribute sets", len(es))
	if n == 0 {
		d.fail("columns of extended attributes without any")
	}
	if d.err != nil {
		return
	}
	sets := make([][]Xattr, n)
	seen := make(map[string]struct{}, n)
	for i := range sets {
		before := d.b
		sets[i] = readXattrs(d, 1)
		if d.err != nil {
			return
		}
		raw := string(before[:len(before)-len(d.b)])
		if _, ok := seen[raw]; ok {
			d.fail("attribute set %d is a repetition", i+1)
			return
		}
		seen[raw] = struct{}{}
	}
	next := firstUse{limit: n}
	for i := range es {
		if len(d.b) > 0 && d.b[0] == 0 {
			d.b = d.b[1:]
			continue
		}
		es[i].Xattrs = sets[next.take(d, "attribute set", 1)]
	}
	next.end(d, "attribute sets")
}

// readXattrs takes one set of at least least attributes. checkXattrs sees to
// the rest.
func readXattrs(d *decoder, least int) []Xattr {
	n := d.count("number of extended attributes", MaxXattrs)
	// An attribute has a name of at least one byte and two lengths.
	if n < least || 3*n > len(d.b) {
		d.fail("set of %d extended attributes", n)
	}
	if d.err != nil || n == 0 {
		return nil
	}
	xs := make([]Xattr, n)
	for i := range xs {
		xs[i].Name = d.string("extended attribute name", MaxXattrName)
		xs[i].Value = append([]byte{}, d.bytes(d.count("extended attribute value", MaxXattrValue))...)
		if d.err != nil {
			return nil
		}
	}
	if err := checkXattrs(xs); err != nil {
		d.fail("%w", err)
	}
	return xs
}
