package tree

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// memory is a store of objects for tests. Its ids are plain hashes.
type memory struct {
	objects map[object.ID]stored
	puts    int // objects emitted, repetitions included
	fresh   int // objects that were not there
	bytes   int // plaintext and refs of those
	largest int
}

type stored struct {
	kind      object.Kind
	refs      []object.ID
	plaintext []byte
}

func newMemory() *memory { return &memory{objects: make(map[object.ID]stored)} }

func testID(kind object.Kind, refs []object.ID, plaintext []byte) object.ID {
	b := []byte{byte(kind)}
	b = binary.BigEndian.AppendUint32(b, uint32(len(refs)))
	for _, r := range refs {
		b = append(b, r[:]...)
	}
	return object.HashID(append(b, plaintext...))
}

func (m *memory) emit(kind object.Kind, refs []object.ID, plaintext []byte) (object.ID, error) {
	id := testID(kind, refs, plaintext)
	m.puts++
	m.largest = max(m.largest, len(plaintext))
	if _, ok := m.objects[id]; !ok {
		m.fresh++
		m.bytes += len(plaintext) + len(refs)*object.IDSize
		m.objects[id] = stored{kind, append([]object.ID(nil), refs...), append([]byte(nil), plaintext...)}
	}
	return id, nil
}

func (m *memory) load(kind object.Kind, id object.ID) ([]object.ID, []byte, error) {
	s, ok := m.objects[id]
	if !ok || s.kind != kind {
		return nil, nil, fmt.Errorf("no %s %s", kind, id.Short())
	}
	return s.refs, s.plaintext, nil
}

// numberID returns an id that stands for an object nobody looks at.
func numberID(n uint64) object.ID {
	return object.HashID(binary.BigEndian.AppendUint64([]byte("test object"), n))
}

// writeDir writes a directory of entries and fails the test where that fails.
func writeDir(t testing.TB, m *memory, entries []Entry) object.ID {
	t.Helper()
	w := NewDirWriter(m.emit)
	for i := range entries {
		if err := w.Add(&entries[i]); err != nil {
			t.Fatalf("Add(%q): %v", entries[i].Name, err)
		}
	}
	id, err := w.Close()
	if err != nil {
		t.Fatalf("Close: %v", err)
	}
	return id
}

// readDir reads it back.
func readDir(t testing.TB, m *memory, id object.ID) []Entry {
	t.Helper()
	var got []Entry
	for e, err := range ReadDir(m.load, id) {
		if err != nil {
			t.Fatalf("ReadDir after %d entries: %v", len(got), err)
		}
		got = append(got, *e)
	}
	return got
}
