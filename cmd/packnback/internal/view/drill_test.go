package view

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// drillTree drills the tree root with a sample of all of it, and returns what
// was found and the paths that were reported.
func drillTree(t *testing.T, r *Reader, root tree.Entry) (res DrillResult, lost []string) {
	t.Helper()
	var files, read uint64
	snap := &Snapshot{Snapshot: &object.Snapshot{Manifest: &object.Manifest{Root: root.Subtree}}, Summary: new(tree.Summary), reader: r}
	res, err := r.Drill(t.Context(), snap, Drill{
		Sample: 1000,
		Report: func(path string, err error) {
			if !Refused(err) {
				t.Errorf("%s: %v is no loss", path, err)
			}
			lost = append(lost, path)
		},
		Progress: func(f, b uint64) { files += f; read += b },
	})
	if err != nil {
		t.Fatal(err)
	}
	if files != res.Files || read > res.Bytes {
		t.Errorf("the progress counted %d files and %d bytes, want %d and at most %d", files, read, res.Files, res.Bytes)
	}
	return res, lost
}

// TestDrillFindsEveryLoss takes away each object of a tree in turn: what
// suffers must be named, and all else still be read.
func TestDrillFindsEveryLoss(t *testing.T) {
	b := viewtest.New(t)
	small, other := b.File("small", "content"), b.File("other", "more")
	large := b.Large("large", b.Chunk("one"), b.Chunk("two"))
	sub := b.Folder("sub", b.File("below", "it"))
	root := b.Folder("", large, other, small, sub, b.File("void", ""))
	res, lost := drillTree(t, newReader(t, b), root)
	want := DrillResult{Files: 5, FilesRead: 5, Bytes: res.Bytes, BytesRead: res.Bytes}
	if res != want || len(lost) > 0 || res.Bytes == 0 {
		t.Fatalf("whole: got %+v and %q, want %+v", res, lost, want)
	}
	for _, c := range []struct {
		id   object.ID
		path string
		read uint64
	}{
		{small.Extents[0].ID, "/small", 4}, {large.Extents[0].ID, "/large", 4}, {sub.Subtree, "/sub", 4},
	} {
		saved := b.Store.Record(c.id)
		b.Store.Drop(c.id)
		res, lost := drillTree(t, newReader(t, b), root)
		if res.Lost != 1 || res.FilesRead != c.read || !slices.Equal(lost, []string{c.path}) {
			t.Errorf("without %s: got %+v and %q; want it lost and %d files read", c.path, res, lost, c.read)
		}
		b.Store.Put(saved)
	}
}

// TestDrillComparesLengths has an entry that says more than there is.
func TestDrillComparesLengths(t *testing.T) {
	run := &drillRun{Drill: Drill{Report: func(string, error) {}, Progress: func(uint64, uint64) {}}}
	for _, size := range []uint64{0, 7, 8, 9} {
		f := &picked{path: "/f", size: size}
		if err := errors.Join(run.piece(Piece{Token: f, Extent: tree.Extent{Kind: tree.ExtentHole, Length: 5}}, nil, nil),
			run.piece(Piece{Token: f, Extent: tree.Extent{Kind: tree.ExtentChunk, Length: 3}}, []byte("abc"), nil),
			run.piece(Piece{Token: drillEnd{file: f}}, nil, nil)); err != nil {
			t.Fatal(err)
		}
		if f.lost != (size != 8) {
			t.Errorf("8 bytes of a file of %d: lost %v", size, f.lost)
		}
	}
	f := &picked{path: "/f"}
	if err := run.piece(Piece{Token: f}, nil, crypto.ErrNotRecipient); err != nil || run.result.Refused != 1 {
		t.Errorf("content sealed to others: %v, %+v", err, run.result)
	}
	broken := errors.New("no connection")
	if err := run.piece(Piece{Token: new(picked)}, nil, broken); !errors.Is(err, broken) {
		t.Errorf("a run that can't go on: got %v", err)
	}
}

func sampleDrills() Drills {
	return Drills{
		{object.RepositoryID{7}, "web", "db", object.ID{9}, 1_800_000_000_000_000_000, 12345, 100, 1 << 40, 2},
		{object.RepositoryID{7}, "web", "default", object.ID{8}, 1, 0, 0, 0, 0},
	}
}

func TestDrillsText(t *testing.T) {
	all := sampleDrills()
	text := string(all.Append(nil))
	got, err := ParseDrills([]byte(text))
	if err != nil || !reflect.DeepEqual(got, all) {
		t.Fatalf("ParseDrills(%s) = %+v, %v; want %+v", text, got, err, all)
	}
	line := strings.Split(text, "\n")[1]
	for name, bad := range map[string]string{
		"nothing":      "",
		"no header":    line + "\n",
		"version":      strings.Replace(text, "v1", "v2", 1),
		"twice":        text + line + "\n",
		"unknown line": text + "pin x\n",
		"word too few": text + strings.TrimSuffix(strings.Replace(line, " db ", " x ", 1), " 2") + "\n",
		"upper case":   strings.Replace(text, "0900000", "09AAAAA", 1),
		"client":       strings.ReplaceAll(text, " web ", " ../x "),
		"minus":        strings.Replace(text, " 100 ", " -100 ", 1),
		"zero first":   strings.Replace(text, " 100 ", " 0100 ", 1),
		"more read":    strings.Replace(text, " 12345 100 ", " 99 100 ", 1),
		"time":         strings.Replace(text, "1800000000000000000", "9300000000000000000", 1),
		"overflow":     strings.Replace(text, "1800000000000000000", "99999999999999999999", 1),
		"long line":    text + "#" + strings.Repeat("x", 1000) + "\n",
	} {
		if _, err := ParseDrills([]byte(bad)); !errors.Is(err, ErrDrills) {
			t.Errorf("%s: got %v, want ErrDrills", name, err)
		}
	}
	newer := Drilled{Repository: object.RepositoryID{7}, Client: "web", Job: "db", Time: 5}
	if all = all.Set(newer); len(all) != 2 || all[0] != newer {
		t.Errorf("a newer drill: got %+v", all)
	}
	if all = all.Set(Drilled{Repository: object.RepositoryID{8}, Client: "web", Job: "db"}); len(all) != 3 {
		t.Errorf("a drill of another repository: got %+v", all)
	}
	if d, ok := all.Find(object.RepositoryID{7}, "web", "db"); !ok || d != newer {
		t.Errorf("Find: got %+v, %v", d, ok)
	}
}

func FuzzParseDrills(f *testing.F) {
	f.Add(sampleDrills().Append(nil))
	f.Add([]byte(drillsHeader + "\n# remark\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := ParseDrills(text)
		if err != nil {
			return
		}
		canonical := all.Append(nil)
		again, err := ParseDrills(canonical)
		if err != nil {
			t.Fatalf("%q is refused: %v", canonical, err)
		}
		if got := again.Append(nil); !bytes.Equal(got, canonical) {
			t.Fatalf("%q is appended as %q", canonical, got)
		}
	})
}
