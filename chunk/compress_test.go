package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var levels = []Level{LevelOff, LevelFastest, LevelDefault, LevelBetter, LevelMax}

func text(n int) []byte {
	b := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog; ", n/45+1))[:n]
	for i := 0; i+4 < n; i += 100 {
		binary.BigEndian.PutUint32(b[i:], uint32(i*2654435761))
	}
	return b
}

func TestCompress(t *testing.T) {
	d, err := NewDecompressor(2)
	if err != nil {
		t.Fatal(err)
	}
	mixed := append(text(1<<20), randomBytes(1, 1<<20)...)
	for _, l := range levels {
		c, err := NewCompressor(l, 2)
		if err != nil {
			t.Fatal(err)
		}
		for name, src := range map[string][]byte{"empty": nil, "byte": {1}, "text": text(100_000), "mixed": mixed, "zeros": make([]byte, MaxLength), "random": randomBytes(2, 1<<20)} {
			codec, out := c.Compress(nil, src)
			if codec == CodecZstd && len(out) >= len(src) || codec == CodecRaw && len(out) != len(src) {
				t.Errorf("%s of %s: codec %d, %d bytes of %d", l, name, codec, len(out), len(src))
			}
			if want := l != LevelOff && (name == "text" || name == "mixed" || name == "zeros"); want != (codec == CodecZstd) {
				t.Errorf("%s of %s: codec %d", l, name, codec)
			}
			got, err := d.Decompress(nil, codec, out, len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s of %s: read back %d bytes, %v", l, name, len(got), err)
			}
		}
	}
}

func TestCompressConcurrently(t *testing.T) {
	c, err := NewCompressor(LevelDefault, 2)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecompressor(2)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var dst, back []byte
			for j := range 20 {
				src := append(text(50_000+j), randomBytes(uint64(i*100+j), 1000)...)
				codec, out := c.Compress(dst, src)
				got, err := d.Decompress(back, codec, out, len(src))
				if err != nil || !bytes.Equal(got, src) {
					t.Errorf("read back %d bytes, %v", len(got), err)
				}
				dst, back = out[:0], got[:0]
			}
		})
	}
	wg.Wait()
}

func TestDecompressRefuses(t *testing.T) {
	c, err := NewCompressor(LevelDefault, 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecompressor(1)
	if err != nil {
		t.Fatal(err)
	}
	src := text(100_000)
	_, good := c.Compress(nil, src)
	flipped := append([]byte(nil), good...)
	flipped[0] ^= 1
	wide, err := zstd.NewWriter(nil, zstd.WithWindowSize(64<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name   string
		codec  byte
		stored []byte
		length int
	}{
		{"raw too short", CodecRaw, src, len(src) + 1},
		{"raw too long", CodecRaw, src, len(src) - 1},
		{"shorter than promised", CodecZstd, good, len(src) + 1},
		{"longer than promised", CodecZstd, good, len(src) - 1},
		{"truncated", CodecZstd, good[:len(good)-1], len(src)},
		{"trailing", CodecZstd, append(append([]byte(nil), good...), 0), len(src)},
		{"second frame", CodecZstd, append(append([]byte(nil), good...), good...), len(src)},
		{"no frame", CodecZstd, flipped, len(src)},
		{"empty", CodecZstd, nil, 1},
		{"codec", 2, good, len(src)},
		{"length", CodecZstd, good, MaxLength + 1},
		{"negative", CodecZstd, good, -1},
		{"bomb", CodecZstd, wide.EncodeAll(make([]byte, 32<<20), nil), MaxLength},
	} {
		if got, err := d.Decompress(nil, x.codec, x.stored, x.length); !errors.Is(err, ErrCodec) {
			t.Errorf("%s: got %d bytes, %v; want ErrCodec", x.name, len(got), err)
		}
	}
}

// TestBomb shows that a frame that claims to be huge costs no more than what
// the caller allowed.
func TestBomb(t *testing.T) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	bomb := w.EncodeAll(make([]byte, 64<<20), nil)
	d, err := NewDecompressor(1)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := d.Decompress(nil, CodecZstd, bomb, 1000); !errors.Is(err, ErrCodec) {
		t.Errorf("got %v, want ErrCodec", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestLevels(t *testing.T) {
	for _, l := range levels {
		if got, err := ParseLevel(l.String()); got != l || err != nil {
			t.Errorf("ParseLevel(%q) = %v, %v", l, got, err)
		}
	}
	if _, err := ParseLevel("best"); err == nil {
		t.Error("ParseLevel of an unknown level: no error")
	}
	if _, err := NewCompressor(17, 1); err == nil {
		t.Error("NewCompressor of an unknown level: no error")
	}
}

// FuzzDecompress looks for frames that do more than fail or fit.
func FuzzDecompress(f *testing.F) {
	c, err := NewCompressor(LevelDefault, 1)
	if err != nil {
		f.Fatal(err)
	}
	d, err := NewDecompressor(1)
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []int{100, 5000, 200_000} {
		_, out := c.Compress(nil, text(n))
		f.Add(byte(1), out, n)
	}
	f.Add(byte(0), []byte("raw"), 3)
	f.Fuzz(func(t *testing.T, codec byte, stored []byte, length int) {
		out, err := d.Decompress(nil, codec, stored, length)
		if err == nil && len(out) != length {
			t.Errorf("%d bytes, want %d", len(out), length)
		}
	})
}

// corpus returns about 32 MiB of the Go toolchain's sources in pieces of 1 MiB,
// like bundles.
func corpus(b *testing.B) [][]byte {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("no Go toolchain here")
	}
	var all []byte
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	for _, dir := range []string{"runtime", "net", "crypto", "cmd/compile/internal/ssa", "go", "encoding", "cmd/go/internal"} {
		_ = filepath.WalkDir(filepath.Join(root, dir), func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				p, _ := os.ReadFile(path)
				all = append(all, p...)
			}
			return nil
		})
	}
	var pieces [][]byte
	for len(all) >= 1<<20 && len(pieces) < 32 {
		pieces, all = append(pieces, all[:1<<20]), all[1<<20:]
	}
	if len(pieces) == 0 {
		b.Skip("no sources of the Go toolchain here")
	}
	return pieces
}

func benchmarkCompress(b *testing.B, l Level, pieces [][]byte) {
	c, err := NewCompressor(l, 1)
	if err != nil {
		b.Fatal(err)
	}
	var in, out int
	var dst []byte
	for _, p := range pieces {
		in += len(p)
	}
	b.SetBytes(int64(in))
	for b.Loop() {
		out = 0
		for _, p := range pieces {
			_, q := c.Compress(dst, p)
			out += len(q)
		}
	}
	b.ReportMetric(float64(out)/float64(in), "ratio")
}

func BenchmarkCompress(b *testing.B) {
	sources := corpus(b)
	random := [][]byte{randomBytes(3, 4<<20)}
	for _, l := range levels[1:] {
		b.Run(l.String()+"/sources", func(b *testing.B) { benchmarkCompress(b, l, sources) })
		b.Run(l.String()+"/random", func(b *testing.B) { benchmarkCompress(b, l, random) })
	}
}

func BenchmarkDecompress(b *testing.B) {
	c, err := NewCompressor(LevelDefault, 1)
	if err != nil {
		b.Fatal(err)
	}
	d, err := NewDecompressor(1)
	if err != nil {
		b.Fatal(err)
	}
	p := corpus(b)[0]
	_, stored := c.Compress(nil, p)
	dst := make([]byte, 0, len(p))
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := d.Decompress(dst, CodecZstd, stored, len(p)); err != nil {
			b.Fatal(err)
		}
	}
}
