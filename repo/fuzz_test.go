package repo

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/internal/vectortest"
)

// fuzzFormat fuzzes one format's reader with the vectors as seeds: whatever it
// accepts it must encode as the same bytes.
func fuzzFormat(f *testing.F, format string) {
	seeds := 0
	for _, v := range vectortest.Load(f) {
		if v.Params["format"] == format {
			f.Add(v.Bytes)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatalf("no vectors of format %s", format)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, mended(format, b)} {
			again, err := roundTrip(format, b)
			if err == nil && !bytes.Equal(again, b) {
				t.Errorf("%x\naccepted, but encoded again it is\n%x", b, again)
			}
		}
	})
}

// mended returns b with checksums that fit, so that the fuzzer comes to what is
// behind them.
func mended(format string, b []byte) []byte {
	b = bytes.Clone(b)
	switch format {
	case "config":
		if i := bytes.LastIndex(b, []byte("\nchecksum ")); i >= 0 {
			return appendConfigSum(b[:i+1])
		}
	case "session":
		mendSession(b)
	default:
		if len(b) >= 8 {
			return resummed(b)
		}
	}
	return b
}

// mendSession puts the right checksums behind the header and each record.
func mendSession(b []byte) {
	const fixed = len(sessionMagic) + 16 + 16 + 16 + 8 + 1
	if len(b) <= fixed {
		return
	}
	at := fixed + 1 + int(b[fixed])
	if len(b) <= at {
		return
	}
	at += 1 + int(b[at])
	if len(b) < at+8 {
		return
	}
	sum := xxhash.Sum64(b[:at])
	binary.BigEndian.PutUint64(b[at:], sum)
	for at += 8; len(b) >= at+sessionRecordSize; {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n < 1 || n > maxSessionRecord || len(b) < at+4+n+8 {
			return
		}
		sum = recordSum(b[at:at+4+n], sum)
		binary.BigEndian.PutUint64(b[at+4+n:], sum)
		at += 4 + n + 8
	}
}

func FuzzConfig(f *testing.F)  { fuzzFormat(f, "config") }
func FuzzCurrent(f *testing.F) { fuzzFormat(f, "CURRENT") }
func FuzzHead(f *testing.F)    { fuzzFormat(f, "head") }
func FuzzUsed(f *testing.F)    { fuzzFormat(f, "used") }
func FuzzPruned(f *testing.F)  { fuzzFormat(f, "pruned") }
func FuzzDrilled(f *testing.F) { fuzzFormat(f, "drilled") }
func FuzzSession(f *testing.F) { fuzzFormat(f, "session") }
