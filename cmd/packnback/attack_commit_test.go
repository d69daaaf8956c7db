package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// commitAttacks hold web1's keys and try to commit what must not be.
var commitAttacks = []attack{
	{"put-over-own-object", func(t *testing.T, w *world) { w.putOver(t, w.keptObject(t)) }},
	{"put-over-deleted-object", func(t *testing.T, w *world) { w.putOver(t, w.secret) }},
	{"put-over-other's-object", func(t *testing.T, w *world) { w.putOver(t, w.victim) }},
	{"forged-key-object", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		rec := &object.Record{Kind: object.KindKey, ID: w.foreign, Sealed: []byte("not its hash")}
		refused(t, "Put, as an honest client checks", s.Put(t.Context(), rec), object.CodeMalformed)
		w.putsRaw(t, rec, object.CodeMalformed)
	}},
	{"forged-records", func(t *testing.T, w *world) {
		good := storetest.NewUpload("web1", 1).Object(object.KindDir, 100, w.foreign)
		for _, edit := range []func(r *object.Record){
			func(r *object.Record) { r.Kind = 9 }, func(r *object.Record) { r.Key = object.ID{} }, func(r *object.Record) { r.ID = object.ID{} },
			func(r *object.Record) { r.Kind = object.KindChunk }, func(r *object.Record) { r.Refs = []object.ID{r.ID} }, func(r *object.Record) { r.Sealed = nil },
			func(r *object.Record) { r.Key = r.ID }, func(r *object.Record) { r.Refs = []object.ID{{}} },
		} {
			bad := *good
			edit(&bad)
			w.putsRaw(t, &bad, object.CodeMalformed)
		}
	}},
	{"missing-refs", func(t *testing.T, w *world) {
		w.commits(t, func(m *object.Manifest) { rand.Read(m.Root[:]) }, object.CodeMissing)
		w.commits(t, func(m *object.Manifest) { rand.Read(m.MetadataKey[:]) }, object.CodeMissing)
		s := w.open(t, "web1")
		u := storetest.NewUpload("web1", uint64(time.Now().UnixNano()))
		nowhere := u.Object(object.KindChunk, 10)
		root := u.Object(object.KindDir, 10, nowhere.ID)
		w.puts(t, s, u.Metadata, u.Content, root)
		_, err := w.commit(t, s, u, root.ID)
		var missing *object.MissingError
		if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != nowhere.ID {
			t.Errorf("commit with a hole: got %v, want %s missing", err, nowhere.ID.Short())
		}
	}},
	{"relying-on-others", func(t *testing.T, w *world) { w.reliesOn(t, w.foreign) }},
	{"relying-on-the-deleted", func(t *testing.T, w *world) {
		w.isThere(t, w.secret) // or the commit would be refused for another reason
		w.reliesOn(t, w.secret)
	}},
	{"key-object-of-others", func(t *testing.T, w *world) {
		id, err := object.ParseID(w.known[2])
		if err != nil {
			t.Fatal(err)
		}
		snap, err := w.admin(t).Snapshot(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		w.commits(t, func(m *object.Manifest) { m.MetadataKey = snap.Manifest.MetadataKey }, object.CodeMissing)
	}},
	{"another-client's-name", func(t *testing.T, w *world) {
		_, err := w.connect(t, "web1").OpenSession(t.Context(), "web2", "default", object.ID{})
		refused(t, "OpenSession of web2", err, object.CodeDenied)
		w.commits(t, func(m *object.Manifest) { m.Client = "web2" }, object.CodeDenied)
	}},
	{"another-job", func(t *testing.T, w *world) {
		_, err := w.connect(t, "web1").OpenSession(t.Context(), "web1", "nightly", object.ID{})
		refused(t, "OpenSession of another job", err, object.CodeDenied)
		w.commits(t, func(m *object.Manifest) { m.Job = "nightly" }, object.CodeDenied)
	}},
	{"another-repository", func(t *testing.T, w *world) {
		w.commits(t, func(m *object.Manifest) { m.Repository[0]++ }, object.CodeDenied)
	}},
	{"old-time", func(t *testing.T, w *world) {
		for _, then := range []int64{0, -1 << 62, time.Now().Add(-10 * 365 * 24 * time.Hour).UnixNano(), 1<<63 - 1} {
			before := time.Now()
			s := w.open(t, "web1")
			m, sealed, _ := w.upload(t, s, uint64(time.Now().UnixNano()), func(m *object.Manifest) { m.Time = then })
			receipt, err := s.Commit(t.Context(), m, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if received := time.Unix(0, receipt.Received); received.Before(before) || received.After(time.Now().Add(time.Minute)) {
				t.Errorf("a snapshot of the time %d was received at %v", then, received)
			}
		}
	}},
	{"replayed-manifest", func(t *testing.T, w *world) {
		for _, n := range []int{0, 1, 2} { // web1's two, and web2's
			id, err := object.ParseID(w.known[n])
			if err != nil {
				t.Fatal(err)
			}
			snap, err := w.admin(t).Snapshot(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			s := w.open(t, "web1")
			before, _ := w.snapshots(t)
			_, err = s.Commit(t.Context(), snap.Manifest, snap.Sealed)
			if err != nil || s.Standing().Head != id { // the head may be committed again, for a sender that missed the answer
				refused(t, "commit of a manifest that is there", err, object.CodeHeadMoved, object.CodeDenied, object.CodeMissing)
			}
			if after, _ := w.snapshots(t); !slices.Equal(after, before) {
				t.Errorf("the snapshots are %v, want %v", after, before)
			}
		}
	}},
	{"rewound-sequence", func(t *testing.T, w *world) {
		w.commits(t, func(m *object.Manifest) { m.Seq, m.Prev = 1, object.ID{} }, object.CodeHeadMoved)
		w.commits(t, func(m *object.Manifest) { m.Seq-- }, object.CodeHeadMoved)
	}},
	{"skipped-sequence", func(t *testing.T, w *world) {
		w.commits(t, func(m *object.Manifest) { m.Seq += 10 }, object.CodeHeadMoved)
		w.commits(t, func(m *object.Manifest) { m.Seq = 1<<64 - 1 }, object.CodeHeadMoved)
	}},
	{"forked-chain", func(t *testing.T, w *world) {
		prev, err := object.ParseID(w.known[0])
		if err != nil {
			t.Fatal(err)
		}
		w.commits(t, func(m *object.Manifest) { m.Prev = prev }, object.CodeHeadMoved)
	}},
	{"bad-signature", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		m, sealed, _ := w.upload(t, s, uint64(time.Now().UnixNano()), nil)
		m.Signature[0] ^= 1
		_, err := s.Commit(t.Context(), m, sealed)
		refused(t, "commit with a bad signature", err, object.CodeDenied, object.CodeMalformed)
	}},
	{"swapped-sealed-part", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		m, sealed, _ := w.upload(t, s, uint64(time.Now().UnixNano()), nil)
		_, err := s.Commit(t.Context(), m, append([]byte{1}, sealed...))
		refused(t, "commit with another sealed part", err, object.CodeMalformed)
	}},
	{"root-that-is-none", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		_, _, tree := w.upload(t, s, uint64(time.Now().UnixNano()), nil)
		u := storetest.NewUpload("web1", 1)
		w.puts(t, s, u.Metadata, u.Content)
		_, err := w.commit(t, s, u, tree[0].ID)
		refused(t, "commit of a chunk as root", err, object.CodeMalformed)
	}},
	{"forged-cache", func(t *testing.T, w *world) {
		// A cache that says that everything was sent long ago.
		cache := w.file("web1", ".cache/packnback")
		if err := os.WriteFile(w.file("web1", "tree/new"), []byte("not sent yet"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(w.file("web1", "tree/new"))
		w.backup(t, "web1")
		err := filepath.WalkDir(cache, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(name)
			if err != nil || len(text) == 0 {
				return err
			}
			text[len(text)/2] ^= 0x55
			return os.WriteFile(name, text, 0o600)
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		w.backup(t, "web1")
		w.newestIsWhole(t)
	}},
	{"foreign-cache", func(t *testing.T, w *world) {
		if _, _, status := w.exec(t, "web1", "cp", "-r", w.file("web2", ".cache"), w.file("web1", "")); status != 0 {
			t.Fatal("copying the cache failed")
		}
		w.backup(t, "web1")
		w.newestIsWhole(t)
	}},
}

// keptObject returns an object that web1's head reaches.
func (w *world) keptObject(t *testing.T) object.ID {
	t.Helper()
	id, err := object.ParseID(w.known[1])
	if err != nil {
		t.Fatal(err)
	}
	snap, err := w.admin(t).Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var kept object.ID
	err = w.admin(t).Push(t.Context(), snap.Manifest.Root, func(r *object.Record) error {
		if len(r.Refs) > 0 {
			kept = r.Refs[len(r.Refs)-1]
		}
		return nil
	})
	if err != nil || kept.IsZero() {
		t.Fatalf("no object in web1's snapshot: %v", err)
	}
	return kept
}

// putOver puts other bytes under an id that is there, commits a snapshot that
// relies on them, and wants readers of the older snapshots to get the old ones.
func (w *world) putOver(t *testing.T, id object.ID) {
	t.Helper()
	old := w.fetch(t, id)
	s := w.open(t, "web1")
	u := storetest.NewUpload("web1", uint64(time.Now().UnixNano()))
	poison := u.Object(object.KindChunk, 5000)
	poison.ID = id
	root := u.Object(object.KindDir, 10, id)
	w.puts(t, s, u.Metadata, u.Content, poison, root)
	if _, err := w.commit(t, s, u, root.ID); err != nil {
		refused(t, "commit of other bytes under an old id", err, object.CodeMissing, object.CodeMalformed, object.CodeDenied)
	}
	if now := w.fetch(t, id); string(now.Sealed) != string(old.Sealed) || now.Key != old.Key {
		t.Errorf("object %s is no longer what it was", id.Short())
	}
}

func (w *world) fetch(t *testing.T, id object.ID) (rec *object.Record) {
	t.Helper()
	if err := w.admin(t).Fetch(t.Context(), []object.ID{id}, func(r *object.Record) error { rec = r; return nil }); err != nil {
		t.Fatal(err)
	}
	return rec
}

func (w *world) puts(t *testing.T, s *client.Session, records ...*object.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// commit commits root with web1's key.
func (w *world) commit(t *testing.T, s *client.Session, u *storetest.Upload, root object.ID) (object.Receipt, error) {
	t.Helper()
	m, sealed := u.Manifest(s.Standing(), "web1", "default", root)
	if err := w.web1.Sign(m); err != nil {
		u.Sign(m)
	}
	return s.Commit(t.Context(), m, sealed)
}

// commits uploads a good tree with an edited manifest and wants the commit to
// be refused.
func (w *world) commits(t *testing.T, edit func(m *object.Manifest), code object.Code) {
	t.Helper()
	s := w.open(t, "web1")
	m, sealed, _ := w.upload(t, s, uint64(time.Now().UnixNano()), edit)
	_, err := s.Commit(t.Context(), m, sealed)
	refused(t, "commit", err, code)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// reliesOn commits a snapshot that refers to an object which is there, but not
// for web1, and wants it to be missing.
func (w *world) reliesOn(t *testing.T, id object.ID) {
	t.Helper()
	s := w.open(t, "web1")
	u := storetest.NewUpload("web1", uint64(time.Now().UnixNano()))
	root := u.Object(object.KindDir, 10, id)
	w.puts(t, s, u.Metadata, u.Content, root)
	_, err := w.commit(t, s, u, root.ID)
	var missing *object.MissingError
	if !errors.As(err, &missing) || len(missing.IDs) != 1 || missing.IDs[0] != id {
		t.Errorf("commit that relies on an invisible object: got %v, want it missing", err)
	}
}

// putsRaw puts a record past the client's own checks and wants it refused.
func (w *world) putsRaw(t *testing.T, rec *object.Record, code object.Code) {
	t.Helper()
	link := w.wire(t, "web1")
	defer link.Close()
	sent := append([]byte("PNBwire\x01"), w.hello()...)
	sent = append(append(sent, w.openFrame()...), w.putFrame(rec)...)
	if _, err := link.Write(sent); err != nil {
		t.Fatal(err)
	}
	got, err := w.until(link, 1)
	if err != nil || got.Code != code {
		t.Errorf("a forged %s: got %+v, %v; want code %d", rec.Kind, got, err, code)
	}
}

// newestIsWhole restores the newest snapshot of web1 and compares it with what
// was backed up.
func (w *world) newestIsWhole(t *testing.T) {
	t.Helper()
	target := t.TempDir()
	w.must(t, "admin", "restore", "-q", "-r", w.repo, "-k", w.file("admin", "restore.key"), "latest", "--client", "web1", "-t", target)
	diff, _, status := w.exec(t, "admin", "diff", "-r", w.file("web1", "tree"), filepath.Join(target, w.file("web1", "tree")))
	if status != 0 {
		t.Errorf("the newest snapshot has a hole:\n%s", diff)
	}
}
