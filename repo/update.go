package repo

import (
	"context"
	"errors"
	"io/fs"
	"math"

	"github.com/packnback/packnback/repo/object"
)

// updateCurrent is the only way CURRENT changes: read, change, write under
// current.lock, and durable before it returns. change may publish files under
// numbers that take gives out; it gets a copy of what CURRENT says now.
func (r *Repository) updateCurrent(ctx context.Context, change func(*current) error) (*current, error) {
	lock, err := r.lock(ctx, currentLock, exclusive)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	_, cur, err := r.readCurrent()
	if err != nil {
		return nil, err
	}
	cur = cur.clone()
	if err := change(cur); err != nil {
		return nil, err
	}
	return cur, r.writeCurrent(cur)
}

// writeCurrent replaces CURRENT. The caller holds current.lock.
func (r *Repository) writeCurrent(cur *current) error {
	if len(cur.segments) > maxSegments {
		return object.CodeBusy.Errorf("the index has %d segments, the limit is %d; run `packnback prune`", len(cur.segments), maxSegments)
	}
	if err := cur.check(); err != nil {
		return object.CodeInternal.Errorf("CURRENT would not be well-formed: %w", err)
	}
	return r.replaceFile(currentName, cur.append(nil))
}

// publishNumbered gives the durable file tmp the next number in index/ or gc/,
// durably. The caller holds current.lock, so a file that has the name already
// was left by a crash before any CURRENT named it.
func (r *Repository) publishNumbered(cur *current, tmp, folder string, name func(uint64) string) (uint64, error) {
	number := cur.next
	if number == math.MaxUint64 {
		return 0, object.CodeInternal.Errorf("the repository has run out of file numbers")
	}
	to := name(number)
	err := r.fs.Publish(tmp, to)
	if errors.Is(err, fs.ErrExist) {
		if err = r.fs.Remove(to); err == nil {
			err = r.fs.Publish(tmp, to)
		}
	}
	if err != nil {
		return 0, storeError("publishing", to, err)
	}
	cur.next++
	return number, syncDir(r.fs, folder)
}

// publishSegment publishes the segment file tmp and returns what CURRENT says
// of it.
func (r *Repository) publishSegment(cur *current, tmp string, rows int) (segmentRef, error) {
	e, err := r.fs.Stat(tmp)
	if err != nil {
		return segmentRef{}, storeError("looking at", tmp, err)
	}
	number, err := r.publishNumbered(cur, tmp, "index", segmentName)
	return segmentRef{number: number, rows: uint64(rows), size: uint64(e.Size)}, err
}

// receive returns the time that something which happens now is recorded with:
// later than everything before, whatever the clock does.
func (cur *current) receive(now int64) int64 {
	cur.time = max(now, cur.time+1)
	return cur.time
}
