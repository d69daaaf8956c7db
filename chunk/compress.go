package chunk

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Codecs: how the plaintext of an object is stored. The numbers stand in the
// sealed payload of every object and never change meaning.
const (
	CodecRaw  byte = 0 // as it is
	CodecZstd byte = 1 // one or more Zstandard frames (RFC 8878) without dictionary
)

// MaxLength is the greatest length of bytes before compression, and the
// largest window a decoder needs.
const MaxLength = 8 << 20

// ErrCodec is wrapped by every error that says stored bytes do not decompress
// to what they should.
var ErrCodec = errors.New("does not decompress")

// Level says how hard to try. The zero Level is LevelDefault.
type Level int

// The levels of --compression.
const (
	LevelDefault Level = iota
	LevelOff
	LevelFastest
	LevelBetter
	LevelMax
)

var levelNames = [...]string{LevelDefault: "default", LevelOff: "off", LevelFastest: "fastest", LevelBetter: "better", LevelMax: "max"}

// String returns the level's name on the command line.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("level %d", int(l))
	}
	return levelNames[l]
}

// ParseLevel is the inverse of String.
func ParseLevel(s string) (Level, error) {
	for l, name := range levelNames {
		if s == name {
			return Level(l), nil
		}
	}
	return 0, fmt.Errorf("compression %.40q: want off, fastest, default, better or max", s)
}

// Compressor compresses whole objects. It is safe for concurrent use; calls
// beyond its workers wait.
type Compressor struct {
	enc   *zstd.Encoder // nil for LevelOff
	probe bool          // enc is so slow that looking first pays
}

// NewCompressor returns a Compressor of level l that runs at most workers
// compressions at once. Each worker holds about 6 MiB, 13 at LevelBetter and
// 44 at LevelMax.
func NewCompressor(l Level, workers int) (*Compressor, error) {
	c := new(Compressor)
	var err error
	switch l {
	case LevelOff:
		return c, nil
	case LevelFastest:
		c.enc, err = newEncoder(zstd.SpeedFastest, 4<<20, workers)
	case LevelDefault:
		c.enc, err = newEncoder(zstd.SpeedDefault, 4<<20, workers)
	case LevelBetter:
		c.enc, err = newEncoder(zstd.SpeedBetterCompression, MaxLength, workers)
	case LevelMax:
		c.enc, err = newEncoder(zstd.SpeedBestCompression, MaxLength, workers)
	default:
		return nil, fmt.Errorf("compression: unknown %s", l)
	}
	if err != nil {
		return nil, fmt.Errorf("compression: %w", err)
	}
	c.probe = l == LevelBetter || l == LevelMax
	return c, nil
}

func newEncoder(speed zstd.EncoderLevel, size, workers int) (*zstd.Encoder, error) {
	// No frame checksum: sealing authenticates and ids are recomputed. Low
	// memory: the history then is one window instead of two, which costs nothing
	// for inputs that are no longer than a window.
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithWindowSize(size),
		zstd.WithEncoderConcurrency(max(1, workers)), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
}

// Compress returns how src is best stored: CodecZstd and the compressed bytes
// in dst's memory (new memory when that is too small), or CodecRaw and src
// itself when compression gains less than a fiftieth. src may be at most
// MaxLength long.
func (c *Compressor) Compress(dst, src []byte) (codec byte, out []byte) {
	if c.enc == nil || len(src) < minCompress {
		return CodecRaw, src
	}
	if c.probe && incompressible(src) {
		return CodecRaw, src
	}
	out = c.enc.EncodeAll(src, dst[:0])
	if len(out) > len(src)-len(src)/50 {
		return CodecRaw, src
	}
	return CodecZstd, out
}

const (
	minCompress = 32       // a frame's own overhead eats the gain below
	probeLength = 64 << 10 // shorter ones are compressed without looking first
)

// Decompressor undoes Compressor. It is safe for concurrent use; calls beyond
// its workers wait.
type Decompressor struct {
	dec *zstd.Decoder
}

// NewDecompressor returns a Decompressor that runs at most workers
// decompressions at once.
func NewDecompressor(workers int) (*Decompressor, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(max(1, workers)), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(MaxLength), zstd.WithDecoderMaxMemory(MaxLength), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("decompression: %w", err)
	}
	return &Decompressor{dec: dec}, nil
}

// Decompress returns the length bytes that stored stands for. It uses dst's
// memory when its capacity is enough; for CodecRaw it returns stored itself.
// Nothing beyond length bytes is ever allocated for the result, whatever the
// frame claims. length must be bounded by the caller's format; more than
// MaxLength is refused.
func (d *Decompressor) Decompress(dst []byte, codec byte, stored []byte, length int) ([]byte, error) {
	if length < 0 || length > MaxLength {
		return nil, fmt.Errorf("%w: length %d, the limit is %d", ErrCodec, length, MaxLength)
	}
	switch codec {
	case CodecRaw:
		if len(stored) != length {
			return nil, fmt.Errorf("%w: %d raw bytes stored for %d", ErrCodec, len(stored), length)
		}
		return stored, nil
	case CodecZstd:
	default:
		return nil, fmt.Errorf("%w: unknown codec %d", ErrCodec, codec)
	}
	if cap(dst) < length {
		dst = make([]byte, 0, length)
	}
	out, err := d.dec.DecodeAll(stored, dst[:0:length])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCodec, err)
	}
	if len(out) != length {
		return nil, fmt.Errorf("%w: %d bytes where %d were promised", ErrCodec, len(out), length)
	}
	return out, nil
}

// incompressible estimates from three samples whether the bytes of src are as
// good as random: it sums the squared frequencies of byte values, which for
// random bytes stay close to even. Levels that take long ask it first.
func incompressible(src []byte) bool {
	if len(src) < probeLength {
		return false
	}
	var counts [256]uint32
	n := probeLength / 4
	for _, at := range [...]int{0, (len(src) - n) / 2, len(src) - n} {
		for _, b := range src[at : at+n] {
			counts[b]++
		}
	}
	sum := 0.0
	for _, k := range counts {
		sum += float64(k) * float64(k)
	}
	total := float64(3 * n)
	// For random bytes this is 255/total = 0.0052 with a standard deviation of
	// 0.0005.
	return sum/(total*total)*256-1 < 0.009
}
