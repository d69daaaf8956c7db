package crypto

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/packnback/packnback/repo/object"
	"pgregory.net/rapid"
)

// padmeAsDefined is the definition in the paper, with its logarithms.
func padmeAsDefined(n int) int {
	if n < 2 {
		return n
	}
	e := math.Floor(math.Log2(float64(n)))
	s := math.Floor(math.Log2(e)) + 1
	mask := int(math.Pow(2, e-s)) - 1
	return (n + mask) &^ mask
}

func TestPadme(t *testing.T) {
	for _, c := range []struct{ n, want int }{
		{0, 0}, {1, 1}, {2, 2}, {3, 3}, {7, 7}, {8, 8}, {9, 10}, {15, 16}, {16, 16}, {17, 18}, {19, 20},
		{100, 104}, {1000, 1024}, {65536, 65536}, {65537, 67584}, {1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 1<<15},
	} {
		if got := Padme(c.n); got != c.want {
			t.Errorf("Padme(%d): got %d, want %d", c.n, got, c.want)
		}
	}
	for n := range 1 << 17 {
		got := Padme(n)
		if want := padmeAsDefined(n); got != want {
			t.Fatalf("Padme(%d): got %d, want %d", n, got, want)
		}
		if got < n || float64(got-n) > 0.12*float64(n) || Padme(got) != got {
			t.Fatalf("Padme(%d) = %d: more than 12 %% above, or not its own padded length", n, got)
		}
	}
}

// TestLimitsFit checks that the largest plaintext can be sealed.
func TestLimitsFit(t *testing.T) {
	if got := sealedSize(object.MaxPlaintext); got > object.MaxSealed {
		t.Errorf("the largest plaintext seals to %d bytes, limit is %d", got, object.MaxSealed)
	}
	if got := sealedSize(MaxPart); got > object.MaxSealedPart {
		t.Errorf("the largest sealed part is %d bytes, limit is %d", got, object.MaxSealedPart)
	}
}

// TestSizesLeakPaddingOnly seals plaintexts of all lengths: two that pad to one
// length are indistinguishable by any length in their records.
func TestSizesLeakPaddingOnly(t *testing.T) {
	send := newSendKey(t, newReadKey(t, ForRestore))
	u := newUpload(t, send)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1<<16).Draw(t, "length")
		codec := byte(rapid.IntRange(0, 1).Draw(t, "codec"))
		raw := n
		if codec == CodecZstd {
			raw = n + rapid.IntRange(0, 1<<16).Draw(t, "saved")
		}
		rec := u.Seal(object.HashID([]byte{1}), object.KindChunk, nil, codec, raw, make([]byte, n))
		if want := Padme(payloadHeader+n) + sealOverhead; len(rec.Sealed) != want {
			t.Fatalf("%d bytes seal to %d, want %d", n, len(rec.Sealed), want)
		}
	})
	// A million lengths fall into few classes.
	classes := make(map[int]bool)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1 << 20 {
		classes[sealedSize(r.IntN(1<<20))] = true
	}
	if len(classes) > 512 {
		t.Errorf("lengths up to 1 MiB fall into %d classes", len(classes))
	}
}
