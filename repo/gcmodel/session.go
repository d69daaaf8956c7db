package gcmodel

// maxAttempts bounds how often one session goes back and puts again.
const maxAttempts = 3

// tree returns the objects of the snapshot that session i wants, children first.
func tree(i int) set { return closure(rootsOf[1+i]) }

func (st *stepper) session(s *state, i int) {
	switch s.sess[i].phase {
	case sessIdle:
		st.open(s, i)
	case sessCreated:
		st.lockFile(s, i)
	case sessUpload:
		st.upload(s, i)
	case sessChecked:
		st.lock(s, i)
	case sessLocked:
		st.descend(s, i)
	case sessDescended:
		n := *s
		if st.on(PacksBeforeCurrent) {
			n, _ = s.checkpoint(i)
		}
		n.sess[i].phase = sessPacksDurable
		st.emit(n, "packs durable")
	case sessPacksDurable:
		st.publish(s, i)
	case sessPublished:
		st.link(s, i)
	case sessLinked:
		st.moveHead(s, i)
	case sessSynced:
		n := *s
		n.removeFile(i)
		n.sess[i].phase = sessDone
		st.emit(n, "remove session file")
	}
}

// removeFile removes the session's file: its packs are nobody's upload any more.
func (s *state) removeFile(i int) {
	s.sess[i].file, s.sess[i].pinned = false, false
	for k := range s.n {
		if int(s.locs[k].owner) == i+1 {
			s.locs[k].owner = 0
		}
	}
}

// open makes the session file, or finds that of a dead session of the same job.
func (st *stepper) open(s *state, i int) {
	n := *s
	n.sess[i] = session{phase: sessCreated, file: true, pinned: s.sess[i].pinned, attempts: s.sess[i].attempts}
	st.emit(n, "create session file")
}

// lockFile locks it, checks that it is still there, adopts what a dead session
// left, and pins the base if that is there.
func (st *stepper) lockFile(s *state, i int) {
	if !s.sess[i].file && st.on(LinkedCheck) {
		n := *s
		n.sess[i].phase = sessIdle
		st.emit(n, "session file gone: again")
		return
	}
	var own set
	adopted := *s
	for k := range s.n {
		if l := &adopted.locs[k]; s.named(k) && int(l.owner) == i+1 && l.exists {
			if l.exists = l.durable; l.exists { // what came after the last checkpoint is cut off
				own.add(int(l.object))
			}
		}
	}
	s = &adopted
	for _, pin := range []bool{false, true} {
		if pin && s.snaps[0] != snapLinked {
			continue
		}
		n := *s
		if !n.headLocked() && st.on(HeadForward) {
			n.headForward()
		}
		n.sess[i] = session{phase: sessUpload, file: s.sess[i].file, pinned: pin, prev: n.head, decided: own, attempts: s.sess[i].attempts}
		st.emit(n, "open session")
	}
}

// upload relies on or puts the next object of the tree, or goes on to commit.
func (st *stepper) upload(s *state, i int) {
	se := &s.sess[i]
	want := tree(i)
	if n, moved := s.checkpoint(i); moved {
		st.emit(n, "checkpoint")
	}
	for o := range objects {
		if !want.has(o) || se.decided.has(o) {
			continue
		}
		n := *s
		n.sess[i].decided.add(o)
		if s.visible.has(o) && (s.live(o) || !st.on(LookupSkipsCondemned) && s.present(o)) {
			// A put that the store drops as a duplicate is the same reliance.
			n.sess[i].relied.add(o)
			st.emit(n, "rely")
			return
		}
		if _, ok := n.add(location{object: int8(o), owner: int8(i + 1), exists: true}); ok {
			st.emit(n, "put")
		}
		return
	}
	st.check(*s, i, "closure check")
}

// checkpoint makes the session's puts durable and names them in its file.
func (s *state) checkpoint(i int) (n state, moved bool) {
	n = *s
	for k := range n.n {
		if l := &n.locs[k]; int(l.owner) == i+1 && l.exists && !l.durable {
			l.durable, moved = true, true
		}
	}
	return n, moved
}

