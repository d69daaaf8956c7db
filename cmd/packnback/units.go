package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseSize reads a number of bytes with an optional suffix in powers of 1024:
// "500G", "1.5 TiB", "4096".
func parseSize(s string) (uint64, error) {
	number := strings.ToLower(strings.TrimSpace(s))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "b"), "i")
	factor := 1.0
	if i := strings.IndexByte("kmgtpe", lastByte(number)); i >= 0 {
		factor = math.Pow(1024, float64(i+1))
		number = number[:len(number)-1]
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || n < 0 || math.IsNaN(n) || n*factor >= math.MaxUint64 {
		return 0, fmt.Errorf("size %q: want a number with an optional K, M, G or T, such as 500G", s)
	}
	if whole, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64); err == nil && factor == 1 {
		return whole, nil
	}
	return uint64(n * factor), nil
}

func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

// parseDuration reads Go's durations and days: "36h", "7d", "1d12h". Negative
// ones are refused.
func parseDuration(s string) (time.Duration, error) {
	fail := fmt.Errorf("duration %q: want a number with a unit, such as 90m, 36h or 7d", s)
	var days time.Duration
	rest := s
	if number, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseFloat(number, 64)
		nanoseconds := n * float64(24*time.Hour)
		if err != nil || math.IsNaN(n) || n < 0 || nanoseconds >= math.MaxInt64 {
			return 0, fail
		}
		days, rest = time.Duration(nanoseconds), after
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < 0 {
		return 0, fail
	}
	return days + d, nil
}
