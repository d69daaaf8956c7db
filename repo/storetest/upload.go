package storetest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"github.com/packnback/packnback/repo/object"
)

// Upload makes up what a sender would send: the same seed makes the same
// objects, so a test can send something twice. Not safe for concurrent use.
type Upload struct {
	Metadata *object.Record // key objects, to be put before anything else
	Content  *object.Record
	signer   ed25519.PrivateKey
	noise    *rand.ChaCha8
}

// NewUpload returns an upload of its own pair of key objects and a signer that
// depends on nothing but client.
func NewUpload(client string, seed uint64) *Upload {
	signer := sha256.Sum256([]byte("storetest signer " + client))
	u := &Upload{signer: ed25519.NewKeyFromSeed(signer[:])}
	start := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("storetest upload "), seed))
	u.noise = rand.NewChaCha8(start)
	u.Metadata = u.key()
	u.Content = u.key()
	return u
}

func (u *Upload) bytes(n int) []byte {
	b := make([]byte, n)
	u.noise.Read(b)
	return b
}

func (u *Upload) key() *object.Record {
	sealed := u.bytes(300)
	return &object.Record{Kind: object.KindKey, ID: object.HashID(sealed), Sealed: sealed}
}

// Object returns a new object of kind with size sealed bytes.
func (u *Upload) Object(kind object.Kind, size int, refs ...object.ID) *object.Record {
	key := u.Metadata.ID
	if kind.Class() == object.ClassContent {
		key = u.Content.ID
	}
	sealed := u.bytes(size)
	h := sha256.New()
	h.Write([]byte{byte(kind)})
	for _, r := range refs {
		h.Write(r[:])
	}
	h.Write(sealed)
	return &object.Record{Kind: kind, ID: object.ID(h.Sum(nil)), Key: key, Refs: refs, Sealed: sealed}
}

// Tree returns files chunks of size sealed bytes in directories of at most fan
// entries, children first and the root last, without the key objects.
func (u *Upload) Tree(files, size, fan int) []*object.Record {
	var all []*object.Record
	var level []object.ID
	for range files {
		rec := u.Object(object.KindChunk, size)
		all = append(all, rec)
		level = append(level, rec.ID)
	}
	for {
		var above []object.ID
		for len(level) > 0 || len(above) == 0 {
			n := min(fan, len(level))
			rec := u.Object(object.KindDir, 64, level[:n]...)
			all = append(all, rec)
			above = append(above, rec.ID)
			level = level[n:]
		}
		if len(above) == 1 {
			return all
		}
		level = above
	}
}

// Manifest returns the signed manifest of the snapshot that follows st, and its
// sealed part.
func (u *Upload) Manifest(st object.Standing, client, job string, root object.ID) (*object.Manifest, []byte) {
	sealed := u.bytes(100)
	m := &object.Manifest{
		Repository: st.Repository, Client: client, Job: job,
		Seq: st.Seq + 1, Prev: st.Head,
		Root: root, MetadataKey: u.Metadata.ID, ContentKey: u.Content.ID,
		Recipients: object.HashID([]byte("recipients")),
		SealedHash: object.HashID(sealed),
		Time:       1_800_000_000_000_000_000,
	}
	u.Sign(m)
	return m, sealed
}

// Sign signs m as it is.
func (u *Upload) Sign(m *object.Manifest) {
	copy(m.Signer[:], u.signer.Public().(ed25519.PublicKey))
	copy(m.Signature[:], ed25519.Sign(u.signer, m.AppendUnsigned(nil)))
}
