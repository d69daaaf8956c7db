package crypto

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/packnback/packnback/repo/object"
	"golang.org/x/crypto/chacha20poly1305"
)

// The codecs: how the stored bytes of a payload become the plaintext.
const (
	CodecRaw  byte = 0 // they are the plaintext
	CodecZstd byte = 1 // they are zstd frames of it
)

// payloadHeader is u8 codec | u32 raw length | u32 stored length.
const payloadHeader = 9

// sealOverhead is what sealing adds to a payload: nonce and tag.
const sealOverhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// sealedSize returns the length of the sealed bytes for stored bytes.
func sealedSize(stored int) int { return sealOverhead + Padme(payloadHeader+stored) }

// checkPayload holds for what Seal accepts and for what Open lets through.
func checkPayload(codec byte, raw, stored int) error {
	switch {
	case codec > CodecZstd:
		return fmt.Errorf("%w payload: unknown codec %d", object.ErrMalformed, codec)
	case raw < 0 || raw > object.MaxPlaintext:
		return fmt.Errorf("%w payload: %d plaintext bytes, limit is %d", object.ErrMalformed, raw, object.MaxPlaintext)
	case stored < 0 || stored > raw || (codec == CodecRaw && stored != raw):
		return fmt.Errorf("%w payload: codec %d with %d stored bytes for %d plaintext bytes", object.ErrMalformed, codec, stored, raw)
	}
	return nil
}

// payload is what sealed bytes carry.
type payload struct {
	codec  byte
	raw    int    // length of the plaintext
	stored []byte // the plaintext as codec stores it
}

// nonce is XChaCha20's: long enough to be random, so a machine that was cloned
// while it ran does not repeat one.
type nonce [chacha20poly1305.NonceSizeX]byte

func randomNonce() (n nonce) {
	rand.Read(n[:])
	return n
}

// seal returns nonce | AEAD(payload), made in one buffer of exactly the right
// size.
func (p payload) seal(aead cipher.AEAD, n nonce, associated []byte) []byte {
	sealed := make([]byte, sealedSize(len(p.stored)))
	copy(sealed, n[:])
	b := sealed[len(n) : len(sealed)-chacha20poly1305.Overhead]
	b[0] = p.codec
	binary.BigEndian.PutUint32(b[1:], uint32(p.raw))
	binary.BigEndian.PutUint32(b[5:], uint32(len(p.stored)))
	copy(b[payloadHeader:], p.stored)
	aead.Seal(b[:0], n[:], b, associated)
	return sealed
}

// openPayload is the inverse of payload.seal. The stored bytes are in memory of
// their own; sealed is only read.
func openPayload(aead cipher.AEAD, sealed, associated []byte) (payload, error) {
	if len(sealed) < sealOverhead+payloadHeader || len(sealed) > object.MaxSealed {
		return payload{}, fmt.Errorf("%w: %d sealed bytes", object.ErrMalformed, len(sealed))
	}
	nonce, box := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	b, err := aead.Open(make([]byte, 0, len(box)-chacha20poly1305.Overhead), nonce, box, associated)
	if err != nil {
		return payload{}, ErrAuth
	}
	return unmarshalPayload(b)
}

// unmarshalPayload reads the one payload that b is, padding included. The
// stored bytes share b's memory.
func unmarshalPayload(b []byte) (payload, error) {
	if len(b) < payloadHeader {
		return payload{}, fmt.Errorf("%w payload: %d bytes", object.ErrMalformed, len(b))
	}
	raw, stored := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:])
	if raw > object.MaxPlaintext || stored > object.MaxPlaintext {
		return payload{}, fmt.Errorf("%w payload: lengths %d and %d, limit is %d", object.ErrMalformed, raw, stored, object.MaxPlaintext)
	}
	p := payload{codec: b[0], raw: int(raw)}
	if err := checkPayload(p.codec, p.raw, int(stored)); err != nil {
		return payload{}, err
	}
	if want := Padme(payloadHeader + int(stored)); len(b) != want {
		return payload{}, fmt.Errorf("%w payload: %d bytes with padding, want %d", object.ErrMalformed, len(b), want)
	}
	end := payloadHeader + int(stored)
	for i, c := range b[end:] {
		if c != 0 {
			return payload{}, fmt.Errorf("%w payload: byte %d of the padding is not zero", object.ErrMalformed, i)
		}
	}
	p.stored = b[payloadHeader:end:end]
	return p, nil
}
