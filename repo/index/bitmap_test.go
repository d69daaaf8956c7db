package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBitmap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 300
	b := NewBitmap(n)
	var all []int
	for i := range n {
		if rng.IntN(3) == 0 && (i < 128 || i > 260) || i >= 64 && i < 128 || i == n-1 {
			b.Put(i)
			all = append(all, i)
		}
	}
	for i := range n {
		if got := b.Has(i); got != slices.Contains(all, i) {
			t.Errorf("Has(%d): %v", i, got)
		}
	}
	for range 200 {
		from := rng.IntN(n + 1)
		to := from + rng.IntN(n+1-from)
		want := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return i < from || i >= to })
		if got := slices.Collect(b.All(from, to)); !slices.Equal(got, want) {
			t.Fatalf("All(%d, %d): got %v, want %v", from, to, got, want)
		}
	}
	for i := range b.All(0, n) {
		if i != all[0] {
			t.Errorf("the first is %d, want %d", i, all[0])
		}
		break
	}
}
