package statcache

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/tree"
)

// walkOrder sorts as a walk that leaves folders after their contents does: the
// reference for Compare, by components.
func walkOrder(a, b string) int {
	if a == b {
		return 0
	}
	if a == "" || strings.HasPrefix(b, a+"/") {
		return 1
	}
	if b == "" || strings.HasPrefix(a, b+"/") {
		return -1
	}
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

func TestCompare(t *testing.T) {
	for _, order := range [][]string{
		{"a/b/c", "a/b", "a!", "a.txt", "a0", "b", ""},
		{"a/x", "a", "a-", "aa/x", "aa"},
	} {
		if !slices.IsSortedFunc(order, func(a, b string) int { return Compare([]byte(a), []byte(b)) }) {
			t.Errorf("%q is not ascending", order)
		}
	}
}

func TestCompareAgreesWithComponents(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	path := func() string {
		var names []string
		for range r.IntN(4) {
			names = append(names, string(bytes.Repeat([]byte{"ab!.\xff"[r.IntN(5)]}, 1+r.IntN(2))))
		}
		return strings.Join(names, "/")
	}
	for range 20_000 {
		a, b := path(), path()
		got := Compare([]byte(a), []byte(b))
		if want := walkOrder(a, b); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
			t.Fatalf("Compare(%q, %q) = %d, want %d", a, b, got, want)
		}
		// The order of the tree format differs only in where folders stand.
		if strings.HasPrefix(a, b) || strings.HasPrefix(b, a) {
			continue
		}
		if want := tree.ComparePaths(a, b); (got < 0) != (want < 0) {
			t.Fatalf("Compare(%q, %q) = %d, tree.ComparePaths gives %d", a, b, got, want)
		}
	}
}
