package main

import (
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
	}{
		{"0", 0}, {"4096", 4096}, {"1k", 1024}, {"500G", 500 << 30}, {"1.5T", 3 << 39}, {"2 MiB", 2 << 20}, {"3kb", 3072}, {"7B", 7},
		{"9007199254740993", 9007199254740993},
	} {
		if got, err := parseSize(c.in); err != nil || got != c.want {
			t.Errorf("parseSize(%q): got %d, %v, want %d", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "G", "-1", "1X", "1e30", "NaN", "Inf", "20E", "1 2", "0x10G G"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q): got %d, want an error", in, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		in   string
		want time.Duration
	}{
		{"0", 0}, {"7d", 7 * day}, {"36h", 36 * time.Hour}, {"1d12h30m", day + 12*time.Hour + 30*time.Minute}, {"0.5d", 12 * time.Hour}, {"90s", 90 * time.Second},
	} {
		if got, err := parseDuration(c.in); err != nil || got != c.want {
			t.Errorf("parseDuration(%q): got %v, %v, want %v", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "d", "-1d", "-3h", "7", "1d1", "7w", "1000000d", "106751.99116730064d", "nand", "106751d24h"} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("parseDuration(%q): got %v, want an error", in, got)
		}
	}
}

func FuzzParseUnits(f *testing.F) {
	for _, s := range []string{"1y6m7d", "36h", "500G", "1.5TiB", "7d", "-1d", "1e309", "0x1p-2k", "nand", "106751.99116730064d", "nanK"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := parseDuration(s); err == nil && d < 0 {
			t.Errorf("parseDuration(%q) = %v", s, d)
		}
		if n, err := parseSize(s); err == nil && n == math.MaxUint64 {
			t.Errorf("parseSize(%q) = %d", s, n)
		}
	})
}
