package sender

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/packnback/packnback/chunk"
)

// sources are files that compress like what people write: this project's.
func sources(t *testing.T) [][]byte {
	t.Helper()
	names, err := filepath.Glob("../../*.go")
	if err != nil || len(names) < 50 {
		t.Fatalf("%d sources, %v", len(names), err)
	}
	var all [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// TestIncrementIsSmall sends the same files in a first backup and in one that
// follows another.
func TestIncrementIsSmall(t *testing.T) {
	packed := func(level chunk.Level, first bool) uint64 {
		t.Helper()
		l := newLab(t)
		l.cfg.Options.Level = level
		if !first {
			l.write("before", []byte("a first snapshot"))
			l.backup()
		}
		for i, b := range sources(t) {
			l.write(fmt.Sprintf("%03d", i), b)
		}
		sum := l.backup()
		l.same(sum.Snapshot)
		return sum.Counts.AddedPacked
	}
	first, later := packed(chunk.LevelDefault, true), packed(chunk.LevelDefault, false)
	if later >= first-first/20 {
		t.Errorf("%d bytes are sent first, %d later, want a twentieth less at least", first, later)
	}
	asked, again := packed(chunk.LevelFastest, true), packed(chunk.LevelFastest, false)
	if again < asked-asked/50 {
		t.Errorf("%d bytes are sent first, %d later, with a level that was asked for", asked, again)
	}
}
