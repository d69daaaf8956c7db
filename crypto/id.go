package crypto

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/packnback/packnback/repo/object"
	"github.com/zeebo/blake3"
)

// KeySize is the length in bytes of every symmetric key and of the dedup
// secret.
const KeySize = 32

// The info strings that keep the keys derived from one dedup secret apart
// (packnback-key(5), "DERIVED KEYS").
const (
	infoID      = "packnback v1 id key\n"
	infoContent = "packnback v1 content map key\n"
	infoChunker = "packnback v1 chunker secret\n"
	infoLink    = "packnback v1 link id key\n"
	infoBinding = "packnback v1 send key fingerprint\n"
)

// derive returns HKDF-SHA256(secret, no salt, info).
func derive(secret *[KeySize]byte, info string) [KeySize]byte {
	k, err := hkdf.Key(sha256.New, secret[:], nil, info, KeySize)
	if err != nil {
		panic(err) // only for a length that HKDF can't give
	}
	return [KeySize]byte(k)
}

// IDs computes the ids that a send key gives to objects, and the other keyed
// values that a sender needs to recognise what it has sent before. All methods
// may be called by several goroutines at once.
type IDs struct {
	metadata, content *keyedHash
	files             *keyedHash
	links             *keyedHash
	chunker           [KeySize]byte
}

// NewIDs derives the id keys of k. Other recipients or another dedup secret
// give other ids for everything.
func NewIDs(k *SendKey) *IDs {
	return &IDs{
		metadata: newKeyedHash(k.idKey(object.ClassMetadata)),
		content:  newKeyedHash(k.idKey(object.ClassContent)),
		files:    newKeyedHash(derive(&k.dedup, infoContent)),
		links:    newKeyedHash(derive(&k.dedup, infoLink)),
		chunker:  derive(&k.dedup, infoChunker),
	}
}

// ID returns the id of an object of the given kind, which must not be KindKey,
// with these refs and this plaintext (before compression).
func (x *IDs) ID(kind object.Kind, refs []object.ID, plaintext []byte) object.ID {
	return x.class(kind).objectID(kind, refs, plaintext)
}

func (x *IDs) class(kind object.Kind) *keyedHash {
	switch {
	case !kind.Valid() || kind == object.KindKey:
		panic(fmt.Sprintf("crypto: no keyed id for %s objects", kind))
	case kind.Class() == object.ClassContent:
		return x.content
	}
	return x.metadata
}

// Content returns the content id of a whole small file. It is used as a key of
// the sender's cache only and never leaves the machine.
func (x *IDs) Content(plaintext []byte) object.ID { return x.files.sum(plaintext) }

// NewContentHash returns a hash that gives the content id of what is written
// to it in pieces.
func (x *IDs) NewContentHash() *ContentHash { return &ContentHash{x.files.hasher()} }

// ContentHash computes a content id piece by piece. It is for one goroutine.
type ContentHash struct{ h *blake3.Hasher }

// Write adds b. It never fails.
func (c *ContentHash) Write(b []byte) (int, error) { return c.h.Write(b) }

// ID returns the content id of all that was written and makes c empty again.
func (c *ContentHash) ID() (id object.ID) {
	c.h.Sum(id[:0])
	c.h.Reset() // the hasher can't go on after Sum
	return id
}

// LinkID returns the number that ties the names of one hard-linked file
// together. It is never 0, tells nothing about dev and ino without the send
// key, and stays the same from one backup to the next.
func (x *IDs) LinkID(dev, ino uint64) uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], dev)
	binary.BigEndian.PutUint64(b[8:], ino)
	id := x.links.sum(b[:])
	return max(1, binary.BigEndian.Uint64(id[:]))
}

// ChunkerSecret returns the secret from which the places where large files are
// cut are derived.
func (x *IDs) ChunkerSecret() [KeySize]byte { return x.chunker }

// Format prints the type's name instead of its secrets.
func (x *IDs) Format(f fmt.State, _ rune) { redact(f, "IDs") }

// keyedHash is BLAKE3 in its keyed mode under one key. Hashers hold 8 KiB of
// buffer each, hence the pool.
type keyedHash struct {
	key  [KeySize]byte
	pool sync.Pool // of *pooledHasher
}

type pooledHasher struct {
	h *blake3.Hasher
	// scratch is here so that small writes do not allocate.
	scratch [object.IDSize]byte
}

func newKeyedHash(key [KeySize]byte) *keyedHash { return &keyedHash{key: key} }

func (k *keyedHash) start() *pooledHasher {
	if p, ok := k.pool.Get().(*pooledHasher); ok {
		return p
	}
	return &pooledHasher{h: k.hasher()}
}

func (k *keyedHash) hasher() *blake3.Hasher {
	h, err := blake3.NewKeyed(k.key[:])
	if err != nil {
		panic(err) // only for a key that is not 32 bytes
	}
	return h
}

func (k *keyedHash) sum(b []byte) (id object.ID) {
	p := k.start()
	p.h.Write(b)
	return k.finish(p)
}

// objectID hashes u8 kind | u32 number of refs | refs | plaintext.
func (k *keyedHash) objectID(kind object.Kind, refs []object.ID, plaintext []byte) object.ID {
	p := k.start()
	p.scratch[0] = byte(kind)
	binary.BigEndian.PutUint32(p.scratch[1:], uint32(len(refs)))
	p.h.Write(p.scratch[:5])
	for i := range refs {
		p.scratch = refs[i]
		p.h.Write(p.scratch[:])
	}
	p.h.Write(plaintext)
	return k.finish(p)
}

func (k *keyedHash) finish(p *pooledHasher) object.ID {
	p.h.Sum(p.scratch[:0])
	id := object.ID(p.scratch)
	p.h.Reset()
	k.pool.Put(p)
	return id
}

// redact is what the Format method of every type with a secret prints.
func redact(f fmt.State, name string) { fmt.Fprintf(f, "crypto.%s(secret)", name) }
