package crypto

import (
	"bytes"
	"errors"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// newReadKey makes a key for a test.
func newReadKey(t testing.TB, p Purpose) *ReadKey {
	t.Helper()
	k, err := GenerateReadKey(p)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSendKey(t testing.TB, readers ...*ReadKey) *SendKey {
	t.Helper()
	var to []Recipient
	for _, r := range readers {
		to = append(to, r.Recipient())
	}
	k, err := GenerateSendKey("web1", to)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newUpload(t testing.TB, k *SendKey) *Upload {
	t.Helper()
	u, err := NewUpload(k)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// sealOne seals plaintext as the sender does.
func sealOne(k *SendKey, u *Upload, kind object.Kind, refs []object.ID, plaintext []byte) *object.Record {
	id := NewIDs(k).ID(kind, refs, plaintext)
	return u.Seal(id, kind, refs, CodecRaw, len(plaintext), plaintext)
}

// openOne opens rec as a reader does: key object, record, id.
func openOne(o *Opener, key, rec *object.Record) ([]byte, error) {
	if !o.HasKey(key.ID) {
		if err := o.AddKey(key); err != nil && !errors.Is(err, ErrNotRecipient) {
			return nil, err
		}
	}
	_, _, stored, err := o.Open(rec)
	if err != nil {
		return nil, err
	}
	return stored, o.CheckID(rec, stored)
}

func TestSealOpen(t *testing.T) {
	restore, list, other := newReadKey(t, ForRestore), newReadKey(t, ForList), newReadKey(t, ForRestore)
	send := newSendKey(t, restore, list)
	u := newUpload(t, send)
	ref := object.HashID([]byte("child"))
	content, names := []byte("the bytes of a file"), []byte("names and times")
	for _, c := range []struct {
		name      string
		reader    *ReadKey
		kind      object.Kind
		refs      []object.ID
		plaintext []byte
		want      error
	}{
		{"restore chunk", restore, object.KindChunk, nil, content, nil},
		{"restore bundle", restore, object.KindBundle, nil, content, nil},
		{"restore dir", restore, object.KindDir, []object.ID{ref}, names, nil},
		{"list dir", list, object.KindDir, []object.ID{ref}, names, nil},
		{"list list", list, object.KindList, []object.ID{ref}, names, nil},
		{"list chunk", list, object.KindChunk, nil, content, ErrNotRecipient},
		{"list bundle", list, object.KindBundle, nil, content, ErrNotRecipient},
		{"stranger dir", other, object.KindDir, nil, names, ErrNotRecipient},
		{"stranger chunk", other, object.KindChunk, nil, content, ErrNotRecipient},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := sealOne(send, u, c.kind, c.refs, c.plaintext)
			encoded := rec.Append(nil)
			rec, err := object.UnmarshalRecord(encoded)
			if err != nil {
				t.Fatal(err)
			}
			got, err := openOne(NewOpener(c.reader.Identities()...), u.KeyObject(c.kind.Class()), rec)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("opening: got error %v, want %v", err, c.want)
			}
			if err == nil && !bytes.Equal(got, c.plaintext) {
				t.Fatalf("got %q, want %q", got, c.plaintext)
			}
			if bytes.Contains(encoded, c.plaintext) {
				t.Fatal("the record holds the plaintext")
			}
		})
	}
}
