package crypto

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// TestKeyedHash compares with the test vectors that BLAKE3's authors publish
// (keyed_hash of bytes that count modulo 251), in one piece and in many.
func TestKeyedHash(t *testing.T) {
	key := [KeySize]byte([]byte("whats the Elvish word for friend"))
	for n, want := range map[int]string{
		0:      "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
		1:      "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
		1024:   "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
		1025:   "357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69",
		102400: "1c35d1a5811083fd7119f5d5d1ba027b4d01c0c6c49fb6ff2cf75393ea5db4a7",
	} {
		input := make([]byte, n)
		for i := range input {
			input[i] = byte(i % 251)
		}
		k := newKeyedHash(key)
		for range 2 { // the second time with a used hasher
			if got := k.sum(input); got.String() != want {
				t.Errorf("%d bytes: got %s, want %s", n, got, want)
			}
		}
		h := (&IDs{files: k}).NewContentHash()
		for range 2 {
			for piece := range slices.Chunk(input, 1000) {
				h.Write(piece)
			}
			if got := h.ID(); got.String() != want {
				t.Errorf("%d bytes in pieces: got %s, want %s", n, got, want)
			}
		}
	}
}

// TestIDLayout computes an id from the bytes that packnback-key(5) says are
// hashed.
func TestIDLayout(t *testing.T) {
	send := fixedSendKey(t, "restore")
	refs := []object.ID{object.HashID([]byte("a")), object.HashID([]byte("b"))}
	plaintext := []byte("plaintext")
	b := append([]byte{byte(object.KindDir)}, 0, 0, 0, 2)
	b = append(append(b, refs[0][:]...), refs[1][:]...)
	b = append(b, plaintext...)
	want := newKeyedHash(send.idKey(object.ClassMetadata)).sum(b)
	if got := NewIDs(send).ID(object.KindDir, refs, plaintext); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestIDsDiffer checks that whatever goes into an id changes it.
func TestIDsDiffer(t *testing.T) {
	ids := NewIDs(fixedSendKey(t, "restore"))
	a, b := object.HashID([]byte("a")), object.HashID([]byte("b"))
	seen := make(map[object.ID]int)
	for i, id := range []object.ID{
		ids.ID(object.KindChunk, nil, nil),
		ids.ID(object.KindChunk, nil, []byte{0}),
		ids.ID(object.KindBundle, nil, nil),
		ids.ID(object.KindList, nil, nil),
		ids.ID(object.KindDir, nil, nil),
		ids.ID(object.KindDir, []object.ID{a}, nil),
		ids.ID(object.KindDir, []object.ID{a, b}, nil),
		ids.ID(object.KindDir, []object.ID{b, a}, nil),
		ids.ID(object.KindDir, []object.ID{a}, b[:]),
		ids.ID(object.KindDir, nil, a[:]),
		ids.Content(nil),
		ids.Content([]byte{0}),
	} {
		if j, ok := seen[id]; ok {
			t.Errorf("ids %d and %d are the same", j, i)
		}
		seen[id] = i
	}
	defer func() {
		if recover() == nil {
			t.Error("a keyed id was computed for a key object")
		}
	}()
	ids.ID(object.KindKey, nil, nil)
}

func TestLinkID(t *testing.T) {
	ids := NewIDs(fixedSendKey(t, "restore"))
	r := rand.New(rand.NewPCG(3, 4))
	seen := make(map[uint64][2]uint64)
	for range 10000 {
		file := [2]uint64{r.Uint64N(4), r.Uint64N(5000)}
		id := ids.LinkID(file[0], file[1])
		if id == 0 || id == file[1] {
			t.Fatalf("file %v has link id %d", file, id)
		}
		if other, ok := seen[id]; ok && other != file {
			t.Fatalf("files %v and %v share link id %d", file, other, id)
		}
		seen[id] = file
	}
	if NewIDs(newSendKey(t, newReadKey(t, ForRestore))).LinkID(1, 2) == ids.LinkID(1, 2) {
		t.Error("two send keys give one link id")
	}
	var b [16]byte
	b[7], b[15] = 1, 2
	want := ids.links.sum(b[:])
	if got := ids.LinkID(1, 2); got != binary.BigEndian.Uint64(want[:]) {
		t.Errorf("got %x, want the first 8 bytes of %s", got, want)
	}
}
