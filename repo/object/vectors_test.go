package object_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/internal/vectortest"
	"github.com/packnback/packnback/repo/object"
)

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, object.ErrChecksum):
		return "checksum"
	case errors.Is(err, object.ErrSignature):
		return "signature"
	case errors.Is(err, object.ErrMalformed):
		return "malformed"
	}
	return "untyped error: " + err.Error()
}

func TestVectors(t *testing.T) {
	made := append(append(recordVectors(), manifestVectors()...), snapshotVectors()...)
	vectortest.Run(t, made, func(t *testing.T, v *vectortest.Vector) string {
		again, err := decode(v.Params["type"], v.Bytes)
		if err == nil && !bytes.Equal(again, v.Bytes) {
			t.Errorf("written again: %x", again)
		}
		return outcome(err)
	})
}

// decode reads what a vector of that type holds and writes it again.
func decode(kind string, b []byte) ([]byte, error) {
	switch kind {
	case "record":
		r, err := object.UnmarshalRecord(b)
		if err != nil {
			return nil, err
		}
		return r.Append(nil), nil
	case "manifest":
		m, err := object.UnmarshalManifest(b)
		if err != nil {
			return nil, err
		}
		return m.Append(nil), m.Verify()
	case "snapshot":
		s, err := object.UnmarshalSnapshot(b)
		if err != nil {
			return nil, err
		}
		return s.Append(nil), nil
	}
	return nil, errors.New("unknown type of vector")
}

