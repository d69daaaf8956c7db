package tree

import "github.com/packnback/packnback/repo/object"

// Node is one parsed directory object: a leaf with entries, or an interior
// node of a very large directory with children.
type Node struct {
	Level    int     // 0 for a leaf
	Entries  []Entry // of a leaf, ascending by name
	Children []Child // of an interior node, ascending by first name
}

// Child is one subtree of an interior node.
type Child struct {
	First string // name of its first entry
	Count uint64 // number of entries in it, at least 1
	ID    object.ID
}

// UnmarshalDir parses one directory object and checks everything that can be
// checked without its children. Errors wrap object.ErrMalformed. The Node
// shares no memory with its arguments; a hostile one takes at most about 60 MiB.
func UnmarshalDir(refs []object.ID, plaintext []byte) (*Node, error) {
	if err := checkObject(refs, plaintext); err != nil {
		return nil, err
	}
	d := &decoder{b: plaintext}
	rr := &refReader{refs: refs}
	node := new(Node)
	switch d.magic() {
	case magicLeaf:
		node.readLeaf(d, rr)
	case magicInterior:
		node.readInterior(d, rr)
	default:
		return nil, malformed("not a version 1 directory")
	}
	rr.end(d)
	if err := d.end(); err != nil {
		return nil, err
	}
	return node, nil
}

func (node *Node) readInterior(d *decoder, rr *refReader) {
	node.Level = readLevel(d)
	n := readChildCount(d)
	node.Children = make([]Child, n)
	readNames(d, n, func(i int, name string) { node.Children[i].First = name })
	var total uint64
	for i := range node.Children {
		c := &node.Children[i]
		c.Count = d.uvarint()
		if total += c.Count; c.Count == 0 || c.Count > maxFileSize || total > maxFileSize {
			d.fail("child %d of %d entries", i, c.Count)
		}
	}
	if len(rr.refs) != n {
		d.fail("%d refs for %d children", len(rr.refs), n)
		return
	}
	for i := range node.Children {
		node.Children[i].ID = rr.refs[i]
	}
	rr.used = n
}

// readLevel takes the level of an interior node.
func readLevel(d *decoder) int {
	level := d.uint8()
	if level == 0 || level > maxLevel {
		d.fail("level %d of an interior node", level)
	}
	return int(level)
}

// readChildCount takes the number of an interior node's children.
func readChildCount(d *decoder) int {
	n := d.count("number of children", maxChildren)
	if n == 0 {
		d.fail("interior node without children")
	}
	return n
}

func (node *Node) readLeaf(d *decoder, rr *refReader) {
	n := d.count("number of entries", maxLeafEntries)
	flags := d.uint8()
	if flags&^leafKnown != 0 {
		d.fail("unknown flags %#x", flags)
	}
	if 2*n > len(d.b) {
		d.fail("truncated")
	}
	if d.err != nil {
		return
	}
	es := make([]Entry, n)
	readNames(d, n, func(i int, name string) { es[i].Name = name })
	readKinds(d, es)
	readMtimes(d, es, flags&leafNsec != 0)
	if flags&leafAtime != 0 {
		readAtimes(d, es)
	}
	readContents(d, es, rr)
	readTargets(d, es)
	for i := range es {
		if t := es[i].Type; t == TypeChar || t == TypeBlock {
			es[i].Rdev = d.uvarint()
		}
	}
	if flags&leafLinks != 0 {
		readLinks(d, es)
	}
	if flags&leafXattrs != 0 {
		readXattrSets(d, es)
	}
	for i := range es {
		if d.err != nil {
			return
		}
		if err := es[i].check(); err != nil {
			d.fail("entry %.80q: %w", es[i].Name, err)
		}
	}
	node.Entries = es
}
