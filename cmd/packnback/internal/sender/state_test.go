package sender

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/packnback/packnback/repo/object"
)

func someManifest() *object.Manifest {
	m := &object.Manifest{Repository: object.RepositoryID{1}, Client: "web1", Job: "default", Seq: 2,
		Prev: object.ID{2}, Root: object.ID{3}, MetadataKey: object.ID{4}, SealedHash: object.ID{5}, Time: 6}
	m.Signature[0] = 7
	return m
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	binding := [stateBinding]byte{1, 2, 3}
	open := func(b [stateBinding]byte) (*state, []string) {
		t.Helper()
		var notes []string
		s, err := openState(dir, b, func(n string) { notes = append(notes, n) })
		if err != nil {
			t.Fatal(err)
		}
		return s, notes
	}
	s, _ := open(binding)
	if s.head != nil || s.pending != nil {
		t.Fatalf("new state: %+v", s)
	}
	m := someManifest()
	if err := s.prepare(m); err != nil {
		t.Fatal(err)
	}
	if s, _ = open(binding); s.head != nil || s.pending == nil || s.pending.ID() != m.ID() {
		t.Fatalf("after prepare: head %v, pending %v", s.head, s.pending)
	}
	if err := s.committed(m, 99); err != nil {
		t.Fatal(err)
	}
	s, notes := open(binding)
	if want := (&knownHead{binding, 2, m.ID(), 99}); !cmp.Equal(s.head, want, cmp.AllowUnexported(knownHead{})) || s.pending != nil || len(notes) > 0 {
		t.Errorf("after commit: head %+v, pending %v, notes %q; want %+v", s.head, s.pending, notes, want)
	}
	// Another key's state is none of ours, and stays.
	if s, notes = open([stateBinding]byte{9}); s.head != nil || len(notes) > 0 {
		t.Errorf("with another key: head %+v, notes %q", s.head, notes)
	}
	for _, name := range []string{headName, pendingName} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, notes = open(binding); len(notes) != 1 || name == headName && s.head != nil {
			t.Errorf("damaged %s: head %+v, notes %q", name, s.head, notes)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLastBackups(t *testing.T) {
	l := newLab(t)
	l.write("f", []byte("x"))
	if last, err := LastBackups(l.cfg.Folders.State); err != nil || len(last) != 0 {
		t.Errorf("before any backup: %v, %v", last, err)
	}
	sum := l.backup()
	last, err := LastBackups(l.cfg.Folders.State)
	want := []LastBackup{{Repository: l.cfg.Repository.String(), Client: "web1", Job: "default", Seq: 1, Snapshot: sum.Snapshot, Received: sum.Receipt.Received}}
	if d := cmp.Diff(want, last); d != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
	bad := filepath.Join(l.cfg.Folders.State, "00", "web2", "other")
	if err := errors.Join(os.MkdirAll(bad, 0o700), os.WriteFile(filepath.Join(bad, headName), []byte("rubbish"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if last, err = LastBackups(l.cfg.Folders.State); len(last) != 1 || !errors.Is(err, errState) {
		t.Errorf("with a damaged one: %v, %v", last, err)
	}
}

func FuzzHead(f *testing.F) {
	f.Add((&knownHead{[stateBinding]byte{1}, 2, object.ID{3}, -4}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := unmarshalHead(b)
		if err != nil {
			return
		}
		if again := h.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes as %+v, which encodes as %x", b, h, again)
		}
	})
}

func FuzzPending(f *testing.F) {
	f.Add(appendPending(nil, [stateBinding]byte{1}, someManifest()))
	f.Fuzz(func(t *testing.T, b []byte) {
		binding, m, err := unmarshalPending(b)
		if err != nil {
			return
		}
		if again := appendPending(nil, binding, m); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes as %+v, which encodes as %x", b, m, again)
		}
	})
}
