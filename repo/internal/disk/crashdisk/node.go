package crashdisk

import "sort"

// pageSize is the unit in which unsynced bytes are kept or lost.
const pageSize = 4096

// node is a file or a folder. Names are in entries; a node may outlive them.
type node struct {
	modTime int64

	// Of a file. Bytes are only ever appended, so slices of data may be shared
	// with mappings and other Disks as long as nobody writes below their length.
	data   []byte
	synced int    // bytes that a Sync covered
	lost   []span // ranges below synced whose Sync failed

	// Of a folder.
	dir     bool
	entries map[string]*entry
	made    version // the entry and version that made it; its zero value for the root

	// Of a file that is locked.
	exclusive *lock
	shared    map[*lock]bool
}

type span struct{ from, to int }

// entry is a name in a folder with its history. Version number base is the one
// on disk, the last one is what the running system sees. A nil node means that
// there is no such name.
type entry struct {
	dir      *node
	name     string
	base     int
	versions []*node
}

// version is one value that an entry had.
type version struct {
	entry *entry
	n     int
}

// rename is a Publish or Replace whose new name is not durable yet: from is the
// version in which the old name is gone, to the one with the new name.
type rename struct{ from, to version }

func (e *entry) last() int                      { return e.base + len(e.versions) - 1 }
func (e *entry) now() *node                     { return e.versions[len(e.versions)-1] }
func (e *entry) at(n int) *node                 { return e.versions[n-e.base] }
func (v version) on(chosen map[*entry]int) bool { return chosen[v.entry] >= v.n }

// change gives e another value, which is not durable.
func (e *entry) change(n *node) version {
	e.versions = append(e.versions, n)
	return version{e, e.last()}
}

// lookup returns the entry of a name, made when it is missing.
func (n *node) lookup(name string) *entry {
	e := n.entries[name]
	if e == nil {
		e = &entry{dir: n, name: name, versions: []*node{nil}}
		n.entries[name] = e
	}
	return e
}

// names returns the names in a folder, sorted, and with all those that it had
// before when history is true.
func (n *node) names(history bool) []string {
	var names []string
	for name, e := range n.entries {
		if history || e.now() != nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func (d *Disk) newNode(dir bool) *node {
	n := &node{modTime: d.clock(), dir: dir}
	if dir {
		n.entries = make(map[string]*entry)
	}
	return n
}

// settle makes version v of its entry durable, and with it what must not be
// lost then: the new names of files whose old one is durably gone.
func (d *Disk) settle(v version) {
	if v.entry == nil || v.n <= v.entry.base {
		return
	}
	e := v.entry
	e.versions = e.versions[v.n-e.base:]
	e.base = v.n
	for _, r := range d.renames {
		if r.from.entry == e && r.from.n <= e.base {
			for n := r.to.entry.dir; n.made.entry != nil; n = n.made.entry.dir {
				d.settle(n.made)
			}
			d.settle(r.to)
		}
	}
}

// forgetRenames drops the renames whose new name is durable.
func (d *Disk) forgetRenames() {
	kept := d.renames[:0]
	for _, r := range d.renames {
		if r.to.n > r.to.entry.base {
			kept = append(kept, r)
		}
	}
	clear(d.renames[len(kept):])
	d.renames = kept
}