// pattern returns n bytes that are easy to recognise in a dump.
func pattern(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

func patternID(from byte) object.ID { return object.ID(pattern(from, object.IDSize)) }

// mend makes the xxhash at the end of b right again.
func mend(b []byte) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint64(b[len(b)-8:], xxhash.Sum64(b[:len(b)-8]))
	return b
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// group makes vectors of one type.
type group struct {
	kind    string
	vectors []*vectortest.Vector
}

func (g *group) add(name, expect, comment string, b []byte) {
	g.vectors = append(g.vectors, &vectortest.Vector{
		Name: g.kind + "-" + name, Comment: comment, Expect: expect, Params: map[string]string{"type": g.kind}, Bytes: b,
	})
}

func testRecords() (chunk, dir, key *object.Record) {
	chunk = &object.Record{Kind: object.KindChunk, ID: patternID(1), Key: patternID(2), Sealed: pattern(0, 45)}
	dir = &object.Record{Kind: object.KindDir, ID: patternID(3), Key: patternID(4), Refs: []object.ID{patternID(5), patternID(6)}, Sealed: pattern(7, 60)}
	key = &object.Record{Kind: object.KindKey, Sealed: pattern(9, 100)}
	key.ID = object.HashID(key.Sealed)
	return chunk, dir, key
}

func recordVectors() []*vectortest.Vector {
	chunk, dir, key := testRecords()
	c, d, k := chunk.Append(nil), dir.Append(nil), key.Append(nil)
	zero := make([]byte, object.IDSize)
	g := group{kind: "record"}
	g.add("chunk", "ok", "a chunk", c)
	g.add("directory", "ok", "a directory with two refs", d)
	g.add("key", "ok", "a key object", k)
	list := *dir
	list.Kind = object.KindList
	g.add("list", "ok", "a list with two refs", list.Append(nil))

	bad := func(name, comment string, b []byte) { g.add(name, "malformed", comment, mend(b)) }
	bad("magic", "another magic", vectortest.With(c, 3, 'p'))
	bad("kind-0", "kind 0", vectortest.With(c, 4, 0))
	bad("kind-6", "kind 6", vectortest.With(c, 4, 6))
	for i := range 3 {
		bad("reserved-"+string(rune('1'+i)), "a reserved byte that is not zero", vectortest.With(c, 5+i, 1))
	}
	bad("refs-of-chunk", "refs of a kind that has none", vectortest.With(d, 4, byte(object.KindBundle)))
	bad("refs-limit", "65,537 refs, by its header", vectortest.With(d, 8, u32(object.MaxRefs+1)...))
	bad("refs-huge", "4,294,967,295 refs, by its header", vectortest.With(d, 8, u32(1<<32-1)...))
	bad("refs-missing", "a header that says three refs over the bytes of two", vectortest.With(d, 8, u32(3)...))
	bad("ref-zero", "a ref that names nothing", vectortest.With(d, object.HeaderSize, zero...))
	bad("ref-self", "a ref to the object itself", vectortest.With(d, object.HeaderSize, dir.ID[:]...))
	empty := *chunk
	empty.Sealed = nil
	bad("sealed-none", "no sealed bytes", empty.Append(nil))
	bad("sealed-limit", "12,582,913 sealed bytes, by its header", vectortest.With(c, 12, u32(object.MaxSealed+1)...))
	bad("sealed-short", "a header that says one sealed byte more", vectortest.With(c, 12, u32(46)...))
	bad("sealed-long", "a header that says one sealed byte less", vectortest.With(c, 12, u32(44)...))
	bad("key-limit", "a key object of 262,145 sealed bytes, by its header", vectortest.With(k, 12, u32(object.MaxKeyObject+1)...))
	bad("id-zero", "a zero id", vectortest.With(c, 16, zero...))
	bad("key-zero", "a chunk without a key object", vectortest.With(c, 48, zero...))
	bad("key-self", "a chunk that is its own key object", vectortest.With(c, 48, chunk.ID[:]...))
	bad("key-of-key", "a key object with a key object", vectortest.With(k, 48, 1))
	bad("key-hash", "a key object whose id is not the SHA-256 of its bytes", vectortest.With(k, object.HeaderSize, 0xff))
	bad("trailing", "one byte more than the header says", append(bytes.Clone(c), 0))
	g.add("cut-header", "malformed", "79 bytes", c[:object.HeaderSize-1])
	g.add("empty", "malformed", "nothing", nil)
	g.add("cut", "malformed", "the last byte is missing", c[:len(c)-1])
	g.add("checksum", "checksum", "a sealed byte that changed", vectortest.With(c, 100, 0xff))
	g.add("checksum-ref", "checksum", "a ref that changed", vectortest.With(d, 90, 0xff))
	return g.vectors
}

func testManifest(seq uint64) *object.Manifest {
	key := ed25519.NewKeyFromSeed(pattern(0x40, ed25519.SeedSize))
	m := &object.Manifest{
		Repository: object.RepositoryID(pattern(0x10, object.RepositoryIDSize)), Client: "web1", Job: "default", Seq: seq,
		Root: patternID(0x20), MetadataKey: patternID(0x21), ContentKey: patternID(0x22), Recipients: patternID(0x23),
		SealedHash: object.HashID([]byte("sealed part")), Time: 1700000000123456789,
	}
	if seq > 1 {
		m.Prev = patternID(0x24)
	}
	sign(m, key)
	return m
}

func sign(m *object.Manifest, key ed25519.PrivateKey) {
	copy(m.Signer[:], key.Public().(ed25519.PublicKey))
	copy(m.Signature[:], ed25519.Sign(key, m.AppendUnsigned(nil)))
}

func manifestVectors() []*vectortest.Vector {
	key := ed25519.NewKeyFromSeed(pattern(0x40, ed25519.SeedSize))
	g := group{kind: "manifest"}
	with := func(seq uint64, change func(m *object.Manifest)) []byte {
		m := testManifest(seq)
		change(m)
		sign(m, key)
		return m.Append(nil)
	}
	first, second := testManifest(1).Append(nil), testManifest(2).Append(nil)
	g.add("first", "ok", "the first of a chain", first)
	g.add("second", "ok", "the second of a chain", second)
	g.add("no-content", "ok", "an upload that sealed no content", with(2, func(m *object.Manifest) { m.ContentKey = object.ID{} }))
	long := string(bytes.Repeat([]byte{'n'}, object.MaxName))
	g.add("long-names", "ok", "names of 64 characters", with(2, func(m *object.Manifest) { m.Client, m.Job = long, long }))
	g.add("before-1970", "ok", "a sender's clock before 1970", with(2, func(m *object.Manifest) { m.Time = -1 }))

	bad := func(name, comment string, change func(m *object.Manifest)) {
		g.add(name, "malformed", comment, with(2, change))
	}
	bad("client-empty", "no client", func(m *object.Manifest) { m.Client = "" })
	bad("client-slash", "a client that is a path", func(m *object.Manifest) { m.Client = "a/b" })
	bad("client-dots", "a client called ..", func(m *object.Manifest) { m.Client = ".." })
	bad("client-upper", "a client in upper case", func(m *object.Manifest) { m.Client = "Web" })
	bad("client-long", "a client of 65 characters", func(m *object.Manifest) { m.Client = long + "n" })
	bad("job-empty", "no job", func(m *object.Manifest) { m.Job = "" })
	bad("job-newline", "a job with a line feed", func(m *object.Manifest) { m.Job = "a\n" })
	bad("seq-0", "sequence number 0", func(m *object.Manifest) { m.Seq = 0 })
	bad("seq-1-prev", "a first snapshot with one before", func(m *object.Manifest) { m.Seq = 1 })
	bad("seq-2-alone", "a second snapshot with none before", func(m *object.Manifest) { m.Prev = object.ID{} })
	bad("root-zero", "no root", func(m *object.Manifest) { m.Root = object.ID{} })
	bad("key-zero", "no key object of the metadata", func(m *object.Manifest) { m.MetadataKey = object.ID{} })
	g.add("domain", "malformed", "another version in the domain", vectortest.With(first, 20, '2'))
	g.add("empty", "malformed", "nothing", nil)
	g.add("cut", "malformed", "the last byte is missing", first[:len(first)-1])
	g.add("trailing", "malformed", "one byte more", append(bytes.Clone(first), 0))
	g.add("signature", "signature", "a signature that changed", vectortest.With(first, len(first)-1, first[len(first)-1]^1))
	g.add("signed-time", "signature", "a signed byte that changed", vectortest.With(first, len(first)-ed25519.SignatureSize-ed25519.PublicKeySize-1, 0))
	g.add("signer", "signature", "another signer", vectortest.With(first, len(first)-ed25519.SignatureSize-1, 0))
	return g.vectors
}

func testSnapshot() *object.Snapshot {
	return &object.Snapshot{
		Received: 1700000001000000000, Flags: object.FlagMostlyNew | object.FlagCleared,
		Measures: object.Measures{NewObjects: 1, NewBytes: 2, NewContent: 3, AllObjects: 4, AllBytes: 5, GoneObjects: 6, GoneBytes: 7},
		Manifest: testManifest(1), Sealed: []byte("sealed part"),
	}
}

func snapshotVectors() []*vectortest.Vector {
	g := group{kind: "snapshot"}
	whole := testSnapshot().Append(nil)
	g.add("live", "ok", "a snapshot that is kept", whole)
	with := func(change func(s *object.Snapshot)) []byte {
		s := testSnapshot()
		change(s)
		return s.Append(nil)
	}
	forget := func(s *object.Snapshot) {
		s.Flags |= object.FlagForgotten
		s.Forgotten = 1700000002000000000
	}
	g.add("trash", "ok", "a forgotten one with its sealed part", with(forget))
	link := with(func(s *object.Snapshot) { forget(s); s.Sealed = nil })
	g.add("link", "ok", "the link of a forgotten one", link)
	g.add("flag-unknown", "malformed", "a flag that nobody knows", with(func(s *object.Snapshot) { s.Flags |= 128 }))
	g.add("left-out", "ok", "the link of one that was not copied", with(func(s *object.Snapshot) { s.Flags, s.Sealed = s.Flags|object.FlagLeftOut, nil }))
	g.add("left-out-sealed", "malformed", "left out, with a sealed part", with(func(s *object.Snapshot) { s.Flags |= object.FlagLeftOut }))
	g.add("left-out-forgotten", "malformed", "left out and forgotten", with(func(s *object.Snapshot) { forget(s); s.Flags, s.Sealed = s.Flags|object.FlagLeftOut, nil }))
	g.add("forgotten-untimed", "malformed", "forgotten, and no time", with(func(s *object.Snapshot) { s.Flags |= object.FlagForgotten }))
	g.add("forgotten-unflagged", "malformed", "a time forgotten, and no flag", with(func(s *object.Snapshot) { s.Forgotten = 1 }))
	g.add("no-sealed", "malformed", "a live one without a sealed part", with(func(s *object.Snapshot) { s.Sealed = nil }))
	g.add("sealed-other", "malformed", "a sealed part that the manifest does not name", with(func(s *object.Snapshot) { s.Sealed = []byte("sealed Part") }))
	g.add("manifest", "malformed", "a manifest that is malformed", with(func(s *object.Snapshot) { s.Manifest.Seq = 0 }))
	g.add("version", "malformed", "version 2", mend(vectortest.With(whole, 7, 2)))
	const linkAt = 8 + 8 + 4 + 8*8
	g.add("link-huge", "malformed", "a manifest of 4,294,967,295 bytes, by its length", mend(vectortest.With(whole, linkAt, u32(1<<32-1)...)))
	g.add("link-short", "malformed", "a manifest's length that is one too small", mend(vectortest.With(whole, linkAt+3, whole[linkAt+3]-1)))
	g.add("sealed-length", "malformed", "a sealed part's length that is one too large", mend(vectortest.With(whole, len(whole)-8-len("sealed part")-1, byte(len("sealed part")+1))))
	g.add("trailing", "malformed", "one byte more", mend(append(bytes.Clone(whole), 0)))
	g.add("empty", "malformed", "nothing", nil)
	g.add("checksum", "checksum", "a measure that changed", vectortest.With(whole, 40, 0xff))
	g.add("cut", "checksum", "the last byte is missing", whole[:len(whole)-1])
	return g.vectors
}
