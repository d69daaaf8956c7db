package retention

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// All as a count keeps every snapshot its rule looks at.
const All = -1

// period is one of the calendar units that a policy counts in.
type period int

const (
	last period = iota // every snapshot is a bucket of its own
	hourly
	daily
	weekly
	monthly
	yearly
	periods
)

var periodNames = [periods]string{"last", "hourly", "daily", "weekly", "monthly", "yearly"}

// bucket returns the number of the calendar unit that t falls into: two times
// are in the same hour, day, ISO week, month or year when they are equal. For
// last, nr makes every snapshot its own bucket.
func (p period) bucket(t time.Time, nr int) int {
	switch p {
	case hourly:
		return ((t.Year()*100+int(t.Month()))*100+t.Day())*100 + t.Hour()
	case daily:
		return (t.Year()*100+int(t.Month()))*100 + t.Day()
	case weekly:
		y, w := t.ISOWeek()
		return y*100 + w
	case monthly:
		return t.Year()*100 + int(t.Month())
	case yearly:
		return t.Year()
	}
	return nr
}

// Policy says which snapshots to keep. The zero Policy keeps none and is
// refused by those who would apply it. Counts are numbers of calendar units
// that have a snapshot (All for no limit); spans reach back from the newest
// snapshot that isn't from the future.
type Policy struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int

	Within                                                               Span
	WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinYearly Span
}

func (p *Policy) counts() [periods]*int {
	return [periods]*int{&p.Last, &p.Hourly, &p.Daily, &p.Weekly, &p.Monthly, &p.Yearly}
}

func (p *Policy) spans() [periods]*Span {
	return [periods]*Span{&p.Within, &p.WithinHourly, &p.WithinDaily, &p.WithinWeekly, &p.WithinMonthly, &p.WithinYearly}
}

// Empty reports whether p has no rule, so that it would keep nothing.
func (p Policy) Empty() bool { return p == Policy{} }

// withinName is the name of the within rule of period i in a policy's text.
func withinName(i period) string {
	if i == last {
		return "within"
	}
	return "within-" + periodNames[i]
}

// ParsePolicy reads rules separated by commas, as they stand in the
// repository's settings: "last=3,daily=14,monthly=all,within=7d". The names
// are those of the --keep- flags. The empty string is the empty policy.
func ParsePolicy(s string) (Policy, error) {
	var p Policy
	seen := make(map[string]bool)
	for rule := range strings.SplitSeq(s, ",") {
		if s == "" {
			break
		}
		name, value, ok := strings.Cut(strings.TrimSpace(rule), "=")
		if !ok || seen[name] {
			return Policy{}, fmt.Errorf("policy rule %.40q: want NAME=VALUE, each name once", rule)
		}
		seen[name] = true
		if err := p.set(name, value); err != nil {
			return Policy{}, err
		}
	}
	return p, nil
}

func (p *Policy) set(name, value string) error {
	for i := range periods {
		switch name {
		case periodNames[i]:
			n, err := ParseCount(value)
			*p.counts()[i] = n
			return err
		case withinName(i):
			sp, err := ParseSpan(value)
			*p.spans()[i] = sp
			return err
		}
	}
	return fmt.Errorf("policy rule %.40q: the rules are last, hourly, daily, weekly, monthly, yearly, within and within-hourly to within-yearly", name)
}

// ParseCount reads the value of a counting rule: a number, or "all" or
// "unlimited" for All. -1 means the same.
func ParseCount(s string) (int, error) {
	if s == "all" || s == "unlimited" || s == "-1" {
		return All, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("count %.20q: want a number of snapshots, or all", s)
	}
	return int(n), nil
}

// String is the inverse of ParsePolicy.
func (p Policy) String() string {
	var rules []string
	for i := range periods {
		switch n := *p.counts()[i]; {
		case n == All:
			rules = append(rules, periodNames[i]+"=all")
		case n != 0:
			rules = append(rules, periodNames[i]+"="+strconv.Itoa(n))
		}
	}
	for i := range periods {
		if sp := *p.spans()[i]; !sp.IsZero() {
			rules = append(rules, withinName(i)+"="+sp.String())
		}
	}
	return strings.Join(rules, ",")
}

// rule is one keep rule while a policy is applied.
type rule struct {
	name   string
	period period
	left   int       // buckets it may still keep
	after  time.Time // snapshots must be newer; zero for a counting rule
	timed  bool
	bucket int // the last bucket it kept one of
}

func (p *Policy) rules(newest time.Time) []rule {
	var rs []rule
	for i, n := range p.counts() {
		if *n == All {
			rs = append(rs, rule{name: periodNames[i], period: period(i), left: math.MaxInt, bucket: -1})
		} else if *n > 0 {
			rs = append(rs, rule{name: periodNames[i], period: period(i), left: *n, bucket: -1})
		}
	}
	for i, sp := range p.spans() {
		if !sp.IsZero() {
			rs = append(rs, rule{name: withinName(period(i)), period: period(i), left: math.MaxInt, bucket: -1, timed: true, after: sp.Before(newest)})
		}
	}
	return rs
}
