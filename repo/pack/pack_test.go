package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

var testSession = object.SessionID{0xab, 1, 2, 3, 15: 0xcd}

// testRecord returns a record of kind k with sealed sealed bytes, made of rng.
func testRecord(rng *rand.Rand, k object.Kind, refs, sealed int) *object.Record {
	r := &object.Record{Kind: k, Sealed: make([]byte, sealed)}
	fill := func(b []byte) {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	}
	fill(r.Sealed)
	fill(r.ID[:])
	fill(r.Key[:])
	for range refs {
		var id object.ID
		fill(id[:])
		r.Refs = append(r.Refs, id)
	}
	if k == object.KindKey {
		r.Key, r.ID = object.ID{}, object.HashID(r.Sealed)
	}
	return r
}

// memFile is a File that only reads.
type memFile []byte

func (m memFile) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }
func (m memFile) Size() (int64, error)                    { return int64(len(m)), nil }
func (m memFile) Write([]byte) (int, error)               { return 0, fs.ErrPermission }
func (m memFile) Sync() error                             { return nil }
func (m memFile) Map() ([]byte, error)                    { return bytes.Clone(m), nil }
func (m memFile) Close() error                            { return nil }

type placed struct {
	offset, length uint32
	rec            *object.Record
}

// makePack writes records into a new pack and returns where they are.
func makePack(t testing.TB, fsys disk.FS, n Name, typ Type, recs []*object.Record, seal bool) []placed {
	t.Helper()
	w, err := Create(fsys, n, typ)
	if err != nil {
		t.Fatal(err)
	}
	var all []placed
	for i, r := range recs {
		var off, length uint32
		if i%3 == 2 {
			off, length, err = w.AppendEncoded(r.Append(nil))
		} else {
			off, length, err = w.Append(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, placed{off, length, r})
	}
	if seal {
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Append(recs[0]); err == nil {
			t.Error("a sealed pack took a record")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func mixedRecords(seed uint64) []*object.Record {
	rng := rand.New(rand.NewPCG(seed, 5))
	var recs []*object.Record
	for _, size := range []int{1, 100, directWrite - 1, directWrite, 70, writeBuffer + 5, 2 << 20, 200, 90 << 10, 90 << 10, 30000, 30000, 30000, 1} {
		k := object.KindChunk
		if rng.IntN(2) == 0 {
			k = object.KindBundle
		}
		recs = append(recs, testRecord(rng, k, 0, size))
	}
	return recs
}

func packBytes(t testing.TB, fsys disk.FS, n Name, typ Type) []byte {
	t.Helper()
	b, err := disk.ReadFile(fsys, n.Path(typ), MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriteReadScan(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	for _, seal := range []bool{false, true} {
		n := NewName(testSession, 7)
		if seal {
			n = NewName(testSession, 8)
		}
		all := makePack(t, fsys, n, Data, mixedRecords(1), seal)
		files := NewFiles(fsys, 2)
		defer files.Close()
		for _, p := range all {
			got, err := files.Record(n, Data, p.offset, p.length)
			if err != nil || !reflect.DeepEqual(got, p.rec) {
				t.Fatalf("record at %d: %v", p.offset, err)
			}
		}
		b := packBytes(t, fsys, n, Data)
		i := 0
		sum, err := Scan(memFile(b), n, Data, func(off uint32, r *object.Record) error {
			if off != all[i].offset || !reflect.DeepEqual(r, all[i].rec) {
				return fmt.Errorf("record %d at %d is another one", i, off)
			}
			i++
			return nil
		})
		end := int64(all[len(all)-1].offset + all[len(all)-1].length)
		want := Scanned{Sealed: seal, Records: uint32(len(all)), End: end, Size: int64(len(b))}
		if err != nil || !reflect.DeepEqual(sum, want) {
			t.Errorf("Scan: got %+v, %v, want %+v", sum, err, want)
		}
		i = 0
		sum, err = ScanHeaders(memFile(b), n, Data, func(off uint32, h object.Header) error {
			if off != all[i].offset || h.ID != all[i].rec.ID || h.Size() != int(all[i].length) {
				return fmt.Errorf("header %d at %d is another one", i, off)
			}
			i++
			return nil
		})
		if err != nil || !reflect.DeepEqual(sum, want) {
			t.Errorf("ScanHeaders: got %+v, %v, want %+v", sum, err, want)
		}
	}
}

func TestMetaPackRefs(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	rng := rand.New(rand.NewPCG(3, 5))
	recs := []*object.Record{
		testRecord(rng, object.KindKey, 0, 1700),
		testRecord(rng, object.KindDir, 3, 400),
		testRecord(rng, object.KindList, 9000, 12),
	}
	n := NewName(testSession, 0)
	makePack(t, fsys, n, Meta, recs, true)
	var refs []int
	if _, err := Scan(memFile(packBytes(t, fsys, n, Meta)), n, Meta, func(_ uint32, r *object.Record) error {
		refs = append(refs, len(r.Refs))
		return nil
	}); err != nil || !reflect.DeepEqual(refs, []int{0, 3, 9000}) {
		t.Errorf("refs: got %v, %v", refs, err)
	}
}

func TestWriterRefuses(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	rng := rand.New(rand.NewPCG(4, 5))
	n := NewName(testSession, 1)
	w, err := Create(fsys, n, Data)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := Create(fsys, n, Data); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second pack of one name: got %v, want fs.ErrExist", err)
	}
	good := testRecord(rng, object.KindChunk, 0, 50)
	bad := good.Append(nil)
	bad[100] ^= 1
	for name, err := range map[string]error{
		"wrong type": last(w.Append(testRecord(rng, object.KindDir, 0, 5))),
		"no bytes":   last(w.Append(testRecord(rng, object.KindChunk, 0, 0))),
		"refs":       last(w.Append(testRecord(rng, object.KindChunk, 1, 9))),
		"checksum":   last(w.AppendEncoded(bad)),
		"cut":        last(w.AppendEncoded(good.Append(nil)[:90])),
	} {
		if err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if w.Size() != HeaderSize || w.Records() != 0 {
		t.Errorf("after refusals: %d bytes, %d records", w.Size(), w.Records())
	}
	w.size = MaxSize - 100
	if _, _, err := w.Append(good); !errors.Is(err, ErrFull) {
		t.Errorf("beyond MaxSize: got %v, want ErrFull", err)
	}
	w.size = HeaderSize
	if _, _, err := w.Append(good); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}

func last(_, _ uint32, err error) error { return err }

func TestSyncWhileAppending(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	n := NewName(testSession, 2)
	w, err := Create(fsys, n, Data)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const each = 200
	for g := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 6))
			for i := range each {
				if _, _, err := w.Append(testRecord(rng, object.KindChunk, 0, 1+rng.IntN(2*directWrite))); err != nil {
					t.Error(err)
					return
				}
				if i%50 == 0 {
					before := w.Size()
					if durable, err := w.Sync(); err != nil || durable < before {
						t.Errorf("Sync: %d of %d bytes, %v", durable, before, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	sum, err := Scan(memFile(packBytes(t, fsys, n, Data)), n, Data, func(uint32, *object.Record) error { return nil })
	if err != nil || sum.Records != 3*each || !sum.Sealed || len(sum.Damage) > 0 {
		t.Errorf("Scan: %+v, %v", sum, err)
	}
}

func TestFilesKeepFewOpen(t *testing.T) {
	fsys := &countingFS{FS: disk.OS(t.TempDir())}
	rng := rand.New(rand.NewPCG(8, 5))
	var packs [][]placed
	for c := range uint32(6) {
		packs = append(packs, makePack(t, fsys, NewName(testSession, c), Data, []*object.Record{testRecord(rng, object.KindChunk, 0, 100)}, true))
	}
	files := NewFiles(fsys, 3)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 200 {
				c := rng.IntN(6)
				p := packs[c][0]
				r, err := files.Record(NewName(testSession, uint32(c)), Data, p.offset, p.length)
				if err != nil || r.ID != p.rec.ID {
					t.Errorf("pack %d: %v", c, err)
				}
				if rng.IntN(20) == 0 {
					files.Drop(NewName(testSession, uint32(c)), Data)
				}
			}
		})
	}
	wg.Wait()
	if n := fsys.count(0); n > 3 {
		t.Errorf("%d files are open, want at most 3", n)
	}
	if err := files.Close(); err != nil {
		t.Error(err)
	}
	if n := fsys.count(0); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
}

func TestFilesErrors(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	n := NewName(testSession, 3)
	p := makePack(t, fsys, n, Data, mixedRecords(2)[:2], false)[1]
	files := NewFiles(fsys, 2)
	defer files.Close()
	if _, err := files.Record(NewName(testSession, 4), Data, 40, 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing pack: got %v, want fs.ErrNotExist", err)
	}
	for name, err := range map[string]error{
		"offset":  second(files.Record(n, Data, p.offset+1, p.length)),
		"length":  second(files.Record(n, Data, p.offset, p.length-1)),
		"end":     second(files.Record(n, Data, p.offset, p.length+1)),
		"far":     second(files.Record(n, Data, 1<<31, 100)),
		"huge":    second(files.Record(n, Data, p.offset, 1<<31)),
		"nothing": second(files.Record(n, Data, p.offset, 0)),
	} {
		if !errors.Is(err, object.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

func second(_ *object.Record, err error) error { return err }

// countingFS counts files that are open.
type countingFS struct {
	disk.FS
	mu   sync.Mutex
	open int
}

func (c *countingFS) count(d int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += d
	return c.open
}

func (c *countingFS) Open(name string) (disk.File, error) {
	f, err := c.FS.Open(name)
	if err == nil {
		c.count(1)
		f = &countedFile{f, c}
	}
	return f, err
}

type countedFile struct {
	disk.File
	c *countingFS
}

func (f *countedFile) Close() error {
	f.c.count(-1)
	return f.File.Close()
}

func TestNames(t *testing.T) {
	n := NewName(testSession, 0x01020304)
	if got := n.Path(Meta); got != "packs/af/ab010203000000000000000000000"+"0cd01020304.meta" {
		t.Errorf("Path: %q", got)
	}
	if n.Session() != testSession || n.Counter() != 0x01020304 {
		t.Errorf("parts: %x, %x", n.Session(), n.Counter())
	}
	for _, typ := range []Type{Data, Meta} {
		got, gotType, err := ParseFile(n.String() + "." + typ.String())
		if err != nil || got != n || gotType != typ {
			t.Errorf("ParseFile: %s, %v, %v", got, gotType, err)
		}
	}
	for _, bad := range []string{"", n.String(), n.String() + ".tmp", n.String() + ".data.x", "AB" + n.String()[2:] + ".data", "x" + n.String() + ".data"} {
		if _, _, err := ParseFile(bad); err == nil {
			t.Errorf("ParseFile(%q) took it", bad)
		}
	}
	for k := object.KindChunk; k <= object.KindKey; k++ {
		if want := k != object.KindChunk && k != object.KindBundle; (TypeOf(k) == Meta) != want {
			t.Errorf("TypeOf(%v) = %v", k, TypeOf(k))
		}
	}
}
