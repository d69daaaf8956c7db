package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/packnback/packnback/repo/object"
)

// fillKeys adds n key objects to o without the cost of wrapping them.
func fillKeys(o *Opener, n int, idKey func(i int) [KeySize]byte) (first object.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range n {
		id := object.HashID(fmt.Append(nil, i))
		if i == 0 {
			first = id
		}
		o.insert(id, &keyPayload{class: object.ClassContent, id: idKey(i)})
	}
	return first
}

// TestOpenerIsBounded adds more key objects than an Opener keeps.
func TestOpenerIsBounded(t *testing.T) {
	for name, idKey := range map[string]func(i int) [KeySize]byte{
		"one id key":    func(int) [KeySize]byte { return fixedSession },
		"all their own": func(i int) (k [KeySize]byte) { copy(k[:], fmt.Append(nil, i)); return k },
	} {
		o := NewOpener()
		first := fillKeys(o, maxOpenKeys, idKey)
		if !o.HasKey(first) {
			t.Errorf("%s: dropped before the limit", name)
		}
		o.mu.Lock()
		o.insert(object.HashID([]byte("one more")), &keyPayload{class: object.ClassContent})
		o.mu.Unlock()
		if !o.HasKey(first) {
			t.Errorf("%s: the key used last was dropped", name)
		}
		if second := object.HashID(fmt.Append(nil, 1)); o.HasKey(second) {
			t.Errorf("%s: the key unused for longest was kept", name)
		}
		if len(o.keys) != maxOpenKeys || o.recent.Len() != maxOpenKeys {
			t.Errorf("%s: %d keys, %d in order, want %d", name, len(o.keys), o.recent.Len(), maxOpenKeys)
		}
		users := 0
		for _, h := range o.ids {
			users += h.users
		}
		if users != maxOpenKeys || (name == "one id key" && len(o.ids) != 2) {
			t.Errorf("%s: %d id keys with %d users", name, len(o.ids), users)
		}
	}
}

