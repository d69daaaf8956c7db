package view

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
	"golang.org/x/sync/errgroup"
)

// Limits of a walk. Both are far beyond what file systems hold, and keep a
// hostile tree from exhausting memory.
const (
	// MaxDepth is how many folders may stand inside each other.
	MaxDepth = 10000
	// maxPath is how long a path may get in bytes.
	maxPath = 1 << 20
	// maxHeld bounds the plaintext of the directory objects that lie between the
	// root and the place where a walk is. Parsed they take up to 16 times that.
	maxHeld = 32 << 20
	// maxStreams is how many Pushes a walk has open at once; more than one only
	// where a folder holds the same subfolder twice.
	maxStreams = 3
)

// Step says what an Item announces.
type Step int

// The steps of a walk. Enter and Leave enclose what is inside a folder; File
// stands for everything that is not a folder.
const (
	Enter Step = iota
	File
	Leave
)

// Item is one step of a walk. It is valid until visit returns; the Entry, too.
type Item struct {
	Step  Step
	Path  string // in the snapshot: "/" for the root, "/a/b"
	Depth int    // 0 for where the walk began
	Entry *tree.Entry
	// Err says why the folder's content could not be read; set on Leave only. It
	// satisfies Refused.
	Err  error
	walk *walker
}

// ErrSkipDir makes a walk leave out the inside of the folder being entered. The
// Leave step comes all the same.
var ErrSkipDir = errors.New("skip this folder")

// Extents iterates over what the entry's content is made of, in order, lists
// resolved. It is for use during visit.
func (it *Item) Extents() iter.Seq2[tree.PlacedExtent, error] {
	return tree.ReadExtents(it.walk.load, it.Entry.Extents, 0)
}

// Place is where in a snapshot a walk begins.
type Place struct {
	Path  string      // "/" or "/a/b"
	Entry *tree.Entry // what is there; the root has a made-up one when the snapshot says nothing of it
}

// walker is the state of one walk; only its goroutine uses it.
type walker struct {
	ctx     context.Context
	g       *errgroup.Group
	reader  *Reader
	streams []*stream // the innermost last
	path    []byte    // of the entry being visited; shared, because deep trees have long paths
	skipped bool      // some folder was not entered since the last record was taken
	held    int       // bytes of the nodes on the way from the root
	loaded  int       // bytes of the node that load returned last
	singly  bool      // no Pushes
	visit   func(*Item) error
}

// Walk visits what is at and below from in the order of names, folders before
// and after what is in them. Names are compared by bytes. An error of visit
// ends it, except ErrSkipDir. A folder whose object is lost is visited with
// Item.Err on Leave and the walk goes on after it. Memory does not grow with
// the number of entries. Depth and size are bounded: what lies beyond counts as
// lost.
func (r *Reader) Walk(ctx context.Context, from Place, visit func(*Item) error) error {
	return r.walk(ctx, from, false, visit)
}

// Explore is Walk for callers that skip most folders: it asks for each folder
// when it comes to it, instead of having everything pushed.
func (r *Reader) Explore(ctx context.Context, from Place, visit func(*Item) error) error {
	return r.walk(ctx, from, true, visit)
}

func (r *Reader) walk(ctx context.Context, from Place, singly bool, visit func(*Item) error) error {
	ctx, cancel := context.WithCancel(ctx)
	g, gctx := errgroup.WithContext(ctx)
	w := &walker{ctx: gctx, g: g, reader: r, singly: singly, visit: visit, path: []byte(from.Path)}
	err := w.entry(0, from.Entry)
	cancel()
	for _, s := range w.streams {
		s.close()
	}
	_ = g.Wait() // the streams' goroutines return no error
	return err
}

func (w *walker) entry(depth int, e *tree.Entry) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	it := &Item{Step: File, Path: string(w.path), Depth: depth, Entry: e, walk: w}
	if e.Type != tree.TypeDir {
		return w.visit(it)
	}
	it.Step = Enter
	var lost error
	switch err := w.visit(it); {
	case errors.Is(err, ErrSkipDir):
		w.skipped = true
	case err != nil:
		return err
	default:
		if lost, err = w.inside(depth, e.Subtree); err != nil {
			return err
		}
	}
	// The entry lives in memory of its node's iteration, which waits for us: it
	// is still valid.
	return w.visit(&Item{Step: Leave, Path: string(w.path), Depth: depth, Entry: e, Err: lost, walk: w})
}

