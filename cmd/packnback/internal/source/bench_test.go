package source

import (
	"context"
	"os"
	"testing"
)

// BenchmarkWalk walks the tree that PACKNBACK_BENCH_DIR names, or
// /usr.
func BenchmarkWalk(b *testing.B) {
	dir := os.Getenv("PACKNBACK_BENCH_DIR")
	if dir == "" {
		dir = "/usr"
	}
	p, err := NewPlan("/", []string{dir})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		err := p.Walk(context.Background(), Options{}, func(*Item) error { n++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n), "items")
}
