package statcache

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// walkBytes returns a walk file of a few records, whole or cut off.
func walkBytes(tb testing.TB, finish bool) []byte {
	tb.Helper()
	dir := tb.TempDir()
	w, err := createWalk(table.OS(dir), "walk-1", binding.hash())
	if err != nil {
		tb.Fatal(err)
	}
	for i, r := range records() {
		body := raw(r)
		path := []byte{'a', byte('a' + i)}
		if err := w.add(path, recordEntry, []byte{byte(len(body.Stat))}, body.Stat, body.Rest); err != nil {
			tb.Fatal(err)
		}
		inner := id(5)
		if err := w.add(path, recordInner, inner[:]); err != nil {
			tb.Fatal(err)
		}
		if i == 2 {
			if err := w.flush(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if finish {
		err = w.finish(false)
	} else if err = w.flush(); err == nil {
		err = w.abandon()
	}
	if err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "walk-1"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A walk file from anywhere is refused or read to its end without a failure.
func FuzzWalk(f *testing.F) {
	f.Add(walkBytes(f, true), false)
	f.Add(walkBytes(f, false), false)
	f.Add(walkBytes(f, true), true)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend {
			b = bytes.Clone(b) // the fuzzer's own is not to be changed
			mendSums(b)
		}
		name := filepath.Join(dir, "walk-1")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openWalk(table.OS(dir), "walk-1", binding.hash(), false)
		if err != nil {
			return
		}
		defer r.close()
		w := newWalk(r)
		var last []byte
		err = w.Rest(func(path []byte, raw Raw) error {
			if last != nil && Compare(last, path) >= 0 {
				t.Errorf("%q comes after %q", path, last)
			}
			last = bytes.Clone(path)
			_, _ = raw.Decode() // may be malformed, must not panic
			return w.Inner(func([]byte) error { return nil })
		})
		if err != nil {
			t.Errorf("a file that was found good: %v", err)
		}
	})
}

// mendSums gives every block of b the checksum that it should have, so that the
// fuzzer gets past it.
func mendSums(b []byte) {
	if len(b) < walkHeader {
		return
	}
	h := binding.hash()
	copy(b[copy(b, walkMagic):], h[:])
	for b = b[walkHeader:]; len(b) >= blockHeader; {
		n := int(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		if n > len(b)-blockHeader {
			return
		}
		sum := blockSum(b[:blockHeader+n])
		for i := range 8 {
			b[8+i] = byte(sum >> (56 - 8*i))
		}
		b = b[blockHeader+n:]
	}
}

func BenchmarkWalkRead(b *testing.B) {
	data := walkBytes(b, true)
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "walk-1"), data, 0o600); err != nil {
		b.Fatal(err)
	}
	r, err := openWalk(table.OS(dir), "walk-1", binding.hash(), true)
	if err != nil {
		b.Fatal(err)
	}
	defer r.close()
	for b.Loop() {
		if err := newWalk(r).Rest(func([]byte, Raw) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// A log from anywhere gives ids that have their checksum, from the first on.
func FuzzLog(f *testing.F) {
	session := object.SessionID{1}
	h := binding.hash()
	head := append(append([]byte(logMagic), h[:]...), session[:]...)
	one := id(1)
	row := binary.BigEndian.AppendUint64(one[:], xxhash.Sum64(one[:]))
	f.Add(append(append(bytes.Clone(head), row...), row...), uint64(2))
	f.Add(append(bytes.Clone(head), row[:39]...), uint64(1))
	f.Add(head[:20], uint64(1))
	dir := f.TempDir()
	c, err := Open(dir, binding, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	f.Fuzz(func(t *testing.T, b []byte, durable uint64) {
		if err := os.WriteFile(filepath.Join(dir, "puts-x"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := c.NewIDSet(1 << 10)
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		n, err := c.readLog("puts-x", object.Adopted{Session: session, Durable: durable}, set)
		if whole := (len(b) - len(head)) / logRecord; n > durable || n > 0 && (n > uint64(whole) || err != nil || !bytes.HasPrefix(b, head)) {
			t.Errorf("%d ids of %d durable ones out of %d bytes, %v", n, durable, len(b), err)
		}
	})
}
