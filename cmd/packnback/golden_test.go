package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

var goldenWrite = flag.String("golden.write", "", "make a golden repository of this name in the present format")

// goldenFolder has a folder for every golden repository, made by the first
// release of a format and never again; those without keys are for package
// repo's own tests. The others hold repo, the keys restore.key and list.key, and
// for each snapshot what must come out of it. ls-ID.json is what ls --json
// prints, or ls-ID.sha256 its hash where that is long; content-ID is
// restoredHash's value. Empty folders are missing, as in a copy made by git.
const goldenFolder = "../../repo/testdata/repos"

// goldenRun runs the program in the current folder and returns what it prints.
func goldenRun(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	home, err := filepath.Abs("home")
	if err != nil {
		t.Fatal(err)
	}
	e := &env.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now,
		Hostname: func() (string, error) { return "golden", nil },
		Getenv: func(name string) string {
			if name == "HOME" {
				return home
			}
			return ""
		},
	}
	if status := run(context.Background(), e); status != statusOK {
		t.Fatalf("packnback %s: status %d\n%s%s", strings.Join(args, " "), status, out.String(), errs.String())
	}
	return out.String()
}

func TestGoldenRepositories(t *testing.T) {
	folder, err := filepath.Abs(goldenFolder)
	if err != nil {
		t.Fatal(err)
	}
	if *goldenWrite != "" {
		t.Run("write", func(t *testing.T) { writeGolden(t, filepath.Join(folder, *goldenWrite)) })
	}
	keys, err := filepath.Glob(filepath.Join(folder, "*", "restore.key"))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) < 2 {
		t.Errorf("%d golden repositories with keys in %s, want those of version 1: v1-backup and v1-wide", len(keys), folder)
	}
	for _, key := range keys {
		golden := filepath.Dir(key)
		t.Run(filepath.Base(golden), func(t *testing.T) { readGolden(t, golden) })
	}
}

// readGolden does with a copy of a golden repository what its owner would:
// check, verify, list, restore.
func readGolden(t *testing.T, golden string) {
	t.Chdir(t.TempDir())
	if err := os.CopyFS(".", os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"restore.key", "list.key"} {
		if err := os.Chmod(key, 0o600); err != nil { // git keeps no modes
			t.Fatal(err)
		}
	}
	goldenRun(t, "check", "--read-data", "-r", "repo")
	goldenRun(t, "verify", "--all", "-r", "repo", "-k", "restore.key")
	seen := 0
	for _, pattern := range []string{"ls-*.json", "ls-*.sha256"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			seen++
			goldenSnapshot(t, name)
		}
	}
	if seen == 0 {
		t.Error("the golden repository has no ls-ID file")
	}
}

// goldenSnapshot compares one snapshot with its ls-ID and content-ID files.
func goldenSnapshot(t *testing.T, name string) {
	id, kind, _ := strings.Cut(strings.TrimPrefix(name, "ls-"), ".")
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"restore.key", "list.key"} {
		got := goldenRun(t, "ls", "--json", "-r", "repo", "-k", key, id)
		if kind == "sha256" {
			got = fmt.Sprintf("%x\n", sha256.Sum256([]byte(got)))
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("snapshot %s listed with %s (-want +got):\n%s", id, key, diff)
		}
	}
	out := "out-" + id
	goldenRun(t, "restore", "-q", "-r", "repo", "-k", "restore.key", "-t", out, id)
	want, err = os.ReadFile("content-" + id)
	if err != nil {
		t.Fatal(err)
	}
	if got := restoredHash(t, out); got != string(want) {
		t.Errorf("restored snapshot %s: content hash %s, want %s", id, got, want)
	}
}

// restoredHash is the SHA-256, in hex and with a line end, of a restored
// snapshot: for everything below dir in WalkDir's order its path and type
// quoted, and then the target of a symlink or the bytes of a file.
func restoredHash(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %v\n", rel, d.Type())
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(h, "%q\n", target)
			return err
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			h.Write(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x\n", h.Sum(nil))
}

// writeGolden makes the golden repository v1-wide, or one of its kind for a
// later format: what takes many objects, so that lists and folders are trees.
func writeGolden(t *testing.T, golden string) {
	t.Chdir(t.TempDir())
	plantWide(t)
	goldenRun(t, "init", "-q", "-r", "repo")
	goldenRun(t, "key", "generate", "-q", "-o", "restore.key")
	goldenRun(t, "key", "generate", "-q", "--list", "-o", "list.key")
	goldenRun(t, "key", "send", "-q", "--to", "restore.key.pub", "--list-to", "list.key.pub", "--client", "golden", "-o", "send.key")
	goldenRun(t, "backup", "-q", "-r", "repo", "-k", "send.key", "tree")
	goldenFile(t, "tree/changed", "the second snapshot has this\n")
	goldenRun(t, "backup", "-q", "-r", "repo", "-k", "send.key", "tree")
	ids, err := filepath.Glob("repo/snapshots/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ids {
		id := filepath.Base(name)
		list := goldenRun(t, "ls", "--json", "-r", "repo", "-k", "restore.key", id)
		goldenFile(t, "ls-"+id+".sha256", fmt.Sprintf("%x\n", sha256.Sum256([]byte(list))))
		goldenRun(t, "restore", "-q", "-r", "repo", "-k", "restore.key", "-t", "out-"+id, id)
		goldenFile(t, "content-"+id, restoredHash(t, "out-"+id))
		if err := os.RemoveAll("out-" + id); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(os.RemoveAll("tree"), os.RemoveAll("home"), os.Remove("repo/reserve"))
	if err == nil {
		err = os.CopyFS(golden, os.DirFS("."))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func goldenFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// plantWide makes a folder that takes several objects, a file whose extents
// take a list of lists, and one of several chunks.
func plantWide(t *testing.T) {
	t.Helper()
	goldenFile(t, "tree/changed", "the first snapshot has this\n")
	for i := range 6000 {
		goldenFile(t, fmt.Sprintf("tree/many/%05d%s", i, strings.Repeat("n", 240)), "")
	}
	var large strings.Builder
	for i := 0; large.Len() < 5<<20; i++ {
		fmt.Fprintf(&large, "line %d of a large file\n", i)
	}
	goldenFile(t, "tree/large", large.String())
	sparse, err := os.Create("tree/sparse")
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(100) {
		if _, err := sparse.WriteAt([]byte("data between holes"), i<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(sparse.Truncate(101<<20), sparse.Close(), unix.Lsetxattr("tree/large", "user.remark", []byte("an attribute"), 0)); err != nil {
		t.Fatal(err)
	}
}
