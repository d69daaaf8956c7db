package gcmodel

// The world of the model: a snapshot that exists from the start, three objects
// deep; session 0 wants a new root over its lower part; session 1 wants the
// same tree again, as an unchanged backup does: all it puts is a key object,
// which refers to nothing.
const (
	leaf = iota
	mid
	rootOld // root of the snapshot that is there at the start: mid, leaf
	rootNew
	key
	objects
)

// refs lists what each object refers to.
var refs = [objects][]int8{leaf: nil, mid: {leaf}, rootOld: {mid}, rootNew: {mid}, key: nil}

const (
	maxLocations = 9
	sessions     = 2
	prunes       = 2
	snapshots    = 1 + sessions // number 0 is there at the start; session i makes number 1+i
)

// rootsOf lists what each snapshot's manifest names.
var rootsOf = [snapshots]set{1 << rootOld, 1 << rootNew, 1<<rootOld | 1<<key}

// set is a small bit set of objects, locations or snapshots.
type set uint16

func (s set) has(i int) bool { return s&(1<<i) != 0 }
func (s *set) add(i int)     { *s |= 1 << i }

// closure adds to s everything its objects reach.
func closure(s set) set {
	for o := objects - 1; o >= 0; o-- { // refs point to smaller numbers only
		if s.has(o) {
			for _, r := range refs[o] {
				s.add(int(r))
			}
		}
	}
	return s
}

// location is one stored copy of an object. A pack holds one location here, so
// that everything said of packs (their session, I0, unlinking) is said of it.
type location struct {
	object    int8 // what it holds
	owner     int8 // 1+session whose file names its pack; 0: none
	exists    bool // the file is there
	durable   bool // and survives a power cut; of an upload: a checkpoint named it
	current   bool // a segment in CURRENT names it
	condemned bool // on the condemned list in CURRENT
	deleting  bool // on the deleting list in CURRENT
}

type snapshotStatus uint8

const (
	snapNone     snapshotStatus = iota
	snapVolatile                // linked, its folder not yet synced
	snapLinked
	snapTrash
	snapGone
)

type sessionPhase uint8

const (
	sessIdle    sessionPhase = iota
	sessCreated              // its file exists, not yet locked
	sessUpload
	sessChecked // closure checked without the lock
	sessLocked  // holds gc.lock shared, generation as checked
	sessDescended
	sessPacksDurable
	sessPublished // its locations are in CURRENT
	sessLinked    // head moved, snapshot linked, not yet synced
	sessSynced    // lock released, acknowledged; its file is still there
	sessDone
	sessFailed // refused for good
)

// session is one upload process and the session file it leaves behind.
type session struct {
	phase    sessionPhase
	file     bool  // its session file exists
	unlocked bool  // commits without gc.lock, because that line is left out
	checked  uint8 // generation at the closure check
	risky    set   // relied on and only condemned at the closure check
	pinned   bool  // the start's snapshot is pinned as its base
	prev     int8  // head when it opened
	decided  set   // objects of its tree that are put or relied on
	relied   set   // of those, the ones it did not put
	attempts uint8
}

// holdsShared reports whether the session holds gc.lock shared.
func (s *session) holdsShared() bool {
	return s.phase >= sessLocked && s.phase <= sessLinked && !s.unlocked
}

type prunePhase uint8

const (
	pruneIdle      prunePhase = iota
	pruneMarked               // steps 1 and 2 done
	pruneCondemned            // step 3 published, or found by step 0
	pruneDeleting             // step 5 published, or found by step 0
	pruneEmptied              // step 6: packs of which nothing lives are unlinked
	pruneCopied               // step 6: copies of live records are durable
	pruneDropped              // step 6: CURRENT without the old locations is durable
	pruneDone
)

type prune struct {
	phase   prunePhase
	i0      set // locations in CURRENT at step 1 outside packs that a session names
	r0      roots
	marked  set  // locations of i0 that step 2 reached
	copying int8 // 1+location being rewritten; 0: none
	copy    int8 // 1+location of the copy
	old     set  // locations whose files step 6 is to unlink
}

