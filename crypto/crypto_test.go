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

// TestSendKeyOpensNothing takes everything that a sender has on disk and in
// its key and tries each as a key to what it has sent.
func TestSendKeyOpensNothing(t *testing.T) {
	send := newSendKey(t, newReadKey(t, ForRestore), newReadKey(t, ForList))
	u := newUpload(t, send)
	rec := sealOne(send, u, object.KindChunk, nil, []byte("what was sent five minutes ago"))
	dir := sealOne(send, u, object.KindDir, nil, []byte("its name"))

	if _, err := ParseReadKey(send.Append(nil)); !errors.Is(err, ErrIsSend) {
		t.Errorf("send key as a key that reads: got error %v, want %v", err, ErrIsSend)
	}
	// Every 32 bytes that the key holds or that the sender derives.
	ids := NewIDs(send)
	secrets := [][KeySize]byte{
		send.dedup, [KeySize]byte(send.signing.Seed()), ids.chunker,
		ids.metadata.key, ids.content.key, ids.files.key, ids.links.key,
		send.idKey(object.ClassMetadata), send.idKey(object.ClassContent), send.Fingerprint(), send.Recipients(),
	}
	for i := range secrets {
		for _, r := range []*object.Record{rec, dir} {
			o := NewOpener()
			o.insert(r.Key, &keyPayload{class: r.Kind.Class(), session: secrets[i]})
			if _, _, _, err := o.Open(r); !errors.Is(err, ErrAuth) {
				t.Errorf("secret %d opens a %s: got error %v, want %v", i, r.Kind, err, ErrAuth)
			}
		}
	}
	// A later upload with the same key has other session keys.
	later := newUpload(t, send)
	for _, r := range []*object.Record{rec, dir} {
		class := r.Kind.Class()
		associated := object.AppendHeader(nil, r.Kind, r.ID, r.Key, r.Refs, len(r.Sealed))
		if _, err := openPayload(later.key(class).aead, r.Sealed, associated); !errors.Is(err, ErrAuth) {
			t.Errorf("a later upload opens a %s of an earlier one: got error %v", r.Kind, err)
		}
		if later.KeyID(class) == u.KeyID(class) {
			t.Errorf("two uploads share the %s key object", class)
		}
	}
}

func TestSecondRecipient(t *testing.T) {
	first, second := newReadKey(t, ForRestore), newReadKey(t, ForRestore)
	send := newSendKey(t, first, second)
	u := newUpload(t, send)
	rec := sealOne(send, u, object.KindBundle, nil, []byte("content"))
	for _, reader := range []*ReadKey{first, second} {
		if _, err := openOne(NewOpener(reader.Identities()...), u.KeyObject(object.ClassContent), rec); err != nil {
			t.Errorf("a recipient can't open: %v", err)
		}
	}
}

// TestIDDomains checks which changes start a new id domain and which do not.
func TestIDDomains(t *testing.T) {
	send := fixedSendKey(t, "restore", "list")
	plaintext := []byte("the same bytes")
	id := func(k *SendKey, kind object.Kind) object.ID { return NewIDs(k).ID(kind, nil, plaintext) }
	other := func(change func(k *SendKey)) *SendKey {
		k := *send
		change(&k)
		return &k
	}
	for _, c := range []struct {
		name              string
		key               *SendKey
		metadata, content bool // whether these ids stay the same
	}{
		{"the same", fixedSendKey(t, "list", "restore"), true, true},
		{"another client and signing key", other(func(k *SendKey) { k.client, k.signing = "web2", newSendKey(t, newReadKey(t, ForRestore)).signing }), true, true},
		{"another dedup secret", other(func(k *SendKey) { k.dedup[0] ^= 1 }), false, false},
		{"one more restore recipient", fixedSendKey(t, "restore", "restore2", "list"), false, false},
		{"another restore recipient", fixedSendKey(t, "restore2", "list"), false, false},
		{"no list recipient", fixedSendKey(t, "restore"), false, true},
	} {
		if got := id(c.key, object.KindDir) == id(send, object.KindDir); got != c.metadata {
			t.Errorf("%s: metadata ids the same: got %v, want %v", c.name, got, c.metadata)
		}
		if got := id(c.key, object.KindChunk) == id(send, object.KindChunk); got != c.content {
			t.Errorf("%s: content ids the same: got %v, want %v", c.name, got, c.content)
		}
		same := c.name == "the same"
		if got := c.key.Fingerprint() == send.Fingerprint(); got != same {
			t.Errorf("%s: send key's fingerprint the same: got %v, want %v", c.name, got, same)
		}
	}
}

// TestChangedRecipients checks that a change of recipients keeps old snapshots
// readable by the old ones and new ones by the new ones.
func TestChangedRecipients(t *testing.T) {
	old, added := newReadKey(t, ForRestore), newReadKey(t, ForRestore)
	before, after := newSendKey(t, old), newSendKey(t, old, added)
	u1, u2 := newUpload(t, before), newUpload(t, after)
	r1 := sealOne(before, u1, object.KindChunk, nil, []byte("content"))
	r2 := sealOne(after, u2, object.KindChunk, nil, []byte("content"))
	for _, c := range []struct {
		name   string
		reader *ReadKey
		u      *Upload
		rec    *object.Record
		want   error
	}{
		{"old reads old", old, u1, r1, nil},
		{"old reads new", old, u2, r2, nil},
		{"added reads new", added, u2, r2, nil},
		{"added reads old", added, u1, r1, ErrNotRecipient},
	} {
		_, err := openOne(NewOpener(c.reader.Identities()...), c.u.KeyObject(object.ClassContent), c.rec)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
	}
}

