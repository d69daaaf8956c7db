package copier

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

const (
	// batchIDs is how many ids are asked for with one question, and lookahead how
	// many questions and what follows them are under way at once: several, so that
	// a distant repository always has something to do.
	batchIDs  = 1024
	lookahead = 8
	// sortMemory is the memory for each of two sets of ids; more goes to disk.
	sortMemory = 4 << 20
	// maxKeys is how many key objects are remembered as being in the replica.
	maxKeys = 4096
)

// idLayout is a table of ids.
var idLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'c', 'o', 'p', 'y', 1}, Key: object.IDSize, Row: object.IDSize}

// walk goes down from some objects as far as the replica lacks them, and puts
// what it lacks.
type walk struct {
	c    *Copier
	s    Session
	dir  string
	seen *table.Sorter // ids that were asked about
	lost *table.Sorter // ids that the source can't give, and what needs them

	mu      sync.Mutex // guards spill
	spill   *spill     // lists and directories, in the order in which they came
	read    int64      // how far the spill's refs were looked at
	waiting []object.ID

	keyMu sync.Mutex
	named map[object.ID]bool // key objects of the manifests, a few; not written to
	keys  map[object.ID]bool // whether the replica has them

	lostMu sync.Mutex
	first  object.ID // the first that the source could not give
}

