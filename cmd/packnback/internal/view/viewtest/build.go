package viewtest

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// Repository is the id of the repository that a Builder's snapshots are for.
var Repository = object.RepositoryID{'t', 'e', 's', 't'}

// Builder is a sender that does what a test tells it to. Not safe for
// concurrent use.
type Builder struct {
	Store  *Store
	Reader *crypto.ReadKey // the restorer's key
	Lister *crypto.ReadKey
	Key    *crypto.SendKey

	// Repository is the one that snapshots are made for; the package's own by default.
	Repository object.RepositoryID
	// Alter, when set, may change the plaintext of directories and lists before
	// they get their id and are sealed.
	Alter func(kind object.Kind, plain []byte) []byte
	// Codec, when set, chooses how plaintexts are stored.
	Codec func(plain []byte) (codec byte, raw int, stored []byte)

	tb     testing.TB
	upload *crypto.Upload
	ids    *crypto.IDs
	comp   *chunk.Compressor
}

// New returns a Builder for the client "web" with keys of its own.
func New(tb testing.TB) *Builder {
	tb.Helper()
	b := &Builder{Store: NewStore(), Repository: Repository, tb: tb}
	var err error
	b.Reader, err = crypto.GenerateReadKey(crypto.ForRestore)
	b.must(err)
	b.Lister, err = crypto.GenerateReadKey(crypto.ForList)
	b.must(err)
	b.Key, err = crypto.GenerateSendKey("web", []crypto.Recipient{b.Reader.Recipient(), b.Lister.Recipient()})
	b.must(err)
	b.comp, err = chunk.NewCompressor(chunk.LevelFastest, 1)
	b.must(err)
	b.ids = crypto.NewIDs(b.Key)
	b.NewUpload()
	return b
}

func (b *Builder) must(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
}

// NewUpload begins another upload: what is put from now on is sealed with
// other session keys.
func (b *Builder) NewUpload() {
	b.tb.Helper()
	var err error
	b.upload, err = crypto.NewUpload(b.Key)
	b.must(err)
	b.Store.Put(b.upload.KeyObject(object.ClassMetadata))
	b.Store.Put(b.upload.KeyObject(object.ClassContent))
}

// KeyID returns the key object of the upload at hand.
func (b *Builder) KeyID(c object.Class) object.ID { return b.upload.KeyID(c) }

// Opener returns an Opener with the restorer's key.
func (b *Builder) Opener() *crypto.Opener { return crypto.NewOpener(b.Reader.Identities()...) }

// Put seals an object and puts it into the store. It is a tree.Emit.
func (b *Builder) Put(kind object.Kind, refs []object.ID, plain []byte) (object.ID, error) {
	plain = slices.Clone(plain)
	if b.Alter != nil && kind.HasRefs() {
		plain = b.Alter(kind, plain)
	}
	refs = slices.Clone(refs)
	id := b.ids.ID(kind, refs, plain)
	codec, stored := b.comp.Compress(nil, plain)
	raw := len(plain)
	if b.Codec != nil {
		codec, raw, stored = b.Codec(plain)
	}
	b.Store.Put(b.upload.Seal(id, kind, refs, codec, raw, stored))
	return id, nil
}

// Dir writes a directory of the entries, which it sorts by name.
func (b *Builder) Dir(entries ...tree.Entry) object.ID {
	b.tb.Helper()
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(x, y tree.Entry) int { return cmp.Compare(x.Name, y.Name) })
	w := tree.NewDirWriter(b.Put)
	for i := range entries {
		b.must(w.Add(&entries[i]))
	}
	id, err := w.Close()
	b.must(err)
	return id
}

// Folder returns an entry for a folder of mode 0755 with these entries.
func (b *Builder) Folder(name string, entries ...tree.Entry) tree.Entry {
	b.tb.Helper()
	return tree.Entry{Name: name, Type: tree.TypeDir, Mode: 0o755, Mtime: tree.Time{Sec: 1e9}, Subtree: b.Dir(entries...)}
}

// File returns an entry for a file of mode 0644 whose content is one bundle.
func (b *Builder) File(name, content string) tree.Entry {
	b.tb.Helper()
	e := tree.Entry{Name: name, Type: tree.TypeFile, Mode: 0o644, Mtime: tree.Time{Sec: 1e9}, Size: uint64(len(content))}
	if len(content) > 0 {
		e.Extents = []tree.Extent{{Kind: tree.ExtentBundle, ID: b.content(object.KindBundle, content), Length: e.Size}}
	}
	return e
}

// Symlink returns an entry for a symlink.
func (b *Builder) Symlink(name, target string) tree.Entry {
	return tree.Entry{Name: name, Type: tree.TypeSymlink, Mode: 0o777, Mtime: tree.Time{Sec: 1e9}, Target: target, Size: uint64(len(target))}
}

// Chunk puts a chunk and returns the extent of it.
func (b *Builder) Chunk(content string) tree.Extent {
	b.tb.Helper()
	return tree.Extent{Kind: tree.ExtentChunk, ID: b.content(object.KindChunk, content), Length: uint64(len(content))}
}

// Large returns an entry for a file of the extents, in a list if they are many.
func (b *Builder) Large(name string, extents ...tree.Extent) tree.Entry {
	b.tb.Helper()
	e := tree.Entry{Name: name, Type: tree.TypeFile, Mode: 0o644, Mtime: tree.Time{Sec: 1e9}, Extents: extents}
	for _, x := range extents {
		e.Size += x.Length
	}
	if len(extents) > 8 {
		w := tree.NewListWriter(b.Put)
		for _, x := range extents {
			b.must(w.Add(x))
		}
		list, err := w.Close()
		b.must(err)
		e.Extents = []tree.Extent{list}
	}
	return e
}

func (b *Builder) content(kind object.Kind, content string) object.ID {
	b.tb.Helper()
	id, err := b.Put(kind, nil, []byte(content))
	b.must(err)
	return id
}

// Commit signs a snapshot of the directory root as the next of the client's
// default job, and returns it.
func (b *Builder) Commit(root object.ID, sum tree.Summary) *object.Snapshot {
	b.tb.Helper()
	m := &object.Manifest{
		Repository: b.Repository, Client: b.Key.Client(), Job: object.DefaultJob, Seq: 1,
		Root: root, Time: time.Now().UnixNano(),
	}
	for _, s := range b.Store.Committed {
		if s.Manifest.Client == m.Client {
			m.Seq, m.Prev = s.Manifest.Seq+1, s.ID()
		}
	}
	plain, err := sum.Append(nil)
	b.must(err)
	sealed, err := b.upload.SealPart(m, plain)
	b.must(err)
	b.must(b.Key.Sign(m))
	snap := &object.Snapshot{Received: int64(len(b.Store.Committed)) + 1, Manifest: m, Sealed: sealed}
	b.Store.Committed = append(b.Store.Committed, snap)
	return snap
}

// As makes another sender that puts into the same store for the same readers.
func (b *Builder) As(client string) *Builder {
	b.tb.Helper()
	c := &Builder{Store: b.Store, Reader: b.Reader, Lister: b.Lister, Repository: b.Repository, tb: b.tb, comp: b.comp}
	var err error
	c.Key, err = crypto.GenerateSendKey(client, []crypto.Recipient{b.Reader.Recipient(), b.Lister.Recipient()})
	b.must(err)
	c.ids = crypto.NewIDs(c.Key)
	c.NewUpload()
	return c
}