func TestWithRecipients(t *testing.T) {
	old, added := newReadKey(t, ForRestore), newReadKey(t, ForRestore)
	before := newSendKey(t, old)
	after, err := before.WithRecipients([]Recipient{old.Recipient(), added.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	if after.Sender() != before.Sender() || len(after.RestoreRecipients()) != 2 {
		t.Errorf("got the sender %v with %d recipients", after.Sender(), len(after.RestoreRecipients()))
	}
	if after.Fingerprint() == before.Fingerprint() || after.dedup == before.dedup {
		t.Error("the renewed key shares its id domain")
	}
	if _, err := before.WithRecipients(nil); err == nil {
		t.Error("a key without recipients was made")
	}
}

// TestForeignKeyObject plays a hostile store that knows the recipients' public
// keys: it puts an object of its own in the place of a sender's.
func TestForeignKeyObject(t *testing.T) {
	restore := newReadKey(t, ForRestore)
	send := newSendKey(t, restore)
	victim := sealOne(send, newUpload(t, send), object.KindChunk, nil, []byte("content"))

	hostile := newSendKey(t, restore)
	u := newUpload(t, hostile)
	forged := u.Seal(victim.ID, object.KindChunk, nil, CodecRaw, 6, []byte("forged"))
	if _, err := openOne(NewOpener(restore.Identities()...), u.KeyObject(object.ClassContent), forged); !errors.Is(err, ErrID) {
		t.Errorf("got error %v, want %v", err, ErrID)
	}
	// The same with a key object of the other class.
	forged.Key = u.KeyID(object.ClassMetadata)
	if _, err := openOne(NewOpener(restore.Identities()...), u.KeyObject(object.ClassMetadata), forged); !errors.Is(err, ErrAuth) {
		t.Errorf("key object of the wrong class: got error %v, want %v", err, ErrAuth)
	}
}

func TestUsed(t *testing.T) {
	restore := newReadKey(t, ForRestore)
	send := newSendKey(t, restore)
	u := newUpload(t, send)
	m := &object.Manifest{Client: "web1", Job: "default", Seq: 1, Root: object.HashID([]byte("root"))}
	if u.Used(object.ClassMetadata) || u.Used(object.ClassContent) {
		t.Error("a new upload has sealed something")
	}
	if _, err := u.SealPart(m, nil); err != nil || !m.ContentKey.IsZero() {
		t.Errorf("manifest of an upload without content: key object %s, error %v", m.ContentKey.Short(), err)
	}
	sealOne(send, u, object.KindChunk, nil, []byte("x"))
	if !u.Used(object.ClassMetadata) || !u.Used(object.ClassContent) {
		t.Error("classes that were sealed under are not used")
	}
	if _, err := u.SealPart(m, nil); err != nil || m.ContentKey != u.KeyID(object.ClassContent) {
		t.Errorf("manifest: content key object %s, want %s", m.ContentKey.Short(), u.KeyID(object.ClassContent).Short())
	}
	if m.Recipients != send.Recipients() || m.MetadataKey != u.KeyID(object.ClassMetadata) {
		t.Error("the manifest does not name the upload's recipients and metadata key object")
	}
}

func TestManifest(t *testing.T) {
	restore, list, other := newReadKey(t, ForRestore), newReadKey(t, ForList), newReadKey(t, ForList)
	send := newSendKey(t, restore, list)
	u := newUpload(t, send)
	m := &object.Manifest{Client: "web1", Job: "default", Seq: 1, Root: object.HashID([]byte("root"))}
	plaintext := []byte("host, paths and tags")
	sealed, err := u.SealPart(m, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if err := send.Sign(m); err != nil {
		t.Fatal(err)
	}
	m, err = object.UnmarshalManifest(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(); err != nil {
		t.Error(err)
	}
	if m.Signer != send.Sender().Signer {
		t.Error("the manifest names another signer")
	}
	for _, c := range []struct {
		reader *ReadKey
		want   error
	}{{restore, nil}, {list, nil}, {other, ErrNotRecipient}} {
		o := NewOpener(c.reader.Identities()...)
		if _, err := o.OpenPart(m, sealed); !errors.Is(err, ErrNoKey) {
			t.Errorf("before the key object is added: got error %v, want %v", err, ErrNoKey)
		}
		if err := o.AddKey(u.KeyObject(object.ClassMetadata)); !errors.Is(err, c.want) {
			t.Fatalf("adding the key object: got error %v, want %v", err, c.want)
		}
		got, err := o.OpenPart(m, sealed)
		if !errors.Is(err, c.want) || (err == nil && !bytes.Equal(got, plaintext)) {
			t.Errorf("got %q, error %v, want error %v", got, err, c.want)
		}
	}
	stranger := *m
	stranger.Client = "web2"
	if err := send.Sign(&stranger); err == nil {
		t.Error("the key of web1 signed for web2")
	}
	forged := *m
	forged.Root[0] ^= 1
	if err := forged.Verify(); !errors.Is(err, object.ErrSignature) {
		t.Errorf("forged root: got error %v, want %v", err, object.ErrSignature)
	}
	if _, err := u.SealPart(m, make([]byte, MaxPart+1)); err == nil {
		t.Error("a sealed part over the limit was sealed")
	}
	if b, err := u.SealPart(m, make([]byte, MaxPart)); err != nil || len(b) > object.MaxSealedPart {
		t.Errorf("a sealed part at the limit: %d bytes, error %v", len(b), err)
	}
}
