package chunk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var writeVectors = flag.Bool("vectors.write", false, "write testdata/vectors anew")

const (
	vectorDir    = "testdata/vectors"
	leastVectors = 15
)

// vector is one file of testdata/vectors: either an input that must be cut at
// certain places, or stored bytes and what they must decompress to.
type vector struct {
	name, comment, expect string // expect: ok or refused

	secret []byte // of a cut: the chunker secret
	input  string // "counter N", "zeros N" or "repeat N": see bytes
	codec  int    // of stored bytes
	length int
	sum    string // SHA-256 of what they decompress to

	body []byte // ends of chunks as u32, or the stored bytes
}

// vectorInput makes the input of a cut: "counter" is SHA-256 of 0, 1, 2, … as
// u64, one after the other; "zeros" is zeros; "repeat" the first 1,000 bytes
// of counter again and again.
func vectorInput(t testing.TB, spec string) []byte {
	t.Helper()
	kind, count, _ := strings.Cut(spec, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 0, n+32)
	for i := uint64(0); len(b) < n && kind != "zeros"; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		b = append(b, sum[:]...)
	}
	switch kind {
	case "counter":
	case "zeros":
		b = b[:n]
	case "repeat":
		for i := 1000; i < n; i++ {
			b[i] = b[i-1000]
		}
	default:
		t.Fatalf("unknown input %q", spec)
	}
	return b[:n]
}

func (v *vector) check(t testing.TB) {
	t.Helper()
	if v.input != "" {
		ends, _ := cuts(t, New([32]byte(v.secret)), bytes.NewReader(vectorInput(t, v.input)))
		if got := appendEnds(ends); !bytes.Equal(got, v.body) {
			t.Errorf("cut at %v, that is %x, want %x", ends, got, v.body)
		}
		return
	}
	d, err := NewDecompressor(1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Decompress(nil, byte(v.codec), v.body, v.length)
	switch {
	case v.expect == "refused":
		if !errors.Is(err, ErrCodec) {
			t.Errorf("got %d bytes, %v; want ErrCodec", len(got), err)
		}
	case err != nil:
		t.Error(err)
	case fmt.Sprintf("%x", sha256.Sum256(got)) != v.sum:
		t.Errorf("%d bytes with another SHA-256 than %s", len(got), v.sum)
	}
}

func appendEnds(ends []int) (b []byte) {
	for _, e := range ends {
		b = binary.BigEndian.AppendUint32(b, uint32(e))
	}
	return b
}

func TestVectors(t *testing.T) {
	if *writeVectors {
		for _, v := range madeVectors(t) {
			if err := os.WriteFile(filepath.Join(vectorDir, v.name+".txt"), v.append(nil), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < leastVectors {
		t.Fatalf("%d vectors in %s, want at least %d", len(names), vectorDir, leastVectors)
	}
	made := make(map[string]*vector)
	for _, v := range madeVectors(t) {
		made[v.name] = v
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parseVector(b)
			if err != nil {
				t.Fatal(err)
			}
			v.check(t)
			m := made[strings.TrimSuffix(filepath.Base(name), ".txt")]
			// What a compressor makes may change with its version.
			if m == nil || m.codec == int(CodecRaw) && !bytes.Equal(m.append(nil), b) {
				t.Error("the bytes are made otherwise today")
			}
		})
	}
}

func (v *vector) append(b []byte) []byte {
	b = fmt.Appendf(b, "comment: %s\nexpect: %s\n", v.comment, v.expect)
	if v.input != "" {
		b = fmt.Appendf(b, "secret: %x\ninput: %s\n", v.secret, v.input)
	} else {
		b = fmt.Appendf(b, "codec: %d\nlength: %d\n", v.codec, v.length)
		if v.sum != "" {
			b = fmt.Appendf(b, "sum: %s\n", v.sum)
		}
	}
	b = append(b, '\n')
	for p := v.body; len(p) > 0; p = p[min(32, len(p)):] {
		b = fmt.Appendf(b, "%x\n", p[:min(32, len(p))])
	}
	return b
}

func parseVector(b []byte) (*vector, error) {
	v := new(vector)
	head, body, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		return nil, errors.New("no empty line")
	}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var err error
		switch key {
		case "comment":
			v.comment = value
		case "expect":
			v.expect = value
		case "secret":
			v.secret, err = hex.DecodeString(value)
		case "input":
			v.input = value
		case "codec":
			v.codec, err = strconv.Atoi(value)
		case "length":
			v.length, err = strconv.Atoi(value)
		case "sum":
			v.sum = value
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return nil, err
		}
	}
	var err error
	v.body, err = hex.DecodeString(strings.Join(strings.Fields(body), ""))
	if err == nil && v.expect != "ok" && v.expect != "refused" || v.input != "" && len(v.secret) != 32 {
		err = fmt.Errorf("expectation %q, secret of %d bytes", v.expect, len(v.secret))
	}
	return v, err
}

func madeVectors(t testing.TB) []*vector {
	zero, other := make([]byte, 32), bytes.Repeat([]byte{0xa5}, 32)
	vs := []*vector{
		{name: "cut-nothing", comment: "an empty stream has no chunks", secret: zero, input: "counter 0"},
		{name: "cut-short", comment: "less than the least length is one chunk", secret: zero, input: "counter 1000"},
		{name: "cut-random", comment: "as good as random", secret: zero, input: "counter 6000000"},
		{name: "cut-other-secret", comment: "the same with another secret", secret: other, input: "counter 6000000"},
		{name: "cut-zeros", comment: "one repeated byte is never a place to cut", secret: zero, input: "zeros 9000000"},
		{name: "cut-repeat", comment: "a period of 1,000 bytes", secret: zero, input: "repeat 5000000"},
		{name: "cut-repeat-other", comment: "the same with another secret", secret: other, input: "repeat 5000000"},
	}
	for _, v := range vs {
		v.expect = "ok"
		ends, _ := cuts(t, New([32]byte(v.secret)), bytes.NewReader(vectorInput(t, v.input)))
		v.body = appendEnds(ends)
	}
	c, err := NewCompressor(LevelDefault, 1)
	if err != nil {
		t.Fatal(err)
	}
	plain := vectorInput(t, "repeat 5000")
	_, good := c.Compress(nil, plain)
	_, bomb := c.Compress(nil, make([]byte, MaxLength))
	stored := func(name, comment, expect string, codec, length int, body []byte) {
		v := &vector{name: name, comment: comment, expect: expect, codec: codec, length: length, body: body}
		if expect == "ok" {
			v.sum = fmt.Sprintf("%x", sha256.Sum256(plain))
		}
		vs = append(vs, v)
	}
	stored("zstd", "one frame", "ok", 1, len(plain), good)
	stored("raw", "as it is", "ok", 0, len(plain), plain)
	stored("zstd-longer", "a byte more than promised", "refused", 1, len(plain)-1, good)
	stored("zstd-shorter", "a byte less than promised", "refused", 1, len(plain)+1, good)
	stored("zstd-truncated", "the last byte is missing", "refused", 1, len(plain), good[:len(good)-1])
	stored("zstd-trailing", "a byte behind the frame", "refused", 1, len(plain), append(append([]byte(nil), good...), 0))
	stored("zstd-bomb", "8 MiB where 5,000 bytes are promised", "refused", 1, len(plain), bomb)
	stored("length", "more than 8 MiB promised", "refused", 1, MaxLength+1, bomb)
	stored("raw-longer", "a byte more than promised", "refused", 0, len(plain)-1, plain)
	stored("codec", "codec 2", "refused", 2, len(plain), plain)
	return vs
}
