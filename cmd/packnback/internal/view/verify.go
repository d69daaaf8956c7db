package view

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
	"github.com/packnback/packnback/repo/tree"
)

const (
	// verifiedBudget is the memory for what was verified already; more goes to disk.
	verifiedBudget = 4 << 20
	// verifyBatch is how many objects are asked for with one Fetch, and
	// verifyPieces how many places that name them are remembered meanwhile.
	verifyBatch  = 256
	verifyPieces = 16384
	// verifySealed bounds the sealed bytes that wait to be decoded.
	verifySealed = 16 << 20
)

// verifiedLayout is a table of verified objects: id, u8 kind, 3 zero bytes, u32
// length of the plaintext.
var verifiedLayout = table.Layout{Magic: [8]byte{'P', 'N', 'B', 'v', 'f', 'y', 'd', 1}, Key: object.IDSize, Row: object.IDSize + 8}

// VerifyResult counts what a Verifier has done. Each object counts once.
type VerifyResult struct {
	Snapshots, Objects, Bytes uint64 // Bytes of plaintext
	Entries                   uint64
	Lost                      uint64 // files and folders that can't be restored whole
	Refused                   uint64 // objects sealed to other keys: nothing can be said about them
}

// Verifier decrypts everything in snapshots and recomputes every id. What two
// snapshots share is verified once. Its methods are for one goroutine.
type Verifier struct {
	reader *Reader
	done   *table.Sorter
	// report is called for what can't be restored: a file or folder of the
	// snapshot being verified, and the object that is to blame; one call at a time.
	report func(path string, id object.ID, err error)

	mu      sync.Mutex
	result  VerifyResult
	batch   map[object.ID][]place
	pieces  int
	sealed  *semaphore.Weighted
	decoded chan []byte // memory for each object that may be decoded at a time
}

// place is somewhere in a snapshot that wants bytes of an object.
type place struct {
	path   string
	extent tree.Extent
}

// NewVerifier returns a Verifier that keeps its notes in the folder scratch.
// Close it.
func NewVerifier(r *Reader, scratch string, report func(path string, id object.ID, err error)) (*Verifier, error) {
	done, err := table.NewSorter(table.OS(scratch), "verified", verifiedLayout, verifiedBudget)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		reader: r, done: done, report: report, batch: map[object.ID][]place{},
		sealed: semaphore.NewWeighted(verifySealed), decoded: make(chan []byte, runtime.GOMAXPROCS(0)),
	}
	for range cap(v.decoded) {
		v.decoded <- nil
	}
	return v, nil
}

// Close gives up the notes.
func (v *Verifier) Close() error { return v.done.Close() }

// Result returns what was counted so far.
func (v *Verifier) Result() VerifyResult {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.result
}

// Verify verifies one snapshot. The error is about the run (or a tree beyond
// all bounds); what is lost is reported and counted.
func (v *Verifier) Verify(ctx context.Context, s *Snapshot) error {
	walk := v.reader.Walk
	if v.done.Len() > 0 { // most of it is known from the snapshots before
		walk = v.reader.Explore
	}
	err := walk(ctx, s.Root(), func(it *Item) error { return v.visit(ctx, it) })
	if err == nil {
		err = v.flush(ctx)
	}
	clear(v.batch)
	v.pieces = 0
	v.count(func(r *VerifyResult) { r.Snapshots++ })
	return err
}

func (v *Verifier) count(f func(*VerifyResult)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.result)
}

func (v *Verifier) visit(ctx context.Context, it *Item) error {
	if it.Step == Leave {
		return v.leave(it)
	}
	v.count(func(r *VerifyResult) { r.Entries++ })
	if it.Step == Enter {
		// Everything below a verified folder was verified with it; if something in
		// it was lost, that was reported.
		_, known, err := v.known(it.Entry.Subtree)
		if err == nil && known {
			return ErrSkipDir
		}
		return err
	}
	for x, err := range it.Extents() {
		if err != nil {
			if !Refused(err) {
				return err
			}
			v.lost(it.Path, object.ID{}, err)
			return nil
		}
		if x.Kind == tree.ExtentHole {
			continue
		}
		if err := v.want(ctx, place{it.Path, x.Extent}); err != nil {
			return err
		}
	}
	return nil
}

