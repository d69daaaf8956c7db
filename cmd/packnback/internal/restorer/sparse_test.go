package restorer

import (
	"bytes"
	"strings"
	"testing"
)

// TestNextRun describes bytes with a letter for each block: Z for zeros,
// D for data; small letters are half a block.
func TestNextRun(t *testing.T) {
	block := map[rune][]byte{
		'Z': make([]byte, sparseBlock), 'D': bytes.Repeat([]byte{1}, sparseBlock),
		'z': make([]byte, sparseBlock/2), 'd': bytes.Repeat([]byte{1}, sparseBlock/2),
	}
	for _, tt := range []struct {
		blocks      string
		off         int64
		zeros, data int // in half blocks
	}{
		{"", 0, 0, 0},
		{"Z", 0, 2, 0},
		{"ZZZZ", 0, 8, 0},
		{"ZZZD", 0, 6, 2},
		{"ZDZ", 0, 2, 2},
		{"DZZD", 0, 0, 2},
		{"DDD", 0, 0, 6},
		{"ZZDDz", 0, 4, 5},             // a block that ends early is data
		{"zZZ", sparseBlock / 2, 0, 1}, // half a block at the front is data, then holes
		{"ZZ", sparseBlock / 2, 0, 1},  // half a block, a whole one, half a block
	} {
		var b []byte
		for _, r := range tt.blocks {
			b = append(b, block[r]...)
		}
		zeros, data := nextRun(b, tt.off)
		if zeros*2 != tt.zeros*sparseBlock || data*2 != tt.data*sparseBlock {
			t.Errorf("%s at %d: %d zeros and %d data, want %d and %d half blocks", tt.blocks, tt.off, zeros, data, tt.zeros, tt.data)
		}
	}
}

// TestNextRunCovers wants the runs of any bytes to be those bytes, holes only
// where there are zeros.
func TestNextRunCovers(t *testing.T) {
	b := []byte(strings.Repeat("\x00", 5*sparseBlock) + "x" + strings.Repeat("\x00", 9000) + "yy")
	for off := range int64(3) {
		var at int
		for at < len(b) {
			zeros, data := nextRun(b[at:], off*1000+int64(at))
			if zeros+data == 0 {
				t.Fatalf("at %d: no progress", at)
			}
			for i, c := range b[at : at+zeros] {
				if c != 0 {
					t.Fatalf("byte %d would be lost", at+i)
				}
			}
			at += zeros + data
		}
	}
}