// roots is what keeps objects alive at some moment.
type roots struct {
	snaps set // linked, in trash, or pinned
	files set // sessions with a file
}

// state is the whole world. It is comparable: the explorer keys a map by it.
type state struct {
	locs     [maxLocations]location
	n        int8 // locations in use
	snaps    [snapshots]snapshotStatus
	follows  [snapshots]int8 // 1+the snapshot before; 0: none
	acked    set             // snapshots whose sender was told they are safe
	head     int8
	visible  set // objects in the job's visible set
	gen      uint8
	listed   bool // a condemned list is published
	deleting bool // a deleting list is published
	i0       set  // published with the condemned list
	r3       set  // snapshots that the mark began from, published likewise
	sess     [sessions]session
	prune    [prunes]prune
	kills    uint8
	cuts     uint8
	forgets  uint8
	unforget uint8
}

func start() state {
	var s state
	for _, o := range []int8{leaf, mid, rootOld} {
		s.locs[s.n] = location{object: o, exists: true, durable: true, current: true}
		s.n++
	}
	s.snaps[0] = snapLinked
	s.acked.add(0)
	s.visible = closure(1 << rootOld)
	return s
}

// live reports whether o has a location that a reliance may rest on.
func (s *state) live(o int) bool {
	for i := range s.n {
		if l := &s.locs[i]; int(l.object) == o && l.current && !l.condemned && !l.deleting {
			return true
		}
	}
	return false
}

// present reports whether o has a location in CURRENT that is not about to go.
func (s *state) present(o int) bool {
	for i := range s.n {
		if l := &s.locs[i]; int(l.object) == o && l.current && !l.deleting {
			return true
		}
	}
	return false
}

// readable reports whether a restore of o succeeds.
func (s *state) readable(o int) bool {
	for i := range s.n {
		if l := &s.locs[i]; int(l.object) == o && l.current && l.exists {
			return true
		}
	}
	return false
}

// named reports whether a session file names the pack of location k.
func (s *state) named(k int8) bool {
	o := s.locs[k].owner
	return o > 0 && s.sess[o-1].file
}

// rootsNow is what keeps objects alive in this state.
func (st *stepper) rootsNow(s *state) roots {
	var r roots
	for k, status := range s.snaps {
		if status == snapVolatile || status == snapLinked || status == snapTrash && st.on(TrashIsRoot) {
			r.snaps.add(k)
		}
	}
	for i := range s.sess {
		if s.sess[i].file && st.on(SessionsAreRoots) {
			r.files.add(i)
			if s.sess[i].pinned {
				r.snaps.add(0)
			}
		}
	}
	return r
}

// reach returns the objects that r keeps alive: those under its snapshots, and
// those that the puts of its sessions refer to.
func (s *state) reach(r roots) set {
	var o set
	for k := range snapshots {
		if r.snaps.has(k) {
			o |= rootsOf[k]
		}
	}
	for k := range s.n {
		if l := &s.locs[k]; l.owner > 0 && l.durable && r.files.has(int(l.owner)-1) {
			o.add(int(l.object))
		}
	}
	return closure(o)
}

// violation returns what is wrong with the state, or "".
func (s *state) violation() string {
	for k, st := range s.snaps {
		if st != snapLinked && st != snapVolatile && st != snapTrash {
			if s.acked.has(k) && st == snapNone {
				return "an acknowledged snapshot is gone"
			}
			continue
		}
		reached := closure(rootsOf[k])
		for o := range objects {
			if reached.has(o) && !s.readable(o) {
				return "an object of a snapshot is missing"
			}
		}
	}
	for k := range s.n {
		l := &s.locs[k]
		if !l.current || l.condemned || l.deleting {
			continue
		}
		reached := closure(1 << l.object)
		for o := range objects {
			if reached.has(o) && !s.readable(o) {
				return "what a location in CURRENT reaches is missing"
			}
		}
	}
	if int(s.head) < snapshots && s.snaps[s.head] == snapNone {
		return "the head names a snapshot that does not exist"
	}
	if s.follows[1] > 0 && s.follows[1] == s.follows[2] {
		return "two snapshots follow the same one"
	}
	return ""
}
