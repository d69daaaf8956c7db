//go:build race

package gcmodel

// The race detector makes exploring ten times slower and finds nothing: it is
// one goroutine.
func init() { *limit = 100_000 }
