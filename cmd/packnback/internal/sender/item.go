package sender

import (
	"github.com/packnback/packnback/cmd/packnback/internal/source"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// largeFile is the size from which on a file is cut into chunks of its own; a
// smaller one goes into a bundle.
const largeFile = 512 << 10

// task says what has to be done about an item before it can be assembled.
type task int

const (
	taskNone  task = iota // all is known
	taskMeta              // extended attributes and symlink target are missing
	taskSmall             // the same, and the contents of a small file
	taskLarge             // the same, and the contents of a large file
	taskLink              // another name of a file that comes earlier in this run
)

// item is one step of the walk on its way to the assembler.
type item struct {
	step   source.Step
	path   string
	task   task
	change Change
	from   *source.Item // kept; nil once released and for what needs nothing from it
	err    error        // the entry can't be stored

	// An unchanged entry is raw, any other has a record.
	raw   statcache.Raw
	rec   *statcache.Record
	was   statcache.Raw // what the cache had at the path of an entry that has a record; empty when nothing
	inner [][]byte      // further ids of the entry, as the cache keeps them
	spool *spool        // the same, of an entry made in this run

	link   linkKey       // of a file with several names; else zero
	other  bool          // what was read may be another file than the one that link is of
	data   []byte        // contents of a small file, part of the batch's buffer
	offset uint32        // in the open bundle, while waits
	waits  bool          // for the open bundle's id
	counts bool          // its references are news to the cache's tables
	done   chan struct{} // closed when a cutter is through with it; nil for other tasks
}

// name returns the last component of the item's path.
func (it *item) name() string {
	for i := len(it.path) - 1; i >= 0; i-- {
		if it.path[i] == '/' {
			return it.path[i+1:]
		}
	}
	return it.path
}

// unchanged reports whether the item is the cache's record as it is.
func (it *item) unchanged() bool { return it.rec == nil }

// settle takes back that the item has changed when what was read turns out to
// be what the cache had: the item only looked as if it might have changed, or
// everything is being read.
func (it *item) settle() {
	if it.change == Changed && it.was.Equal(it.rec) {
		it.change = Unmodified
	}
}

// release gives back what the walk keeps for the item.
func (it *item) release() {
	if it.from != nil {
		it.from.Release()
		it.from = nil
	}
}

// fail takes the item out of the snapshot.
func (it *item) fail(err error) { it.err = err }

// Limits of a batch.
const (
	batchItems = 256
	batchBytes = 1 << 20   // of contents; the last file may exceed it
	batchPaths = 128 << 10 // of paths
)

// batch is a run of items in walk order; readers work on whole batches.
type batch struct {
	items []*item
	paths int           // bytes
	bytes int64         // of contents to be read, as far as the walk knew; held from the read-ahead budget
	work  bool          // a reader has to see it
	done  chan struct{} // closed by the reader; nil without work
	buf   *[]byte       // what data of its items points into; nil until read
}

// spool collects ids that one entry refers to through others, in bounded
// memory, each once.
type spool struct {
	cache *statcache.Cache
	few   []byte // ids end to end, while there are few
	many  *statcache.IDSet
}

// spoolMemory is what a spool holds in memory, in bytes, before and after it
// goes to disk.
const spoolMemory = 64 << 10

func (s *spool) add(id object.ID) error {
	if s.many == nil && len(s.few) < spoolMemory {
		s.few = append(s.few, id[:]...)
		return nil
	}
	if s.many == nil {
		many, err := s.cache.NewIDSet(spoolMemory)
		if err != nil {
			return err
		}
		s.many = many
	}
	_, err := s.many.Claim(id)
	return err
}

// each calls yield for all ids, in slices of them end to end, and empties s.
func (s *spool) each(yield func(ids []byte) error) error {
	if len(s.few) > 0 {
		if err := yield(s.few); err != nil {
			return err
		}
		s.few = nil
	}
	if s.many == nil {
		return nil
	}
	var err error
	buf := make([]byte, 0, 1024*object.IDSize)
	allErr := s.many.All(func(id object.ID) bool {
		if buf = append(buf, id[:]...); len(buf) == cap(buf) {
			err = yield(buf)
			buf = buf[:0]
		}
		return err == nil
	})
	if err == nil {
		err = allErr
	}
	if err == nil && len(buf) > 0 {
		err = yield(buf)
	}
	closeErr := s.many.Close()
	s.many = nil
	if err == nil {
		err = closeErr
	}
	return err
}

// close drops what was collected.
func (s *spool) close() {
	if s != nil && s.many != nil {
		_ = s.many.Close() // nothing of it is wanted any more
		s.many = nil
	}
}

// eachID calls yield for every id in ids, which lie end to end.
func eachID(ids []byte, yield func(object.ID) error) error {
	for ; len(ids) >= object.IDSize; ids = ids[object.IDSize:] {
		if err := yield(object.ID(ids[:object.IDSize])); err != nil {
			return err
		}
	}
	return nil
}

// objectKind returns the kind of object that extents of kind k refer to, 0 for
// holes.
func objectKind(k tree.ExtentKind) object.Kind {
	switch k {
	case tree.ExtentBundle:
		return object.KindBundle
	case tree.ExtentChunk:
		return object.KindChunk
	case tree.ExtentList:
		return object.KindList
	}
	return 0
}
