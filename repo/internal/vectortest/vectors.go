package vectortest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var write = flag.Bool("vectors.write", false, "write testdata/vectors anew")

// dir is where a package keeps its vectors.
const dir = "testdata/vectors"

// Vector is one file of testdata/vectors.
type Vector struct {
	Name    string            // of the file, without .txt
	Comment string            // what is right or wrong with the bytes
	Expect  string            // "ok", or a word for how the reader refuses
	Params  map[string]string // further inputs
	Bytes   []byte
}

// append appends the text of v.
func (v *Vector) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "comment: %s\nexpect: %s\n", v.Comment, v.Expect)
	for _, name := range slices.Sorted(maps.Keys(v.Params)) {
		dst = fmt.Appendf(dst, "%s: %s\n", name, v.Params[name])
	}
	for line := range slices.Chunk([]byte(hex.EncodeToString(v.Bytes)), 64) {
		dst = append(append(dst, '\n'), line...)
	}
	return append(dst, '\n')
}

func parse(name, text string) (*Vector, error) {
	head, body, ok := strings.Cut(text, "\n\n")
	if !ok {
		head, body = strings.TrimSuffix(text, "\n"), "" // no bytes
	}
	v := &Vector{Name: name, Params: make(map[string]string)}
	for _, line := range strings.Split(head, "\n") {
		key, value, ok := strings.Cut(line, ": ")
		switch {
		case !ok:
			return nil, fmt.Errorf("vector %s: line %q", name, line)
		case key == "comment":
			v.Comment = value
		case key == "expect":
			v.Expect = value
		default:
			v.Params[key] = value
		}
	}
	if v.Comment == "" || v.Expect == "" {
		return nil, fmt.Errorf("vector %s: no comment, or nothing expected", name)
	}
	var err error
	v.Bytes, err = hex.DecodeString(strings.Join(strings.Fields(body), ""))
	return v, err
}

// Load returns the committed vectors, sorted by name.
func Load(t testing.TB) []*Vector {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []*Vector
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parse(strings.TrimSuffix(filepath.Base(path), ".txt"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		if again := v.append(nil); !bytes.Equal(again, text) {
			t.Fatalf("vector %s is not written as vectors are", v.Name)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

// Run runs read on every committed vector and compares the outcome. made are
// the vectors that the package's own code makes: each must be committed as it
// is made today, so that a format can't change unnoticed, and every committed
// one must still be made. With -vectors.write they are written first.
func Run(t *testing.T, made []*Vector, read func(t *testing.T, v *Vector) (outcome string)) {
	t.Helper()
	if *write {
		if err := writeAll(made); err != nil {
			t.Fatal(err)
		}
	}
	byName := make(map[string]*Vector)
	for _, v := range made {
		if byName[v.Name] != nil {
			t.Errorf("two vectors are called %s", v.Name)
		}
		byName[v.Name] = v
	}
	committed := Load(t)
	if len(committed) != len(made) {
		t.Errorf("%d vectors are committed, %d are known", len(committed), len(made))
	}
	for _, v := range committed {
		t.Run(v.Name, func(t *testing.T) {
			if m := byName[v.Name]; m == nil || !bytes.Equal(m.append(nil), v.append(nil)) {
				t.Error("the bytes are made otherwise today")
			}
			if got := read(t, v); got != v.Expect {
				t.Errorf("%s: got %s, want %s", v.Comment, got, v.Expect)
			}
		})
	}
}

func writeAll(made []*Vector) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	var errs []error
	for _, v := range made {
		errs = append(errs, os.WriteFile(filepath.Join(dir, v.Name+".txt"), v.append(nil), 0o666))
	}
	return errors.Join(errs...)
}

// With returns a copy of b whose bytes at offset are those of part.
func With(b []byte, offset int, part ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[offset:], part)
	return b
}
