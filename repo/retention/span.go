package retention

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a calendar duration such as 1y6m7d12h. Years and months have the
// length they have on the calendar, counted back from a date.
type Span struct{ Years, Months, Days, Hours int }

// maxSpanPart bounds each part of a Span, so that no date computed from it
// leaves the range of time.Time.
const maxSpanPart = 100_000

// ParseSpan reads a span: numbers each followed by y, m, d or h, in that
// order, none twice, as in "1y6m7d". The empty string is the zero Span.
func ParseSpan(s string) (Span, error) {
	var sp Span
	units := []struct {
		letter byte
		field  *int
	}{{'y', &sp.Years}, {'m', &sp.Months}, {'d', &sp.Days}, {'h', &sp.Hours}}
	for rest := s; rest != ""; {
		n := strings.IndexAny(rest, "ymdh")
		if n <= 0 || rest[0] < '0' || rest[0] > '9' {
			return Span{}, fmt.Errorf("duration %.40q: want numbers each followed by y, m, d or h, as in 1y6m7d", s)
		}
		v, err := strconv.Atoi(rest[:n])
		if err != nil || v > maxSpanPart {
			return Span{}, fmt.Errorf("duration %.40q: %.20q is not a number up to %d", s, rest[:n], maxSpanPart)
		}
		for len(units) > 0 && units[0].letter != rest[n] {
			units = units[1:]
		}
		if len(units) == 0 {
			return Span{}, fmt.Errorf("duration %.40q: y, m, d and h must come in that order, each once", s)
		}
		*units[0].field = v
		units, rest = units[1:], rest[n+1:]
	}
	return sp, nil
}

// String is the inverse of ParseSpan.
func (sp Span) String() string {
	var b strings.Builder
	for _, u := range [...]struct {
		n      int
		letter byte
	}{{sp.Years, 'y'}, {sp.Months, 'm'}, {sp.Days, 'd'}, {sp.Hours, 'h'}} {
		if u.n != 0 {
			fmt.Fprintf(&b, "%d%c", u.n, u.letter)
		}
	}
	return b.String()
}

// IsZero reports whether sp is no time at all, which switches its rule off.
func (sp Span) IsZero() bool { return sp == Span{} }

// Before returns the moment that lies sp before t, on t's calendar.
func (sp Span) Before(t time.Time) time.Time {
	return t.AddDate(-sp.Years, -sp.Months, -sp.Days).Add(-time.Duration(sp.Hours) * time.Hour)
}
