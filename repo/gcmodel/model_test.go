package gcmodel

import (
	"flag"
	"testing"
)

var limit = flag.Int("gcmodel.limit", 6_000_000, "states to visit at most in each history; scripts/torture raises it")

// TestWholeProtocol explores the protocol as it is. The histories are small
// enough to be seen whole; with a raised limit two sessions meet two prunes.
func TestWholeProtocol(t *testing.T) {
	histories := []bounds{
		{sessions: 3, prunes: 0, kills: 1, cuts: 1, forgets: 1, unforgets: 1},
		{sessions: 2, prunes: 1, kills: 1, cuts: 1, forgets: 1, unforgets: 1},
		{sessions: 1, prunes: 2, kills: 1, forgets: 1},
		{sessions: 2, prunes: 2, kills: 1, forgets: 1},
		{sessions: 2, prunes: 2, cuts: 1, forgets: 1},
		{sessions: 3, prunes: 1, forgets: 1},
	}
	if *limit > 10_000_000 {
		histories = append(histories,
			bounds{sessions: 1, prunes: 1, kills: 1, cuts: 1, forgets: 1, unforgets: 1},
			bounds{sessions: 3, prunes: 0, kills: 2, cuts: 1, forgets: 1, unforgets: 1},
			bounds{sessions: 3, prunes: 1, kills: 1, forgets: 1},
			bounds{sessions: 3, prunes: 2, kills: 1, forgets: 1},
			bounds{sessions: 3, prunes: 2, cuts: 1, forgets: 1, unforgets: 1})
	}
	for i, b := range histories {
		r := explore(0, b, *limit)
		t.Logf("%+v: %d states, all of them: %v", b, r.states, !r.cut)
		if r.cut && *limit >= 6_000_000 && i < 6 {
			t.Errorf("%+v was not seen whole", b)
		}
		if r.broken == "" {
			continue
		}
		t.Errorf("%s after %d states:", r.broken, r.states)
		for _, l := range r.trace {
			t.Log("  ", l)
		}
	}
}

// find looks for a history in which the protocol without those lines fails.
func find(w Without) result {
	for _, b := range []bounds{
		{sessions: 3, prunes: 0, kills: 1},
		{sessions: 2, prunes: 1, forgets: 1, unforgets: 1},
		{sessions: 1, prunes: 1, kills: 1, forgets: 1},
		{sessions: 1, prunes: 1, cuts: 1, forgets: 1},
		{sessions: 2, prunes: 2, forgets: 1},
		{sessions: 2, prunes: 2, kills: 1, forgets: 1},
	} {
		if r := explore(w, b, 1_000_000); r.broken != "" {
			return r
		}
	}
	return result{}
}

// TestEachLine leaves out each line and wants the explorer to notice. Some
// lines back each other up and are left out in pairs.
func TestEachLine(t *testing.T) {
	needed := [][]Line{
		{LinkedCheck}, {ClosureCheck}, {RecheckGeneration}, {PacksBeforeCurrent}, {CurrentBeforeLink}, {HeadCompare},
		{HeadForward}, {SyncBeforeAck}, {CommitShared}, {TrashIsRoot}, {SpareOutsideI0}, {SpareNewerRoots}, {DeletingExclusive},
		{ResumeDeleting}, {ResumeCondemned}, {PruneLock}, {CopyBeforeDrop}, {DropBeforeUnlink}, {UnlinkStrays},
		// Once the closure was checked, either generation makes a commit look again.
		{GenerationCondemned, GenerationDeleting},
		// A commit that did not look again still sees a deleting list when it descends.
		{DescendCondemned, GenerationDeleting},
		// What an upload has put is outside I0 while its file stands, and a root besides.
		{SessionPacksNotI0, SessionsAreRoots},
	}
	// belts are lines that no history of this size misses, even in pairs: step 5
	// marks again from everything newer, and trash is whole as long as it is a root. They save refused commits and needless
	// condemning, and are a second belt against what the model leaves out.
	belts := []Line{LookupSkipsCondemned, CondemnedExclusive, UnforgetCheck}

	listed := map[Line]bool{}
	for _, lines := range needed {
		for _, l := range lines {
			listed[l] = true
		}
		if r := find(Leaving(lines...)); r.broken == "" {
			t.Errorf("nothing breaks without lines %v", lines)
		} else {
			t.Logf("without %v: %s (after %d states, %d steps)", lines, r.broken, r.states, len(r.trace))
		}
	}
	for _, l := range belts {
		listed[l] = true
	}
	for l := range Lines {
		if !listed[l] {
			t.Errorf("line %d is in no list", l)
		}
	}
}

// TestCurrent explores the replacing of CURRENT, as it is and without each of
// its lines.
func TestCurrent(t *testing.T) {
	if r := exploreCurrent(0); r.broken != "" {
		t.Errorf("%s: %s", r.broken, r.trace)
	} else {
		t.Logf("%d states", r.states)
	}
	for l := CurrentLock; l < AllLines; l++ {
		if r := exploreCurrent(Leaving(l)); r.broken == "" {
			t.Errorf("nothing breaks without line %d", l)
		} else {
			t.Logf("without %d: %s", l, r.broken)
		}
	}
}
