package index

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
	"github.com/packnback/packnback/repo/table"
)

func testID(i uint64) object.ID {
	rng := rand.NewPCG(i, 3)
	var id object.ID
	for at := 0; at < len(id); at += 8 {
		binary.BigEndian.PutUint64(id[at:], rng.Uint64())
	}
	return id
}

// testSegment makes up packs from..to-1 with n entries each. Every seventh id
// is the same in all packs.
func testSegment(from, to, n int) ([]Pack, []Entry) {
	var packs []Pack
	var entries []Entry
	for c := from; c < to; c++ {
		p := Pack{
			Name:     pack.NewName(object.SessionID{byte(c * 37)}, uint32(c)),
			Type:     pack.Type(1 + c%2),
			Sequence: uint64(1000 - c), // later names are older
			Size:     pack.HeaderSize,
			Records:  uint32(n),
		}
		kind := object.KindChunk
		for i := range n {
			if p.Type == pack.Meta {
				kind = object.KindDir
			}
			if p.Type == pack.Meta && i%11 == 5 {
				kind = object.KindKey
			}
			id := testID(uint64(c<<20 + i))
			if i%7 == 0 {
				id = testID(1<<40 + uint64(i))
			}
			length := uint32(object.HeaderSize + object.TrailerSize + 1 + i)
			entries = append(entries, Entry{id, testKey(kind, c, i), Location{p.Name, p.Size, length, kind}})
			p.Size += length
		}
		packs = append(packs, p)
	}
	slices.SortFunc(entries, Entry.Compare)
	return packs, entries
}

// testKey gives every pack two key objects, one of which the next pack has too.
func testKey(kind object.Kind, c, i int) object.ID {
	if kind == object.KindKey {
		return object.ID{}
	}
	return testID(1<<41 + uint64(c+i%2))
}

