package source

import (
	"slices"
	"sync"
)

// maxAhead bounds how many tasks are queued, running, or done and not yet
// asked for. Each holds at most one open folder and one batch of entries.
const maxAhead = 128

// task is work that the walk will need: a worker does it ahead of time, or the
// walk itself when it comes to it first.
type task struct {
	run   func()
	drop  func(begun bool) // gives back what the task holds when nobody needs it
	begun bool             // under ahead.mu
	done  chan struct{}
}

// ahead runs tasks on workers, those queued last first: the walk is depth
// first and needs them soonest.
type ahead struct {
	mu     sync.Mutex
	wake   *sync.Cond
	queue  []*task            // not begun
	known  map[*task]struct{} // all that nobody has asked for yet; queue is part of it
	closed bool
}

func newAhead() *ahead {
	a := &ahead{known: make(map[*task]struct{})}
	a.wake = sync.NewCond(&a.mu)
	return a
}

// add queues a task. Where too many are waiting it returns nil: the work is
// then done when it is needed.
func (a *ahead) add(run func(), drop func(begun bool)) *task {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.known) >= maxAhead {
		return nil
	}
	t := &task{run: run, drop: drop, done: make(chan struct{})}
	a.known[t] = struct{}{}
	a.queue = append(a.queue, t)
	a.wake.Signal()
	return t
}

// need returns when t is done.
func (a *ahead) need(t *task) {
	a.mu.Lock()
	delete(a.known, t)
	begun := t.begun
	if !begun {
		t.begun = true
		a.queue = slices.DeleteFunc(a.queue, func(q *task) bool { return q == t })
	}
	a.mu.Unlock()
	if begun {
		<-t.done
		return
	}
	t.run()
	close(t.done)
}

// work runs tasks until close.
func (a *ahead) work() {
	for {
		a.mu.Lock()
		for len(a.queue) == 0 && !a.closed {
			a.wake.Wait()
		}
		if a.closed {
			a.mu.Unlock()
			return
		}
		t := a.queue[len(a.queue)-1]
		a.queue = a.queue[:len(a.queue)-1]
		t.begun = true
		a.mu.Unlock()
		t.run()
		close(t.done)
	}
}

// close makes the workers return when they have finished what they are at.
func (a *ahead) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wake.Broadcast()
}

// dropAll gives back what tasks hold that nobody asked for. It is called after
// the workers have returned.
func (a *ahead) dropAll() {
	for t := range a.known {
		t.drop(t.begun)
	}
}
