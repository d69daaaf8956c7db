package chunk

import (
	"bufio"
	"fmt"
	"io"

	"github.com/restic/chunker"
	"github.com/zeebo/blake3"
)

// Sizes of chunks in bytes. Changing any of them, or the two derivation
// strings, starts every sender anew: old and new cuts never meet.
const (
	// MinSize is the least length of a chunk that is not the last of its file.
	MinSize = 256 << 10
	// MaxSize is the greatest length of a chunk.
	MaxSize = 4 << 20

	proposalMin  = 64 << 10 // bytes from one proposed cut to the next, at least
	proposalBits = 18       // a proposal about every 2^18 bytes after that
	confirm      = 85       // of 256 proposals this many are taken: about one in three
	window       = 64       // bytes before a proposal that the confirmation looks at
	readSize     = 128 << 10

	polynomialContext = "packnback chunk v1 polynomial"
	confirmContext    = "packnback chunk v1 confirmation"
)

// Chunker cuts a stream at places that depend on its content and on a secret.
// The same bytes are cut at the same places whatever the sizes in which the
// reader returns them. A Chunker is not safe for concurrent use; Fork makes
// further ones with the same secret.
type Chunker struct {
	secret   *secrets
	proposer chunker.BaseChunker
	keyed    *blake3.Hasher
	r        io.Reader
	carry    [readSize]byte // carry[lo:hi] was read but not yet returned
	lo, hi   int
	carried  bool // the last fill came out of carry
	eof      bool
}

// secrets is what a Chunker derives from its secret. It never changes.
type secrets struct {
	polynomial chunker.Pol
	confirm    [32]byte
}

// New returns a Chunker whose cuts depend on secret. It has nothing to cut
// until Reset. Deriving the polynomial takes about a millisecond; use Fork for
// further Chunkers.
func New(secret [32]byte) *Chunker {
	s := new(secrets)
	x := blake3.NewDeriveKey(polynomialContext)
	_, _ = x.Write(secret[:]) // a Hasher never fails
	// DerivePolynomial reads eight bytes for each of its tries.
	p, err := chunker.DerivePolynomial(bufio.NewReaderSize(x.Digest(), 4096))
	if err != nil {
		// The Digest never ends, and that a million random polynomials are all
		// reducible has a probability of about 2^-50000.
		panic(fmt.Sprintf("chunk: deriving the polynomial: %v", err))
	}
	s.polynomial = p
	blake3.DeriveKey(confirmContext, secret[:], s.confirm[:])
	return newChunker(s)
}

func newChunker(s *secrets) *Chunker {
	keyed, err := blake3.NewKeyed(s.confirm[:])
	if err != nil {
		panic(fmt.Sprintf("chunk: 32-byte key refused: %v", err))
	}
	return &Chunker{secret: s, keyed: keyed}
}

// Fork returns another Chunker with the same secret and nothing to cut.
func (c *Chunker) Fork() *Chunker { return newChunker(c.secret) }

// Reset makes c cut what r returns, from its start. It forgets what was left
// of the stream before.
func (c *Chunker) Reset(r io.Reader) {
	c.r, c.lo, c.hi, c.eof = r, 0, 0, false
}

// Next returns the next chunk in buf's memory, or in new memory when buf's
// capacity is less than MaxSize. At the end of the stream it returns io.EOF; an
// error of the reader is returned as it is, and what was read of the unfinished
// chunk is lost. An empty stream has no chunks.
func (c *Chunker) Next(buf []byte) ([]byte, error) {
	if cap(buf) < MaxSize {
		buf = make([]byte, 0, MaxSize)
	}
	buf = buf[:0]
	// The proposer's own maximum must never cut: MaxSize does that first.
	c.proposer.Reset(c.secret.polynomial, chunker.WithBaseBoundaries(proposalMin, 2*MaxSize), chunker.WithBaseAverageBits(proposalBits))
	scanned := 0
	for {
		if len(buf) < MaxSize {
			var err error
			if buf, err = c.fill(buf); err != nil {
				return nil, err
			}
		}
		if len(buf) == 0 {
			return nil, io.EOF
		}
		cut := c.scan(buf, &scanned)
		if cut == 0 && (len(buf) == MaxSize || c.eof && c.lo == c.hi) {
			cut = len(buf)
		}
		if cut > 0 {
			c.keep(buf[cut:])
			return buf[:cut], nil
		}
	}
}

// fill appends up to readSize bytes to buf, never past MaxSize.
func (c *Chunker) fill(buf []byte) ([]byte, error) {
	n := min(readSize, MaxSize-len(buf))
	if c.carried = c.lo < c.hi; c.carried {
		n = min(n, c.hi-c.lo)
		buf = append(buf, c.carry[c.lo:c.lo+n]...)
		c.lo += n
		return buf, nil
	}
	if c.eof || c.r == nil {
		c.eof = true
		return buf, nil
	}
	m, err := io.ReadFull(c.r, buf[len(buf):len(buf)+n])
	buf = buf[:len(buf)+m]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		c.eof = true
		return buf, nil
	}
	return buf, err
}

// keep saves what was read beyond a cut. All of it came with the last fill,
// because a cut is looked for before more is read.
func (c *Chunker) keep(beyond []byte) {
	if c.carried {
		c.lo -= len(beyond)
		return
	}
	c.lo, c.hi = 0, copy(c.carry[:], beyond)
}

// scan looks for a confirmed cut in buf[*scanned:] and returns its place, or 0.
// The bytes that no cut may fall into are not looked at.
func (c *Chunker) scan(buf []byte, scanned *int) int {
	*scanned = max(*scanned, min(len(buf), MinSize-proposalMin))
	for *scanned < len(buf) {
		n := c.proposer.NextSplitPoint(buf[*scanned:])
		if n < 0 {
			*scanned = len(buf)
			return 0
		}
		*scanned += n
		if c.confirmed(buf[*scanned-window : *scanned]) {
			return *scanned
		}
	}
	return 0
}

// confirmed decides on a proposed cut after the bytes w. A window of one
// repeated byte is never taken: long runs of zeros would otherwise be cut into
// pieces of the least length.
func (c *Chunker) confirmed(w []byte) bool {
	if constant(w) {
		return false
	}
	var sum [32]byte
	c.keyed.Reset()
	_, _ = c.keyed.Write(w) // a Hasher never fails
	return c.keyed.Sum(sum[:0])[0] < confirm
}

func constant(w []byte) bool {
	for _, b := range w[1:] {
		if b != w[0] {
			return false
		}
	}
	return true
}
