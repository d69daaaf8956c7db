package chunk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/restic/chunker"
)

var testSecret = [32]byte{1, 2, 3}

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// cuts returns where c cuts what r returns, and checks the rules for lengths.
func cuts(t testing.TB, c *Chunker, r io.Reader) (ends []int, all []byte) {
	t.Helper()
	c.Reset(r)
	buf := make([]byte, MaxSize)
	for {
		p, err := c.Next(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p) == 0 || len(p) > MaxSize {
			t.Fatalf("chunk %d of %d bytes", len(ends), len(p))
		}
		if len(ends) > 0 && ends[len(ends)-1]-start(ends) < MinSize {
			t.Fatalf("chunk %d of %d bytes is not the last", len(ends)-1, ends[len(ends)-1]-start(ends))
		}
		all = append(all, p...)
		ends = append(ends, len(all))
	}
	if _, err := c.Next(buf); err != io.EOF {
		t.Fatalf("Next after the end: %v, want EOF", err)
	}
	return ends, all
}

// start returns where the last chunk of ends begins.
func start(ends []int) int {
	if len(ends) < 2 {
		return 0
	}
	return ends[len(ends)-2]
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestCuts(t *testing.T) {
	c := New(testSecret)
	data := randomBytes(1, 24<<20)
	ends, all := cuts(t, c, bytes.NewReader(data))
	if !bytes.Equal(all, data) {
		t.Fatal("the chunks are not the data")
	}
	if average := len(data) / len(ends); average < 900<<10 || average > 1400<<10 {
		t.Errorf("%d chunks of %d bytes on average", len(ends), average)
	}
	again, _ := cuts(t, c.Fork(), bytes.NewReader(data))
	if !equal(ends, again) {
		t.Error("a fork cuts elsewhere")
	}
	other, _ := cuts(t, New([32]byte{9}), bytes.NewReader(data))
	if n := common(ends, other, 0); n > 1 {
		t.Errorf("another secret has %d cuts in common", n)
	}
}

// common counts how many ends of a, moved by shift, are ends of b.
func common(a, b []int, shift int) int {
	in := make(map[int]bool)
	for _, e := range b {
		in[e] = true
	}
	n := 0
	for _, e := range a {
		if in[e+shift] {
			n++
		}
	}
	return n
}

func TestReadSizesDoNotMatter(t *testing.T) {
	data := randomBytes(2, 6<<20)
	c := New(testSecret)
	want, _ := cuts(t, c, bytes.NewReader(data))
	for name, r := range map[string]io.Reader{
		"half":      iotest.HalfReader(bytes.NewReader(data)),
		"with data": iotest.DataErrReader(bytes.NewReader(data)),
		"odd":       &oddReader{r: bytes.NewReader(data), n: 8191},
	} {
		if got, all := cuts(t, c, r); !equal(got, want) || !bytes.Equal(all, data) {
			t.Errorf("%s: cuts %v, want %v", name, got, want)
		}
	}
}

// oddReader returns at most n bytes a read.
type oddReader struct {
	r io.Reader
	n int
}

func (o *oddReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), o.n)]) }

func TestResynchronizes(t *testing.T) {
	data := randomBytes(3, 16<<20)
	c := New(testSecret)
	before, _ := cuts(t, c, bytes.NewReader(data))
	for _, inserted := range []int{1, 300_000} {
		after, _ := cuts(t, c, io.MultiReader(bytes.NewReader(randomBytes(4, inserted)), bytes.NewReader(data)))
		if n := common(before, after, inserted); n < len(before)-12 {
			t.Errorf("%d bytes in front: %d of %d cuts stay", inserted, n, len(before))
		}
	}
	changed := append([]byte(nil), data...)
	changed[8<<20] ^= 1
	after, _ := cuts(t, c, bytes.NewReader(changed))
	if n := common(before, after, 0); n < len(before)-8 {
		t.Errorf("one bit in the middle: %d of %d cuts stay", n, len(before))
	}
}

func TestUniformDataIsNotCutShort(t *testing.T) {
	c := New(testSecret)
	for _, b := range []byte{0, 0xff, 'x'} {
		ends, _ := cuts(t, c, io.LimitReader(same(b), 8<<20+5))
		if len(ends) != 3 {
			t.Errorf("8 MiB and 5 bytes of %#x are %d chunks, want 3", b, len(ends))
		}
	}
}

type same byte

func (s same) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s)
	}
	return len(p), nil
}

func TestShortStreams(t *testing.T) {
	c := New(testSecret)
	for _, n := range []int{0, 1, 63, 64, 65, MinSize - 1, MinSize} {
		data := randomBytes(5, n)
		ends, all := cuts(t, c, bytes.NewReader(data))
		if !bytes.Equal(all, data) || len(ends) != min(1, n) {
			t.Errorf("%d bytes: chunks end at %v", n, ends)
		}
	}
}

func TestReaderFails(t *testing.T) {
	broken := errors.New("I/O error")
	c := New(testSecret)
	c.Reset(io.MultiReader(bytes.NewReader(randomBytes(6, 100_000)), iotest.ErrReader(broken)))
	if _, err := c.Next(nil); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	ends, _ := cuts(t, c, bytes.NewReader(randomBytes(7, 100_000)))
	if len(ends) != 1 {
		t.Errorf("after Reset: chunks end at %v", ends)
	}
}

// TestDerivation pins the derivation and the cutting rule: they are format.
func TestDerivation(t *testing.T) {
	c := New([32]byte{})
	if got, want := uint64(c.secret.polynomial), uint64(0x3d1999d24e1b0d); got != want {
		t.Errorf("polynomial %#x, want %#x", got, want)
	}
	ends, _ := cuts(t, c, bytes.NewReader(randomBytes(8, 6<<20)))
	if want := []int{484097, 1569230, 2679269, 3143981, 4955502, 5580393, 6291456}; !equal(ends, want) {
		t.Errorf("cuts %v, want %v", ends, want)
	}
}

func BenchmarkChunker(b *testing.B) {
	data := randomBytes(9, 64<<20)
	c := New(testSecret)
	buf := make([]byte, MaxSize)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		c.Reset(bytes.NewReader(data))
		for {
			if _, err := c.Next(buf); err != nil {
				break
			}
		}
	}
}

// BenchmarkPlain is what the confirmation is measured against: the library's
// own chunker with the settings that restic uses.
func BenchmarkPlain(b *testing.B) {
	data := randomBytes(9, 64<<20)
	c := New(testSecret)
	buf := make([]byte, 8<<20)
	plain := chunker.New(nil, c.secret.polynomial)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		plain.Reset(bytes.NewReader(data), c.secret.polynomial)
		for {
			if _, err := plain.Next(buf); err != nil {
				break
			}
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(testSecret)
	}
}
