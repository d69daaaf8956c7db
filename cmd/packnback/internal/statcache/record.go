package statcache

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Record is what the cache knows about one path: its directory entry, and what
// only the sender needs to recognise it. Name is not kept, it is the end of the
// path.
type Record struct {
	Entry   tree.Entry
	Ctime   tree.Time
	Ino     uint64
	Racy    bool      // it was written so shortly before it was looked at that an equal stat proves nothing
	Content object.ID // content id of a small file; zero for everything else
}

// Bits of the byte that begins a stat section, above the entry's type.
const statAtime = 0x80

// Bits of the byte that begins the rest of a record.
const (
	restRacy    = 1 << 0
	restContent = 1 << 1
	restSubtree = 1 << 2
	restKnown   = 1<<3 - 1
)

// AppendStat appends the stat section of r: everything that lstat says and that
// matters. Two equal sections mean that nothing about the path has changed.
func (r *Record) AppendStat(dst []byte) []byte {
	e := &r.Entry
	typ := byte(e.Type)
	if e.HasAtime {
		typ |= statAtime
	}
	dst = append(dst, typ)
	dst = binary.AppendUvarint(dst, uint64(e.Mode))
	dst = binary.AppendUvarint(dst, uint64(e.UID))
	dst = binary.AppendUvarint(dst, uint64(e.GID))
	dst = appendString(dst, e.User)
	dst = appendString(dst, e.Group)
	dst = binary.AppendUvarint(dst, e.Size)
	dst = appendTime(dst, e.Mtime)
	dst = appendTime(dst, r.Ctime)
	if e.HasAtime {
		dst = appendTime(dst, e.Atime)
	}
	dst = binary.AppendUvarint(dst, r.Ino)
	dst = binary.AppendUvarint(dst, e.Rdev)
	return binary.AppendUvarint(dst, e.LinkID)
}

// AppendRest appends what follows the stat section.
func (r *Record) AppendRest(dst []byte) []byte {
	e := &r.Entry
	flags := byte(0)
	if r.Racy {
		flags |= restRacy
	}
	if !r.Content.IsZero() {
		flags |= restContent
	}
	if !e.Subtree.IsZero() {
		flags |= restSubtree
	}
	dst = append(dst, flags)
	dst = appendString(dst, e.Target)
	dst = binary.AppendUvarint(dst, uint64(len(e.Xattrs)))
	for i := range e.Xattrs {
		dst = appendString(dst, e.Xattrs[i].Name)
		dst = appendString(dst, string(e.Xattrs[i].Value))
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Extents)))
	for i := range e.Extents {
		x := &e.Extents[i]
		dst = append(dst, byte(x.Kind))
		if x.Kind != tree.ExtentHole {
			dst = append(dst, x.ID[:]...)
		}
		dst = binary.AppendUvarint(dst, uint64(x.Offset))
		dst = binary.AppendUvarint(dst, x.Length)
	}
	if !r.Content.IsZero() {
		dst = append(dst, r.Content[:]...)
	}
	if !e.Subtree.IsZero() {
		dst = append(dst, e.Subtree[:]...)
	}
	return dst
}

// Raw is a record as it lies in a walk file, good until the file is closed.
type Raw struct {
	Stat []byte // as AppendStat makes it
	Rest []byte // as AppendRest makes it
}

// Equal reports whether raw is r, whatever either's Racy flag. The zero Raw is
// no record's.
func (raw Raw) Equal(r *Record) bool {
	if len(raw.Rest) == 0 || !bytes.Equal(raw.Stat, r.AppendStat(nil)) {
		return false
	}
	rest := r.AppendRest(nil)
	return (raw.Rest[0]^rest[0])&^restRacy == 0 && bytes.Equal(raw.Rest[1:], rest[1:])
}

// Racy reports whether the record's Racy flag is set, without decoding it.
func (raw Raw) Racy() bool { return raw.Rest[0]&restRacy != 0 }

// Size returns the type and the size of the entry without decoding the rest of
// it; a malformed section gives zeros.
func (raw Raw) Size() (tree.Type, uint64) {
	d := decoder{b: raw.Stat}
	typ := tree.Type(d.byte() &^ statAtime)
	for range 3 { // mode, uid, gid
		d.uvarint()
	}
	d.bytes(tree.MaxUserName)
	d.bytes(tree.MaxUserName)
	size := d.uvarint()
	if d.bad {
		return 0, 0
	}
	return typ, size
}

