package view

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// cacheBytes bounds the plaintext of metadata objects that a Reader keeps.
// Directories that look alike (empty ones, above all) share one object, and a
// mount comes back to the same ones; 4 MiB hold a thousand, and a process that
// reads a large tree grows by no more than twice that over one that reads a small one.
const cacheBytes = 4 << 20

// LossError says that an object a snapshot relies on can't be had: the store
// lacks it, or what it has is not what the sender made. The rest of the
// snapshot may still be readable.
type LossError struct {
	ID  object.ID
	Err error
}

// Error names the object.
func (e *LossError) Error() string {
	return fmt.Sprintf("object %s is lost: %v", e.ID.Short(), e.Err)
}

// Unwrap returns the reason.
func (e *LossError) Unwrap() error { return e.Err }

var errMissing = errors.New("the store does not have it")

// Reader reads the objects of a repository's snapshots, verified. It is safe
// for concurrent use.
type Reader struct {
	store  Store
	opener *crypto.Opener
	decomp *chunk.Decompressor

	keys    sync.Mutex
	loading map[object.ID]chan struct{} // key objects being fetched; bounded by the callers' batches

	cache *cache[metaObject]
}

// metaObject is the plaintext of a directory or list object.
type metaObject struct {
	kind  object.Kind
	refs  []object.ID
	plain []byte
}

func (m metaObject) size() int { return len(m.plain) + len(m.refs)*object.IDSize + 128 }

