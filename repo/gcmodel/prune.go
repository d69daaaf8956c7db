package gcmodel

func (st *stepper) prune(s *state, p int) {
	switch s.prune[p].phase {
	case pruneIdle:
		st.begin(s, p)
	case pruneMarked:
		st.condemn(s, p)
	case pruneCondemned:
		st.spare(s, p)
	case pruneDeleting:
		st.empty(s, p)
	case pruneEmptied:
		st.rewrite(s, p)
	case pruneCopied:
		st.drop(s, p)
	case pruneDropped:
		st.unlink(s, p)
	}
}

// begin is steps 0, 1 and 2. The mark reads only immutable things chosen under
// the lock, so it is part of the same step.
func (st *stepper) begin(s *state, p int) {
	for q := range s.prune {
		if ph := s.prune[q].phase; q != p && ph > pruneIdle && ph < pruneDone && st.on(PruneLock) {
			return
		}
	}
	if s.deleting && st.on(ResumeDeleting) {
		n := *s
		n.prune[p].phase = pruneDeleting
		st.emit(n, "prune 0: go on at 6")
		return
	}
	if s.listed && st.on(ResumeCondemned) {
		n := *s
		n.prune[p].phase = pruneCondemned
		st.emit(n, "prune 0: go on at 4")
		return
	}
	if !s.exclusive() {
		return
	}
	for _, expire := range []bool{false, true} {
		n := *s
		n.expire(expire)
		if st.on(UnlinkStrays) {
			n.unlinkStrays()
		}
		pr := &n.prune[p]
		for k := range n.n {
			if l := &n.locs[k]; l.current && (!n.named(k) || !st.on(SessionPacksNotI0)) {
				pr.i0.add(int(k))
			}
		}
		pr.r0 = st.rootsNow(&n)
		pr.marked = n.firstIn(n.reach(pr.r0), pr.i0)
		pr.phase = pruneMarked
		st.emit(n, "prune 1, 2: roots and mark")
	}
}

// expire removes trash and, if old is set, the files of dead sessions too.
func (s *state) expire(old bool) {
	for k := range s.snaps {
		if s.snaps[k] == snapVolatile {
			s.snaps[k] = snapLinked // step 1 syncs the folders
		}
		if s.snaps[k] == snapTrash && old {
			s.snaps[k] = snapGone
		}
	}
	for i := range s.sess {
		dead := s.sess[i].phase == sessIdle || s.sess[i].phase == sessCreated || s.sess[i].phase == sessDone || s.sess[i].phase == sessFailed
		if s.sess[i].file && dead && old {
			s.removeFile(i)
		}
	}
}

func (s *state) unlinkStrays() {
	for k := range s.n {
		if l := &s.locs[k]; l.exists && !l.current && !s.named(k) {
			*l = location{object: l.object}
		}
	}
	s.compact()
}

// firstIn returns for each object of o its first location among those of in:
// what mark keeps. Further copies are garbage.
func (s *state) firstIn(o, in set) set {
	var m, seen set
	for k := range s.n {
		l := &s.locs[k]
		if in.has(int(k)) && l.current && o.has(int(l.object)) && !seen.has(int(l.object)) {
			m.add(int(k))
			seen.add(int(l.object))
		}
	}
	return m
}

// outside returns the objects that the locations in CURRENT outside in hold,
// and everything they reach.
func (s *state) outside(in set) set {
	var o set
	for k := range s.n {
		if s.locs[k].current && !in.has(int(k)) {
			o.add(int(s.locs[k].object))
		}
	}
	return closure(o)
}

// condemn is step 3. Nothing is marked here: R3 is what the mark began from,
// and step 5 sees to everything newer.
func (st *stepper) condemn(s *state, p int) {
	if !s.exclusive() && st.on(CondemnedExclusive) {
		return
	}
	n := *s
	pr := &n.prune[p]
	for k := range n.n {
		if l := &n.locs[k]; pr.i0.has(int(k)) && l.current && !pr.marked.has(int(k)) {
			l.condemned = true
		}
	}
	n.listed, n.i0, n.r3 = true, pr.i0, pr.r0.snaps
	if st.on(GenerationCondemned) {
		n.gen++
	}
	pr.phase = pruneCondemned
	st.emit(n, "prune 3: publish condemned")
}

