package crypto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// The lengths that ids are computed over: a directory object, a chunk.
var benchSizes = []int{4 << 10, 1 << 20}

func benchPlaintext(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// BenchmarkID is the id of an object: BLAKE3, keyed.
func BenchmarkID(b *testing.B) {
	ids := NewIDs(newSendKey(b, newReadKey(b, ForRestore)))
	for _, n := range benchSizes {
		plaintext := benchPlaintext(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				ids.ID(object.KindChunk, nil, plaintext)
			}
		})
	}
}

// BenchmarkHMAC is what the id would be with the standard library alone. The
// choice between the two, and the rule for it, is in packnback-key(5).
func BenchmarkHMAC(b *testing.B) {
	h := hmac.New(sha256.New, make([]byte, KeySize))
	for _, n := range benchSizes {
		plaintext := benchPlaintext(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var head [5]byte
			var sum [sha256.Size]byte
			for b.Loop() {
				head[0] = byte(object.KindChunk)
				binary.BigEndian.PutUint32(head[1:], 0)
				h.Reset()
				h.Write(head[:])
				h.Write(plaintext)
				h.Sum(sum[:0])
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	send := newSendKey(b, newReadKey(b, ForRestore))
	u := newUpload(b, send)
	for _, n := range benchSizes {
		plaintext := benchPlaintext(n)
		id := NewIDs(send).ID(object.KindChunk, nil, plaintext)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				u.Seal(id, object.KindChunk, nil, CodecRaw, n, plaintext)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	read := newReadKey(b, ForRestore)
	send := newSendKey(b, read)
	u := newUpload(b, send)
	o := NewOpener(read.Identities()...)
	if err := o.AddKey(u.KeyObject(object.ClassContent)); err != nil {
		b.Fatal(err)
	}
	for _, n := range benchSizes {
		rec := sealOne(send, u, object.KindChunk, nil, benchPlaintext(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := o.Open(rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnwrap is what each upload that a restore touches costs once.
func BenchmarkUnwrap(b *testing.B) {
	read := newReadKey(b, ForRestore)
	rec := newUpload(b, newSendKey(b, read)).KeyObject(object.ClassContent)
	identities := read.Identities()
	for b.Loop() {
		if _, err := unwrapKeyObject(rec, identities); err != nil {
			b.Fatal(err)
		}
	}
}
