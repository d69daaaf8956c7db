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
		if err != nil || n < 0 || n > math.MaxInt64/float64(24*time.Hour) {
			return 0, fail
		}
		days, rest = time.Duration(n*float64(24*time.Hour)), after
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

// period is a span of calendar time. Months and years have no fixed length, so
// it is no time.Duration.
type period struct{ years, months, days, hours int }

// before returns the moment that lies p before t on the calendar.
func (p period) before(t time.Time) time.Time {
	return t.AddDate(-p.years, -p.months, -p.days).Add(-time.Duration(p.hours) * time.Hour)
}

// maxPeriod bounds each number of a period: past it calendar arithmetic
// leaves the years that a timestamp can hold.
const maxPeriod = 1 << 16

// parsePeriod reads restic's spans for --keep-within: numbers with y, m, d or
// h, such as "1y6m7d" or "36h", each unit at most once.
func parsePeriod(s string) (period, error) {
	var p period
	fail := fmt.Errorf("period %q: want numbers with y, m, d or h, such as 1y6m7d", s)
	seen := ""
	for rest := s; ; {
		i := strings.IndexAny(rest, "ymdh")
		if i < 0 {
			if rest != "" || seen == "" {
				return period{}, fail
			}
			return p, nil
		}
		n, err := strconv.Atoi(rest[:i])
		unit := rest[i]
		if err != nil || n < 0 || n > maxPeriod || rest[0] == '+' || strings.IndexByte(seen, unit) >= 0 {
			return period{}, fail
		}
		switch unit {
		case 'y':
			p.years = n
		case 'm':
			p.months = n
		case 'd':
			p.days = n
		case 'h':
			p.hours = n
		}
		seen, rest = seen+string(unit), rest[i+1:]
	}
}
