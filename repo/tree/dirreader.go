package tree

import (
	"fmt"
	"iter"
	"sort"

	"github.com/packnback/packnback/repo/object"
)

// ReadDir iterates over the entries of the directory id in ascending order. It
// holds one node of each level, and checks that the nodes fit together. The
// entries are the caller's to keep and to change. After an error it stops.
func ReadDir(load Load, id object.ID) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		r := dirReader{load: load, yield: yield}
		root, err := r.node(id)
		if err == nil {
			_, err = r.walk(root)
		}
		if err != nil {
			yield(nil, fmt.Errorf("directory %s: %w", id.Short(), err))
		}
	}
}

type dirReader struct {
	load  Load
	yield func(*Entry, error) bool
	last  string // name of the entry before
	any   bool   // there was one
}

func (r *dirReader) node(id object.ID) (*Node, error) {
	refs, b, err := r.load(object.KindDir, id)
	if err != nil {
		return nil, err
	}
	return UnmarshalDir(refs, b)
}

// child loads a child and checks it against what its parent says.
func (r *dirReader) child(parent *Node, c *Child) (*Node, error) {
	n, err := r.node(c.ID)
	if err != nil {
		return nil, err
	}
	return n, n.fits(parent, c)
}

func (n *Node) fits(parent *Node, c *Child) error {
	if n.Level != parent.Level-1 {
		return malformed("node %s of level %d below one of level %d", c.ID.Short(), n.Level, parent.Level)
	}
	first, count := "", uint64(len(n.Entries))
	if count > 0 {
		first = n.Entries[0].Name
	}
	for i := range n.Children {
		count += n.Children[i].Count
	}
	if len(n.Children) > 0 {
		first = n.Children[0].First
	}
	if first != c.First || count != c.Count {
		return malformed("node %s begins with %.80q and has %d entries where %.80q and %d belong", c.ID.Short(), first, count, c.First, c.Count)
	}
	return nil
}

// walk yields what is below n; more is false when the caller has had enough.
// The depth of the recursion is bounded because levels descend.
func (r *dirReader) walk(n *Node) (more bool, err error) {
	for i := range n.Entries {
		e := &n.Entries[i]
		if r.any && e.Name <= r.last {
			return false, malformed("%w", errOrder(e.Name, r.last))
		}
		r.last, r.any = e.Name, true
		if !r.yield(e, nil) {
			return false, nil
		}
	}
	for i := range n.Children {
		c, err := r.child(n, &n.Children[i])
		if err != nil {
			return false, err
		}
		if more, err = r.walk(c); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Lookup returns the entry called name in the directory id, and false when
// there is none. It loads one node of each level.
func Lookup(load Load, id object.ID, name string) (*Entry, bool, error) {
	r := dirReader{load: load}
	n, err := r.node(id)
	for err == nil && n.Level > 0 {
		i := sort.Search(len(n.Children), func(i int) bool { return n.Children[i].First > name })
		if i == 0 {
			return nil, false, nil
		}
		n, err = r.child(n, &n.Children[i-1])
	}
	if err != nil {
		return nil, false, fmt.Errorf("directory %s: %w", id.Short(), err)
	}
	i := sort.Search(len(n.Entries), func(i int) bool { return n.Entries[i].Name >= name })
	if i == len(n.Entries) || n.Entries[i].Name != name {
		return nil, false, nil
	}
	return &n.Entries[i], true, nil
}
