package gcmodel

import "fmt"

// result of an exploration.
type result struct {
	states int
	broken string   // what was violated; empty when nothing was
	trace  []string // the steps that led there
	cut    bool     // the state limit was reached before everything was seen
}

// explore visits every state reachable from start, at most limit, depth first,
// and stops at the first that violates an invariant.
func explore(without Without, b bounds, limit int) result {
	seen := map[state]bool{}
	var r result
	type frame struct {
		what string
		next []state
		how  []string
	}
	push := func(stack []frame, s state, what string) []frame {
		f := frame{what: what}
		st := stepper{without: without, bounds: b, emit: func(n state, how string) {
			if !seen[n] {
				f.next, f.how = append(f.next, n), append(f.how, how)
			}
		}}
		st.steps(&s)
		return append(stack, f)
	}
	first := start()
	seen[first] = true
	stack := push(nil, first, "start")
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if len(f.next) == 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		s, how := f.next[len(f.next)-1], f.how[len(f.how)-1]
		f.next, f.how = f.next[:len(f.next)-1], f.how[:len(f.how)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		r.states = len(seen)
		if r.broken = s.violation(); r.broken == "" {
			r.broken = leak(s, without)
		}
		if r.broken != "" {
			for _, f := range stack {
				r.trace = append(r.trace, f.what)
			}
			r.trace = append(r.trace, how, fmt.Sprintf("%+v", s))
			return r
		}
		if len(seen) >= limit {
			r.cut = true
			return r
		}
		stack = push(stack, s, how)
	}
	return r
}

// leak reports space that two whole prunes would not free in a state in which
// nothing runs: locations that no snapshot reaches.
func leak(s state, without Without) string {
	for i := range s.sess {
		if p := s.sess[i].phase; p != sessDone && p != sessFailed && p != sessIdle {
			return ""
		}
	}
	for p := range s.prune {
		if ph := s.prune[p].phase; ph != pruneIdle && ph != pruneDone {
			return ""
		}
	}
	for range 3 { // the first may have to finish what an earlier one began
		s.prune = [prunes]prune{}
		for s.prune[0].phase != pruneDone {
			var last *state
			st := stepper{without: without, emit: func(n state, _ string) {
				if last == nil || s.prune[0].phase == pruneIdle {
					last = &n // at the start, the choice that expires; later, copy nothing
				}
			}}
			st.prune(&s, 0)
			if last == nil {
				return "a prune can't run although nothing else does"
			}
			s = *last
			if v := s.violation(); v != "" {
				return v
			}
		}
	}
	var want set
	for k := range s.snaps {
		if s.snaps[k] == snapLinked || s.snaps[k] == snapTrash {
			want |= closure(rootsOf[k])
		}
	}
	var seen set
	for k := range s.n {
		l := &s.locs[k]
		if !l.exists && !l.current {
			continue
		}
		if !want.has(int(l.object)) || seen.has(int(l.object)) {
			return "space is never freed"
		}
		seen.add(int(l.object))
	}
	return ""
}
