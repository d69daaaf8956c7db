package tree

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/packnback/packnback/repo/internal/vectortest"
	"github.com/packnback/packnback/repo/object"
)

// leastVectors is how many vectors must be there, so that lost ones are
// noticed.
const leastVectors = 70

// vector is a plaintext, how many refs its object has (the i-th is
// numberID(i)), and what must come of it.
type vector struct {
	name, comment, format, expect string
	refs                          int
	plaintext                     []byte
}

func (v *vector) ids() []object.ID {
	ids := make([]object.ID, v.refs)
	for i := range ids {
		ids[i] = numberID(uint64(i))
	}
	return ids
}

// file returns v as it is committed, and newVector the other way round.
func (v *vector) file() *vectortest.Vector {
	return &vectortest.Vector{Name: v.name, Comment: v.comment, Expect: v.expect, Bytes: v.plaintext,
		Params: map[string]string{"format": v.format, "refs": strconv.Itoa(v.refs)}}
}

func newVector(t testing.TB, f *vectortest.Vector) *vector {
	t.Helper()
	refs, err := strconv.Atoi(f.Params["refs"])
	if err != nil {
		t.Fatalf("vector %s: %v", f.Name, err)
	}
	return &vector{f.Name, f.Comment, f.Params["format"], f.Expect, refs, f.Bytes}
}

// decode parses a plaintext and writes it again.
func decode(format string, refs []object.ID, plaintext []byte) (again []byte, refsAgain []object.ID, err error) {
	switch format {
	case "directory":
		n, err := UnmarshalDir(refs, plaintext)
		if err != nil {
			return nil, nil, err
		}
		return encodeNode(n)
	case "list":
		n, err := unmarshalList(refs, plaintext)
		if err != nil {
			return nil, nil, err
		}
		b, ids := encodeListNode(n)
		return b, ids, nil
	case "summary":
		s, err := UnmarshalSummary(plaintext)
		if err != nil {
			return nil, nil, err
		}
		b, err := s.Append(nil)
		return b, nil, err
	}
	return nil, nil, fmt.Errorf("unknown format %q", format)
}

func encodeNode(n *Node) ([]byte, []object.ID, error) {
	if n.Level == 0 {
		var l leaf
		for i := range n.Entries {
			l.add(&n.Entries[i])
		}
		b, err := l.encode()
		return b, l.refs.ids, err
	}
	v := interior{level: n.Level}
	for _, c := range n.Children {
		v.add(c)
	}
	return v.encode(), v.ids, nil
}

func encodeListNode(n *listNode) ([]byte, []object.ID) {
	if n.Level == 0 {
		var refs []object.ID
		var b []byte
		w := NewListWriter(func(_ object.Kind, ids []object.ID, plaintext []byte) (object.ID, error) {
			refs, b = append(refs, ids...), append(b, plaintext...)
			return numberID(0), nil
		})
		for i := range n.Extents {
			w.leaf.add(&n.Extents[i], &w.refs)
		}
		_ = w.flushLeaf() // emit above does not fail
		return b, refs
	}
	v := listLevel{level: n.Level}
	for _, c := range n.Children {
		v.add(c)
	}
	return v.encode(nil), v.refs.ids
}

// outcome decodes v and writes it again.
func (v *vector) outcome() string {
	again, refs, err := decode(v.format, v.ids(), v.plaintext)
	switch {
	case errors.Is(err, object.ErrMalformed):
		return "malformed"
	case err != nil:
		return err.Error()
	case !bytes.Equal(again, v.plaintext):
		return fmt.Sprintf("written again it is %x", again)
	case !slices.Equal(refs, v.ids()):
		return fmt.Sprintf("written again it has the refs %v", refs)
	}
	return "ok"
}

func TestVectors(t *testing.T) {
	var made []*vectortest.Vector
	for _, v := range madeVectors(t) {
		made = append(made, v.file())
	}
	if len(made) < leastVectors {
		t.Errorf("%d vectors, want at least %d", len(made), leastVectors)
	}
	vectortest.Run(t, made, func(t *testing.T, f *vectortest.Vector) string { return newVector(t, f).outcome() })
}

// FuzzDecode checks of all three formats that what is accepted is written
// again as the same bytes, and that what is accepted passes the writers' rules.
func FuzzDecode(f *testing.F) {
	formats := []string{"directory", "list", "summary"}
	seeds := vectortest.Load(f)
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, seed := range seeds {
		v := newVector(f, seed)
		f.Add(slices.Index(formats, v.format), v.refs, v.plaintext)
	}
	f.Fuzz(func(t *testing.T, format, refs int, plaintext []byte) {
		if format < 0 || format >= len(formats) || refs < 0 || refs > 1000 || formats[format] == "summary" && refs > 0 {
			return
		}
		v := vector{format: formats[format], refs: refs, plaintext: plaintext}
		if got := v.outcome(); got != "ok" && got != "malformed" {
			t.Error(got)
		}
	})
}
