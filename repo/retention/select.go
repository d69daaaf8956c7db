package retention

import (
	"slices"
	"time"

	"github.com/packnback/packnback/repo/object"
)

// Snapshot is what a policy looks at.
type Snapshot struct {
	ID       object.ID
	Received time.Time // the store's clock; its location decides where days begin
	Unusual  bool      // flagged and not acknowledged
}

// Rules are the limits that hold whatever the policy says.
type Rules struct {
	Now           time.Time     // the store's clock
	MinAge        time.Duration // nothing younger is removed
	IgnoreUnusual bool          // switch the brake off, as an administrator may for one run
}

// Decision says what is to happen to one snapshot and why.
type Decision struct {
	Snapshot Snapshot
	Keep     bool
	Braked   bool     // kept only because of an unusual snapshot
	Reasons  []string // the rules that keep it: names of policy rules, "min-age", "frozen", "first of an unusual day" and the like
}

// Select applies p to the snapshots of one client and job, in any order, and
// returns a decision for each, newest first.
//
// The policy itself is restic's: per rule, walking from the newest, the newest
// snapshot of each calendar unit is kept until the count is used up, and the
// oldest snapshot of all is kept while a rule has room left; spans reach back
// from the newest snapshot that isn't from the future. On top of what that
// keeps, three things are kept:
//
//   - everything younger than MinAge;
//   - the oldest unusual snapshot and everything received before it (the
//     freeze), so that what a thief or a fault replaced can't age out unseen;
//     the flagged one itself because the freeze ends when it is gone;
//   - the earliest snapshot of each calendar unit of which the policy keeps one
//     and in which an unusual snapshot lies, so that a bad snapshot can't take
//     the place of a good one of the same hour, day, week, month or year. An
//     earliest that is unusual itself is not kept for this: it protects nothing,
//     and a sender that is flagged every day would hold a third policy set.
func Select(snaps []Snapshot, p Policy, r Rules) []Decision {
	ds := make([]Decision, len(snaps))
	for i, s := range snaps {
		ds[i].Snapshot = s
	}
	slices.SortStableFunc(ds, func(a, b Decision) int {
		if c := b.Snapshot.Received.Compare(a.Snapshot.Received); c != 0 {
			return c
		}
		return b.Snapshot.ID.Compare(a.Snapshot.ID)
	})
	if len(ds) == 0 {
		return nil
	}
	rules := p.rules(newest(ds, r.Now))
	for nr := range ds {
		for i := range rules {
			rules[i].apply(ds, nr, r.IgnoreUnusual)
		}
	}
	brake(ds, r)
	return ds
}

// newest returns the time from which spans reach back: that of the newest
// snapshot. As in restic one from the future doesn't count, unless there is no
// other: spans that began there would keep nothing of what is good.
func newest(ds []Decision, now time.Time) time.Time {
	for _, d := range ds {
		if !d.Snapshot.Received.After(now) {
			return d.Snapshot.Received
		}
	}
	return ds[0].Snapshot.Received
}

// apply lets the rule keep the snapshot ds[nr].
func (ru *rule) apply(ds []Decision, nr int, ignoreUnusual bool) {
	t := ds[nr].Snapshot.Received
	if ru.left == 0 || (ru.timed && !t.After(ru.after)) {
		return
	}
	b := ru.period.bucket(t, nr)
	if b == ru.bucket && nr < len(ds)-1 {
		return
	}
	fresh := b != ru.bucket
	ru.bucket = b
	ru.left--
	ds[nr].Keep = true
	ds[nr].Reasons = append(ds[nr].Reasons, ru.name)
	if fresh && ru.period != last && !ignoreUnusual {
		ru.keepEarliest(ds, nr)
	}
}

// keepEarliest marks the earliest snapshot of the bucket whose newest is
// ds[nr], if an unusual one lies in it. The mark becomes a decision in brake.
func (ru *rule) keepEarliest(ds []Decision, nr int) {
	b, unusual, end := ru.bucket, false, nr
	for ; end < len(ds) && ru.period.bucket(ds[end].Snapshot.Received, end) == b; end++ {
		unusual = unusual || ds[end].Snapshot.Unusual
	}
	if first := end - 1; unusual && first > nr && !ds[first].Snapshot.Unusual {
		ds[first].Braked = true
		ds[first].Reasons = append(ds[first].Reasons, "first of an unusual "+ru.name)
	}
}

// brake adds what is kept whatever the policy says, and settles Braked: true
// only where nothing but the brake keeps a snapshot.
func brake(ds []Decision, r Rules) {
	frozen := !r.IgnoreUnusual && slices.ContainsFunc(ds, func(d Decision) bool { return d.Snapshot.Unusual })
	for i := len(ds) - 1; i >= 0; i-- {
		d := &ds[i]
		if r.Now.Sub(d.Snapshot.Received) < r.MinAge {
			d.Keep = true
			d.Reasons = append(d.Reasons, "min-age")
		}
		if frozen {
			d.Braked = true
			d.Reasons = append(d.Reasons, "frozen")
		}
		if d.Snapshot.Unusual {
			frozen = false // what came after the oldest flag follows the policy
		}
		d.Braked = d.Braked && !d.Keep
		d.Keep = d.Keep || d.Braked
	}
}
