package retention

import (
	"slices"

	"github.com/packnback/packnback/repo/object"
)

// Thresholds decide when a snapshot is unusual. The zero value of a field
// means its default.
type Thresholds struct {
	New    int // percent of a snapshot's bytes that are new; default 50
	Gone   int // percent of the previous snapshot's bytes that are gone; default 50
	Rate   int // percent of the snapshot's bytes that may change in 7 days before the rate rule looks; default 10
	Factor int // tenths: how many times the median week a week must be; default 25, that is 2.5 times
}

// The defaults of Thresholds. 50 % is what no machine changes between two
// backups without somebody knowing why. 10 % a week and 2.5 times the median
// week let ordinary upgrades pass and catch 3 % a day within a week
// (TestSimulatedYears prints both).
const (
	DefaultNew    = 50
	DefaultGone   = 50
	DefaultRate   = 10
	DefaultFactor = 25
)

func (t Thresholds) orDefault() Thresholds {
	for _, f := range [...]struct {
		v *int
		d int
	}{{&t.New, DefaultNew}, {&t.Gone, DefaultGone}, {&t.Rate, DefaultRate}, {&t.Factor, DefaultFactor}} {
		if *f.v <= 0 {
			*f.v = f.d
		}
	}
	return t
}

// History is what the store remembers of a client and job in order to know
// what is usual: per day, how many bytes came and went in snapshots that were
// not flagged. It has a fixed size. Its encoding is in
// packnback-repository(5), "Heads".
type History struct {
	Snapshots uint32 // snapshots ever committed
	Signer    [32]byte
	First     int64 // day of the first snapshot, days since 1970 UTC
	Days      [HistoryDays]Day
}

// HistoryDays is how many days a History reaches back: nine weeks, eight of
// them to compare the newest with.
const HistoryDays = 63

// Day is one day of a History; its place is Number modulo HistoryDays.
type Day struct {
	Number    int64 // days since 1970 UTC; what it says counts only if it is the day asked for
	New, Gone uint64
}

// Commit is what the store measured of the snapshot being committed, in bytes
// of stored records.
type Commit struct {
	Received int64    // nanoseconds since 1970, the store's clock
	New      uint64   // content this upload added
	Gone     uint64   // bytes reachable from the previous snapshot and not from this one
	All      uint64   // bytes reachable from this snapshot
	Previous uint64   // bytes reachable from the previous one
	Signer   [32]byte // the key that signed it
}

const (
	dayNanos = 24 * 60 * 60 * 1e9
	week     = 7
	// baseline is how many weeks of history the rate rule needs at least.
	baseline = 2
	// warmUp is how many snapshots of a job come before any rule looks: a first
	// backup is all new, and a second often still adds what the first forgot.
	warmUp = 2
)

// Judge returns the flags of a snapshot that follows the history h.
func (h *History) Judge(c Commit, t Thresholds) object.Flags {
	t = t.orDefault()
	var flags object.Flags
	if h.Snapshots >= 1 && h.Signer != c.Signer {
		flags |= object.FlagNewSigner
	}
	if h.Snapshots < warmUp {
		return flags
	}
	if exceeds(c.New, c.All, t.New) {
		flags |= object.FlagMostlyNew
	}
	if exceeds(c.Gone, c.Previous, t.Gone) {
		flags |= object.FlagMostlyOld
	}
	if h.rateExceeded(c.Received/dayNanos, c, t) {
		flags |= object.FlagRate
	}
	return flags
}

// After returns the history with the snapshot c in it, which got the flags. A
// flagged snapshot leaves no trace in the history's bytes, so that an attack
// doesn't become the usual; nor does the first one, which is all new.
func (h History) After(c Commit, flags object.Flags) History {
	today := c.Received / dayNanos
	if h.Snapshots == 0 {
		h.First = today
	}
	if flags == 0 && h.Snapshots > 0 {
		d := h.day(today)
		d.Number = today
		d.New += c.New
		d.Gone += c.Gone
		h.Days[today%HistoryDays] = d
	}
	h.Snapshots++
	h.Signer = c.Signer
	return h
}

// exceeds reports whether part is more than percent of whole.
func exceeds(part, whole uint64, percent int) bool {
	return float64(part)*100 > float64(whole)*float64(percent)
}

// day returns what is known of a day: nothing when its place holds another.
func (h *History) day(number int64) Day {
	if number < 0 {
		return Day{}
	}
	if d := h.Days[number%HistoryDays]; d.Number == number {
		return d
	}
	return Day{}
}

// weekEnding adds up the seven days that end with the given one, and reports
// whether any of them had a backup.
func (h *History) weekEnding(number int64) (newBytes, gone uint64, any bool) {
	for n := number - week + 1; n <= number; n++ {
		d := h.day(n)
		newBytes += d.New
		gone += d.Gone
		any = any || d.Number == n
	}
	return newBytes, gone, any
}

// rateExceeded compares the week that ends with c with the median of the whole
// weeks before it, for bytes that came and bytes that went. Weeks without a
// backup don't count, or a machine that is backed up monthly would be flagged
// each time.
func (h *History) rateExceeded(today int64, c Commit, t Thresholds) bool {
	var news, gones []uint64
	for end := today - week; end-week+1 >= h.First && end > today-HistoryDays; end -= week {
		if n, g, any := h.weekEnding(end); any {
			news, gones = append(news, n), append(gones, g)
		}
	}
	if len(news) < baseline {
		return false
	}
	n, g, _ := h.weekEnding(today)
	return far(n+c.New, news, c.All, t) || far(g+c.Gone, gones, c.Previous, t)
}

func far(sum uint64, weeks []uint64, whole uint64, t Thresholds) bool {
	slices.Sort(weeks)
	median := weeks[len(weeks)/2]
	return exceeds(sum, whole, t.Rate) && float64(sum)*10 > float64(median)*float64(t.Factor)
}
