package view

import (
	"context"
	"errors"

	"github.com/packnback/packnback/repo/object"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// aheadBytes is how far a Push may run ahead of the walk that reads it: enough
// to cover a second's worth of directories at a round trip of 100 ms.
const aheadBytes = 8 << 20

// stream is a running Push. Its goroutine ends with the context it was made
// under, or when the last record was taken.
type stream struct {
	budget  *semaphore.Weighted
	records chan *object.Record // closed by the goroutine; 64: batches of keys, memory is bounded by budget
	ahead   []*object.Record    // received and not yet taken
	cancel  context.CancelFunc
}

var errStreamDropped = errors.New("no longer needed")

// startStream starts a Push of root in a goroutine of g.
func startStream(ctx context.Context, g *errgroup.Group, store Store, root object.ID) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{budget: semaphore.NewWeighted(aheadBytes), records: make(chan *object.Record, 64), cancel: cancel}
	g.Go(func() error {
		defer cancel()
		defer close(s.records)
		// A Push that breaks off is made up for by Fetch, which says why.
		_ = store.Push(ctx, root, func(rec *object.Record) error {
			if err := s.budget.Acquire(ctx, s.weight(rec)); err != nil {
				return errStreamDropped
			}
			select {
			case s.records <- rec:
				return nil
			case <-ctx.Done():
				return errStreamDropped
			}
		})
		return nil
	})
	return s
}

func (s *stream) weight(rec *object.Record) int64 { return min(int64(rec.Size()), aheadBytes) }

// receive moves at least one record to ahead, and as many more as have
// arrived. It reports false when the Push has ended.
func (s *stream) receive() bool {
	rec, ok := <-s.records
	if !ok {
		return false
	}
	s.ahead = append(s.ahead, rec)
	for {
		select {
		case rec, ok := <-s.records:
			if !ok {
				return true
			}
			s.ahead = append(s.ahead, rec)
		default:
			return true
		}
	}
}

// head reports whether the next record is object id, which is of the kind.
// Lists that stand before a wanted directory were not wanted.
func (s *stream) head(kind object.Kind, id object.ID) bool {
	for len(s.ahead) > 0 || s.receive() {
		if s.ahead[0].ID == id {
			return true
		}
		if kind != object.KindDir || s.ahead[0].Kind != object.KindList {
			return false
		}
		s.drop(1)
	}
	return false
}

// find returns the record of id and drops those before it. With wait it reads
// on until the record comes or the Push ends, otherwise it looks only at what
// has arrived.
func (s *stream) find(id object.ID, wait bool) *object.Record {
	for i := 0; ; i++ {
		if i == len(s.ahead) {
			if wait {
				s.drop(i) // makes room, or the Push would wait for ever
				i = 0
			}
			if !wait || !s.receive() {
				return nil
			}
		}
		if s.ahead[i].ID == id {
			rec := s.ahead[i]
			s.drop(i + 1)
			return rec
		}
	}
}

// drop forgets the first n records.
func (s *stream) drop(n int) {
	var weight int64
	for _, rec := range s.ahead[:n] {
		weight += s.weight(rec)
	}
	clear(s.ahead[:n])
	s.ahead = s.ahead[n:]
	s.budget.Release(weight)
}

// done reports whether the Push has ended and all of it was taken.
func (s *stream) done() bool { return len(s.ahead) == 0 && !s.receive() }

// close ends the Push early.
func (s *stream) close() {
	s.cancel()
	for range s.records {
	}
}
