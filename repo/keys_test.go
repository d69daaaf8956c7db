package repo_test

import (
	"testing"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// TestKeys wants the key objects of all uploads and nothing else.
func TestKeys(t *testing.T) {
	r, err := repo.Init(t.Context(), t.TempDir(), repo.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := make(map[object.ID]bool)
	for seed := range uint64(3) {
		u := storetest.NewUpload("web1", seed)
		s, err := r.OpenSession(t.Context(), repo.SessionRequest{Client: "web1", Job: object.DefaultJob})
		if err != nil {
			t.Fatal(err)
		}
		tree := u.Tree(20, 200, 10)
		for _, rec := range append([]*object.Record{u.Metadata, u.Content}, tree...) {
			if err := s.Put(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		m, sealed := u.Manifest(s.Standing(), "web1", object.DefaultJob, tree[len(tree)-1].ID)
		if _, err := s.Commit(t.Context(), m, sealed); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		want[u.Metadata.ID], want[u.Content.ID] = true, true
	}
	got := make(map[object.ID]bool)
	err = r.Keys(t.Context(), func(rec *object.Record) error {
		if rec.Kind != object.KindKey || !want[rec.ID] {
			t.Errorf("got %s %s", rec.Kind, rec.ID.Short())
		}
		got[rec.ID] = true
		return rec.Validate()
	})
	if err != nil || len(got) != len(want) {
		t.Errorf("got %d key objects, error %v, want %d", len(got), err, len(want))
	}
}
