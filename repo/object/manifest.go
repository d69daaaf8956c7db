package object

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
)

// manifestDomain begins every signed manifest. It keeps the signature from
// being taken for one over anything else, and its last digit is the version.
const manifestDomain = "packnback manifest v1\n"

// MaxSealedPart is the largest length of a manifest's sealed part.
const MaxSealedPart = 1 << 20

// MaxLink is the largest length of a signed manifest (its public part and
// signature, which are also the link that is kept for ever).
const MaxLink = len(manifestDomain) + RepositoryIDSize + 2*(1+MaxName) + 8 + 6*IDSize + 8 + ed25519.PublicKeySize + ed25519.SignatureSize

// RepositoryIDSize is the length of a RepositoryID in bytes.
const RepositoryIDSize = 16

// RepositoryID is the random name a repository gets when it is made.
type RepositoryID [RepositoryIDSize]byte

// String returns the 32 lower-case hex digits of id.
func (id RepositoryID) String() string { return fmt.Sprintf("%x", id[:]) }

// ErrSignature says that a manifest's signature does not fit its bytes.
var ErrSignature = errors.New("signature does not verify")

// Manifest is the public, signed part of a snapshot: what the store may read
// and what the sender vouches for. The sealed part (host, paths, tags, counts)
// is bound by its hash, so a forgotten snapshot's link still verifies when its
// sealed part is gone. The layout is in packnback-repository(5), "Manifest".
type Manifest struct {
	Repository  RepositoryID
	Client, Job string
	Seq         uint64 // 1 for the first snapshot of a chain, then +1
	Prev        ID     // snapshot before this one in the chain; zero when Seq is 1
	Root        ID     // root directory object
	MetadataKey ID     // key object of this upload's metadata class
	ContentKey  ID     // key object of this upload's content class; zero when it sealed no content
	Recipients  ID     // fingerprint of all recipients this upload was sealed to
	SealedHash  ID     // SHA-256 of the sealed part
	Time        int64  // the sender's clock, nanoseconds since 1970; never used for retention

	Signer    [ed25519.PublicKeySize]byte
	Signature [ed25519.SignatureSize]byte
}

// Roots returns the ids that a snapshot of m keeps alive.
func (m *Manifest) Roots() []ID {
	roots := []ID{m.Root, m.MetadataKey}
	if !m.ContentKey.IsZero() {
		roots = append(roots, m.ContentKey)
	}
	return roots
}

// AppendUnsigned appends what the signature covers: everything but Signature.
func (m *Manifest) AppendUnsigned(dst []byte) []byte {
	dst = append(dst, manifestDomain...)
	dst = append(dst, m.Repository[:]...)
	dst = append(dst, byte(len(m.Client)))
	dst = append(dst, m.Client...)
	dst = append(dst, byte(len(m.Job)))
	dst = append(dst, m.Job...)
	dst = binary.BigEndian.AppendUint64(dst, m.Seq)
	for _, id := range [...]*ID{&m.Prev, &m.Root, &m.MetadataKey, &m.ContentKey, &m.Recipients, &m.SealedHash} {
		dst = append(dst, id[:]...)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Time))
	return append(dst, m.Signer[:]...)
}

// Append appends the signed manifest. UnmarshalManifest is its inverse. The
// SHA-256 of these bytes is the snapshot's id.
func (m *Manifest) Append(dst []byte) []byte {
	return append(m.AppendUnsigned(dst), m.Signature[:]...)
}

// ID returns the snapshot id of m.
func (m *Manifest) ID() ID { return HashID(m.Append(nil)) }

// Verify checks m's signature against the key it names. Whether that key is
// the right one for the client is for the caller to decide.
func (m *Manifest) Verify() error {
	if !ed25519.Verify(m.Signer[:], m.AppendUnsigned(nil), m.Signature[:]) {
		return fmt.Errorf("manifest %d of %s/%s: %w", m.Seq, m.Client, m.Job, ErrSignature)
	}
	return nil
}

// UnmarshalManifest reads the one signed manifest that b is, no byte more. It
// checks names and that Seq and Prev go together, not the signature.
func UnmarshalManifest(b []byte) (*Manifest, error) {
	if len(b) > MaxLink {
		return nil, fmt.Errorf("%w manifest: %d bytes, limit is %d", ErrMalformed, len(b), MaxLink)
	}
	d := decoder{b: b}
	if string(d.take(len(manifestDomain))) != manifestDomain {
		return nil, fmt.Errorf("%w manifest: not a version 1 manifest", ErrMalformed)
	}
	m := new(Manifest)
	copy(m.Repository[:], d.take(RepositoryIDSize))
	m.Client = string(d.take(int(d.uint8())))
	m.Job = string(d.take(int(d.uint8())))
	m.Seq = d.uint64()
	for _, id := range [...]*ID{&m.Prev, &m.Root, &m.MetadataKey, &m.ContentKey, &m.Recipients, &m.SealedHash} {
		copy(id[:], d.take(IDSize))
	}
	m.Time = int64(d.uint64())
	copy(m.Signer[:], d.take(ed25519.PublicKeySize))
	copy(m.Signature[:], d.take(ed25519.SignatureSize))
	if err := d.end("manifest"); err != nil {
		return nil, err
	}
	return m, m.check()
}

func (m *Manifest) check() error {
	if err := CheckName("client", m.Client); err != nil {
		return fmt.Errorf("%w manifest: %w", ErrMalformed, err)
	}
	if err := CheckName("job", m.Job); err != nil {
		return fmt.Errorf("%w manifest: %w", ErrMalformed, err)
	}
	if m.Seq == 0 || (m.Seq == 1) != m.Prev.IsZero() {
		return fmt.Errorf("%w manifest: sequence number %d with previous snapshot %s", ErrMalformed, m.Seq, m.Prev.Short())
	}
	if m.Root.IsZero() || m.MetadataKey.IsZero() {
		return fmt.Errorf("%w manifest: no root or no key object", ErrMalformed)
	}
	return nil
}