// splitRaw takes the body of an entry record apart.
func splitRaw(body []byte) (Raw, error) {
	n, b, ok := uvarint(body)
	if !ok || n == 0 || n >= uint64(len(b)) {
		return Raw{}, fmt.Errorf("%w: a stat section of %d bytes in %d", ErrDamaged, n, len(b))
	}
	return Raw{Stat: b[:n:n], Rest: b[n:]}, nil
}

// Decode returns the record that raw is.
func (raw Raw) Decode() (*Record, error) {
	r := new(Record)
	d := decoder{b: raw.Stat}
	d.stat(r)
	if err := d.end("stat section"); err != nil {
		return nil, err
	}
	d = decoder{b: raw.Rest}
	d.rest(r)
	return r, d.end("record")
}

func (d *decoder) stat(r *Record) {
	e := &r.Entry
	typ := d.byte()
	e.Type, e.HasAtime = tree.Type(typ&^statAtime), typ&statAtime != 0
	e.Mode = d.uint32()
	e.UID, e.GID = d.uint32(), d.uint32()
	e.User, e.Group = d.string(tree.MaxUserName), d.string(tree.MaxUserName)
	e.Size = d.uvarint()
	e.Mtime = d.time()
	r.Ctime = d.time()
	if e.HasAtime {
		e.Atime = d.time()
	}
	r.Ino = d.uvarint()
	e.Rdev = d.uvarint()
	e.LinkID = d.uvarint()
	d.bad = d.bad || !e.Type.Valid()
}

func (d *decoder) rest(r *Record) {
	e := &r.Entry
	flags := d.byte()
	d.bad = d.bad || flags&^restKnown != 0
	r.Racy = flags&restRacy != 0
	e.Target = d.string(tree.MaxTarget)
	for n := d.count(tree.MaxXattrs, 2); n > 0; n-- {
		x := tree.Xattr{Name: d.string(tree.MaxXattrName)}
		x.Value = append([]byte(nil), d.bytes(tree.MaxXattrValue)...)
		e.Xattrs = append(e.Xattrs, x)
	}
	n := d.count(tree.MaxExtents, 3)
	if n > 0 {
		e.Extents = make([]tree.Extent, n)
	}
	for i := range e.Extents {
		x := &e.Extents[i]
		x.Kind = tree.ExtentKind(d.byte())
		d.bad = d.bad || x.Kind < tree.ExtentBundle || x.Kind > tree.ExtentHole
		if x.Kind != tree.ExtentHole {
			x.ID = d.id()
		}
		x.Offset = d.uint32()
		x.Length = d.uvarint()
	}
	if flags&restContent != 0 {
		r.Content = d.id()
		d.bad = d.bad || r.Content.IsZero()
	}
	if flags&restSubtree != 0 {
		e.Subtree = d.id()
		d.bad = d.bad || e.Subtree.IsZero()
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendTime(dst []byte, t tree.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(dst, t.Sec), uint64(t.Nsec))
}

// decoder takes fields off b; after the first that is not there or not
// canonical all further ones are zero, and end reports it.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	f := d.b[:n:n]
	d.b = d.b[n:]
	return f
}

func (d *decoder) byte() byte {
	if f := d.take(1); f != nil {
		return f[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	d.bad = d.bad || v > 1<<32-1
	return uint32(v)
}

func (d *decoder) time() tree.Time {
	t := tree.Time{Sec: d.varint(), Nsec: d.uint32()}
	d.bad = d.bad || t.Nsec > 999_999_999
	return t
}

// bytes takes a length of at most limit and as many bytes.
func (d *decoder) bytes(limit int) []byte {
	n := d.uvarint()
	if n > uint64(limit) {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) string(limit int) string { return string(d.bytes(limit)) }

// count takes a number of things that each take at least size bytes.
func (d *decoder) count(limit, size int) int {
	n := d.uvarint()
	if n > uint64(limit) || n*uint64(size) > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) id() (id object.ID) {
	copy(id[:], d.take(object.IDSize))
	return id
}

func (d *decoder) end(what string) error {
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: a %s is malformed", ErrDamaged, what)
	}
	return nil
}
