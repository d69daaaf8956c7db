package crypto

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/packnback/packnback/repo/object"
)

// The keys of the worked example in packnback-key(5) and of the vectors. The
// reading ones are in testdata/keys; they have never protected anything.
var (
	fixedSecret  = counting(0x00)
	fixedSession = counting(0x20)
	fixedNonce   = func() (n nonce) { k := counting(0x40); copy(n[:], k[:]); return n }()
	fixedKeyID   = object.ID(counting(0x60))
	fixedSeed    = counting(0x80)
	fixedTime    = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
)

// counting returns 32 bytes that count up from first.
func counting(first byte) (k [KeySize]byte) {
	for i := range k {
		k[i] = first + byte(i)
	}
	return k
}

func keyFixture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "keys", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func fixedReadKey(t testing.TB, name string) *ReadKey {
	t.Helper()
	k, err := ParseReadKey(keyFixture(t, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fixedSendKey returns the send key of the worked example, sealing to readers.
func fixedSendKey(t testing.TB, readers ...string) *SendKey {
	t.Helper()
	var to []Recipient
	for _, name := range readers {
		r, err := ParseRecipient(keyFixture(t, name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, r)
	}
	set, err := newRecipientSet(to)
	if err != nil {
		t.Fatal(err)
	}
	return &SendKey{
		client: "web1", created: fixedTime, recipients: set,
		dedup: fixedSecret, signing: ed25519.NewKeyFromSeed(fixedSeed[:]),
	}
}

// fixedSeal seals p under the fixed session key and nonce as an object with
// these names.
func fixedSeal(kind object.Kind, id object.ID, refs []object.ID, p payload) *object.Record {
	associated := object.AppendHeader(nil, kind, id, fixedKeyID, refs, sealedSize(len(p.stored)))
	return &object.Record{
		Kind: kind, ID: id, Key: fixedKeyID, Refs: refs,
		Sealed: p.seal(newAEAD(&fixedSession), fixedNonce, associated),
	}
}
