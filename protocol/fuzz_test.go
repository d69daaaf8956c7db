package protocol

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzUnmarshal feeds payloads of every type to their decoders: none may
// panic, and what is accepted must be encoded again to the same bytes.
func FuzzUnmarshal(f *testing.F) {
	seeds := 0
	for _, m := range samples() {
		f.Add(byte(m.Type()), m.Append(nil))
		seeds++
	}
	for _, v := range readVectors(f) {
		f.Add(byte(v.kind), v.payload)
		seeds++
	}
	if seeds < len(limits) {
		f.Fatalf("only %d seeds for %d types", seeds, len(limits))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		m, err := Unmarshal(Type(kind), b)
		if err != nil {
			if m != nil {
				t.Fatalf("a message came with the error %v", err)
			}
			return
		}
		if got := m.Append(nil); m.Type() != Type(kind) || !bytes.Equal(got, b) {
			t.Fatalf("%s: accepted %x, encodes to %x", Type(kind), b, got)
		}
		if e, ok := m.(*Error); ok && len(e.Err().Error()) > MaxDetail {
			t.Fatalf("error text of %d bytes", len(e.Err().Error()))
		}
	})
}

// FuzzReadHeader reads a stream of frames and checks that no header asks for
// more than its type's limit.
func FuzzReadHeader(f *testing.F) {
	var all []byte
	for _, m := range samples() {
		all = AppendFrame(all, m)
		f.Add(AppendFrame(nil, m))
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			h, err := ReadHeader(r)
			if err != nil {
				if r.Len() == 0 && len(b) == 0 && !errors.Is(err, io.EOF) {
					t.Fatalf("empty stream: %v", err)
				}
				return
			}
			if limit, ok := h.Type.Limit(); !ok || h.Length > limit || h.Length > MaxPayload {
				t.Fatalf("header of %s with %d bytes was let through", h.Type, h.Length)
			}
			payload := make([]byte, h.Length)
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			if m, err := Unmarshal(h.Type, payload); err == nil {
				frame := AppendFrame(nil, m)
				if !bytes.Equal(frame[HeaderSize:], payload) {
					t.Fatalf("%s: frame is not canonical", h.Type)
				}
			}
		}
	})
}
