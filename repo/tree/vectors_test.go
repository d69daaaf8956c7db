package tree

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

var writeVectors = flag.Bool("vectors.write", false, "write testdata/vectors anew")

const vectorDir = "testdata/vectors"

// leastVectors is how many vectors must be there, so that lost ones are
// noticed.
const leastVectors = 40

// vector is one file of testdata/vectors: a plaintext, how many refs its
// object has (the i-th is numberID(i)), and what must come of it.
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
		n, err := UnmarshalList(refs, plaintext)
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

func encodeListNode(n *ListNode) ([]byte, []object.ID) {
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

func (v *vector) check() error {
	again, refs, err := decode(v.format, v.ids(), v.plaintext)
	switch {
	case v.expect == "malformed":
		if !errors.Is(err, object.ErrMalformed) {
			return fmt.Errorf("got %v, want malformed", err)
		}
		return nil
	case err != nil:
		return err
	case !bytes.Equal(again, v.plaintext):
		return fmt.Errorf("written again it is %x", again)
	case len(refs) != v.refs:
		return fmt.Errorf("written again it has %d refs, want %d", len(refs), v.refs)
	}
	for i, id := range v.ids() {
		if refs[i] != id {
			return fmt.Errorf("written again its ref %d differs", i)
		}
	}
	return nil
}

func TestVectors(t *testing.T) {
	if *writeVectors {
		for _, v := range madeVectors(t) {
			if err := os.WriteFile(filepath.Join(vectorDir, v.name+".txt"), v.append(nil), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	vs := readVectors(t)
	if len(vs) < leastVectors {
		t.Fatalf("%d vectors in %s, want at least %d", len(vs), vectorDir, leastVectors)
	}
	for _, v := range vs {
		t.Run(v.name, func(t *testing.T) {
			if err := v.check(); err != nil {
				t.Errorf("%s (%s): %v", v.comment, v.expect, err)
			}
		})
	}
}

func (v *vector) append(b []byte) []byte {
	b = fmt.Appendf(b, "comment: %s\nformat: %s\nrefs: %d\nexpect: %s\n\n", v.comment, v.format, v.refs, v.expect)
	for p := v.plaintext; len(p) > 0; p = p[min(32, len(p)):] {
		b = fmt.Appendf(b, "%x\n", p[:min(32, len(p))])
	}
	return b
}

func readVectors(t testing.TB) []*vector {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var vs []*vector
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseVector(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v.name = strings.TrimSuffix(filepath.Base(name), ".txt")
		vs = append(vs, v)
	}
	return vs
}

func parseVector(b []byte) (*vector, error) {
	v := new(vector)
	head, body, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		return nil, errors.New("no empty line")
	}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "comment":
			v.comment = value
		case "format":
			v.format = value
		case "expect":
			v.expect = value
		case "refs":
			if _, err := fmt.Sscan(value, &v.refs); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown key %q", key)
		}
	}
	if v.expect != "ok" && v.expect != "malformed" {
		return nil, fmt.Errorf("unknown expectation %q", v.expect)
	}
	sc := bufio.NewScanner(strings.NewReader(body))
	for sc.Scan() {
		p, err := hex.DecodeString(sc.Text())
		if err != nil {
			return nil, err
		}
		v.plaintext = append(v.plaintext, p...)
	}
	return v, nil
}

// FuzzDecode checks of all three formats that what is accepted is written
// again as the same bytes, and that what is accepted passes the writers' rules.
func FuzzDecode(f *testing.F) {
	formats := []string{"directory", "list", "summary"}
	vs := readVectors(f)
	if len(vs) == 0 {
		f.Fatal("no seeds")
	}
	for _, v := range vs {
		for i, format := range formats {
			if v.format == format {
				f.Add(i, v.refs, v.plaintext)
			}
		}
	}
	f.Fuzz(func(t *testing.T, format, refs int, plaintext []byte) {
		if format < 0 || format >= len(formats) || refs < 0 || refs > 1000 || formats[format] == "summary" && refs > 0 {
			return
		}
		v := vector{format: formats[format], refs: refs, plaintext: plaintext, expect: "ok"}
		if _, _, err := decode(v.format, v.ids(), plaintext); errors.Is(err, object.ErrMalformed) {
			return
		}
		if err := v.check(); err != nil {
			t.Error(err)
		}
	})
}