// newWalk returns a walk that puts to s. Close it.
func (c *Copier) newWalk(s Session) (*walk, error) {
	dir, err := os.MkdirTemp(c.Scratch, "walk-")
	if err != nil {
		return nil, err
	}
	w := &walk{c: c, s: s, dir: dir, named: map[object.ID]bool{}, keys: map[object.ID]bool{}}
	if w.seen, err = table.NewSorter(table.OS(dir), "seen", idLayout, sortMemory); err == nil {
		w.lost, err = table.NewSorter(table.OS(dir), "lost", idLayout, sortMemory)
	}
	if err == nil {
		w.spill, err = newSpill(dir)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *walk) close() error {
	var errs []error
	for _, s := range []*table.Sorter{w.seen, w.lost} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if w.spill != nil {
		errs = append(errs, w.spill.close())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// run puts everything below roots that the replica lacks and the source can
// give, with all that it needs.
func (w *walk) run(ctx context.Context, roots []object.ID) error {
	w.waiting = append(w.waiting, roots...)
	if err := w.descend(ctx); err != nil {
		return err
	}
	if err := w.taint(ctx); err != nil {
		return err
	}
	return w.spill.backward(func(rec *object.Record) error {
		if lost, err := w.isLost(rec.ID); err != nil || lost {
			return err
		}
		return w.put(ctx, rec)
	})
}

// descend asks, fetches and puts contents, batch by batch, until no list or
// directory is left to look into.
func (w *walk) descend(whole context.Context) error {
	g, ctx := errgroup.WithContext(whole)
	done := make(chan struct{}, lookahead) // one for each batch that may be under way
	running := 0
	var failed error
	for failed == nil && ctx.Err() == nil {
		if running < lookahead {
			var ids []object.ID
			if ids, failed = w.batch(); failed != nil {
				break
			}
			if len(ids) > 0 {
				running++
				g.Go(func() error {
					defer func() { done <- struct{}{} }()
					return w.copy(ctx, ids)
				})
				continue
			}
			if running == 0 {
				break
			}
		}
		select {
		case <-done:
			running--
		case <-ctx.Done():
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return errors.Join(failed, context.Cause(whole)) // g's own ends with Wait
}

// batch returns ids that were not asked about yet: the roots first, and then
// what the lists and directories refer to that have come.
func (w *walk) batch() ([]object.ID, error) {
	var ids []object.ID
	for len(ids) < batchIDs {
		if len(w.waiting) == 0 {
			rec, err := w.nextSpilled()
			if err != nil || rec == nil {
				return ids, err
			}
			w.waiting = append(append(w.waiting, rec.Refs...), rec.Key)
			continue
		}
		id := w.waiting[len(w.waiting)-1]
		w.waiting = w.waiting[:len(w.waiting)-1]
		seen, err := w.seen.Has(id[:])
		if err == nil && !seen {
			ids = append(ids, id)
			err = w.seen.Add(id[:])
		}
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// nextSpilled returns the next list or directory to look into, nil when there is
// none.
func (w *walk) nextSpilled() (*object.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read == w.spill.end {
		return nil, nil
	}
	rec, next, err := w.spill.at(w.read)
	w.read = next
	return rec, err
}

// copy fetches what the replica lacks of ids.
func (w *walk) copy(ctx context.Context, ids []object.ID) error {
	have, err := w.s.Have(ctx, ids)
	if err != nil {
		return err
	}
	lacks := make([]object.ID, 0, len(ids))
	for i, id := range ids {
		if !have[i] {
			lacks = append(lacks, id)
		} else {
			w.noteKey(id)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	came := make(map[object.ID]bool, len(lacks))
	err = w.c.From.Fetch(ctx, lacks, func(rec *object.Record) error {
		came[rec.ID] = true
		return w.take(ctx, rec)
	})
	if err != nil && !isMissing(err) {
		return err
	}
	for _, id := range lacks {
		if came[id] {
			continue
		}
		if err := w.lose(id, true); err != nil {
			return err
		}
	}
	return nil
}

func isMissing(err error) bool {
	var m *object.MissingError
	return errors.As(err, &m)
}

// take puts contents and keys at once, and lists and directories aside.
func (w *walk) take(ctx context.Context, rec *object.Record) error {
	if rec.Kind.HasRefs() {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.spill.append(rec)
	}
	if rec.Kind != object.KindKey {
		ok, err := w.key(ctx, rec.Key)
		if err != nil {
			return err
		}
		if !ok {
			return w.lose(rec.ID, false)
		}
	}
	if err := w.put(ctx, rec); err != nil {
		return err
	}
	if rec.Kind == object.KindKey {
		w.noteKey(rec.ID)
	}
	return nil
}

// noteKey remembers that the replica has id, if that is one of the key objects
// that manifests name: asking for each of them again would be a round trip each.
func (w *walk) noteKey(id object.ID) {
	w.keyMu.Lock()
	defer w.keyMu.Unlock()
	if _, named := w.named[id]; named {
		w.keys[id] = true
	}
}

// key makes sure that the replica has a key object before what is sealed under
// it, and reports whether it has.
func (w *walk) key(ctx context.Context, id object.ID) (bool, error) {
	w.keyMu.Lock()
	defer w.keyMu.Unlock()
	if ok, known := w.keys[id]; known {
		return ok, nil
	}
	have, err := w.s.Have(ctx, []object.ID{id})
	if err != nil {
		return false, err
	}
	ok := have[0]
	if !ok {
		err := w.c.From.Fetch(ctx, []object.ID{id}, func(rec *object.Record) error {
			ok = true
			return w.put(ctx, rec)
		})
		if err != nil && !isMissing(err) {
			return false, err
		}
	}
	if !ok {
		if err := w.lose(id, true); err != nil {
			return false, err
		}
	}
	if len(w.keys) == maxKeys {
		clear(w.keys)
	}
	w.keys[id] = ok
	return ok, nil
}

func (w *walk) put(ctx context.Context, rec *object.Record) error {
	if err := w.s.Put(ctx, rec); err != nil {
		return err
	}
	w.c.counts.objects.Add(1)
	w.c.counts.bytes.Add(uint64(rec.Size()))
	return nil
}

// lose notes an object that the replica can't have: the source doesn't give it,
// or something that it needs.
func (w *walk) lose(id object.ID, itself bool) error {
	w.lostMu.Lock()
	if itself && w.first.IsZero() {
		w.first = id
	}
	w.lostMu.Unlock()
	return w.lost.Add(id[:])
}

func (w *walk) isLost(id object.ID) (bool, error) {
	if w.lost.Len() == 0 {
		return false, nil
	}
	return w.lost.Has(id[:])
}

// taint adds to what is lost all that needs something that is. What a directory
// refers to mostly stands behind it; what two directories share may stand before
// one of them, so it goes on until nothing is added.
func (w *walk) taint(ctx context.Context) error {
	for added := w.lost.Len() > 0; added; {
		added = false
		err := w.spill.backward(func(rec *object.Record) error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			lost, err := w.isLost(rec.ID)
			if err != nil || lost {
				return err
			}
			for _, ref := range append(rec.Refs, rec.Key) {
				if lost, err = w.isLost(ref); err != nil {
					return err
				} else if lost {
					added = true
					return w.lose(rec.ID, false)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// has says what is wrong with a snapshot that the source can't give whole.
func (w *walk) has(snap *object.Snapshot) error {
	for _, root := range snap.Manifest.Roots() {
		lost, err := w.isLost(root)
		if err != nil {
			return err
		}
		if lost {
			return &leftBehind{object.CodeDamaged.Errorf("the source can't give object %s, or others, which it needs; packnback check --read-data there says more", w.first.Short())}
		}
	}
	return nil
}
