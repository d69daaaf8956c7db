package crypto

import (
	"container/list"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"sync"

	"filippo.io/age"
	"github.com/packnback/packnback/repo/object"
)

// maxOpenKeys is how many unwrapped key objects an Opener keeps. A snapshot of
// many years touches a few hundred; a thousand take less than 1 MiB.
const maxOpenKeys = 4096

// Opener opens what uploads sealed, with the key of a restorer or a lister. It
// keeps the most recently used unwrapped key objects, so that each is unwrapped
// once. All methods may be called by several goroutines at once.
type Opener struct {
	identities []age.Identity

	mu      sync.Mutex
	keys    map[object.ID]*list.Element // of *openKey
	recent  *list.List                  // most recently used first
	ids     map[[KeySize]byte]*sharedHash
	bundles []*rewrapTable
}

// openKey is one key object as far as it could be unwrapped.
type openKey struct {
	id    object.ID
	class object.Class // 0 when refused
	aead  cipher.AEAD
	hash  *sharedHash
}

// sharedHash is the id hash of one id key. All uploads of a send key share
// theirs, and each holds buffers, so there is one per id key and not one per
// key object.
type sharedHash struct {
	keyedHash
	users int
}

// NewOpener returns an Opener that unwraps key objects with any of identities:
// those of ReadKey.Identities.
func NewOpener(identities ...age.Identity) *Opener {
	return &Opener{
		identities: slices.Clone(identities),
		keys:       make(map[object.ID]*list.Element),
		recent:     list.New(),
		ids:        make(map[[KeySize]byte]*sharedHash),
	}
}

// HasKey reports whether the key object id is loaded: Open will not say
// ErrNoKey for objects under it unless thousands of others are added first. It
// is true as well for one that was added and refused.
func (o *Opener) HasKey(id object.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.find(id) != nil
}

// AddKey unwraps the key object rec and keeps its keys. One that is sealed to
// others gives ErrNotRecipient, now and for every object under it.
func (o *Opener) AddKey(rec *object.Record) error {
	p, err := unwrapKeyObject(rec, o.identities)
	if err != nil && !errors.Is(err, ErrNotRecipient) {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.find(rec.ID) == nil {
		o.insert(rec.ID, p)
	}
	return err
}

// find returns the entry for id and marks it as used, or nil. A key object
// that is not in memory may be in a rewrap bundle. o.mu is held.
func (o *Opener) find(id object.ID) *openKey {
	if e := o.keys[id]; e != nil {
		o.recent.MoveToFront(e)
		return e.Value.(*openKey)
	}
	for _, t := range o.bundles {
		if p := t.find(id); p != nil {
			return o.insert(id, p)
		}
	}
	return nil
}

// insert adds an entry for p, or for a refused key object when p is nil, and
// drops the one that was unused for longest when there are too many. o.mu is
// held and id has no entry.
func (o *Opener) insert(id object.ID, p *keyPayload) *openKey {
	k := &openKey{id: id}
	if p != nil {
		k.class, k.aead = p.class, newAEAD(&p.session)
		if k.hash = o.ids[p.id]; k.hash == nil {
			k.hash = &sharedHash{keyedHash: keyedHash{key: p.id}}
			o.ids[p.id] = k.hash
		}
		k.hash.users++
	}
	o.keys[id] = o.recent.PushFront(k)
	if o.recent.Len() > maxOpenKeys {
		o.drop(o.recent.Back())
	}
	return k
}

func (o *Opener) drop(e *list.Element) {
	k := o.recent.Remove(e).(*openKey)
	delete(o.keys, k.id)
	if k.hash == nil {
		return
	}
	if k.hash.users--; k.hash.users == 0 {
		delete(o.ids, k.hash.key)
	}
}

// lookup returns the keys of the key object id, which must be of the class.
func (o *Opener) lookup(id object.ID, class object.Class) (*openKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.find(id)
	switch {
	case k == nil:
		return nil, fmt.Errorf("key object %s: %w", id.Short(), ErrNoKey)
	case k.class == 0:
		return nil, fmt.Errorf("%s under key object %s: %w", class, id.Short(), ErrNotRecipient)
	case k.class != class:
		return nil, fmt.Errorf("%w: %s under a key object for %s", ErrAuth, class, k.class)
	}
	return k, nil
}

// Open authenticates rec with its header and refs and returns what it carries:
// the codec, the length of the plaintext (at most object.MaxPlaintext) and the
// plaintext as the codec stores it, in memory of its own. The caller undoes
// the codec and then calls CheckID. Errors: ErrNoKey, ErrNotRecipient, ErrAuth,
// object.ErrMalformed.
func (o *Opener) Open(rec *object.Record) (codec byte, raw int, stored []byte, err error) {
	if rec.Kind == object.KindKey || !rec.Kind.Valid() || len(rec.Refs) > object.MaxRefs {
		return 0, 0, nil, fmt.Errorf("%w object %s: a %s with %d refs can't be opened", object.ErrMalformed, rec.ID.Short(), rec.Kind, len(rec.Refs))
	}
	key, err := o.lookup(rec.Key, rec.Kind.Class())
	if err != nil {
		return 0, 0, nil, fmt.Errorf("object %s: %w", rec.ID.Short(), err)
	}
	associated := make([]byte, 0, object.HeaderSize+len(rec.Refs)*object.IDSize)
	associated = object.AppendHeader(associated, rec.Kind, rec.ID, rec.Key, rec.Refs, len(rec.Sealed))
	p, err := openPayload(key.aead, rec.Sealed, associated)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("object %s: %w", rec.ID.Short(), err)
	}
	return p.codec, p.raw, p.stored, nil
}

// CheckID computes the id of rec anew from its plaintext, with the id key that
// came in rec's key object, and returns ErrID when it is another.
func (o *Opener) CheckID(rec *object.Record, plaintext []byte) error {
	key, err := o.lookup(rec.Key, rec.Kind.Class())
	if err != nil {
		return fmt.Errorf("object %s: %w", rec.ID.Short(), err)
	}
	if key.hash.objectID(rec.Kind, rec.Refs, plaintext) != rec.ID {
		return fmt.Errorf("object %s: %w", rec.ID.Short(), ErrID)
	}
	return nil
}

// Format prints the type's name instead of its secrets.
func (o *Opener) Format(f fmt.State, _ rune) { redact(f, "Opener") }
