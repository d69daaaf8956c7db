package source

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Plan is what to walk: the operands of one backup, put into one tree. It
// takes memory in proportion to their number. It is safe for concurrent use.
type Plan struct {
	root     *planNode
	operands []string
}

// planNode is a folder or file that is an operand or has one below it.
type planNode struct {
	name     string // in the snapshot
	source   string // on this machine: absolute and cleaned; of an inner node without one, ""
	operand  bool   // everything below it belongs to the backup
	children []*planNode
	byName   map[string]*planNode // while the plan is made
}

// NewPlan puts operands into a plan; relative ones are below workdir, which is
// absolute. It touches no file system. An operand is stored under its cleaned
// path: an absolute one from the root, a relative one as given, without the
// ".." it begins with; "." and ".." stand for what is in them. Two operands
// that would be stored under one path without being the same are an error.
func NewPlan(workdir string, operands []string) (*Plan, error) {
	if !path.IsAbs(workdir) {
		return nil, fmt.Errorf("working folder %q is not absolute", workdir)
	}
	p := &Plan{root: &planNode{}}
	for _, operand := range operands {
		if operand == "" || strings.IndexByte(operand, 0) >= 0 {
			return nil, fmt.Errorf("%q can't be a path", operand)
		}
		clean := path.Clean(operand)
		p.operands = append(p.operands, clean)
		if err := p.add(path.Clean(workdir), clean); err != nil {
			return nil, err
		}
	}
	if len(operands) == 0 {
		return nil, fmt.Errorf("nothing to back up was named")
	}
	if p.root.source == "" {
		p.root.source = path.Clean(workdir)
	}
	return p, p.root.finish(false)
}

// add puts one cleaned operand into the tree.
func (p *Plan) add(workdir, operand string) error {
	base, rest := workdir, operand
	if path.IsAbs(operand) {
		base, rest = "/", strings.TrimPrefix(operand, "/")
		if p.root.source == "" || !p.root.operand {
			p.root.source = "/" // the real root's metadata, where there is one among the operands
		}
	}
	for rest == ".." || strings.HasPrefix(rest, "../") {
		base, rest = path.Dir(base), strings.TrimPrefix(rest[2:], "/")
	}
	if rest == "." {
		rest = ""
	}
	n := p.root
	if rest == "" {
		if n.operand && n.source != base {
			return fmt.Errorf("%q and %q would both be the snapshot's topmost folder: back them up by longer paths or as two jobs", n.source, base)
		}
		n.operand, n.source = true, base
		return nil
	}
	for _, name := range components(rest) {
		base = path.Join(base, name)
		if n.byName == nil {
			n.byName = make(map[string]*planNode)
		}
		c := n.byName[name]
		if c == nil {
			c = &planNode{name: name, source: base}
			n.byName[name] = c
			n.children = append(n.children, c)
		}
		if c.source != base {
			return fmt.Errorf("%q and %q would both be stored as %q: back them up by absolute paths or as two jobs", c.source, base, name)
		}
		n = c
	}
	n.operand = true
	return nil
}

// finish sorts the tree and checks that nothing inside an operand comes from
// elsewhere.
func (n *planNode) finish(inside bool) error {
	n.byName = nil
	inside = inside || n.operand
	slices.SortFunc(n.children, func(a, b *planNode) int { return strings.Compare(a.name, b.name) })
	for _, c := range n.children {
		if inside && c.source != path.Join(n.source, c.name) {
			return fmt.Errorf("%q would be stored inside %q, where it is not: back it up as another job", c.source, n.source)
		}
		if err := c.finish(inside); err != nil {
			return err
		}
	}
	return nil
}

// child returns the node called name, or nil. n may be nil.
func (n *planNode) child(name string) *planNode {
	if n == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(n.children, name, func(c *planNode, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		return nil
	}
	return n.children[i]
}

// Operands returns the operands, cleaned, in the order in which they were
// given.
func (p *Plan) Operands() []string { return slices.Clone(p.operands) }
