package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
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

var goldenWrite = flag.String("golden.write", "", "make a golden repository of this name from the present format instead of reading those there are")

// goldenFolder holds a repository of every format that was ever released, with
// its keys and a list of what must come out of it. They are never written
// anew: a program that can't read one of them has broken its promise.
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
	if *goldenWrite != "" {
		writeGolden(t, *goldenWrite)
	}
	names, err := filepath.Glob(filepath.Join(goldenFolder, "*.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("no golden repository in %s", goldenFolder)
	}
	for _, name := range names {
		archive, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".tar.gz"), func(t *testing.T) { readGolden(t, archive) })
	}
}

// readGolden unpacks a golden repository and does with it what its owner
// would: check, verify, restore, and go on backing up into it.
func readGolden(t *testing.T, archive string) {
	t.Chdir(t.TempDir())
	unpack(t, archive)
	want, err := os.ReadFile("expected")
	if err != nil {
		t.Fatal(err)
	}
	goldenRun(t, "check", "--read-data", "-r", "repo")
	goldenRun(t, "verify", "--all", "-r", "repo", "-k", "restore.key")
	goldenRun(t, "ls", "-r", "repo", "-k", "list.key", "latest")
	goldenRun(t, "restore", "-q", "-r", "repo", "-k", "restore.key", "-t", "out", "latest")
	if diff := cmp.Diff(string(want), listing(t, filepath.Join("out", "tree"))); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	goldenRun(t, "backup", "-q", "-r", "repo", "-k", "send.key", filepath.Join("out", "tree"))
	goldenRun(t, "verify", "--all", "-r", "repo", "-k", "restore.key")
}

// writeGolden makes a golden repository: two snapshots with every kind of
// object and entry, sealed to a restore and a list key.
func writeGolden(t *testing.T, name string) {
	archive, err := filepath.Abs(filepath.Join(goldenFolder, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	plantGolden(t)
	goldenRun(t, "init", "-q", "-r", "repo")
	goldenRun(t, "key", "generate", "-q", "-o", "restore.key")
	goldenRun(t, "key", "generate", "-q", "--list", "-o", "list.key")
	goldenRun(t, "key", "send", "-q", "--to", "restore.key.pub", "--list-to", "list.key.pub", "--client", "golden", "-o", "send.key")
	goldenRun(t, "backup", "-q", "-r", "repo", "-k", "send.key", "--tag", "first=yes", "tree")
	goldenWriteFile(t, "tree/changed", "the second snapshot has this\n")
	goldenRun(t, "backup", "-q", "-r", "repo", "-k", "send.key", "tree")
	goldenWriteFile(t, "expected", listing(t, "tree"))
	pack(t, archive, "repo", "restore.key", "list.key", "send.key", "expected")
}

func goldenWriteFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// plantGolden makes a tree with every kind of entry that an ordinary user can
// make, a large file with a list object (many holes), chunks, and a folder
// that is split.
func plantGolden(t *testing.T) {
	t.Helper()
	goldenWriteFile(t, "tree/small", "a small file\n")
	goldenWriteFile(t, "tree/empty", "")
	goldenWriteFile(t, "tree/changed", "the first snapshot has this\n")
	goldenWriteFile(t, "tree/not utf-8 \xff\xfe", "bytes\n")
	goldenWriteFile(t, "tree/deep/er/than/that", "deep\n")
	goldenWriteFile(t, "tree/"+strings.Repeat("n", 255), "a long name\n")
	for i := range 6000 {
		goldenWriteFile(t, fmt.Sprintf("tree/many/%05d", i), "")
	}
	var large strings.Builder
	for i := 0; large.Len() < 3<<20; i++ {
		fmt.Fprintf(&large, "line %d of a large file\n", i)
	}
	goldenWriteFile(t, "tree/large", large.String())
	sparse, err := os.Create("tree/sparse")
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(24) {
		if _, err := sparse.WriteAt([]byte("data between holes"), i<<20); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(
		sparse.Truncate(25<<20), sparse.Close(),
		os.Symlink("small", "tree/link"), os.Link("tree/small", "tree/hard"),
		unix.Mkfifo("tree/fifo", 0o640),
		unix.Lsetxattr("tree/small", "user.remark", []byte("an attribute"), 0),
		os.Chmod("tree/deep", 0o700), os.Chmod("tree/empty", 0o400),
		os.Chtimes("tree/small", time.Time{}, time.Unix(1, 987654321)),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// listing describes everything below dir that a restore brings back for an
// ordinary user, one line each.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			remark := make([]byte, 64)
			n, _ := unix.Lgetxattr(path, "user.remark", remark) // absent on most
			what = fmt.Sprintf("%d %x %q", len(content), sha256.Sum256(content), remark[:max(n, 0)])
		case info.Mode()&fs.ModeSymlink != 0:
			if what, err = os.Readlink(path); err != nil {
				return err
			}
		}
		modified := info.ModTime().UTC().Format(time.RFC3339Nano)
		fmt.Fprintf(&b, "%q %v %s %s\n", rel, info.Mode(), modified, what)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func pack(t *testing.T, archive string, names ...string) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range names {
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			h, err := tar.FileInfoHeader(info, "")
			if err != nil {
				return err
			}
			h.Name, h.Uid, h.Gid, h.Uname, h.Gname = path, 0, 0, "", ""
			if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			_, err = w.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(archive, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, archive string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.FileInfo().IsDir() {
			if err := os.MkdirAll(h.Name, h.FileInfo().Mode()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.Name, content, h.FileInfo().Mode()); err != nil {
			t.Fatal(err)
		}
	}
}
