package retention

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/object"
)

func parseTime(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func numbered(times ...time.Time) []Snapshot {
	snaps := make([]Snapshot, len(times))
	for i, tm := range times {
		snaps[i] = Snapshot{ID: object.ID{byte(i >> 8), byte(i)}, Received: tm}
	}
	return snaps
}

// kept returns the numbers of the kept snapshots, ascending.
func kept(ds []Decision) []int {
	var nrs []int
	for _, d := range ds {
		if d.Keep {
			nrs = append(nrs, int(d.Snapshot.ID[0])<<8|int(d.Snapshot.ID[1]))
		}
	}
	slices.Sort(nrs)
	return nrs
}

// TestRestic compares every policy of the table with what restic itself kept.
func TestRestic(t *testing.T) {
	f, err := os.Open("testdata/restic-policies.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var times []time.Time
	policies := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if s, ok := strings.CutPrefix(line, "time "); ok {
			times = append(times, parseTime(t, s))
		}
		s, ok := strings.CutPrefix(line, "policy ")
		if !ok {
			continue
		}
		policies++
		text, list, _ := strings.Cut(s, ": ")
		p, err := ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for w := range strings.FieldsSeq(list) {
			nr, err := strconv.Atoi(w)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, nr)
		}
		got := kept(Select(numbered(times...), p, Rules{Now: times[len(times)-1].AddDate(50, 0, 0)}))
		notOldest := func(nr int) bool { return nr == 0 }
		got, want = slices.DeleteFunc(got, notOldest), slices.DeleteFunc(want, notOldest)
		if !slices.Equal(got, want) {
			t.Errorf("policy %s\n got %v\nwant %v", text, got, want)
		}
	}
	if policies < 30 || len(times) != 90 {
		t.Fatalf("table has %d policies and %d times; it was cut", policies, len(times))
	}
}

func TestOldest(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 12, 0, 0, 0, time.UTC) }
	times := []time.Time{day(1), day(1).Add(time.Hour), day(2), day(3)}
	for _, c := range []struct {
		policy string
		want   []int
	}{
		{"daily=2", []int{2, 3}},
		{"daily=3", []int{1, 2, 3}},
		{"daily=4", []int{0, 1, 2, 3}}, // room left: the oldest is kept as well
		{"monthly=1", []int{3}},
		{"monthly=4", []int{0, 3}},
		{"within-monthly=1y", []int{0, 3}},
		{"within-monthly=2d", []int{3}}, // the oldest lies outside the span
	} {
		p, err := ParsePolicy(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := kept(Select(numbered(times...), p, Rules{Now: day(30)})); !slices.Equal(got, c.want) {
			t.Errorf("%s keeps %v, want %v", c.policy, got, c.want)
		}
	}
}