// check is the closure check without the lock. It remembers the generation and
// what it found only condemned.
func (st *stepper) check(n state, i int, what string) {
	if missing := n.missing(i); missing != 0 && st.on(ClosureCheck) {
		st.retry(n, i, missing)
		return
	}
	se := &n.sess[i]
	se.checked, se.risky = n.gen, 0
	for o := range objects {
		if se.relied.has(o) && n.present(o) && !n.live(o) {
			se.risky.add(o)
		}
	}
	se.phase, se.unlocked = sessChecked, !st.on(CommitShared)
	st.emit(n, what)
}

// missing returns what the session relies on and the store can't vouch for.
func (s *state) missing(i int) set {
	var m set
	for o := range objects {
		if s.sess[i].relied.has(o) && !(s.visible.has(o) && s.present(o)) {
			m.add(o)
		}
	}
	return m
}

// retry treats the missing objects as absent: the sender puts them anew.
func (st *stepper) retry(n state, i int, missing set) {
	se := &n.sess[i]
	se.attempts++
	if se.attempts > maxAttempts {
		se.phase = sessFailed
		st.emit(n, "give up")
		return
	}
	se.relied &^= missing
	se.decided &^= missing
	se.risky = 0
	se.phase = sessUpload
	st.emit(n, "commit refused: missing")
}

// lock takes gc.lock shared, or checks again when the generation moved.
func (st *stepper) lock(s *state, i int) {
	n := *s
	if n.gen != n.sess[i].checked && st.on(RecheckGeneration) {
		st.check(n, i, "check again")
		return
	}
	n.sess[i].phase = sessLocked
	st.emit(n, "lock shared")
}

// descend walks from what the session relies on into what is condemned: all of
// it must be present.
func (st *stepper) descend(s *state, i int) {
	n := *s
	var missing set
	for o := range objects {
		if !n.sess[i].risky.has(o) || !st.on(DescendCondemned) {
			continue
		}
		below := closure(1 << o)
		for b := range objects {
			if below.has(b) && !n.present(b) {
				missing.add(o)
			}
		}
	}
	if missing != 0 {
		st.retry(n, i, missing)
		return
	}
	n.sess[i].phase = sessDescended
	st.emit(n, "descend")
}

// headLocked reports whether a session holds head.lock.
func (s *state) headLocked() bool {
	for i := range s.sess {
		if s.sess[i].phase == sessLinked {
			return true
		}
	}
	return false
}

// headForward makes up for a commit that was killed between linking its
// snapshot and moving the head. The caller holds head.lock.
func (s *state) headForward() {
	for k := 1; k < snapshots; k++ {
		if s.follows[k] == 1+s.head && (s.snaps[k] == snapLinked || s.snaps[k] == snapVolatile) {
			s.snaps[k] = snapLinked
			s.head = int8(k)
			s.visible |= tree(k - 1)
		}
	}
}

// publish names the session's locations in CURRENT.
func (st *stepper) publish(s *state, i int) {
	n := *s
	if st.on(CurrentBeforeLink) {
		n.publishOwn(i)
	}
	n.sess[i].phase = sessPublished
	st.emit(n, "publish segments")
}

func (s *state) publishOwn(i int) {
	for k := range s.n {
		if int(s.locs[k].owner) == i+1 && s.locs[k].exists {
			s.locs[k].current = true
		}
	}
}

// link compares the head and gives the snapshot its name.
func (st *stepper) link(s *state, i int) {
	if s.headLocked() {
		return
	}
	n := *s
	if st.on(HeadForward) {
		n.headForward()
	}
	if n.head != n.sess[i].prev && st.on(HeadCompare) {
		n.sess[i].phase = sessFailed
		st.emit(n, "head moved: refused")
		return
	}
	n.snaps[1+i] = snapVolatile
	n.follows[1+i] = 1 + n.sess[i].prev
	n.sess[i].phase = sessLinked
	st.emit(n, "link snapshot")
}

// moveHead syncs the link, then moves head and visible set and acknowledges.
func (st *stepper) moveHead(s *state, i int) {
	n := *s
	if st.on(SyncBeforeAck) && n.snaps[1+i] == snapVolatile {
		n.snaps[1+i] = snapLinked
	}
	n.publishOwn(i)
	n.head = int8(1 + i)
	n.visible |= tree(i)
	n.acked.add(1 + i)
	n.sess[i].phase = sessSynced
	st.emit(n, "sync, move head, acknowledge")
}
