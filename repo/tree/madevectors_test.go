package tree

import (
	"encoding/binary"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// madeVectors makes the vectors that -vectors.write writes. The bad ones are
// put together by hand, not by the writers.
func madeVectors(t *testing.T) []*vector {
	return append(append(goodVectors(t), badLeaves()...), badOthers()...)
}

// renumber gives the objects of entries ids that a vector's refs have.
func renumber(es []Entry) (refs int) {
	ids := make(map[object.ID]object.ID)
	next := func(id object.ID) object.ID {
		if _, ok := ids[id]; !ok {
			ids[id] = numberID(uint64(len(ids)))
		}
		return ids[id]
	}
	for i := range es {
		if es[i].Type == TypeDir {
			es[i].Subtree = next(es[i].Subtree)
		}
		for j := range es[i].Extents {
			if x := &es[i].Extents[j]; x.Kind != ExtentHole {
				x.ID = next(x.ID)
			}
		}
	}
	return len(ids)
}

func goodVectors(t *testing.T) []*vector {
	t.Helper()
	leafOf := func(es []Entry) (int, []byte) {
		refs := renumber(es)
		b, _, err := encodeNode(&Node{Entries: es})
		if err != nil {
			t.Fatal(err)
		}
		return refs, append([]byte(nil), b...)
	}
	var vs []*vector
	add := func(name, comment, format string, refs int, b []byte) {
		vs = append(vs, &vector{name: name, comment: comment, format: format, expect: "ok", refs: refs, plaintext: b})
	}
	_, b := leafOf(nil)
	add("dir-empty", "a directory without entries", "directory", 0, b)
	refs, b := leafOf(exampleEntries())
	add("dir-example", "the worked example of the manual page", "directory", refs, b)
	every := oneOfEach()
	every[len(every)-1].Target, every[len(every)-1].Size = "t", 1
	refs, b = leafOf(every)
	add("dir-every-field", "every type, every column, extreme numbers", "directory", refs, b)
	refs, b = leafOf(manyFiles(100))
	add("dir-100-files", "a hundred files in one bundle", "directory", refs, b)
	b, _, err := encodeNode(&Node{Level: 3, Children: []Child{{"a", 1000, numberID(0)}, {"ab", 1, numberID(1)}, {"b", 1 << 40, numberID(2)}}})
	if err != nil {
		t.Fatal(err)
	}
	add("dir-interior", "an interior node of level 3", "directory", 3, b)
	xs := []Extent{{Kind: ExtentChunk, ID: numberID(0), Length: 1}, {Kind: ExtentHole, Length: 1 << 40}, {Kind: ExtentBundle, ID: numberID(1), Offset: 5, Length: 6},
		{Kind: ExtentBundle, ID: numberID(1), Offset: 11, Length: 6}, {Kind: ExtentChunk, ID: numberID(0), Length: 1}}
	b, _ = encodeListNode(&listNode{Extents: xs})
	add("list-leaf", "chunks, a hole, slices of a bundle", "list", 2, b)
	b, _ = encodeListNode(&listNode{Level: 1, Children: []listChild{{5, numberID(0)}, {6, numberID(1)}, {5, numberID(0)}}})
	add("list-interior", "an interior node with a child that occurs twice", "list", 2, b)
	for name, s := range map[string]*Summary{"summary-empty": {}, "summary": exampleSummary()} {
		b, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		add(name, "a summary", "summary", 0, b)
	}
	return vs
}

// exampleEntries is the worked example of packnback-tree(5).
func exampleEntries() []Entry {
	return []Entry{
		{Name: "etc", Type: TypeDir, Mode: 0o755, User: "root", Group: "root", Mtime: Time{Sec: 1000}, Subtree: numberID(0)},
		{Name: "motd", Type: TypeFile, Mode: 0o644, User: "root", Group: "root", Mtime: Time{Sec: 1001}, Size: 300,
			Extents: []Extent{{Kind: ExtentBundle, ID: numberID(1), Offset: 64, Length: 300}}},
		{Name: "motd.old", Type: TypeFile, Mode: 0o644, User: "root", Group: "root", Mtime: Time{Sec: 999}, Size: 5,
			Extents: []Extent{{Kind: ExtentBundle, ID: numberID(1), Offset: 364, Length: 5}}},
	}
}

// parts joins bytes, byte values and strings.
func parts(ps ...any) []byte {
	var b []byte
	for _, p := range ps {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func badLeaves() []*vector {
	uv := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	long := []byte{0x80, 0x00} // 0 in two bytes
	file := parts(1, uv(0o644), 0, 0, 0, 0)
	dir := parts(2, uv(0o755), 0, 0, 0, 0)
	link := parts(3, uv(0o777), 0, 0, 0, 0)
	two := func(flags int, rest ...any) []byte { // two files a and b, then rest
		return append(parts("PNd\x01", 2, flags, 0, 0, 1, 1, "ab", 1, file), parts(rest...)...)
	}
	one := func(k []byte, rest ...any) []byte {
		return append(parts("PNd\x01", 1, 0, 0, 1, "a", 1, k), parts(rest...)...)
	}
	bad := func(name, comment string, refs int, b []byte) *vector {
		return &vector{name: "dir-bad-" + name, comment: comment, format: "directory", expect: "malformed", refs: refs, plaintext: b}
	}
	return []*vector{
		{name: "dir-two-empty-files", comment: "what most of the bad leaves are but for one thing", format: "directory", expect: "ok", plaintext: two(0, 0, 0, 0, 0)},
		bad("nothing", "no bytes at all", 0, nil),
		bad("version", "version 2", 0, parts("PNd\x02", 0, 0, 0)),
		bad("list", "a list where a directory is wanted", 1, parts("PNl\x01", 1, 2, 1, 0)),
		bad("truncated", "the last extent count is missing", 0, two(0, 0, 0, 0)),
		bad("trailing", "a byte too many", 0, two(0, 0, 0, 0, 0, 0)),
		bad("flags", "unknown flag bit 4", 0, two(16, 0, 0, 0, 0)),
		bad("entries", "more entries than allowed", 0, parts("PNd\x01", uv(8193), 0, make([]byte, 40000))),
		bad("count-long", "number of entries not in its shortest form", 0, parts("PNd\x01", long, 0, 0)),
		bad("name-order", "names descend", 0, parts("PNd\x01", 2, 0, 0, 0, 1, 1, "ba", 1, file, 0, 0, 0, 0)),
		bad("name-twice", "one name twice", 0, parts("PNd\x01", 2, 0, 0, 0, 1, 1, "aa", 1, file, 0, 0, 0, 0)),
		bad("name-sharing", "less shared than there is", 0, parts("PNd\x01", 2, 0, 0, 0, 1, 2, "aab", 1, file, 0, 0, 0, 0)),
		bad("name-shared-too-much", "more shared than the name before has", 0, parts("PNd\x01", 2, 0, 0, 2, 1, 1, "ab", 1, file, 0, 0, 0, 0)),
		bad("name-dotdot", "a name that leaves the directory", 0, parts("PNd\x01", 1, 0, 0, 2, "..", 1, file, 0, 0)),
		bad("name-slash", "a name with a slash", 0, parts("PNd\x01", 1, 0, 0, 3, "a/b", 1, file, 0, 0)),
		bad("name-nul", "a name with a NUL", 0, parts("PNd\x01", 1, 0, 0, 2, "a\x00", 1, file, 0, 0)),
		bad("kind-unused", "a kind that no entry is of", 0, parts("PNd\x01", 2, 0, 0, 0, 1, 1, "ab", 2, file, dir, 0, 0, 0, 0, 0, 0)),
		bad("kind-order", "kinds not in the order of first use", 1, parts("PNd\x01", 2, 0, 0, 0, 1, 1, "ab", 2, dir, file, 1, 0, 0, 0, 0, 0)),
		bad("kind-twice", "one kind twice", 0, parts("PNd\x01", 2, 0, 0, 0, 1, 1, "ab", 2, file, file, 0, 1, 0, 0, 0, 0)),
		bad("kind-none", "entries without a kind", 0, parts("PNd\x01", 1, 0, 0, 1, "a", 0, 0, 0)),
		bad("type", "type 7", 0, one(parts(7, uv(0o644), 0, 0, 0, 0), 0)),
		bad("mode", "mode beyond 07777", 0, one(parts(1, uv(0o10000), 0, 0, 0, 0), 0, 0)),
		bad("uid", "uid of 33 bits", 0, one(parts(1, uv(0o644), uv(1<<32), 0, 0, 0), 0, 0)),
		bad("nsec-zero", "column of nanoseconds that says nothing", 0, two(1, 0, 0, make([]byte, 8), 0, 0)),
		bad("nsec", "a billion nanoseconds", 0, two(1, 0, 0, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 0x00, 0, 0)),
		bad("atime-none", "column of atimes that says nothing", 0, two(2, 0, 0, 0, 0, 0, 0)),
		bad("atime-flag", "atime flag 2", 0, two(2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0)),
		bad("links-none", "column of link ids that says nothing", 0, two(4, 0, 0, 0, 0, 0, 0)),
		bad("link-zero", "link id 0", 0, two(4, 0, 0, 0, 0, 1, 0, make([]byte, 8))),
		bad("xattrs-none", "columns of extended attributes that say nothing", 0, two(8, 0, 0, 0, 0, 0, 0, 0)),
		bad("xattrs-empty", "a set without attributes", 0, two(8, 0, 0, 0, 0, 1, 0, 1, 1)),
		bad("xattrs-order", "attributes descend", 0, two(8, 0, 0, 0, 0, 1, 2, 1, "b", 0, 1, "a", 0, 1, 1)),
		bad("xattrs-unused", "a set that no entry has", 0, two(8, 0, 0, 0, 0, 1, 1, 1, "a", 0, 0, 0)),
		bad("extents", "65 extents in an entry", 65, one(file, 0, 65, make([]byte, 300))),
		bad("extent-kind", "extent of kind 5", 1, one(file, 0, 1, 5, 1, 0)),
		bad("extent-empty", "extent of no bytes", 1, one(file, 0, 1, 2, 0, 0)),
		bad("extent-follows-nothing", "first extent follows on the last one", 1, one(file, 0, 1, 0, 1, 0)),
		bad("extent-follows-unsaid", "a slice that follows on the last one with its own offset", 1, two(0, 0, 0, 1, 1, 1, 1, 5, 5, 0, 5, 0, 1)),
		bad("extent-end", "a slice beyond 8 MiB", 1, one(file, 0, 1, 1, 2, uv(object.MaxPlaintext-1), 0)),
		bad("size", "a file of 2^63 bytes", 0, one(file, 0, 2, 4, 4, uv(1<<63-1), 1)),
		bad("ref-unused", "a ref that nothing uses", 1, two(0, 0, 0, 0, 0)),
		bad("ref-missing", "an extent without a ref", 0, one(file, 0, 1, 2, 1, 0)),
		bad("ref-back", "two refs back where one was used", 1, two(0, 0, 0, 1, 1, 2, 2, 1, 1, 0, 2)),
		bad("target-empty", "a symlink to nothing", 0, one(link, 0, 0)),
		bad("target-nul", "a symlink's target with a NUL", 0, one(link, 0, 1, 0)),
	}
}

func badOthers() []*vector {
	uv := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	bad := func(format, name, comment string, refs int, b []byte) *vector {
		return &vector{name: name, comment: comment, format: format, expect: "malformed", refs: refs, plaintext: b}
	}
	summary := func(edit func(*Summary)) []byte {
		s := exampleSummary()
		edit(s)
		b, err := s.Append(nil)
		if err != nil {
			panic(err)
		}
		return b
	}
	good := summary(func(*Summary) {})
	plain := summary(func(s *Summary) { s.Root = nil })
	return []*vector{
		bad("directory", "interior-bad-level", "level 0", 1, parts("PNe\x01", 0, 1, 0, 1, "a", 1)),
		bad("directory", "interior-bad-deep", "level 9", 1, parts("PNe\x01", 9, 1, 0, 1, "a", 1)),
		bad("directory", "interior-bad-childless", "no children", 0, parts("PNe\x01", 1, 0)),
		bad("directory", "interior-bad-count", "a child without entries", 1, parts("PNe\x01", 1, 1, 0, 1, "a", 0)),
		bad("directory", "interior-bad-sum", "counts that add up to 2^63", 2, parts("PNe\x01", 1, 2, 0, 0, 1, 1, "ab", uv(1<<63-1), 1)),
		bad("directory", "interior-bad-refs", "two refs for one child", 2, parts("PNe\x01", 1, 1, 0, 1, "a", 1)),
		bad("list", "list-bad-directory", "a directory where a list is wanted", 0, parts("PNd\x01", 0, 0, 0)),
		bad("list", "list-bad-empty", "no extents", 0, parts("PNl\x01", 0)),
		bad("list", "list-bad-nested", "a list in a list leaf", 1, parts("PNl\x01", 1, 3, 1, 0)),
		bad("list", "list-bad-sum", "a file of 2^63 bytes", 0, parts("PNl\x01", 2, 4, 4, uv(1<<63-1), 1)),
		bad("list", "list-bad-trailing", "a byte too many", 1, parts("PNl\x01", 1, 2, 1, 0, 0)),
		bad("list", "list-bad-child", "a child of no bytes", 1, parts("PNm\x01", 1, 1, 0, 0)),
		bad("list", "list-bad-child-ref", "a child that is one back of none", 1, parts("PNm\x01", 1, 1, 1, 1)),
		bad("summary", "summary-bad-truncated", "the last byte is missing", 0, good[:len(good)-1]),
		bad("summary", "summary-bad-trailing", "a byte too many", 0, append(append([]byte{}, good...), 0)),
		bad("summary", "summary-bad-root", "root flag 2", 0, append(append([]byte{}, plain[:len(plain)-1]...), 2)),
		bad("summary", "summary-bad-items", "more paths than there can be", 0, parts("PNs\x01", 0, 0, 0, uv(60000), 0)),
	}
}