// spare is step 5. The program also spares what running uploads rely on, which
// saves them refused commits; the model does without.
func (st *stepper) spare(s *state, p int) {
	if !s.exclusive() && st.on(DeletingExclusive) {
		return
	}
	n := *s
	var reached set
	if st.on(SpareNewerRoots) {
		reached |= n.reach(roots{snaps: st.rootsNow(&n).snaps &^ n.r3})
	}
	if st.on(SpareOutsideI0) {
		reached |= n.outside(n.i0)
	}
	for k := range n.n {
		l := &n.locs[k]
		if !l.condemned {
			continue
		}
		// Of a reached object the first condemned location is spared, and only
		// when it has no live one.
		spared := reached.has(int(l.object)) && !n.live(int(l.object))
		l.condemned, l.deleting = false, !spared
	}
	n.listed, n.deleting, n.i0, n.r3 = false, true, 0, 0
	if st.on(GenerationDeleting) {
		n.gen++
	}
	n.prune[p] = prune{phase: pruneDeleting}
	st.emit(n, "prune 5: publish deleting")
}

// empty unlinks packs of which nothing lives. They are still in CURRENT, but
// nothing may rely on a deleting location: on a full disk this makes the room for
// a new index.
func (st *stepper) empty(s *state, p int) {
	n := *s
	for k := range n.n {
		if l := &n.locs[k]; l.deleting {
			l.exists, l.durable = false, false
		}
	}
	n.prune[p].phase = pruneEmptied
	st.emit(n, "prune 6: unlink packs without live locations")
}

// rewrite is the copying half of step 6: any one live record may lie in a pack
// that is rewritten.
func (st *stepper) rewrite(s *state, p int) {
	n := *s
	n.prune[p].phase = pruneCopied
	st.emit(n, "prune 6: nothing to copy")
	for k := range s.n {
		if l := s.locs[k]; l.current && !l.deleting && l.owner == 0 {
			n := *s
			c, ok := n.add(location{object: l.object, exists: true, durable: st.on(CopyBeforeDrop)})
			if !ok {
				return
			}
			n.prune[p] = prune{phase: pruneCopied, copying: int8(k) + 1, copy: int8(c) + 1}
			st.emit(n, "prune 6: copy")
			return
		}
	}
}

// drop makes CURRENT durable with the new locations and without the old.
func (st *stepper) drop(s *state, p int) {
	n := *s
	pr := &n.prune[p]
	pr.phase, pr.old = pruneDropped, n.dropped(pr)
	if st.on(DropBeforeUnlink) {
		n.dropFromCurrent(pr)
	} else {
		n.unlink(pr.old)
	}
	st.emit(n, "prune 6: drop from CURRENT")
}

// dropped returns the locations that step 6 takes out.
func (s *state) dropped(pr *prune) (old set) {
	for k := range s.n {
		if s.locs[k].deleting || pr.copying == k+1 {
			old.add(int(k))
		}
	}
	return old
}

func (s *state) dropFromCurrent(pr *prune) {
	if pr.copying > 0 {
		s.locs[pr.copy-1].current = true
	}
	for k := range s.n {
		if pr.old.has(int(k)) {
			s.locs[k].current, s.locs[k].deleting = false, false
		}
	}
	s.deleting = false
}

func (s *state) unlink(old set) {
	for k := range s.n {
		if old.has(int(k)) {
			s.locs[k].exists, s.locs[k].durable = false, false
		}
	}
}

// unlink removes the files that CURRENT no longer names.
func (st *stepper) unlink(s *state, p int) {
	n := *s
	if !st.on(DropBeforeUnlink) {
		n.dropFromCurrent(&n.prune[p])
	}
	n.unlink(n.prune[p].old)
	n.prune[p] = prune{phase: pruneDone}
	n.compact()
	st.emit(n, "prune 6: unlink")
}
