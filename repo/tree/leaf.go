package tree

import (
	"encoding/binary"
	"errors"

	"github.com/packnback/packnback/repo/object"
)

// Flag bits of a leaf: which of the optional columns are there.
const (
	leafNsec   = 1 << 0
	leafAtime  = 1 << 1
	leafLinks  = 1 << 2
	leafXattrs = 1 << 3
	leafKnown  = 1<<4 - 1
)

// Where a writer ends a leaf; see "Where a directory is split".
const (
	minLeafEntries = 512
	softLeafSize   = 1 << 20
	softLeafRefs   = 16384
	kindOverhead   = 20 // of a kind beside the user's and the group's name
)

// kind is what most entries of a directory have in common.
type kind struct {
	typ         Type
	mode        uint32
	uid, gid    uint32
	user, group string
}

// leaf builds one leaf, column by column. Its buffers are used again for the
// next one.
type leaf struct {
	n     int
	names nameColumns

	kinds     []kind
	kindBytes int             // at least what kinds take when encoded
	kindIndex map[kind]uint16 // once there are more than linearRefs kinds
	kindOf    []uint16

	mtime, nsec         []byte
	lastMtime           int64
	anyNsec             bool
	atimeFlags, atimes  []byte
	anyAtime            bool
	counts              []byte
	extents             extentColumns
	refs                refColumn
	targetLens, targets []byte
	rdevs               []byte
	linkFlags, links    []byte
	sets                []byte
	setCount            int
	setIndex            map[string]int
	setOf               []byte
	scratch             []byte
	encoded             []byte
}

func (l *leaf) reset() {
	l.n, l.lastMtime, l.anyNsec, l.anyAtime, l.setCount, l.kindBytes = 0, 0, false, false, 0, 0
	l.names.reset()
	l.kinds, l.kindOf = l.kinds[:0], l.kindOf[:0]
	clear(l.kindIndex)
	clear(l.setIndex)
	l.extents.reset()
	l.refs.reset()
	for _, col := range [...]*[]byte{&l.mtime, &l.nsec, &l.atimeFlags, &l.atimes, &l.counts, &l.targetLens, &l.targets,
		&l.rdevs, &l.linkFlags, &l.links, &l.sets, &l.setOf} {
		*col = (*col)[:0]
	}
}

// add appends e, which was checked.
func (l *leaf) add(e *Entry) {
	l.n++
	l.names.add(e.Name)
	l.addKind(kind{e.Type, e.Mode, e.UID, e.GID, e.User, e.Group})
	l.addTimes(e)
	switch e.Type {
	case TypeFile:
		l.counts = binary.AppendUvarint(l.counts, uint64(len(e.Extents)))
		for i := range e.Extents {
			l.extents.add(&e.Extents[i], &l.refs)
		}
	case TypeDir:
		l.refs.add(e.Subtree)
	case TypeSymlink:
		l.targetLens = binary.AppendUvarint(l.targetLens, uint64(len(e.Target)))
		l.targets = append(l.targets, e.Target...)
	case TypeChar, TypeBlock:
		l.rdevs = binary.AppendUvarint(l.rdevs, e.Rdev)
	}
	if e.Type != TypeDir {
		if e.LinkID == 0 {
			l.linkFlags = append(l.linkFlags, 0)
		} else {
			l.linkFlags = append(l.linkFlags, 1)
			l.links = binary.BigEndian.AppendUint64(l.links, e.LinkID)
		}
	}
	l.addXattrs(e.Xattrs)
}

func (l *leaf) addTimes(e *Entry) {
	l.mtime = binary.AppendUvarint(l.mtime, zigzag(e.Mtime.Sec-l.lastMtime))
	l.lastMtime = e.Mtime.Sec
	l.nsec = binary.BigEndian.AppendUint32(l.nsec, e.Mtime.Nsec)
	l.anyNsec = l.anyNsec || e.Mtime.Nsec != 0
	if !e.HasAtime {
		l.atimeFlags = append(l.atimeFlags, 0)
		return
	}
	l.anyAtime = true
	l.atimeFlags = append(l.atimeFlags, 1)
	l.atimes = binary.AppendUvarint(l.atimes, zigzag(e.Atime.Sec-e.Mtime.Sec))
	l.atimes = binary.BigEndian.AppendUint32(l.atimes, e.Atime.Nsec)
}

func (l *leaf) addKind(k kind) {
	i, ok := l.findKind(k)
	if !ok {
		i = uint16(len(l.kinds))
		l.kinds = append(l.kinds, k)
		l.kindBytes += kindOverhead + len(k.user) + len(k.group)
		if len(l.kinds) > linearRefs {
			if l.kindIndex == nil {
				l.kindIndex = make(map[kind]uint16)
			}
			if len(l.kindIndex) == 0 {
				for j := range l.kinds {
					l.kindIndex[l.kinds[j]] = uint16(j)
				}
			}
			l.kindIndex[k] = i
		}
	}
	l.kindOf = append(l.kindOf, i)
}

