package server

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/outbox"
	"github.com/packnback/packnback/repo/object"
)

// stride is how many bytes of an unfinished message count as a sign of life:
// few enough for the slowest link, too many for one byte now and then.
const stride = 16 << 10

// life reads from the client and knows when it last gave a sign of life.
type life struct {
	r     io.Reader
	limit time.Duration // 0: for ever

	mu   sync.Mutex
	last time.Time
	part int // bytes since then
	busy int // how many calls of work are under way
}

func newLife(r io.Reader, limit time.Duration) *life {
	return &life{r: r, limit: limit, last: time.Now()}
}

// Read reads from the client.
func (l *life) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part += n
	if l.part >= stride {
		l.last, l.part = time.Now(), 0
	}
	return n, err
}

// mark notes that a whole message has come.
func (l *life) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.part = time.Now(), 0
}

// work calls f, during which the client may be silent, because the store isn't
// listening.
func (l *life) work(f func() error) error {
	l.mu.Lock()
	l.busy++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy--
		l.last = time.Now()
	}()
	return f()
}

// left returns how much longer the client may be silent.
func (l *life) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy > 0 {
		return l.limit
	}
	return l.limit - time.Since(l.last)
}

// watch says that the store is alive when it has said nothing for a while, and
// ends the connection when the client hasn't either. It returns when ctx does
// or out is closed.
func (l *life) watch(ctx context.Context, cancel context.CancelCauseFunc, out *outbox.Outbox) {
	beat := protocol.AliveInterval
	if l.limit > 0 {
		beat = min(beat, l.limit/3)
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var said uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.limit > 0 && l.left() <= 0 {
			cancel(object.CodeInterrupted.Errorf("nothing came from the client for %v", l.limit))
			return
		}
		if now := out.Messages(); now != said {
			said = now
			continue
		}
		// Never wait for room: a full outbox is on its way and says the same.
		if err := out.SendNow(&protocol.Bare{Kind: protocol.TypeStoreAlive}); err != nil {
			return
		}
		said++
	}
}
