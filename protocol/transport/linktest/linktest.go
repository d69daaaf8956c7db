// Package linktest is a long cable: a TCP proxy on the loopback interface that
// delays every byte by the same time, without a limit on how many are under
// way, and counts what passes. Kernels without netem measure round trips with
// it; scripts/bench-link and tests use it, the program never links it.
package linktest

import (
	"net"
	"sync"
	"time"
)

// piece is what one read has brought, and when it may go on.
type piece struct {
	bytes []byte
	due   time.Time
}

// maxQueue is how many pieces may be under way in one direction: far more than
// a window of TCP, so that the cable's length is all that counts.
const maxQueue = 1 << 14

// Count is what has passed since the last Reset.
type Count struct {
	Up, Down int64 // bytes from and to those who connect
	Turns    int   // how often those who connect have spoken after the other side had: round trips that were waited for
}

// Proxy is a running proxy. Its methods may be called by several goroutines.
type Proxy struct {
	listener net.Listener
	target   string
	delay    time.Duration // of each direction
	group    sync.WaitGroup

	mu     sync.Mutex
	count  Count
	down   bool // the other side spoke last
	conns  map[net.Conn]bool
	closed bool
}

// New starts a proxy to target with a round trip of trip. Close ends it.
func New(target string, trip time.Duration) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, delay: trip / 2, conns: make(map[net.Conn]bool)}
	p.group.Go(p.accept)
	return p, nil
}

// Port returns where it listens on 127.0.0.1.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Reset returns what has passed and begins to count anew.
func (p *Proxy) Reset() Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.count
	p.count, p.down = Count{}, false
	return c
}

// Peek returns what has passed since the last Reset.
func (p *Proxy) Peek() Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Cut ends all connections through it, as when a cable is pulled out; new ones
// are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

// Close ends the proxy and all connections through it.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	p.group.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		if !p.keep(near, far) {
			return
		}
		p.group.Go(func() { p.carry(far, near, true) })
		p.group.Go(func() { p.carry(near, far, false) })
	}
}

// keep remembers connections for Close.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.closed
}

// carry moves one direction until it ends, and then ends it on the other side
// too.
func (p *Proxy) carry(to, from net.Conn, up bool) {
	queue := make(chan piece, maxQueue)
	p.group.Go(func() {
		for q := range queue {
			time.Sleep(time.Until(q.due)) // the length of the cable
			if _, err := to.Write(q.bytes); err != nil {
				from.Close() // ends the loop below
			}
		}
		if c, ok := to.(*net.TCPConn); ok {
			_ = c.CloseWrite() // it may be closed altogether
		}
	})
	defer close(queue)
	for {
		b := make([]byte, 64<<10)
		n, err := from.Read(b)
		if n > 0 {
			p.note(n, up)
			queue <- piece{b[:n], time.Now().Add(p.delay)}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) note(n int, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !up {
		p.count.Down += int64(n)
		p.down = true
		return
	}
	p.count.Up += int64(n)
	if p.down {
		p.count.Turns++
	}
	p.down = false
}