func (l *leaf) findKind(k kind) (uint16, bool) {
	if n := len(l.kindOf); n > 0 && l.kinds[l.kindOf[n-1]] == k {
		return l.kindOf[n-1], true
	}
	if len(l.kinds) > linearRefs {
		i, ok := l.kindIndex[k]
		return i, ok
	}
	for i := range l.kinds {
		if l.kinds[i] == k {
			return uint16(i), true
		}
	}
	return 0, false
}

func (l *leaf) addXattrs(xs []Xattr) {
	if len(xs) == 0 {
		l.setOf = append(l.setOf, 0)
		return
	}
	l.scratch = appendXattrs(l.scratch[:0], xs)
	i, ok := l.setIndex[string(l.scratch)]
	if !ok {
		l.setCount++
		i = l.setCount
		if l.setIndex == nil {
			l.setIndex = make(map[string]int)
		}
		l.setIndex[string(l.scratch)] = i
		l.sets = append(l.sets, l.scratch...)
	}
	l.setOf = binary.AppendUvarint(l.setOf, uint64(i))
}

func appendXattrs(dst []byte, xs []Xattr) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(xs)))
	for i := range xs {
		dst = appendString(dst, xs[i].Name)
		dst = binary.AppendUvarint(dst, uint64(len(xs[i].Value)))
		dst = append(dst, xs[i].Value...)
	}
	return dst
}

// room reports whether e is sure to fit into what a writer puts into one leaf.
func (l *leaf) room(e *Entry) bool {
	need := 64 + len(e.Name) + len(e.User) + len(e.Group) + len(e.Target) + 24*len(e.Extents)
	for i := range e.Xattrs {
		need += 8 + len(e.Xattrs[i].Name) + len(e.Xattrs[i].Value)
	}
	return l.n < maxLeafEntries && l.size()+need <= softLeafSize && len(l.refs.ids)+len(e.Extents)+1 <= softLeafRefs
}

// size is at least the length of the encoding.
func (l *leaf) size() int {
	return 32 + l.names.size() + 3*len(l.kindOf) + l.kindBytes + len(l.mtime) + len(l.nsec) + len(l.atimeFlags) + len(l.atimes) +
		len(l.counts) + l.extents.size() + len(l.refs.col) + len(l.targetLens) + len(l.targets) + len(l.rdevs) +
		len(l.linkFlags) + len(l.links) + len(l.sets) + len(l.setOf)
}

var errNodeTooLarge = errors.New("tree: a node came out larger than readers accept")

// encode returns the leaf's plaintext, which is valid until the next one.
func (l *leaf) encode() ([]byte, error) {
	var flags byte
	for _, f := range [...]struct {
		bit byte
		set bool
	}{{leafNsec, l.anyNsec}, {leafAtime, l.anyAtime}, {leafLinks, len(l.links) > 0}, {leafXattrs, l.setCount > 0}} {
		if f.set {
			flags |= f.bit
		}
	}
	b := append(l.encoded[:0], magicLeaf[:]...)
	b = binary.AppendUvarint(b, uint64(l.n))
	b = append(b, flags)
	b = l.names.appendTo(b)
	b = l.appendKinds(b)
	b = append(b, l.mtime...)
	if flags&leafNsec != 0 {
		b = append(b, l.nsec...)
	}
	if flags&leafAtime != 0 {
		b = append(b, l.atimeFlags...)
		b = append(b, l.atimes...)
	}
	b = append(b, l.counts...)
	b = l.extents.appendTo(b)
	b = append(b, l.refs.col...)
	b = append(b, l.targetLens...)
	b = append(b, l.targets...)
	b = append(b, l.rdevs...)
	if flags&leafLinks != 0 {
		b = append(b, l.linkFlags...)
		b = append(b, l.links...)
	}
	if flags&leafXattrs != 0 {
		b = binary.AppendUvarint(b, uint64(l.setCount))
		b = append(b, l.sets...)
		b = append(b, l.setOf...)
	}
	l.encoded = b
	if len(b) > maxNode || len(l.refs.ids) > object.MaxRefs {
		return nil, errNodeTooLarge
	}
	return b, nil
}

func (l *leaf) appendKinds(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(l.kinds)))
	for i := range l.kinds {
		k := &l.kinds[i]
		b = append(b, byte(k.typ))
		b = binary.AppendUvarint(b, uint64(k.mode))
		b = binary.AppendUvarint(b, uint64(k.uid))
		b = binary.AppendUvarint(b, uint64(k.gid))
		b = appendString(b, k.user)
		b = appendString(b, k.group)
	}
	if len(l.kinds) > 1 {
		for _, i := range l.kindOf {
			b = binary.AppendUvarint(b, uint64(i))
		}
	}
	return b
}
