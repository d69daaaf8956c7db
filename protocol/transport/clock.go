package transport

import (
	"net"
	"sync"
	"time"
)

// clock bounds how long a login may wait for the far machine: what is read from
// or written to the connection fails when the time is used up. It stands still
// while somebody is asked something, because that may take any time. Safe for
// concurrent use: the host key is checked by another goroutine than the login.
type clock struct {
	conn net.Conn

	mu     sync.Mutex
	left   time.Duration // while it stands still
	until  time.Time     // while it runs
	paused int           // questions that are open
	over   bool          // the login is done
}

// newClock returns a running clock for conn with patience left.
func newClock(conn net.Conn, patience time.Duration) *clock {
	c := &clock{conn: conn, left: patience}
	c.run()
	return c
}

// run sets the deadline. A connection that has none would wait for ever, as it
// did without a clock, so the error tells nothing. The caller holds mu.
func (c *clock) run() {
	c.until = time.Now().Add(c.left)
	_ = c.conn.SetDeadline(c.until)
}

// pause lets the clock stand still until resume is called.
func (c *clock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused++; c.paused == 1 && !c.over {
		c.left = time.Until(c.until)
		_ = c.conn.SetDeadline(time.Time{})
	}
}

// resume undoes a pause.
func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused--; c.paused == 0 && !c.over {
		c.run()
	}
}

// stop ends the clock: from here on the connection may be silent.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	_ = c.conn.SetDeadline(time.Time{})
}

// expired reports whether the time is used up.
func (c *clock) expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused == 0 && !c.over && !time.Now().Before(c.until)
}

// asked is a connection to an agent. While it thinks about something, or asks
// somebody, the clock stands still.
type asked struct {
	net.Conn
	clock *clock
	stop  func() bool // unties it from the context of the login
}

// Read waits for the agent's answer.
func (a asked) Read(b []byte) (int, error) {
	a.clock.pause()
	defer a.clock.resume()
	return a.Conn.Read(b)
}

// Close ends the connection to the agent.
func (a asked) Close() error {
	a.stop()
	return a.Conn.Close()
}