func (v *Verifier) leave(it *Item) error {
	if it.Err != nil {
		v.lost(it.Path, object.ID{}, it.Err)
		return nil
	}
	_, known, err := v.known(it.Entry.Subtree)
	if err != nil || known {
		return err
	}
	v.count(func(r *VerifyResult) { r.Objects++ })
	return v.note(it.Entry.Subtree, object.KindDir, 0)
}

// want verifies the bytes of p, now or with the batch.
func (v *Verifier) want(ctx context.Context, p place) error {
	n, known, err := v.known(p.extent.ID)
	if err != nil {
		return err
	}
	if known {
		return v.fits(p, n)
	}
	if _, waiting := v.batch[p.extent.ID]; !waiting && len(v.batch) >= verifyBatch || v.pieces >= verifyPieces {
		if err := v.flush(ctx); err != nil {
			return err
		}
	}
	v.batch[p.extent.ID] = append(v.batch[p.extent.ID], p)
	v.pieces++
	return nil
}

// lostLength is the length of an object that is lost, in the notes.
const lostLength = 1<<32 - 1

// fits checks p against the length of its object.
func (v *Verifier) fits(p place, n uint32) error {
	if n == lostLength {
		v.lost(p.path, p.extent.ID, &LossError{p.extent.ID, errors.New("it was found lost before")})
		return nil
	}
	if err := fits(p.extent, uint64(n)); err != nil {
		v.lost(p.path, p.extent.ID, err)
	}
	return nil
}

func (v *Verifier) lost(path string, id object.ID, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var loss *LossError
	if id.IsZero() && errors.As(err, &loss) {
		id = loss.ID
	}
	if errors.Is(err, crypto.ErrNotRecipient) {
		v.result.Refused++
	} else {
		v.result.Lost++
	}
	v.report(path, id, err)
}

// known returns the length of an object that was verified before.
func (v *Verifier) known(id object.ID) (length uint32, ok bool, err error) {
	row, ok, err := v.done.Find(nil, id[:])
	if err != nil || !ok {
		return 0, false, err
	}
	return binary.BigEndian.Uint32(row[object.IDSize+4:]), true, nil
}

// note remembers an object.
func (v *Verifier) note(id object.ID, kind object.Kind, length uint32) error {
	row := append(id[:len(id):len(id)], byte(kind), 0, 0, 0)
	return v.done.Add(binary.BigEndian.AppendUint32(row, length))
}

// flush fetches and decodes the batch.
func (v *Verifier) flush(ctx context.Context) error {
	if len(v.batch) == 0 {
		return nil
	}
	ids := make([]object.ID, 0, len(v.batch))
	for id := range v.batch {
		ids = append(ids, id)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return v.reader.FetchRecords(gctx, ids, func(id object.ID, rec *object.Record, err error) error {
			if err != nil {
				return v.judge(id, nil, err)
			}
			weight := min(int64(rec.Size()), verifySealed)
			if err := v.sealed.Acquire(gctx, weight); err != nil {
				return err
			}
			g.Go(func() error {
				defer v.sealed.Release(weight)
				return v.decode(gctx, rec)
			})
			return nil
		})
	})
	err := g.Wait()
	v.batch, v.pieces = map[object.ID][]place{}, 0
	return err
}

func (v *Verifier) decode(ctx context.Context, rec *object.Record) error {
	var buf []byte
	select {
	case buf = <-v.decoded:
		defer func() { v.decoded <- buf }()
	case <-ctx.Done():
		return ctx.Err()
	}
	plain, err := v.reader.decodeContent(ctx, rec, buf)
	if cap(plain) > cap(buf) {
		buf = plain[:0]
	}
	if err != nil && !Refused(err) {
		return err
	}
	return v.judge(rec.ID, plain, err)
}

// judge notes the outcome for one object of the batch, and reports every place
// that suffers.
func (v *Verifier) judge(id object.ID, plain []byte, err error) error {
	places := v.batch[id] // the map does not change while the batch is decoded
	if err != nil {
		for _, p := range places {
			v.lost(p.path, id, err)
		}
		return v.note(id, places[0].kind(), lostLength)
	}
	v.count(func(r *VerifyResult) { r.Objects++; r.Bytes += uint64(len(plain)) })
	for _, p := range places {
		if err := v.fits(p, uint32(len(plain))); err != nil {
			return err
		}
	}
	return v.note(id, places[0].kind(), uint32(len(plain)))
}

func (p *place) kind() object.Kind {
	if p.extent.Kind == tree.ExtentBundle {
		return object.KindBundle
	}
	return object.KindChunk
}
