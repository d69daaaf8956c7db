package index

import (
	"iter"
	"math/bits"
)

// Bitmap is a set of small numbers, such as positions in a Set, with a bit for
// each that there may be. Not safe for concurrent use while it is changed.
type Bitmap []uint64

// NewBitmap returns an empty Bitmap for numbers from 0 to n-1. Others panic.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+63)/64) }

// Has reports whether i is in b.
func (b Bitmap) Has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// Put adds i.
func (b Bitmap) Put(i int) { b[i/64] |= 1 << (i % 64) }

// All yields the numbers from from up to before to that are in b, ascending.
// What is not costs next to nothing.
func (b Bitmap) All(from, to int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := from / 64; i < len(b) && i*64 < to; i++ {
			for word := b[i]; word != 0; word &= word - 1 {
				n := i*64 + bits.TrailingZeros64(word)
				if n >= to || n >= from && !yield(n) {
					return
				}
			}
		}
	}
}
