package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// drillStatus returns what status says of the last drill of each job.
func drillStatus(t *testing.T, r *repo.Repository) map[string]repo.Drill {
	t.Helper()
	st, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]repo.Drill)
	for _, j := range st.Jobs {
		all[j.Client+"/"+j.Job] = j.Drill
	}
	return all
}

// TestRecordDrill wants a drill of a snapshot to be remembered for its own job,
// anything else refused, and a note that was spoiled to count as none.
func TestRecordDrill(t *testing.T) {
	dir := t.TempDir()
	r, err := repo.Init(t.Context(), dir, repo.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	snaps := make(map[string]object.ID)
	for seed, job := range []string{"one", "two"} {
		u := storetest.NewUpload("web1", uint64(seed))
		s, err := r.OpenSession(t.Context(), repo.SessionRequest{Client: "web1", Job: job})
		if err != nil {
			t.Fatal(err)
		}
		tree := u.Tree(5, 200, 10)
		for _, rec := range append([]*object.Record{u.Metadata, u.Content}, tree...) {
			if err := s.Put(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		m, sealed := u.Manifest(s.Standing(), "web1", job, tree[len(tree)-1].ID)
		receipt, err := s.Commit(t.Context(), m, sealed)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		snaps[job] = receipt.Snapshot
	}
	for name, d := range drillStatus(t, r) {
		if d != (repo.Drill{}) {
			t.Errorf("%s before any drill: got %+v", name, d)
		}
	}
	want := repo.Drill{Snapshot: snaps["one"], Time: 1, Files: 9, Read: 8, Bytes: 7, Lost: 6}
	for _, c := range []struct {
		client, job string
		change      func(*repo.Drill)
		code        object.Code
	}{
		{"web1", "two", func(*repo.Drill) {}, object.CodeInvalid},
		{"web2", "one", func(*repo.Drill) {}, object.CodeInvalid},
		{"..", "one", func(*repo.Drill) {}, object.CodeInvalid},
		{"web1", "a/b", func(*repo.Drill) {}, object.CodeInvalid},
		{"web1", "one", func(d *repo.Drill) { d.Read = 10 }, object.CodeInvalid},
		{"web1", "one", func(d *repo.Drill) { d.Snapshot = object.ID{} }, object.CodeInvalid},
		{"web1", "one", func(d *repo.Drill) { d.Snapshot = object.HashID([]byte("none")) }, object.CodeNotFound},
	} {
		d := want
		c.change(&d)
		if err := r.RecordDrill(t.Context(), c.client, c.job, d); !errors.Is(err, c.code) {
			t.Errorf("%s/%s %+v: got %v, want %v", c.client, c.job, d, err, c.code)
		}
	}
	if err := r.RecordDrill(t.Context(), "web1", "one", want); err != nil {
		t.Fatal(err)
	}
	all := drillStatus(t, r)
	got := all["web1/one"]
	if got.Time <= want.Time || all["web1/two"] != (repo.Drill{}) {
		t.Errorf("got %+v; want one drill, at the store's own time", all)
	}
	if got.Time = want.Time; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	name := filepath.Join(dir, "heads/web1/one/drilled")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"cut": text[:len(text)-1], "another job's": text, "long": make([]byte, 1<<20)} {
		to := name
		if what == "another job's" {
			to = filepath.Join(dir, "heads/web1/two/drilled")
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if d := drillStatus(t, r)["web1/"+filepath.Base(filepath.Dir(to))]; d != (repo.Drill{}) {
			t.Errorf("%s: got %+v, want none", what, d)
		}
	}
	result, err := r.Check(t.Context(), repo.CheckOptions{ReadData: true}, func(p repo.Problem) { t.Errorf("check: %+v", p) })
	if err != nil || result.Problems != 0 {
		t.Errorf("check: %+v, %v", result, err)
	}
	if err := r.RecordDrill(t.Context(), "web1", "one", want); err != nil {
		t.Fatalf("after it was spoiled: %v", err)
	}
	if _, err := r.Prune(t.Context(), repo.PruneOptions{Grace: -1}); err != nil {
		t.Fatal(err)
	}
	if d := drillStatus(t, r)["web1/one"]; d.Snapshot != want.Snapshot {
		t.Errorf("after a prune: got %+v", d)
	}
}