func TestCalendarCorners(t *testing.T) {
	zone := time.FixedZone("east", 10*3600)
	for _, c := range []struct {
		name, policy string
		times        []string
		loc          *time.Location
		want         []int
	}{
		// 2026-12-31 and 2027-01-01 lie in ISO week 2026-W53.
		{"iso week over new year", "weekly=2", []string{"2026-12-27T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"}, time.UTC, []int{0, 2}},
		{"leap day", "within=1y", []string{"2027-02-28T00:00:00Z", "2027-03-01T00:00:01Z", "2028-02-29T00:00:00Z"}, time.UTC, []int{1, 2}},
		{"days begin in the store's zone", "daily=1", []string{"2026-05-01T13:30:00Z", "2026-05-01T14:30:00Z"}, zone, []int{1}},
		{"the same two in UTC", "daily=9", []string{"2026-05-01T13:30:00Z", "2026-05-01T14:30:00Z"}, time.UTC, []int{0, 1}},
	} {
		var times []time.Time
		for _, s := range c.times {
			times = append(times, parseTime(t, s).In(c.loc))
		}
		p, err := ParsePolicy(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := kept(Select(numbered(times...), p, Rules{Now: times[0].AddDate(20, 0, 0)})); !slices.Equal(got, c.want) {
			t.Errorf("%s: %s keeps %v, want %v", c.name, c.policy, got, c.want)
		}
	}
}

// TestFuture has snapshots that were received while the clock was wrong: spans
// don't count from those, and they stay.
func TestFuture(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	days := func(ns ...int) (times []time.Time) {
		for _, n := range ns {
			times = append(times, now.AddDate(0, 0, n))
		}
		return times
	}
	for _, c := range []struct {
		policy string
		times  []time.Time
		want   []int
	}{
		{"within=7d", days(-9, -8, -3, -2, 400), []int{1, 2, 3, 4}},
		{"within=7d", days(-8, -6, 0, 1), []int{1, 2, 3}}, // one of this very moment is not in the future
		{"within-daily=7d", days(-9, -8, -3, -2, 400), []int{1, 2, 3, 4}},
		{"within-monthly=3m", days(-200, -40, -9, -2, 400), []int{1, 3, 4}},
		{"last=1", days(-2, -1, 400), []int{2}},
		{"within=7d", days(2, 30, 400), []int{0, 1, 2}}, // nothing else: nothing goes
	} {
		p, err := ParsePolicy(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := kept(Select(numbered(c.times...), p, Rules{Now: now})); !slices.Equal(got, c.want) {
			t.Errorf("%s of %v keeps %v, want %v", c.policy, c.times, got, c.want)
		}
	}
}

func TestMinAge(t *testing.T) {
	now := time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC)
	var times []time.Time
	for h := 300; h > 0; h -= 12 {
		times = append(times, now.Add(-time.Duration(h)*time.Hour))
	}
	ds := Select(numbered(times...), Policy{Last: 1}, Rules{Now: now, MinAge: 7 * 24 * time.Hour})
	for _, d := range ds {
		young := now.Sub(d.Snapshot.Received) < 7*24*time.Hour
		if d.Keep != young {
			t.Errorf("snapshot of %s: keep %v, want %v (%v)", d.Snapshot.Received, d.Keep, young, d.Reasons)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	for _, s := range []string{"", "last=3", "last=all,daily=14,yearly=2", "daily=7,within=1y2m3d4h,within-weekly=30d"} {
		p, err := ParsePolicy(s)
		if err != nil || p.String() != s {
			t.Errorf("ParsePolicy(%q) = %q, %v", s, p, err)
		}
	}
	for _, s := range []string{"last", "last=", "last=-2", "last=3,last=4", "daily=7d", "within=7", "within=d", "within=1d1y", "within=1d2d", "minutely=4", "last=99999999999", ",", "within=999999999y", "within=-1d"} {
		if p, err := ParsePolicy(s); err == nil {
			t.Errorf("ParsePolicy(%q) = %+v, want an error", s, p)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{"last=3,daily=all", "within=1y6m7d,within-monthly=2y", "weekly=unlimited", "hourly=-1", "x=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy(s)
		if err != nil {
			return
		}
		q, err := ParsePolicy(p.String())
		if err != nil || q != p {
			t.Errorf("%q parses as %+v, its text %q as %+v, %v", s, p, p.String(), q, err)
		}
	})
}

func TestBrake(t *testing.T) {
	start := time.Date(2026, 1, 5, 1, 0, 0, 0, time.UTC) // a Monday
	daily := func(n int) []Snapshot {
		var times []time.Time
		for d := range n {
			times = append(times, start.AddDate(0, 0, d))
		}
		return numbered(times...)
	}
	at := func(ds []Decision, nr int) Decision { return ds[len(ds)-1-nr] }
	rules := Rules{Now: start.AddDate(1, 0, 0)}

	t.Run("freeze", func(t *testing.T) {
		snaps := daily(40)
		snaps[20].Unusual, snaps[30].Unusual = true, true
		ds := Select(snaps, Policy{Last: 2}, rules)
		for nr := range 40 {
			want := nr <= 20 || nr >= 38
			if d := at(ds, nr); d.Keep != want || d.Braked != (nr <= 20) {
				t.Errorf("snapshot %d: keep %v braked %v (%v)", nr, d.Keep, d.Braked, d.Reasons)
			}
		}
	})
	t.Run("earliest of the bucket", func(t *testing.T) {
		snaps := daily(42)
		snaps[3].Unusual = true  // freezes 0 to 3
		snaps[24].Unusual = true // in the week of 21 to 27
		ds := Select(snaps, Policy{Weekly: 4}, rules)
		if got, want := kept(ds), []int{0, 1, 2, 3, 20, 21, 27, 34, 41}; !slices.Equal(got, want) {
			t.Errorf("kept %v, want %v", got, want)
		}
		if d := at(ds, 21); !d.Braked || fmt.Sprint(d.Reasons) != "[first of an unusual weekly]" {
			t.Errorf("snapshot 21: %+v", d)
		}
	})
	t.Run("ignored", func(t *testing.T) {
		snaps := daily(40)
		snaps[20].Unusual = true
		r := rules
		r.IgnoreUnusual = true
		if got := kept(Select(snaps, Policy{Last: 2}, r)); !slices.Equal(got, []int{38, 39}) {
			t.Errorf("kept %v", got)
		}
	})
}
