package statcache

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

func id(b byte) (id object.ID) {
	for i := range id {
		id[i] = b
	}
	return id
}

func records() []*Record {
	return []*Record{
		{Entry: tree.Entry{
			Type: tree.TypeFile, Mode: 0o644, UID: 1000, GID: 100, User: "ann", Group: "users", Size: 4711,
			Mtime: tree.Time{Sec: 1_700_000_000, Nsec: 999_999_999}, LinkID: 1 << 63,
			Extents: []tree.Extent{{Kind: tree.ExtentBundle, ID: id(3), Offset: 77, Length: 4711}},
		}, Ctime: tree.Time{Sec: -5, Nsec: 1}, Ino: 1<<64 - 1, Content: id(9)},
		{Entry: tree.Entry{
			Type: tree.TypeFile, Size: 3 << 20, HasAtime: true, Atime: tree.Time{Sec: 1},
			Xattrs:  []tree.Xattr{{Name: "user.a", Value: []byte{0, 255}}, {Name: "user.b"}},
			Extents: []tree.Extent{{Kind: tree.ExtentChunk, ID: id(4), Length: 1 << 20}, {Kind: tree.ExtentHole, Length: 2 << 20}},
		}, Racy: true},
		{Entry: tree.Entry{Type: tree.TypeDir, Mode: 0o755, Subtree: id(1)}},
		{Entry: tree.Entry{Type: tree.TypeSymlink, Size: 2, Target: ".."}},
		{Entry: tree.Entry{Type: tree.TypeChar, Rdev: 259}},
	}
}

func raw(r *Record) Raw { return Raw{Stat: r.AppendStat(nil), Rest: r.AppendRest(nil)} }

func TestRecordRoundTrip(t *testing.T) {
	for i, want := range records() {
		got, err := raw(want).Decode()
		if err != nil {
			t.Errorf("record %d: %v", i, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("record %d changed on its way (-want +got):\n%s", i, d)
		}
		if typ, size := raw(want).Size(); typ != want.Entry.Type || size != want.Entry.Size {
			t.Errorf("record %d: Size() = %v, %d, want %v, %d", i, typ, size, want.Entry.Type, want.Entry.Size)
		}
		if raw(want).Racy() != want.Racy {
			t.Errorf("record %d: Racy() = %v, want %v", i, !want.Racy, want.Racy)
		}
	}
}

func TestRecordTruncated(t *testing.T) {
	for i, r := range records() {
		full := raw(r)
		for n := range full.Stat {
			if got, err := (Raw{Stat: full.Stat[:n], Rest: full.Rest}).Decode(); err == nil {
				t.Errorf("record %d with %d of %d stat bytes decoded as %+v", i, n, len(full.Stat), got)
			}
		}
		for n := range full.Rest {
			if got, err := (Raw{Stat: full.Stat, Rest: full.Rest[:n]}).Decode(); err == nil {
				t.Errorf("record %d with %d of %d other bytes decoded as %+v", i, n, len(full.Rest), got)
			}
		}
	}
}

// The one property of a record: whatever decodes is encoded to the same bytes.
func FuzzRecord(f *testing.F) {
	for _, r := range records() {
		f.Add(r.AppendStat(nil), r.AppendRest(nil))
	}
	f.Fuzz(func(t *testing.T, stat, rest []byte) {
		r, err := (Raw{Stat: stat, Rest: rest}).Decode()
		if err != nil {
			return
		}
		if again := raw(r); !bytes.Equal(again.Stat, stat) || !bytes.Equal(again.Rest, rest) {
			t.Fatalf("%x %x decodes as %+v, which encodes as %x %x", stat, rest, r, again.Stat, again.Rest)
		}
	})
}

func FuzzHeader(f *testing.F) {
	h := &header{binding: bindingHash{1}, base: id(2), root: id(3), walk: stored{4, 5}, content: stored{6, 7}, objects: stored{8, 9}}
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := unmarshalHeader(b)
		if err != nil {
			return
		}
		if again := h.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes as %+v, which encodes as %x", b, h, again)
		}
	})
}
