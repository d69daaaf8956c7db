package retention

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/object"
)

// The simulated machine: files of different sizes, each with a version that
// stands for its content, backed up once a day for a year.
const (
	simFiles = 2000
	simDays  = 365
	simMeta  = 100 // bytes of metadata per file, new whenever the file changes
)

type machine struct {
	rng     *rand.Rand
	size    []uint64
	version []uint32 // 0: the file does not exist
	next    uint32
}

func newMachine(seed uint64) *machine {
	m := &machine{rng: rand.New(rand.NewPCG(seed, 1))}
	for range simFiles {
		m.size = append(m.size, uint64(1000+m.rng.ExpFloat64()*30000))
		m.next++
		m.version = append(m.version, m.next)
	}
	return m
}

// change gives a share of the files new content.
func (m *machine) change(share float64) {
	for range int(share * simFiles) {
		m.next++
		m.version[m.rng.IntN(len(m.version))] = m.next
	}
}

// encrypt gives n of the files in [from, …) new content, in order.
func (m *machine) encrypt(from, n int) {
	for i := from; i < min(from+n, len(m.version)); i++ {
		m.next++
		m.version[i] = m.next
	}
}

// grow adds n new files.
func (m *machine) grow(n int) {
	for range n {
		m.next++
		m.size = append(m.size, uint64(1000+m.rng.ExpFloat64()*30000))
		m.version = append(m.version, m.next)
	}
}

// normal is a day of ordinary life: a little churn, log rotation each week,
// package upgrades each week.
func (m *machine) normal(day int) {
	m.change(0.002 + 0.004*m.rng.Float64())
	if day%7 == 3 {
		m.change(0.02 + 0.02*m.rng.Float64())
	}
	if day%7 == 0 {
		m.change(0.01)
	}
	if day%30 == 0 {
		m.grow(simFiles / 100)
	}
}

type simSnapshot struct {
	Snapshot
	versions []uint32
	good     bool
}

// sim is a year of backups under one policy, with the brake or without it.
type sim struct {
	*machine
	history History
	braked  bool
	held    []simSnapshot
	flagged int
	flagDay int // day of the first flag, 0 for none
	peak    int // most snapshots held at once
	nr      int
}

var simPolicy = Policy{Daily: 14, Weekly: 8, Monthly: 6}

func simTime(day, second int) time.Time {
	return time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC).AddDate(0, 0, day).Add(time.Duration(second) * time.Second)
}

func (s *sim) backup(day, second int, good, lostCache bool) {
	c := Commit{Received: simTime(day, second).UnixNano(), Signer: [32]byte{1}}
	var prev []uint32
	if len(s.held) > 0 {
		prev = s.held[len(s.held)-1].versions
	}
	for i, v := range s.version {
		b := s.size[i] + simMeta
		if v != 0 {
			c.All += b
		}
		var was uint32
		if i < len(prev) {
			was = prev[i]
		}
		if was != 0 {
			c.Previous += b
		}
		if was == v && !lostCache {
			continue
		}
		if v != 0 {
			c.New += b
		}
		if was != 0 {
			c.Gone += b
		}
	}
	flags := s.history.Judge(c, Thresholds{})
	s.history = s.history.After(c, flags)
	s.nr++
	unusual := flags.Unusual()
	if unusual {
		s.flagged++
		if s.flagDay == 0 {
			s.flagDay = day
		}
	}
	s.held = append(s.held, simSnapshot{
		Snapshot: Snapshot{ID: object.ID{byte(s.nr >> 8), byte(s.nr)}, Received: simTime(day, second), Unusual: unusual},
		versions: slices.Clone(s.version), good: good,
	})
}

func (s *sim) forget(day int) {
	snaps := make([]Snapshot, len(s.held))
	for i := range s.held {
		snaps[i] = s.held[i].Snapshot
	}
	keep := make(map[object.ID]bool)
	for _, d := range Select(snaps, simPolicy, Rules{Now: simTime(day, 7200), MinAge: 7 * 24 * time.Hour, IgnoreUnusual: !s.braked}) {
		keep[d.Snapshot.ID] = d.Keep
	}
	s.held = slices.DeleteFunc(s.held, func(x simSnapshot) bool { return !keep[x.ID] })
	s.peak = max(s.peak, len(s.held))
}

// bytes returns what the held snapshots store, each version once.
func (s *sim) bytes() uint64 {
	seen := make(map[uint32]bool)
	var n uint64
	for _, x := range s.held {
		for i, v := range x.versions {
			if v != 0 && !seen[v] {
				seen[v] = true
				n += s.size[i] + simMeta
			}
		}
	}
	return n
}

func (s *sim) good() int {
	n := 0
	for _, x := range s.held {
		if x.good {
			n++
		}
	}
	return n
}

// run simulates a year; each day act changes the machine and backs it up.
func run(braked bool, act func(s *sim, day int)) *sim {
	s := &sim{machine: newMachine(20), braked: braked}
	for day := range simDays {
		act(s, day)
		s.forget(day)
	}
	return s
}

// attackDay is when the sender is taken over in the attack scenarios.
const attackDay = 200