func seqOf(entries []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func writeOpen(t testing.TB, fsys disk.FS, name string, packs []Pack, entries []Entry) *Segment {
	t.Helper()
	if err := Write(fsys, name, packs, seqOf(entries)); err != nil {
		t.Fatal(err)
	}
	return openSegment(t, fsys, name)
}

func openSegment(t testing.TB, fsys disk.FS, name string) *Segment {
	t.Helper()
	s, err := OpenSegment(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func all(t testing.TB, seq iter.Seq2[Entry, error]) []Entry {
	t.Helper()
	var entries []Entry
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func packsOf(t testing.TB, s *Segment) []Pack {
	t.Helper()
	var packs []Pack
	for o := range s.Packs() {
		p, err := s.Pack(o)
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, p)
	}
	return packs
}

func byName(packs []Pack) []Pack {
	packs = slices.Clone(packs)
	slices.SortFunc(packs, func(a, b Pack) int { return a.Name.Compare(b.Name) })
	return packs
}

func TestSegment(t *testing.T) {
	packs, entries := testSegment(1, 6, 100)
	s := writeOpen(t, disk.OS(t.TempDir()), "1.idx", packs, entries)
	if got := all(t, s.Entries(0)); !slices.Equal(got, entries) {
		t.Errorf("Entries: %d, want the %d written", len(got), len(entries))
	}
	if got := all(t, s.Entries(490)); !slices.Equal(got, entries[490:]) {
		t.Errorf("Entries(490): %v", got)
	}
	if got := packsOf(t, s); !slices.Equal(got, byName(packs)) {
		t.Errorf("packs: %v", got)
	}
	for i, e := range entries {
		first, n, err := s.Find(e.ID)
		if err != nil || n == 0 || i < first || i >= first+n || n > 5 {
			t.Fatalf("Find of entry %d: %d, %d, %v", i, first, n, err)
		}
		ordinal, err := s.PackOf(i)
		if p, _ := s.Pack(ordinal); err != nil || p.Name != e.Pack {
			t.Fatalf("PackOf(%d): %d, %v", i, ordinal, err)
		}
		key, ok, err := s.KeyOf(i)
		if err != nil || ok == e.Key.IsZero() {
			t.Fatalf("KeyOf(%d): %d, %v, %v", i, key, ok, err)
		}
		if ok {
			if id, err := s.Key(key); id != e.Key || err != nil {
				t.Fatalf("Key(%d): %s, %v, want %s", key, id, err, e.Key)
			}
		}
		if o, ok, err := s.FindPack(e.Pack); o != ordinal || !ok || err != nil {
			t.Fatalf("FindPack(%s): %d, %v, %v", e.Pack, o, ok, err)
		}
	}
	if _, n, err := s.Find(testID(5)); n != 0 || err != nil {
		t.Errorf("Find of nothing: %d, %v", n, err)
	}
	if _, ok, err := s.FindPack(pack.Name{1}); ok || err != nil {
		t.Errorf("FindPack of nothing: %v, %v", ok, err)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	packs, entries := testSegment(1, 3, 10)
	with := func(change func(*Entry)) []Entry {
		changed := slices.Clone(entries)
		change(&changed[3])
		slices.SortFunc(changed, Entry.Compare)
		return changed
	}
	bad := func(change func(*Pack)) []Pack {
		changed := slices.Clone(packs)
		change(&changed[1])
		return changed
	}
	for name, c := range map[string]struct {
		packs   []Pack
		entries []Entry
	}{
		"order":          {packs, append(slices.Clone(entries[1:]), entries[0])},
		"unknown pack":   {packs[:1], entries},
		"unused pack":    {append(bad(func(p *Pack) { p.Name[0]++ }), packs[1]), entries},
		"pack twice":     {append(slices.Clone(packs), packs[0]), entries},
		"beyond pack":    {bad(func(p *Pack) { p.Size -= 1 }), entries},
		"wrong type":     {bad(func(p *Pack) { p.Type = 3 - p.Type }), entries},
		"no type":        {bad(func(p *Pack) { p.Type = 0 }), entries},
		"no key":         {packs, with(func(e *Entry) { e.Key = object.ID{} })},
		"kind":           {packs, with(func(e *Entry) { e.Kind = 77 })},
		"kind of pack":   {packs, with(func(e *Entry) { e.Kind = map[object.Kind]object.Kind{1: 4, 4: 1}[e.Kind] })},
		"offset":         {packs, with(func(e *Entry) { e.Offset = 5 })},
		"length":         {packs, with(func(e *Entry) { e.Length = 20 })},
		"no such length": {packs, with(func(e *Entry) { e.Length = 1 << 31 })},
	} {
		if err := Write(fsys, "x", c.packs, seqOf(c.entries)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		if _, err := fsys.Stat("x"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: file is still there: %v", name, err)
		}
	}
	broken := errors.New("broken")
	if err := Write(fsys, "x", packs, func(yield func(Entry, error) bool) { yield(Entry{}, broken) }); !errors.Is(err, broken) {
		t.Errorf("error of the entries: %v", err)
	}
}

func TestSetFindsAllOldestFirst(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	want := map[object.ID][]Found{}
	var segments []*Segment
	sequences := map[pack.Name]uint64{}
	position := 0
	for i, r := range [][2]int{{1, 3}, {3, 3}, {3, 8}, {8, 9}} { // the second is empty
		packs, entries := testSegment(r[0], r[1], 60)
		for _, p := range packs {
			sequences[p.Name] = p.Sequence
		}
		for _, e := range entries {
			want[e.ID] = append(want[e.ID], Found{e.Location, position, sequences[e.Pack]})
			position++
		}
		segments = append(segments, writeOpen(t, fsys, string(rune('a'+i)), packs, entries))
	}
	set := NewSet(segments)
	if set.Len() != position {
		t.Fatalf("Len: got %d, want %d", set.Len(), position)
	}
	several := 0
	for id, w := range want {
		slices.SortFunc(w, func(a, b Found) int { return int(a.Sequence) - int(b.Sequence) })
		got, err := set.Find(nil, id)
		if err != nil || !slices.Equal(got, w) {
			t.Fatalf("Find(%s): got %v, %v, want %v", id.Short(), got, err, w)
		}
		if len(w) > 5 {
			several++
		}
		for _, f := range got {
			if e, err := set.Entry(f.Position); err != nil || e.ID != id || e.Location != f.Location {
				t.Fatalf("Entry(%d): %v, %v", f.Position, e, err)
			}
		}
	}
	if several == 0 {
		t.Error("no id has locations in several segments")
	}
	for name, seq := range sequences {
		if p, ok, err := set.FindPack(name); err != nil || !ok || p.Sequence != seq {
			t.Errorf("FindPack(%s): %v, %v, %v", name, p, ok, err)
		}
	}
	if got, err := set.Find(nil, testID(1)); len(got) != 0 || err != nil {
		t.Errorf("Find of nothing: %v, %v", got, err)
	}
	for _, p := range []int{-1, position} {
		if _, err := set.Entry(p); err == nil {
			t.Errorf("Entry(%d) gave one", p)
		}
	}
	empty := NewSet(nil)
	if got, err := empty.Find(nil, testID(1)); len(got) != 0 || err != nil || empty.Len() != 0 {
		t.Errorf("empty set: %v, %v", got, err)
	}
}

func TestCollector(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	packs, entries := testSegment(1, 6, 300)
	c, err := NewCollector(fsys, "tmp-", 1<<12)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, i := range rng.Perm(len(entries)) {
		if err := c.Add(entries[i]); err != nil {
			t.Fatal(err)
		}
		if l, ok, err := c.Find(entries[i].ID); !ok || err != nil || l.Kind == 0 {
			t.Fatalf("Find: %v, %v, %v", l, ok, err)
		}
	}
	if err := c.Add(entries[0]); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(Entry{}); err == nil {
		t.Error("a zero entry was taken")
	}
	if _, ok, err := c.Find(testID(9)); ok || err != nil {
		t.Errorf("Find of nothing: %v, %v", ok, err)
	}
	if err := Write(fsys, "seg", packs, c.Entries()); err != nil {
		t.Fatal(err)
	}
	if got := all(t, openSegment(t, fsys, "seg").Entries(0)); !slices.Equal(got, entries) {
		t.Errorf("%d entries, want %d", len(got), len(entries))
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := fsys.List("."); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

func TestDamageIsFound(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	packs, entries := testSegment(1, 4, 8)
	writeOpen(t, fsys, "s", packs, entries)
	whole, err := disk.ReadFile(fsys, "s", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(b []byte) error {
		s, err := newSegment(b, "s")
		if err != nil {
			return err
		}
		return s.Verify()
	}
	if err := verify(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 2
		if err := verify(b); !errors.Is(err, table.ErrDamaged) {
			t.Fatalf("byte %d of %d changed: got %v, want ErrDamaged", i, len(b), err)
		}
		if err := verify(whole[:i]); !errors.Is(err, table.ErrDamaged) {
			t.Fatalf("cut to %d bytes: got %v, want ErrDamaged", i, err)
		}
	}
	if _, err := OpenSegment(fsys, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing segment: %v", err)
	}
}
