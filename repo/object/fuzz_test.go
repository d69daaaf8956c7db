package object_test

import (
	"bytes"
	"testing"

	"github.com/packnback/packnback/repo/internal/vectortest"
	"github.com/packnback/packnback/repo/object"
)

// fuzzFormat fuzzes one decoder: what it takes, written again, must be the same
// bytes. With mended the checksum at the end is made right first, because no
// mutation would get past it.
func fuzzFormat(f *testing.F, kind string, read func(t *testing.T, b []byte) ([]byte, error)) {
	seeds := 0
	for _, v := range vectortest.Load(f) {
		if v.Params["type"] == kind {
			f.Add(v.Bytes, true)
			f.Add(v.Bytes, false)
			seeds++
		}
	}
	if seeds < 15 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, b []byte, mended bool) {
		if mended && len(b) >= 8 {
			b = mend(b)
		}
		again, err := read(t, b)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x\nwritten again is\n%x", b, again)
		}
		if err != nil && outcome(err) != "malformed" && outcome(err) != "checksum" {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	fuzzFormat(f, "record", func(t *testing.T, b []byte) ([]byte, error) {
		h, headErr := object.ParseHeader(b)
		r, err := object.UnmarshalRecord(b)
		if err != nil {
			return nil, err
		}
		if headErr != nil || h.Size() != len(b) || r.Size() != len(b) || h.Kind != r.Kind || h.ID != r.ID || h.Key != r.Key ||
			h.Refs != len(r.Refs) || h.Sealed != len(r.Sealed) {
			t.Fatalf("%x: header %+v, %v, of record %+v", b, h, headErr, r)
		}
		return r.Append(nil), nil
	})
}

func FuzzManifest(f *testing.F) {
	fuzzFormat(f, "manifest", func(t *testing.T, b []byte) ([]byte, error) {
		m, err := object.UnmarshalManifest(b)
		if err != nil {
			return nil, err
		}
		if m.ID() != object.HashID(b) {
			t.Fatalf("%x: id %s", b, m.ID())
		}
		if err := m.Verify(); err != nil && outcome(err) != "signature" {
			t.Fatal(err)
		}
		return m.Append(nil), nil
	})
}

func FuzzSnapshot(f *testing.F) {
	fuzzFormat(f, "snapshot", func(_ *testing.T, b []byte) ([]byte, error) {
		s, err := object.UnmarshalSnapshot(b)
		if err != nil {
			return nil, err
		}
		return s.Append(nil), nil
	})
}
