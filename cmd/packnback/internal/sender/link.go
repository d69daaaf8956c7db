package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
)

// maxRetained bounds the sealed bytes kept for resending. A store makes puts
// durable at least every 64 MiB; one that acknowledges less than this is not
// reconnected to.
const maxRetained = 96 << 20

// link is the connection to the store, across reconnections. put, commit and
// close are for one goroutine; have may run beside them.
type link struct {
	open   Open
	base   object.ID
	cache  *statcache.Cache
	dry    bool // nothing is put
	tries  int  // reconnections that are left
	keeps  bool // puts are retained for them
	pause  func(context.Context, time.Duration) bool
	events *events
	keyed  map[object.Class]bool // key objects that were put; the putter's

	// asking is held for reading while a question is under way, so that its
	// session is not closed underneath, and for writing to change serial and store.
	// Who has it does not wait for mu.
	asking sync.RWMutex
	serial int // of the connection
	store  Store

	mu       sync.Mutex // guards what follows; held during puts and while reconnecting
	standing object.Standing
	closer   io.Closer
	log      *statcache.Log   // nil when there is none, or it has failed
	past     []object.Adopted // what earlier sessions of this run are known to have made durable; at most tries
	session  object.SessionID // that puts were made in last; standing may be of a later one
	puts     uint64           // made in it
	durable  uint64           // of those
	retained []*object.Record // those after durable, and after a reconnection those to be put again
	bytes    int              // in retained
}

// dial opens the first session.
func (l *link) dial(ctx context.Context, base object.ID) error {
	store, standing, closer, err := l.open(ctx, base)
	if err != nil {
		return err
	}
	l.base, l.store, l.standing, l.closer = base, store, standing, closer
	l.past, l.retained, l.bytes = nil, nil, 0
	l.keyed = make(map[object.Class]bool)
	return nil
}

// begin makes the session the one that is put to, and starts the log of its
// puts.
func (l *link) begin() {
	if l.dry {
		return
	}
	l.session, l.puts, l.durable = l.standing.Session, 0, 0
	var err error
	if l.log, err = l.cache.NewLog(l.session); err != nil {
		l.unlogged(err)
	}
}

// record notes a put in the log.
func (l *link) record(id object.ID) {
	if l.log == nil {
		return
	}
	if err := l.log.Put(id); err != nil {
		_ = l.log.Close() // it has failed already
		l.log = nil
		l.unlogged(err)
	}
}

// unlogged tells of a log that can't be written. A backup does not need it.
func (l *link) unlogged(err error) {
	l.events.note(fmt.Sprintf("a run that follows this one, should it be cut off, will have to ask what was sent: %v", err))
}

// hangUp ends the session.
func (l *link) hangUp() error {
	if l.closer == nil {
		return nil
	}
	err := l.closer.Close()
	l.closer = nil
	if l.log != nil {
		err = errors.Join(err, l.log.Close())
		l.log = nil
	}
	return err
}

