package crypto

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync/atomic"

	"github.com/packnback/packnback/repo/object"
	"golang.org/x/crypto/chacha20poly1305"
)

// Upload holds the session keys of one upload, one per class, and seals with
// them. The keys are fresh and random, are in this process's memory only, and
// no method gives them out: what is sealed can be opened with a recipient's
// key and with nothing that the sender keeps. All methods may be called by
// several goroutines at once.
type Upload struct {
	metadata, content uploadKey
	recipients        object.ID
}

type uploadKey struct {
	aead   cipher.AEAD
	object *object.Record
	used   atomic.Bool
}

// NewUpload makes the session keys of one process's upload and wraps them for
// the recipients of k.
func NewUpload(k *SendKey) (*Upload, error) {
	u := &Upload{recipients: k.Recipients()}
	for _, class := range [...]object.Class{object.ClassMetadata, object.ClassContent} {
		p := keyPayload{class: class, id: k.idKey(class)}
		rand.Read(p.session[:])
		rec, err := p.wrap(k.recipients.class(class))
		if err != nil {
			return nil, err
		}
		key := u.key(class)
		key.aead, key.object = newAEAD(&p.session), rec
	}
	return u, nil
}

func newAEAD(key *[KeySize]byte) cipher.AEAD {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // only for a key that is not 32 bytes
	}
	return aead
}

func (u *Upload) key(class object.Class) *uploadKey {
	switch class {
	case object.ClassMetadata:
		return &u.metadata
	case object.ClassContent:
		return &u.content
	}
	panic(fmt.Sprintf("crypto: no session key for %s", class))
}

// KeyObject returns the key object of a class. It must be put before the first
// object that was sealed under the class; the content one need not be put at
// all when no content was sealed. The record must not be changed.
func (u *Upload) KeyObject(class object.Class) *object.Record { return u.key(class).object }

// KeyID returns the id of the key object of a class.
func (u *Upload) KeyID(class object.Class) object.ID { return u.key(class).object.ID }

// Used reports whether anything has been sealed under a class.
func (u *Upload) Used(class object.Class) bool { return u.key(class).used.Load() }

// Seal returns the record of an object. stored is the plaintext of raw bytes
// as codec (CodecRaw, CodecZstd) stores it: exactly the plaintext, or fewer
// bytes. The caller computed id over kind, refs and the plaintext. The record
// keeps refs and copies stored. An object is sealed once: a retry sends the
// same record again. Lengths beyond the limits of package object are a bug of
// the caller and panic.
func (u *Upload) Seal(id object.ID, kind object.Kind, refs []object.ID, codec byte, raw int, stored []byte) *object.Record {
	if err := checkPayload(codec, raw, len(stored)); err != nil {
		panic("crypto: " + err.Error())
	}
	if len(refs) > object.MaxRefs || kind == object.KindKey {
		panic(fmt.Sprintf("crypto: sealing a %s with %d refs", kind, len(refs)))
	}
	key := u.key(kind.Class())
	key.used.Store(true)
	associated := make([]byte, 0, object.HeaderSize+len(refs)*object.IDSize)
	associated = object.AppendHeader(associated, kind, id, key.object.ID, refs, sealedSize(len(stored)))
	return &object.Record{
		Kind: kind, ID: id, Key: key.object.ID, Refs: refs,
		Sealed: payload{codec, raw, stored}.seal(key.aead, randomNonce(), associated),
	}
}

// Format prints the type's name instead of its secrets.
func (u *Upload) Format(f fmt.State, _ rune) { redact(f, "Upload") }
