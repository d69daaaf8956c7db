package crashdisk

import (
	"math"
	"math/rand/v2"
)

// Two seeds of Crash that stand for the ends of what may happen.
const (
	LoseAll uint64 = 0 // everything that is not durable is lost
	KeepAll uint64 = 1 // everything is kept
)

// Crash returns the Disk that is found when the power goes off now and comes
// back. The old one goes on undisturbed, so that a test can look at many
// outcomes of one run. What is kept, lost, torn and garbage depends on the
// seed alone; LoseAll and KeepAll are the extremes, every other seed draws its
// own odds.
func (d *Disk) Crash(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &crash{rng: rand.New(rand.NewPCG(seed, 0x70616b6e)), chosen: make(map[*entry]int), copies: make(map[*node]*node)}
	switch seed {
	case LoseAll:
		c.odds = 0
	case KeepAll:
		c.odds = 1
	default:
		c.odds = 0.1 + 0.8*c.rng.Float64()
	}
	c.choose(d.root)
	c.mend(d.renames)
	c.disk = &Disk{capacity: math.MaxInt64, changed: make(chan struct{}), now: d.now, tick: d.tick}
	c.disk.root = c.copy(d.root)
	return c.disk
}

// crash is the making of one Disk out of another.
type crash struct {
	rng    *rand.Rand
	odds   float64 // that something not durable is kept
	chosen map[*entry]int
	copies map[*node]*node
	disk   *Disk
}

func (c *crash) keep() bool { return c.odds == 1 || c.odds > 0 && c.rng.Float64() < c.odds }

// choose picks, for every name below a folder that is or was, which of its
// values is on disk. Folders are entered in all of a name's values, because
// mend may bring back any.
func (c *crash) choose(dir *node) {
	for _, name := range dir.names(true) {
		e := dir.entries[name]
		n := e.base
		for n < e.last() && c.keep() {
			n++
		}
		c.chosen[e] = n
		for _, v := range e.versions {
			if v != nil && v.dir {
				c.choose(v)
			}
		}
	}
}

// mend brings back the new names of files whose old one is gone.
func (c *crash) mend(renames []*rename) {
	for again := true; again; {
		again = false
		for _, r := range renames {
			if !r.from.on(c.chosen) {
				continue
			}
			for v := r.to; v.entry != nil; v = v.entry.dir.made {
				if !v.on(c.chosen) {
					c.chosen[v.entry] = v.n
					again = true
				}
			}
		}
	}
}

// copy returns what is left of a node and of all below it. A file with two
// names stays one file.
func (c *crash) copy(n *node) *node {
	if done := c.copies[n]; done != nil {
		return done
	}
	out := c.disk.newNode(n.dir)
	out.modTime = n.modTime
	c.copies[n] = out
	if !n.dir {
		out.data = c.contents(n)
		out.synced = len(out.data)
		return out
	}
	for _, name := range n.names(true) {
		e := n.entries[name]
		left := e.at(c.chosen[e])
		if left == nil {
			continue
		}
		child := c.copy(left)
		ne := &entry{dir: out, name: name, versions: []*node{child}}
		out.entries[name] = ne
		if child.dir {
			child.made = version{ne, 0}
		}
	}
	return out
}

// contents returns the bytes that are left of a file.
func (c *crash) contents(n *node) []byte {
	length := n.synced
	for length < len(n.data) && c.keep() {
		length = min(length+1+c.rng.IntN(2*pageSize), len(n.data))
	}
	if c.odds == 1 {
		length = len(n.data)
	}
	if length == n.synced && len(n.lost) == 0 {
		return n.data[:length:length] // shared: nobody writes below a length
	}
	data := append([]byte(nil), n.data[:length]...)
	for _, s := range append([]span{{n.synced, length}}, n.lost...) {
		c.spoil(data, s.from, min(s.to, length))
	}
	return data
}

// spoil decides for each page of a range what became of it.
func (c *crash) spoil(data []byte, from, to int) {
	for from < to {
		end := min((from/pageSize+1)*pageSize, to)
		page := data[from:end]
		switch {
		case c.keep():
		case c.odds > 0 && c.rng.IntN(8) == 0:
			for i := range page {
				page[i] = byte(c.rng.Uint32())
			}
		case c.odds > 0 && c.rng.IntN(3) == 0:
			clear(page[c.rng.IntN(len(page)):])
		default:
			clear(page)
		}
		from = end
	}
}
