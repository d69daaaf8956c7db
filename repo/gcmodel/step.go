package gcmodel

// Line is a line of the protocol that the explorer can leave out.
type Line uint

// Without is a set of lines to leave out.
type Without uint64

// Leaving returns the set of the given lines.
func Leaving(lines ...Line) (w Without) {
	for _, l := range lines {
		w |= 1 << l
	}
	return w
}

// The lines, in the order of the manual page.
const (
	LinkedCheck          Line = iota // open session: the locked file must still be linked
	LookupSkipsCondemned             // have? and put: a condemned location is no location
	ClosureCheck                     // commit: every ref is own or visible and present
	RecheckGeneration                // commit: if the generation moved, check again
	DescendCondemned                 // commit: descend through condemned ones
	PacksBeforeCurrent               // commit: packs are durable before CURRENT names them
	CurrentBeforeLink                // commit: CURRENT is durable before the snapshot is linked
	HeadCompare                      // commit: head = prev, else refuse
	HeadForward                      // open, commit, forget: take the head forward to a snapshot whose commit was killed after linking
	SyncBeforeAck                    // commit: folders are synced before the acknowledgement
	CommitShared                     // commit: under gc.lock
	SessionPacksNotI0                // prune 1: packs named by a session file stay out of I0
	TrashIsRoot                      // prune 1: all of trash is a root
	SessionsAreRoots                 // prune 1: running and resumable uploads are roots
	GenerationCondemned              // prune 3: generation+1
	SpareNewerRoots                  // prune 5: take away what snapshots newer than the mark reach
	SpareOutsideI0                   // prune 5: take away what locations in CURRENT outside I0 reach
	GenerationDeleting               // prune 5: generation+1
	DeletingExclusive                // prune 5: under gc.lock exclusive
	CondemnedExclusive               // prune 3: under gc.lock exclusive
	ResumeDeleting                   // prune 0: an old deleting list is finished first
	ResumeCondemned                  // prune 0: an old condemned list is finished first
	PruneLock                        // prune 0: one prune at a time
	CopyBeforeDrop                   // prune 6: copies are durable before CURRENT names them
	DropBeforeUnlink                 // prune 6: CURRENT without them is durable before files go
	UnlinkStrays                     // prune 1: packs that neither CURRENT nor a session file names go
	UnforgetCheck                    // unforget: closure check
	Lines
)

// bounds limit how much may happen in one history.
type bounds struct {
	sessions                                set // which of them run
	prunes, kills, cuts, forgets, unforgets uint8
}

// stepper makes the successors of states.
type stepper struct {
	without Without
	bounds  bounds
	emit    func(next state, what string)
}

func (st *stepper) on(l Line) bool { return st.without&(1<<l) == 0 }

// exclusive reports whether a prune may take gc.lock exclusively now. Steps
// under the exclusive lock are atomic in the model, so nobody ever waits for it.
func (s *state) exclusive() bool {
	for i := range s.sess {
		if s.sess[i].holdsShared() {
			return false
		}
	}
	return true
}

func (st *stepper) steps(s *state) {
	for i := range s.sess {
		if st.bounds.sessions.has(i) {
			st.session(s, i)
		}
	}
	for p := range int(st.bounds.prunes) {
		st.prune(s, p)
	}
	if s.forgets < st.bounds.forgets {
		for k := range s.snaps {
			if s.snaps[k] != snapLinked || s.headLocked() {
				continue
			}
			n := *s
			if st.on(HeadForward) {
				n.headForward() // or the next commit would not know of this one
			}
			n.snaps[k] = snapTrash
			n.forgets++
			st.emit(n, "forget")
		}
	}
	if s.unforget < st.bounds.unforgets {
		st.unforget(s)
	}
	if s.kills < st.bounds.kills {
		st.kill(s)
	}
	if s.cuts < st.bounds.cuts {
		st.powerCut(s)
	}
}

func (st *stepper) unforget(s *state) {
	for k := range s.snaps {
		if s.snaps[k] != snapTrash {
			continue
		}
		n := *s
		n.unforget++
		reached := closure(rootsOf[k])
		for o := range objects {
			if st.on(UnforgetCheck) && reached.has(o) && !n.present(o) {
				return
			}
		}
		n.snaps[k] = snapLinked
		st.emit(n, "unforget")
	}
}

// kill ends a process between two of its steps; its locks go, its files stay.
func (st *stepper) kill(s *state) {
	for i := range s.sess {
		if p := s.sess[i].phase; p > sessIdle && p < sessDone {
			n := *s
			n.kills++
			n.killSession(i)
			st.emit(n, "kill session")
		}
	}
	for p := range s.prune {
		if ph := s.prune[p].phase; ph > pruneIdle && ph < pruneDone {
			n := *s
			n.kills++
			n.prune[p] = prune{} // may run again
			st.emit(n, "kill prune")
		}
	}
}

func (s *state) killSession(i int) {
	old := s.sess[i]
	s.sess[i] = session{file: old.file, pinned: old.pinned, attempts: old.attempts}
	if s.acked.has(1+i) || s.snaps[1+i] == snapVolatile {
		s.sess[i].phase = sessDone // the next run sees that its snapshot was committed
	}
}

// powerCut ends every process and loses what was not durable: all of it, or
// only what each of the classes below holds.
func (st *stepper) powerCut(s *state) {
	for lost := range 4 {
		n := *s
		n.cuts++
		for i := range n.sess {
			if p := n.sess[i].phase; p > sessIdle && p < sessDone {
				n.killSession(i)
			}
		}
		for p := range n.prune {
			if ph := n.prune[p].phase; ph > pruneIdle && ph < pruneDone {
				n.prune[p] = prune{}
			}
		}
		for k := range n.n {
			if l := &n.locs[k]; l.exists && !l.durable && lost&1 != 0 {
				l.exists = false
			}
			n.locs[k].durable = n.locs[k].exists
		}
		for k := range n.snaps {
			if n.snaps[k] == snapVolatile {
				n.snaps[k] = snapLinked
				if lost&2 != 0 {
					n.snaps[k], n.follows[k] = snapNone, 0
					if int(n.head) == k {
						n.head = n.newestLinked()
					}
					if n.sess[k-1].phase == sessDone && n.sess[k-1].file {
						n.sess[k-1].phase = sessIdle
					}
				}
			}
		}
		n.compact()
		st.emit(n, "power cut")
	}
}

func (s *state) newestLinked() int8 {
	newest := int8(0)
	for k := range s.snaps {
		if s.snaps[k] == snapLinked || s.snaps[k] == snapTrash {
			newest = int8(k)
		}
	}
	return newest
}

// compact forgets locations that are neither on disk nor named, and moves the
// rest together where no index is remembered.
func (s *state) compact() {
	for s.n > 0 && s.locs[s.n-1] == (location{object: s.locs[s.n-1].object}) {
		s.n--
		s.locs[s.n] = location{}
	}
}

// add appends a location; it reports whether there was room.
func (s *state) add(l location) (int, bool) {
	if int(s.n) == maxLocations {
		return 0, false
	}
	s.locs[s.n] = l
	s.n++
	return int(s.n) - 1, true
}