// NewReader returns a Reader of what store has and opener can open.
func NewReader(store Store, opener *crypto.Opener) (*Reader, error) {
	d, err := chunk.NewDecompressor(runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	return &Reader{store: store, opener: opener, decomp: d, loading: map[object.ID]chan struct{}{}, cache: newCache[metaObject](cacheBytes)}, nil
}

// LoadKeys makes the key objects of recs available, all that are missing with
// one Fetch, or by waiting for callers that fetch them already. One that is
// sealed to others is no error here; Decode says so.
func (r *Reader) LoadKeys(ctx context.Context, recs ...*object.Record) error {
	_, err := r.loadKeys(ctx, recs)
	return err
}

// loadKeys is LoadKeys; relied says that others' fetches were waited for, whose
// errors are theirs.
func (r *Reader) loadKeys(ctx context.Context, recs []*object.Record) (relied bool, err error) {
	if !r.lacksKey(recs) {
		return false, nil
	}
	var want []object.ID
	var others []chan struct{} // closed when somebody else's Fetch is done
	mine := make(chan struct{})
	r.keys.Lock()
	for _, rec := range recs {
		if rec.Kind == object.KindKey || r.opener.HasKey(rec.Key) {
			continue
		}
		switch loading := r.loading[rec.Key]; loading {
		case nil:
			r.loading[rec.Key] = mine
			want = append(want, rec.Key)
		case mine:
		default:
			others = append(others, loading)
		}
	}
	r.keys.Unlock()
	err = r.fetchKeys(ctx, want)
	r.keys.Lock()
	for _, id := range want {
		delete(r.loading, id)
	}
	r.keys.Unlock()
	close(mine)
	for _, other := range others {
		select {
		case <-other:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	return len(others) > 0, err
}

// HasKey reports whether rec can be decoded, or refused, without a Fetch.
func (r *Reader) HasKey(rec *object.Record) bool { return r.opener.HasKey(rec.Key) }

func (r *Reader) lacksKey(recs []*object.Record) bool {
	for _, rec := range recs {
		if rec.Kind != object.KindKey && !r.opener.HasKey(rec.Key) {
			return true
		}
	}
	return false
}

// fetchKeys fetches and unwraps the key objects ids.
func (r *Reader) fetchKeys(ctx context.Context, ids []object.ID) error {
	if len(ids) == 0 {
		return nil
	}
	err := r.store.Fetch(ctx, ids, func(rec *object.Record) error {
		if err := r.opener.AddKey(rec); err != nil && !Refused(err) {
			return err
		}
		return nil // what is lost or refused, Decode says for each object
	})
	var missing *object.MissingError
	if err != nil && !errors.As(err, &missing) {
		return fmt.Errorf("fetching %d key objects: %w", len(ids), err)
	}
	return nil // what is missing, Decode says for each object
}

// Decode opens rec, decompresses it and checks its id; it fetches the key
// object when it has to. The plaintext is in dst's memory if its capacity is
// enough, else in new memory. The error is a *LossError when rec is not what its
// sender made, and wraps crypto.ErrNotRecipient when it is sealed to others.
func (r *Reader) Decode(ctx context.Context, rec *object.Record, dst []byte) ([]byte, error) {
	for try := 0; ; try++ {
		relied, err := r.loadKeys(ctx, []*object.Record{rec})
		if err != nil {
			return nil, err
		}
		plain, err := r.open(rec, dst)
		switch {
		case err == nil:
			return plain, nil
		case errors.Is(err, crypto.ErrNoKey) && (relied || r.opener.HasKey(rec.Key)) && try < 3:
			continue // somebody else's fetch failed, or other keys took its place
		case errors.Is(err, crypto.ErrNotRecipient):
			return nil, err
		}
		return nil, &LossError{rec.ID, err}
	}
}

func (r *Reader) open(rec *object.Record, dst []byte) ([]byte, error) {
	codec, raw, stored, err := r.opener.Open(rec)
	if err != nil {
		return nil, err
	}
	plain, err := r.decomp.Decompress(dst, codec, stored, raw)
	if err != nil {
		return nil, err
	}
	return plain, r.opener.CheckID(rec, plain)
}

// Lost reports whether err says that something stored is missing or damaged,
// and not that the store can't be reached or the run was stopped: other
// objects may still be had.
func Lost(err error) bool {
	var loss *LossError
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &loss), errors.Is(err, object.CodeMissing), errors.Is(err, object.CodeDamaged), errors.Is(err, object.CodeNotFound):
		return true
	}
	return errors.Is(err, object.ErrMalformed) || errors.Is(err, object.ErrChecksum) ||
		errors.Is(err, crypto.ErrAuth) || errors.Is(err, crypto.ErrID) || errors.Is(err, chunk.ErrCodec)
}

// Refused reports whether err concerns one object and not others: it is lost,
// or sealed to other keys.
func Refused(err error) bool { return Lost(err) || errors.Is(err, crypto.ErrNotRecipient) }

// Fetch yields the verified plaintext of each distinct id, in the store's
// order, one at a time. What is lost is yielded with a *LossError (or one that
// wraps crypto.ErrNotRecipient) and no plaintext; only a failure that concerns
// all of it, or one of yield, ends the Fetch. ids is not changed.
func (r *Reader) Fetch(ctx context.Context, ids []object.ID, yield func(id object.ID, plain []byte, err error) error) error {
	return r.FetchRecords(ctx, ids, func(id object.ID, rec *object.Record, err error) error {
		if err != nil {
			return yield(id, nil, err)
		}
		plain, err := r.Decode(ctx, rec, nil)
		if err != nil && !Refused(err) {
			return err
		}
		return yield(id, plain, err)
	})
}

// FetchRecords is Fetch for callers that Decode by themselves, concurrently.
// The records are only known to carry the ids that were asked for.
func (r *Reader) FetchRecords(ctx context.Context, ids []object.ID, yield func(id object.ID, rec *object.Record, err error) error) error {
	left := make(map[object.ID]bool, len(ids)) // bounded by the caller's batch
	for _, id := range ids {
		left[id] = true
	}
	var stop error
	take := func(rec *object.Record) error {
		if !left[rec.ID] {
			stop = fmt.Errorf("the store sent object %s, which was not asked for", rec.ID.Short())
			return stop
		}
		delete(left, rec.ID)
		stop = yield(rec.ID, rec, nil)
		return stop
	}
	err := r.store.Fetch(ctx, ids, take)
	switch {
	case stop != nil:
		return stop
	case err != nil && !Lost(err):
		return err
	case len(left) > 1 && err != nil && !errors.Is(err, object.CodeMissing):
		return r.fetchSingly(ctx, left, take, &stop, yield)
	}
	for id := range left {
		cause := err
		if cause == nil || errors.Is(cause, object.CodeMissing) {
			cause = errMissing
		}
		if err := yield(id, nil, &LossError{id, cause}); err != nil {
			return err
		}
	}
	return nil
}

// fetchSingly finds out which of the objects left over by a Fetch that ran
// into damage are lost.
func (r *Reader) fetchSingly(ctx context.Context, left map[object.ID]bool, take func(*object.Record) error, stop *error, yield func(object.ID, *object.Record, error) error) error {
	ids := make([]object.ID, 0, len(left))
	for id := range left {
		ids = append(ids, id)
	}
	for _, id := range ids {
		err := r.store.Fetch(ctx, []object.ID{id}, take)
		switch {
		case *stop != nil:
			return *stop
		case err != nil && !Lost(err):
			return err
		case !left[id]:
			continue
		case err == nil || errors.Is(err, object.CodeMissing):
			err = errMissing
		}
		if err := yield(id, nil, &LossError{id, err}); err != nil {
			return err
		}
	}
	return nil
}

// load returns the refs and plaintext of one directory or list object. It is
// the tree.Load of lookups outside of a walk.
func (r *Reader) load(ctx context.Context) tree.Load {
	return func(kind object.Kind, id object.ID) ([]object.ID, []byte, error) {
		m, err := r.metadata(ctx, kind, id)
		return m.refs, m.plain, err
	}
}

func (r *Reader) metadata(ctx context.Context, kind object.Kind, id object.ID) (metaObject, error) {
	if m, ok := r.cache.find(id); ok {
		return m, checkKind(id, m.kind, kind)
	}
	var m metaObject
	err := r.FetchRecords(ctx, []object.ID{id}, func(_ object.ID, rec *object.Record, err error) error {
		if err != nil {
			return err
		}
		m, err = r.decodeMeta(ctx, kind, rec)
		return err
	})
	return m, err
}

// decodeMeta decodes rec, which must be of the kind, and keeps the result.
func (r *Reader) decodeMeta(ctx context.Context, kind object.Kind, rec *object.Record) (metaObject, error) {
	if err := checkKind(rec.ID, rec.Kind, kind); err != nil {
		return metaObject{}, err
	}
	plain, err := r.Decode(ctx, rec, nil)
	if err != nil {
		return metaObject{}, err
	}
	m := metaObject{rec.Kind, rec.Refs, plain}
	r.cache.add(rec.ID, m)
	return m, nil
}

func checkKind(id object.ID, got, want object.Kind) error {
	if got == want {
		return nil
	}
	return &LossError{id, fmt.Errorf("%w: it is a %s, not a %s", object.ErrMalformed, got, want)}
}
