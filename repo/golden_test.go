package repo

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

var writeGolden = flag.Bool("golden.write", false, "write testdata/repos/v1-small anew")

// golden is a repository as the first version of the format has it: snapshots
// of two clients, one of them in the trash, a quarantined location, and an
// upload that was cut off. Later versions must read it. git keeps no empty
// folders, and the reserve was left out for its size.
const golden = "testdata/repos/v1-small"

func TestGolden(t *testing.T) {
	if *writeGolden {
		makeGolden(t)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "expect.txt")); err != nil {
		t.Fatal(err)
	}
	r := openRepository(t, disk.OS(dir))
	defer r.Close()
	want, err := os.ReadFile(filepath.Join(golden, "expect.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := describeRepository(t, r); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	u := newUpload(7, nil)
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := fmt.Sprint(s.Standing().Adopted); !strings.Contains(string(want), "adopted "+got+"\n") {
		t.Errorf("adopted %s", got)
	}
	if _, err := u.sendTo(t.Context(), s); err != nil {
		t.Errorf("a new upload: %v", err)
	}
	if got, want := len(problems(t, r)), strings.Count(string(want), "\nproblem: "); got != want {
		t.Errorf("after a new upload there are %d problems, want %d as before", got, want)
	}
}

// describeRepository says what a reader sees.
func describeRepository(t *testing.T, r *Repository) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "repository %s\n", r.ID())
	show := func(what string) func(*object.Snapshot) error {
		return func(s *object.Snapshot) error {
			m := s.Manifest
			n, size := 0, 0
			err := r.Push(t.Context(), m.Root, func(rec *object.Record) error {
				n++
				size += rec.Size()
				return r.Fetch(t.Context(), append([]object.ID{rec.Key}, rec.Refs...), func(rec *object.Record) error {
					n++
					size += rec.Size()
					return nil
				})
			})
			fmt.Fprintf(&b, "%s %s %s/%s %d received %d flags %d: read %d objects, %d bytes, %v\n",
				what, s.ID(), m.Client, m.Job, m.Seq, s.Received, s.Flags, n, size, err)
			return nil
		}
	}
	if err := r.Snapshots(t.Context(), show("snapshot")); err != nil {
		t.Error(err)
	}
	if err := r.Links(t.Context(), show("forgotten")); err != nil {
		t.Error(err)
	}
	for _, s := range r.Settings() {
		if !s.Default {
			fmt.Fprintf(&b, "set %s %s\n", s.Key, s.Value)
		}
	}
	var all []string
	for _, p := range problems(t, r) {
		all = append(all, fmt.Sprintf("problem: %s %s %s\n", p.What, p.Name, p.ID))
	}
	slices.Sort(all)
	b.WriteString(strings.Join(all, ""))
	err := r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err == nil {
			fmt.Fprintf(&b, "adopted %v\n", append(s.adopted, object.Adopted{Session: id, Durable: s.puts}))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}

func makeGolden(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(golden); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(golden, 0o777); err != nil {
		t.Fatal(err)
	}
	fsys := disk.OS(golden)
	if err := initFS(t.Context(), fsys, "golden", testID, map[string]string{"grace": "48h"}); err != nil {
		t.Fatal(err)
	}
	r := openRepository(t, fsys)
	one := newUpload(1, nil)
	two := newUpload(2, one)
	for _, u := range []*upload{one, two} {
		if _, err := u.send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	makeForgotten(t, r)
	if err := r.MarkBad(t.Context(), []object.ID{two.tree[0].ID}); err != nil {
		t.Fatal(err)
	}
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range newUpload(7, nil).records()[:6] {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(golden, "expect.txt"), []byte(describeRepository(t, r)), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	tidyGolden(t)
}

// makeForgotten commits a snapshot of another client and forgets it.
func makeForgotten(t *testing.T, r *Repository) {
	t.Helper()
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "db", Job: "nightly"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u := newUpload(3, nil)
	for _, rec := range u.records() {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	m, sealed := u.Manifest(s.Standing(), "db", "nightly", u.root)
	receipt, err := s.Commit(t.Context(), m, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.fs.Replace(snapshotName("snapshots", receipt.Snapshot), snapshotName("trash", receipt.Snapshot)); err != nil {
		t.Fatal(err)
	}
}

// tidyGolden removes what needn't be kept: the reserve and lock files.
func tidyGolden(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(golden, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if e.Name() == reserveName || e.Name() == "lock" || strings.Contains(path, "/locks/") {
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
