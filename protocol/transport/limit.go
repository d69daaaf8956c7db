package transport

import (
	"io"
	"sync"
	"time"
)

// limited keeps each direction of a connection to a rate.
type limited struct {
	Link
	up, down *rate
	done     chan struct{}
	once     sync.Once
}

// Limit returns link with at most upload and download KiB a second; 0 is no
// limit.
func Limit(link Link, upload, download int) Link {
	if upload <= 0 && download <= 0 {
		return link
	}
	return &limited{Link: link, up: newRate(upload), down: newRate(download), done: make(chan struct{})}
}

// Read reads no more than a tenth of a second's worth at once.
func (l *limited) Read(b []byte) (int, error) {
	n, err := l.Link.Read(b[:l.down.portion(len(b))])
	if werr := l.down.wait(n, l.done); werr != nil && err == nil {
		err = werr
	}
	return n, err
}

// Write writes a tenth of a second's worth at a time.
func (l *limited) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		part := b[written:]
		n, err := l.Link.Write(part[:l.up.portion(len(part))])
		written += n
		if err != nil {
			return written, err
		}
		if err := l.up.wait(n, l.done); err != nil {
			return written, err
		}
	}
	return written, nil
}

// Close closes the connection and ends all waiting.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Link.Close()
}

// rate spreads bytes over time: each portion pushes the moment at which the
// next may pass. The zero rate does not limit.
type rate struct {
	perSecond int
	next      time.Time // used by one goroutine
}

func newRate(kib int) *rate { return &rate{perSecond: max(kib, 0) << 10} }

// portion returns how many of n bytes may pass at once.
func (r *rate) portion(n int) int {
	if r.perSecond == 0 {
		return n
	}
	return min(n, max(r.perSecond/10, 1))
}

// wait waits until the n bytes that have passed are within the rate.
func (r *rate) wait(n int, done <-chan struct{}) error {
	if r.perSecond == 0 || n <= 0 {
		return nil
	}
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	r.next = r.next.Add(time.Duration(n) * time.Second / time.Duration(r.perSecond))
	timer := time.NewTimer(r.next.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-done:
		return io.ErrClosedPipe
	}
}