// have asks the store about at most 4096 ids.
func (l *link) have(ctx context.Context, ids []object.ID) ([]bool, error) {
	for {
		l.asking.RLock()
		serial := l.serial
		have, err := l.store.Have(ctx, ids)
		l.asking.RUnlock()
		if err == nil && len(have) != len(ids) {
			err = fmt.Errorf("store answers %d of %d questions", len(have), len(ids))
		}
		if err == nil {
			return have, nil
		}
		l.mu.Lock()
		if l.serial == serial { // else somebody has opened it again already
			err = l.reconnect(ctx, err)
		} else {
			err = nil
		}
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// put hands over one record.
func (l *link) put(ctx context.Context, rec *object.Record) error {
	if l.dry {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record(rec.ID)
	l.retain(rec)
	l.puts++
	if err := l.store.Put(ctx, rec); err != nil {
		return l.reconnect(ctx, err)
	}
	return l.acknowledged(l.store.Durable())
}

func (l *link) retain(rec *object.Record) {
	if !l.keeps {
		return
	}
	l.retained = append(l.retained, rec)
	if l.bytes += rec.Size(); l.bytes > maxRetained {
		l.keeps, l.retained, l.bytes = false, nil, 0
	}
}

// acknowledged takes note of how many puts of this session are durable.
func (l *link) acknowledged(durable uint64) error {
	if durable <= l.durable {
		return nil
	}
	if durable > l.puts {
		return fmt.Errorf("store says that %d of %d puts are durable", durable, l.puts)
	}
	if l.keeps {
		n := int(durable - l.durable)
		for _, rec := range l.retained[:n] {
			l.bytes -= rec.Size()
		}
		l.retained = slices.Delete(l.retained, 0, n)
	}
	l.durable = durable
	return nil
}

// commit asks for the snapshot. When the connection breaks, the head of the
// next session tells whether it was made.
func (l *link) commit(ctx context.Context, m *object.Manifest, part []byte) (object.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := m.ID()
	for {
		receipt, err := l.store.Commit(ctx, m, part)
		if err == nil {
			return receipt, nil
		}
		err = l.reconnect(ctx, err)
		if l.standing.Head == id {
			// The store's time is not known; it differs little from ours.
			return object.Receipt{Snapshot: id, Received: time.Now().UnixNano()}, nil
		}
		if err != nil {
			return receipt, err
		}
	}
}

// errHeadMoved says that this run's snapshot can't follow the head any more.
var errHeadMoved = object.CodeHeadMoved.Errorf("another backup of this job was committed while this one ran; run it again")

// reconnect replaces the connection after it has failed with cause. It returns
// an error when cause is not a broken connection, or when the upload can't go
// on. The caller holds mu.
func (l *link) reconnect(ctx context.Context, cause error) error {
	if ctx.Err() != nil || !errors.Is(cause, object.CodeInterrupted) {
		return cause
	}
	for wait := time.Duration(0); l.tries > 0 && ctx.Err() == nil; wait = min(max(2*wait, firstPause), maxPause) {
		if !l.pause(ctx, wait) {
			return cause
		}
		l.tries--
		err := l.resume(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, object.CodeInterrupted) {
			return err
		}
		cause = err
	}
	return cause
}

// The first try comes at once. A network that is down for a minute, as when a
// router restarts, is waited for.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// pause waits; it reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errNotKept says that a new session has not adopted the old one. That may be
// because the far end has not noticed yet that the connection is lost, so it is
// tried again.
var errNotKept = object.CodeInterrupted.Errorf("the connection was lost, and the store has not kept the upload; run the backup again")

// resume opens a session that adopts the present one and puts again what was
// not durable: the same records, nothing is sealed twice.
func (l *link) resume(ctx context.Context) error {
	head := l.standing.Head
	standing, err := l.replace(ctx)
	if err != nil {
		return err
	}
	if standing.Head != head {
		return errHeadMoved // unless this run has moved it; commit looks
	}
	for _, up := range append(l.past, object.Adopted{Session: l.session, Durable: l.durable}) {
		if adoptedOf(standing, up.Session) < up.Durable {
			return errNotKept
		}
	}
	durable := adoptedOf(standing, l.session)
	if !l.keeps && durable < l.puts {
		return fmt.Errorf("the connection was lost with too much on its way; run the backup again")
	}
	if err := l.acknowledged(durable); err != nil {
		return err
	}
	l.past = append(l.past, object.Adopted{Session: l.session, Durable: durable})
	l.begin()
	l.events.note("connection lost and opened again; the upload goes on")
	for _, rec := range l.retained {
		l.record(rec.ID)
		l.puts++
		if err := l.store.Put(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// replace opens a session in place of the present one, once nobody asks that
// any more.
func (l *link) replace(ctx context.Context) (object.Standing, error) {
	l.asking.Lock()
	defer l.asking.Unlock()
	_ = l.hangUp() // it is broken already
	store, standing, closer, err := l.open(ctx, l.base)
	if err != nil {
		return standing, err
	}
	l.store, l.closer, l.standing = store, closer, standing
	l.serial++
	return standing, nil
}

// adoptedOf returns how many puts of an earlier session count as put.
func adoptedOf(s object.Standing, session object.SessionID) uint64 {
	for _, up := range s.Adopted {
		if up.Session == session {
			return up.Durable
		}
	}
	return 0
}
