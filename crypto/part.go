package crypto

import (
	"encoding/binary"
	"fmt"

	"github.com/packnback/packnback/repo/object"
)

// MaxPart is the largest plaintext of a manifest's sealed part in bytes:
// padded and sealed it stays below object.MaxSealedPart.
const MaxPart = 960 << 10

// partDomain begins the associated data of a sealed part; its last digit is
// the version.
const partDomain = "packnback sealed part v1\n"

// SealPart seals the sealed part of m, whose Repository, Client, Job, Seq and
// the others that only the sender knows are already set, and fills in what
// this upload determines: MetadataKey, ContentKey, Recipients and SealedHash.
// It is the last thing sealed in an upload; Sign comes next.
func (u *Upload) SealPart(m *object.Manifest, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxPart {
		return nil, fmt.Errorf("sealing the manifest of %s/%s: %d bytes of names and tags, limit is %d", m.Client, m.Job, len(plaintext), MaxPart)
	}
	u.metadata.used.Store(true)
	m.MetadataKey, m.ContentKey = u.metadata.object.ID, object.ID{}
	if u.content.used.Load() {
		m.ContentKey = u.content.object.ID
	}
	m.Recipients = u.recipients
	sealed := payload{CodecRaw, len(plaintext), plaintext}.seal(u.metadata.aead, randomNonce(), partAssociated(m))
	m.SealedHash = object.HashID(sealed)
	return sealed, nil
}

// partAssociated ties a sealed part to its place: no other manifest can carry
// it, whatever it is signed with.
func partAssociated(m *object.Manifest) []byte {
	b := append([]byte(partDomain), m.Repository[:]...)
	b = append(b, byte(len(m.Client)))
	b = append(b, m.Client...)
	b = append(b, byte(len(m.Job)))
	b = append(b, m.Job...)
	b = binary.BigEndian.AppendUint64(b, m.Seq)
	return append(b, m.MetadataKey[:]...)
}

// OpenPart opens the sealed part of m. The key object m.MetadataKey must have
// been added. It checks the hash that m carries, not m's signature.
func (o *Opener) OpenPart(m *object.Manifest, sealed []byte) ([]byte, error) {
	p, err := o.openPart(m, sealed)
	if err != nil {
		return nil, fmt.Errorf("sealed part of manifest %d of %s/%s: %w", m.Seq, m.Client, m.Job, err)
	}
	return p, nil
}

func (o *Opener) openPart(m *object.Manifest, sealed []byte) ([]byte, error) {
	if len(sealed) > object.MaxSealedPart {
		return nil, fmt.Errorf("%w: %d bytes, limit is %d", object.ErrMalformed, len(sealed), object.MaxSealedPart)
	}
	if object.HashID(sealed) != m.SealedHash {
		return nil, fmt.Errorf("%w: not the one the manifest names", ErrAuth)
	}
	key, err := o.lookup(m.MetadataKey, object.ClassMetadata)
	if err != nil {
		return nil, err
	}
	p, err := openPayload(key.aead, sealed, partAssociated(m))
	if err != nil {
		return nil, err
	}
	if p.codec != CodecRaw {
		return nil, fmt.Errorf("%w: codec %d", object.ErrMalformed, p.codec)
	}
	return p.stored, nil
}