// inside visits what is in the folder id. lost says why it could not be read
// to its end; err ends the walk.
func (w *walker) inside(depth int, id object.ID) (lost, err error) {
	if depth >= MaxDepth || len(w.path) > maxPath {
		return fmt.Errorf("%w tree: more than %d folders inside each other, or a path of more than %d bytes", object.ErrMalformed, MaxDepth, maxPath), nil
	}
	held, above := w.held, len(w.path)
	defer func() { w.held = held }()
	for e, err := range tree.ReadDir(w.load, id) {
		if Refused(err) {
			return err, nil
		}
		if err != nil {
			return nil, fmt.Errorf("folder %.200q: %w", w.path, err)
		}
		mine := w.loaded
		if w.held = held + mine; w.held > maxHeld {
			return fmt.Errorf("%w tree: folders of more than %d bytes of metadata inside each other", object.ErrMalformed, maxHeld), nil
		}
		if above > 1 || w.path[0] != '/' { // the root ends in its slash already
			w.path = append(w.path, '/')
		}
		w.path = append(w.path, e.Name...)
		if err := w.entry(depth+1, e); err != nil {
			return nil, err
		}
		w.path, w.loaded = w.path[:above], mine
	}
	return nil, nil
}

// load is the walk's tree.Load: objects come out of the stream when they are
// next in it, else from the cache, else they are asked for.
func (w *walker) load(kind object.Kind, id object.ID) ([]object.ID, []byte, error) {
	m, err := w.object(kind, id)
	if kind == object.KindDir {
		w.loaded = m.size()
	}
	return m.refs, m.plain, err
}

func (w *walker) object(kind object.Kind, id object.ID) (metaObject, error) {
	if rec := w.next(kind, id); rec != nil {
		return w.reader.decodeMeta(w.ctx, kind, rec)
	}
	if m, ok := w.reader.cache.find(id); ok {
		return m, checkKind(id, m.kind, kind)
	}
	if rec := w.later(id); rec != nil {
		return w.reader.decodeMeta(w.ctx, kind, rec)
	}
	if kind == object.KindDir && !w.singly && len(w.streams) < maxStreams {
		s := startStream(w.ctx, w.g, w.reader.store, id)
		w.streams = append(w.streams, s)
		if rec := w.next(kind, id); rec != nil {
			return w.reader.decodeMeta(w.ctx, kind, rec)
		}
	}
	return w.reader.metadata(w.ctx, kind, id)
}

// next returns the record of id when it is the next one of a stream.
func (w *walker) next(kind object.Kind, id object.ID) *object.Record {
	for i := len(w.streams) - 1; i >= 0; i-- {
		if s := w.streams[i]; s.head(kind, id) {
			w.cut(i + 1) // what is left of inner streams belongs to folders that are done
			w.keys(s)
			return w.take(s.find(id, false))
		}
		if w.streams[i].done() {
			w.cut(i)
		}
	}
	return nil
}

// later returns the record of id from further down the innermost stream: what
// stands before it was not wanted.
func (w *walker) later(id object.ID) *object.Record {
	for i := len(w.streams) - 1; i >= 0; i-- {
		if rec := w.streams[i].find(id, w.skipped && i == 0); rec != nil {
			w.cut(i + 1)
			return w.take(rec)
		}
	}
	return nil
}

func (w *walker) take(rec *object.Record) *object.Record {
	w.skipped = false
	return rec
}

// cut ends the streams from number n on.
func (w *walker) cut(n int) {
	for _, s := range w.streams[n:] {
		s.close()
	}
	w.streams = w.streams[:n]
}

// keys loads the key objects of everything that has arrived, so that a
// snapshot of many uploads does not cost a round trip for each. Trouble shows
// when the object is decoded.
func (w *walker) keys(s *stream) { _ = w.reader.LoadKeys(w.ctx, s.ahead...) }
