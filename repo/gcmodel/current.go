package gcmodel

import "fmt"

// A second, smaller model: several processes replace CURRENT, which is read,
// changed and written under current.lock. Commits add a segment, a merge puts
// one segment in the place of others, a prune does the same and leaves a row
// out. It asks whether any of them undoes what another has done.

// Lines by which CURRENT changes, to be left out like those above.
const (
	CurrentLock Line = Lines + iota // read-modify-write under current.lock
	SyncContent                     // the new file's content is durable before it is renamed
	SyncName                        // the folder is durable before the change counts
	StillListed                     // merge: only if CURRENT still lists all inputs
	UnlinkAfter                     // merge: inputs are unlinked after CURRENT is durable
	AllLines
)

const (
	writers  = 4 // two commits, a merge, a prune
	merger   = 2
	pruner   = 3
	segments = 4 // a segment's number is its writer's, but for the one at the start
	rows     = 3 // row w is commit w's, the last one is there at the start
	doomed   = rows - 1
)

type writerPhase uint8

const (
	writerIdle   writerPhase = iota
	writerBuilt              // merge and prune: inputs read, output written
	writerLocked             // holds current.lock
	writerRead               // has read CURRENT and written its successor beside it
	writerSynced             // whose content is durable
	writerNamed              // CURRENT is renamed
	writerDone               // durable: acknowledged
	writerFailed
)

// writer is a process that replaces CURRENT once.
type writer struct {
	phase  writerPhase
	inputs set // segments that the merge or prune read
	next   set // segments of the CURRENT that it writes
}

// listing is a CURRENT on disk: the segments it lists.
type listing struct {
	segments set
	torn     bool // its content was not durable when the power went
}

type currentState struct {
	now, old listing // visible; what a power cut may bring back
	durable  bool    // now and old are the same
	synced   bool    // now's content is durable
	files    [1 + segments]set
	exists   set // segment files, by number; 0 is the one at the start
	locked   int8
	writers  [writers]writer
	acked    set // commits acknowledged
	dropped  bool
	kills    uint8
	cuts     uint8
}

func startCurrent() currentState {
	s := currentState{durable: true, synced: true, exists: 1}
	s.now.segments, s.old.segments = 1, 1
	s.files[0] = 1 << doomed
	return s
}

// violation returns what is wrong with the state, or "".
func (s *currentState) violation() string {
	if s.now.torn {
		return "CURRENT is torn"
	}
	if s.now.segments&^s.exists != 0 {
		return "CURRENT lists a segment that is gone"
	}
	var there set
	for k := range s.files {
		if s.now.segments.has(k) {
			there |= s.files[k]
		}
	}
	if s.acked&^there != 0 {
		return "what a commit has acknowledged is not in CURRENT"
	}
	if s.dropped && there.has(doomed) {
		return "a row whose pack is unlinked is in CURRENT again"
	}
	return ""
}

type currentStepper struct {
	without Without
	emit    func(currentState)
}

func (st *currentStepper) on(l Line) bool { return st.without&(1<<l) == 0 }

func (st *currentStepper) steps(s *currentState) {
	for w := range writers {
		st.step(s, w)
		if p := s.writers[w].phase; p > writerIdle && p < writerDone && s.kills < 1 {
			n := *s
			n.kills++
			n.kill(w)
			st.emit(n)
		}
	}
	if s.cuts < 1 {
		st.powerCut(s)
	}
}

// step is the next thing that writer w does.
func (st *currentStepper) step(s *currentState, w int) {
	n := *s
	me := &n.writers[w]
	switch me.phase {
	case writerIdle:
		n.build(w)
		me.phase = writerBuilt
	case writerBuilt:
		if st.on(CurrentLock) {
			if n.locked != 0 {
				return
			}
			n.locked = int8(w + 1)
		}
		me.phase = writerLocked
	case writerLocked:
		if me.inputs&^n.now.segments != 0 && st.on(StillListed) {
			n.kill(w)
			break
		}
		me.next = n.now.segments&^me.inputs | 1<<(w+1)
		me.phase = writerRead
	case writerRead: // the inputs of a merge that doesn't wait
		if !st.on(UnlinkAfter) {
			n.exists &^= me.inputs
		}
		me.phase = writerSynced
	case writerSynced:
		if n.durable {
			n.old = n.now
		}
		n.now, n.durable, n.synced = listing{segments: me.next}, false, st.on(SyncContent)
		me.phase = writerNamed
	case writerNamed:
		if st.on(SyncName) {
			n.durable = true
			n.old = n.now
		}
		n.finish(w)
	default:
		return
	}
	st.emit(n)
}

// build writes the segment that w is going to publish.
func (s *currentState) build(w int) {
	switch w {
	case merger, pruner:
		s.writers[w].inputs = s.now.segments
		for k := range s.files {
			if s.now.segments.has(k) {
				s.files[w+1] |= s.files[k]
			}
		}
		if w == pruner {
			s.files[w+1] &^= 1 << doomed
		}
	default:
		s.files[w+1] = 1 << w
	}
	s.exists.add(w + 1)
}

// finish is what follows a durable CURRENT.
func (s *currentState) finish(w int) {
	me := &s.writers[w]
	switch w {
	case merger:
		s.exists &^= me.inputs
	case pruner:
		s.exists &^= me.inputs
		s.dropped = true
	default:
		s.acked.add(w)
	}
	s.kill(w)
	me.phase = writerDone
}

func (s *currentState) kill(w int) {
	s.writers[w] = writer{phase: writerFailed}
	if s.locked == int8(w+1) {
		s.locked = 0
	}
}

func (st *currentStepper) powerCut(s *currentState) {
	for _, lost := range []bool{false, true} {
		n := *s
		n.cuts++
		for w := range writers {
			if p := n.writers[w].phase; p > writerIdle && p < writerDone {
				n.kill(w)
			}
		}
		if !n.durable && lost {
			n.now = n.old
		} else if !n.synced {
			n.now.torn = true
		}
		n.durable, n.synced, n.old = true, true, n.now
		st.emit(n)
	}
}

// exploreCurrent visits every state of the second model.
func exploreCurrent(without Without) result {
	var r result
	first := startCurrent()
	seen := map[currentState]bool{first: true}
	for todo := []currentState{first}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if r.broken = s.violation(); r.broken != "" {
			r.trace = []string{fmt.Sprintf("%+v", s)}
			break
		}
		st := currentStepper{without: without, emit: func(n currentState) {
			if !seen[n] {
				seen[n] = true
				todo = append(todo, n)
			}
		}}
		st.steps(&s)
	}
	r.states = len(seen)
	return r
}