func TestSimulatedAttacks(t *testing.T) {
	scenarios := []struct {
		name string
		act  func(s *sim, day int)
		// detect is by which day the first flag must be there.
		detect int
	}{
		{"encryption on day 200", func(s *sim, day int) {
			if day == attackDay {
				s.encrypt(0, len(s.version))
			}
			s.normal(day)
			s.backup(day, 0, day < attackDay, false)
		}, attackDay},
		{"3 % of files a day from day 200", func(s *sim, day int) {
			if day >= attackDay {
				s.encrypt((day-attackDay)*len(s.version)*3/100, len(s.version)*3/100)
			}
			s.normal(day)
			s.backup(day, 0, day < attackDay, false)
		}, attackDay + 7},
		{"50 junk snapshots a day from day 200", func(s *sim, day int) {
			s.normal(day)
			for i := range 50 {
				if day >= attackDay && day < attackDay+20 {
					s.encrypt(0, len(s.version))
					s.backup(day, i, false, false)
				} else if i == 0 {
					s.backup(day, i, day < attackDay, false)
				}
			}
		}, attackDay},
		{"one junk snapshot a day from day 200", func(s *sim, day int) {
			s.normal(day)
			if day >= attackDay {
				s.encrypt(0, len(s.version))
			}
			s.backup(day, 0, day < attackDay, false)
		}, attackDay},
	}
	for _, sc := range scenarios {
		with, without := run(true, sc.act), run(false, sc.act)
		var before int // what the policy held the day before the attack
		probe := &sim{machine: newMachine(20), braked: true}
		for day := range attackDay {
			sc.act(probe, day)
			probe.forget(day)
		}
		before = len(probe.held)
		t.Logf("%-38s good snapshots at the end of the year: %d (restic's semantics: %d) of %d on the day before; bytes held %d MB (%d MB); first flag on day %d, flags %d, most snapshots at once %d",
			sc.name, with.good(), without.good(), before, with.bytes()/1e6, without.bytes()/1e6, with.flagDay, with.flagged, with.peak)
		if with.flagDay < attackDay || with.flagDay > sc.detect {
			t.Errorf("%s: first flag on day %d, want by day %d and not before %d", sc.name, with.flagDay, sc.detect, attackDay)
		}
		// Those that the policy would have removed between attack and detection may go.
		if with.good() < before-(sc.detect-attackDay)-1 {
			t.Errorf("%s: %d good snapshots left of %d", sc.name, with.good(), before)
		}
		if without.good() >= with.good() {
			t.Errorf("%s: the brake makes no difference (%d and %d): the scenario tests nothing", sc.name, with.good(), without.good())
		}
	}
}

func TestSimulatedNormalYear(t *testing.T) {
	for seed := range uint64(20) {
		s := &sim{machine: newMachine(seed), braked: true}
		for day := range simDays {
			s.normal(day)
			if day == 120 {
				s.change(0.36) // with repeats about 30 % of the files: a data migration
			}
			s.backup(day, 0, true, day == 250)
			s.forget(day)
		}
		if seed == 0 {
			t.Logf("a normal year: %d false alarms", s.flagged)
		}
		if s.flagged > 3 {
			t.Errorf("seed %d: %d false alarms in a normal year, at most 3 allowed", seed, s.flagged)
		}
	}
}

// TestGrowthUnderEndlessFlags bounds what a sender that is flagged every day
// can make the store keep: two policy sets and what min-age adds.
func TestGrowthUnderEndlessFlags(t *testing.T) {
	normal := run(true, func(s *sim, day int) { s.normal(day); s.backup(day, 0, true, false) })
	flagged := run(true, func(s *sim, day int) {
		s.normal(day)
		if day >= attackDay {
			s.encrypt(0, len(s.version))
		}
		s.backup(day, 0, true, false)
	})
	t.Logf("most snapshots held: %d normally, %d under endless flags", normal.peak, flagged.peak)
	if flagged.flagged != simDays-attackDay {
		t.Errorf("%d snapshots were flagged, want all %d since the attack", flagged.flagged, simDays-attackDay)
	}
	if flagged.peak > 2*normal.peak {
		t.Errorf("held %d snapshots, more than two policy sets of %d", flagged.peak, normal.peak)
	}
}

func TestFirstSnapshotsAreNotUnusual(t *testing.T) {
	var h History
	var flags object.Flags
	for i := range warmUp {
		c := Commit{Received: int64(i) * dayNanos, New: 1000, Gone: 900, All: 1000, Previous: 900}
		flags = h.Judge(c, Thresholds{})
		h = h.After(c, flags)
		if flags != 0 {
			t.Errorf("snapshot %d of a job: flags %#x", i+1, flags)
		}
	}
	for _, c := range []struct {
		name string
		c    Commit
		want object.Flags
	}{
		{"501 of 1000 bytes new", Commit{New: 501, All: 1000, Previous: 1000}, object.FlagMostlyNew},
		{"501 of 1000 bytes gone", Commit{Gone: 501, All: 1000, Previous: 1000}, object.FlagMostlyOld},
		{"exactly half", Commit{New: 500, Gone: 500, All: 1000, Previous: 1000}, 0},
		{"another signer", Commit{All: 1, Previous: 1, Signer: [32]byte{9}}, object.FlagNewSigner},
	} {
		c.c.Received = 2 * dayNanos
		if flags := h.Judge(c.c, Thresholds{}); flags != c.want {
			t.Errorf("%s: flags %#x, want %#x", c.name, flags, c.want)
		}
	}
}

// TestRareBackups has a machine that is backed up every four weeks with 15 %
// of it changed each time, which is far from zero and yet its usual.
func TestRareBackups(t *testing.T) {
	var h History
	for i := range 12 {
		var flags object.Flags
		c := Commit{Received: int64(i) * 28 * dayNanos, New: 150, Gone: 150, All: 1000, Previous: 1000}
		flags = h.Judge(c, Thresholds{})
		h = h.After(c, flags)
		if flags != 0 {
			t.Errorf("backup %d: flags %#x", i, flags)
		}
	}
}