// TestConcurrent seals and opens from many goroutines; the race detector
// watches.
func TestConcurrent(t *testing.T) {
	restore := newReadKey(t, ForRestore)
	send := newSendKey(t, restore)
	ids := NewIDs(send)
	o := NewOpener(restore.Identities()...)
	uploads := []*Upload{newUpload(t, send), newUpload(t, send)}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			u := uploads[g%len(uploads)]
			for i := range 20 {
				plaintext := bytes.Repeat([]byte{byte(i)}, 100*i)
				rec := u.Seal(ids.ID(object.KindChunk, nil, plaintext), object.KindChunk, nil, CodecRaw, len(plaintext), plaintext)
				got, err := openOne(o, u.KeyObject(object.ClassContent), rec)
				if err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("goroutine %d, object %d: got %d bytes, error %v", g, i, len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAddKeyRefuses(t *testing.T) {
	restore := newReadKey(t, ForRestore)
	send := newSendKey(t, restore)
	u := newUpload(t, send)
	o := NewOpener(restore.Identities()...)
	renamed := *u.KeyObject(object.ClassContent)
	renamed.ID[0] ^= 1
	for name, rec := range map[string]*object.Record{
		"a chunk":                   sealOne(send, u, object.KindChunk, nil, []byte("x")),
		"an id that isn't the hash": &renamed,
	} {
		if err := o.AddKey(rec); !errors.Is(err, object.ErrMalformed) {
			t.Errorf("%s: got error %v, want %v", name, err, object.ErrMalformed)
		}
		if o.HasKey(rec.ID) {
			t.Errorf("%s was kept", name)
		}
	}
	if _, _, _, err := o.Open(u.KeyObject(object.ClassContent)); !errors.Is(err, object.ErrMalformed) {
		t.Errorf("opening a key object as an object: got error %v", err)
	}
}

func TestRewrap(t *testing.T) {
	old, added, lister := newReadKey(t, ForRestore), newReadKey(t, ForRestore), newReadKey(t, ForList)
	send := newSendKey(t, old)
	u := newUpload(t, send)
	chunk := sealOne(send, u, object.KindChunk, nil, []byte("content"))
	dir := sealOne(send, u, object.KindDir, nil, []byte("names"))
	bundle := func(to *ReadKey) []byte {
		w := NewRewrap(to.Recipient())
		for _, class := range []object.Class{object.ClassContent, object.ClassMetadata, object.ClassContent} {
			if err := w.Add(u.KeyObject(class), old.Identities()...); err != nil {
				t.Fatal(err)
			}
		}
		if want := map[Purpose]int{ForRestore: 2, ForList: 1}[to.Purpose()]; w.Len() != want {
			t.Errorf("%s key: %d session keys, want %d", to.Purpose(), w.Len(), want)
		}
		b, err := w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if Identify(b) != TextRewrap {
			t.Errorf("a bundle is identified as %s", Identify(b))
		}
		return b
	}
	for _, c := range []struct {
		name   string
		reader *ReadKey
		rec    *object.Record
		want   error
	}{
		{"added reads content", added, chunk, nil},
		{"added reads names", added, dir, nil},
		{"lister reads names", lister, dir, nil},
		{"lister gets no content", lister, chunk, ErrNoKey},
	} {
		o := NewOpener(c.reader.Identities()...)
		if err := o.AddRewrap(bundle(c.reader)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		_, _, _, err := o.Open(c.rec)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
	}
	if err := NewOpener(lister.Identities()...).AddRewrap(bundle(added)); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("a bundle for another: got error %v, want %v", err, ErrNotRecipient)
	}
	// A refusal from before the bundle was added must not stick.
	o := NewOpener(added.Identities()...)
	if err := o.AddKey(u.KeyObject(object.ClassContent)); !errors.Is(err, ErrNotRecipient) {
		t.Fatalf("got error %v, want %v", err, ErrNotRecipient)
	}
	if err := o.AddRewrap(bundle(added)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := o.Open(chunk); err != nil {
		t.Errorf("after the bundle was added: %v", err)
	}
	w := NewRewrap(added.Recipient())
	if err := w.Add(u.KeyObject(object.ClassContent), added.Identities()...); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("rewrapping what one can't open: got error %v", err)
	}
	if _, err := w.Seal(); err == nil {
		t.Error("an empty bundle was sealed")
	}
}

// TestEveryBitCounts flips each bit of two records, mends the checksum as a
// hostile store would, and wants a refusal.
func TestEveryBitCounts(t *testing.T) {
	for _, rec := range []*object.Record{example(t), exampleDir(t)} {
		class := rec.Kind.Class()
		o := NewOpener()
		o.insert(fixedKeyID, &keyPayload{class, fixedSession, fixedSendKey(t, "restore").idKey(class)})
		encoded := rec.Append(nil)
		if _, err := openOne(o, &object.Record{ID: fixedKeyID}, rec); err != nil {
			t.Fatalf("the record as it is: %v", err)
		}
		body := len(encoded) - object.TrailerSize
		for bit := range 8 * body {
			b := bytes.Clone(encoded[:body])
			b[bit/8] ^= 1 << (bit % 8)
			b = binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
			changed, err := object.UnmarshalRecord(b)
			if err != nil {
				continue
			}
			if _, err := openOne(o, &object.Record{ID: fixedKeyID}, changed); err == nil {
				t.Errorf("%s with bit %d flipped was accepted", rec.Kind, bit)
			}
		}
	}
}

// TestNothingPrintsSecrets prints every type that holds a secret in every way.
func TestNothingPrintsSecrets(t *testing.T) {
	restore := fixedReadKey(t, "restore")
	send := fixedSendKey(t, "restore")
	u := newUpload(t, send)
	o := NewOpener(restore.Identities()...)
	fillKeys(o, 1, func(int) [KeySize]byte { return fixedSession })
	secrets := []string{"AGE-SECRET", fmt.Sprint(fixedSecret[:4]), fmt.Sprintf("%x", fixedSecret[:4]), fmt.Sprintf("%x", fixedSeed[:4]), "0x80, 0x81"}
	for _, v := range []any{
		restore, *restore, send, *send, NewIDs(send), u, o, &Group{dedup: fixedSecret}, Group{dedup: fixedSecret}, NewRewrap(restore.Recipient()),
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			got := fmt.Sprintf(format, v)
			for _, secret := range secrets {
				if strings.Contains(got, secret) || len(got) > 40 {
					t.Errorf("%T with %s prints %.200q", v, format, got)
				}
			}
		}
	}
}
