package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// hostileSnapshot is a snapshot whose sender made its objects by hand, in order
// to harm the machine that restores it. The files "good" in it are innocent.
type hostileSnapshot struct {
	name string
	make func(b *viewtest.Builder, outside string) []tree.Entry
	// status is what restore must end with; after it, "good" is there unless
	// the status is not 0 or 3.
	status int
	says   string // words of its errors
	root   bool   // only root can be tricked
	quiet  bool   // its paths are too long to print
}

var hostileSnapshots = []hostileSnapshot{
	{name: "innocent", make: func(*viewtest.Builder, string) []tree.Entry { return nil }},
	{name: "name-dotdot", status: statusPartial, says: "malformed", make: renamed("QQ", "..")},
	{name: "name-dot", status: statusPartial, says: "malformed", make: renamed("Q", ".")},
	{name: "name-upwards", status: statusPartial, says: "malformed", make: renamed("QQQQQQQQQQQQQQQQQ", "../outside/victim")},
	{name: "name-absolute", status: statusPartial, says: "malformed", make: renamed("QQQQQQ", "/tmp/x")},
	{name: "name-nul", status: statusPartial, says: "malformed", make: renamed("QQQ", "a\x00b")},
	{name: "name-twice", status: statusPartial, says: "malformed", make: func(b *viewtest.Builder, outside string) []tree.Entry {
		b.Alter = func(_ object.Kind, plain []byte) []byte {
			return bytes.ReplaceAll(plain, []byte("zQQQ"), []byte("AAAA"))
		}
		return []tree.Entry{b.Folder("dir", b.Symlink("AAAA", outside), b.Folder("zQQQ", b.File("victim", "owned")))}
	}},
	{name: "symlink-in-target", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		return []tree.Entry{b.Folder("planted", b.File("victim", "owned"), b.File("new", "owned"))}
	}},
	{name: "file-for-symlink", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		return []tree.Entry{b.File("planted", "owned")}
	}},
	{name: "link-to-outside", make: func(b *viewtest.Builder, outside string) []tree.Entry {
		first, second := b.Symlink("l1", outside+"/victim"), b.File("l2", "owned")
		first.LinkID, second.LinkID = 7, 7
		return []tree.Entry{first, second}
	}},
	{name: "set-user-id", root: true, says: "--privileged", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		e := b.File("suid", "#!/bin/sh\n")
		e.Mode = 0o6777
		return []tree.Entry{e}
	}},
	{name: "capability", root: true, says: "--privileged", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		e := b.File("capable", "x")
		e.Xattrs = []tree.Xattr{{Name: "security.capability", Value: []byte{1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
		return []tree.Entry{e}
	}},
	{name: "device-node", status: statusPartial, root: true, says: "--privileged", make: func(*viewtest.Builder, string) []tree.Entry {
		return []tree.Entry{{Name: "disk", Type: tree.TypeBlock, Mode: 0o666, Rdev: unix.Mkdev(8, 0)}}
	}},
	{name: "decompression-bomb", status: statusPartial, says: "decompress", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		c, err := chunk.NewCompressor(chunk.LevelFastest, 1)
		if err != nil {
			panic(err)
		}
		b.Codec = func(plain []byte) (byte, int, []byte) {
			if len(plain) < object.MaxPlaintext {
				return chunk.CodecRaw, len(plain), plain
			}
			_, packed := c.Compress(nil, plain)
			return chunk.CodecZstd, 4096, packed // claims far less than it holds
		}
		return []tree.Entry{b.Large("bomb", b.Chunk(string(make([]byte, object.MaxPlaintext))))}
	}},
	{name: "bytes-beyond-object", status: statusPartial, says: "malformed", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		e := b.File("long", "short")
		e.Size, e.Extents[0].Length = 1<<20, 1<<20
		return []tree.Entry{e}
	}},
	{name: "folder-of-content", status: statusPartial, says: "not a directory", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		e := b.Folder("dir")
		e.Subtree = b.File("x", "bytes of a file").Extents[0].ID
		return []tree.Entry{e}
	}},
	{name: "bottomless", quiet: true, status: statusPartial, says: "inside each other", make: func(b *viewtest.Builder, _ string) []tree.Entry {
		e := b.Folder("d")
		for range 10001 {
			e = b.Folder("d", e)
		}
		return []tree.Entry{e}
	}},
	{name: "terminal-escapes", status: statusPartial, make: func(b *viewtest.Builder, _ string) []tree.Entry {
		const evil = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\x7f\r\n"
		lost := b.File("lost"+evil, "lost")
		lost.Size, lost.Extents[0].Length = 100, 100
		return []tree.Entry{b.Folder("dir"+evil, b.File(evil, "x")), b.Symlink("link"+evil, evil), lost}
	}},
}

// renamed puts a name that no honest sender could write into a folder.
func renamed(placeholder, name string) func(*viewtest.Builder, string) []tree.Entry {
	return func(b *viewtest.Builder, _ string) []tree.Entry {
		b.Alter = func(_ object.Kind, plain []byte) []byte {
			return bytes.ReplaceAll(plain, []byte(placeholder), []byte(name))
		}
		return []tree.Entry{b.Folder("dir", b.File(placeholder, "owned"))}
	}
}

// TestHostileSnapshot restores and lists every hostile snapshot with the real
// program. Whatever is beside the target stays as it is, innocent files come
// back, and no control character reaches the terminal.
func TestHostileSnapshot(t *testing.T) {
	program, err := exec.LookPath("packnback") // put there by TestMain
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hostileSnapshots {
		t.Run(h.name, func(t *testing.T) {
			if h.root && os.Geteuid() != 0 {
				t.Skip("LOUD: only root can be tricked into this; run the tests as root once")
			}
			if h.quiet && testing.Short() {
				t.Skip("10,000 folders inside each other, several times, through a slow program")
			}
			v := newRestoringMachine(t, program, h)
			before := v.listing(t)
			args := []string{"restore", "-t", v.dir + "/target", "latest"}
			if !h.quiet {
				args = append(args, "-v")
			}
			out, status := v.run(t, args...)
			if status != h.status || !strings.Contains(out, h.says) {
				t.Errorf("restore ended with %d, want %d and %q:\n%s", status, h.status, h.says, out)
			}
			if after := v.listing(t); after != before {
				t.Errorf("beside the target something changed:\n%s\nwas:\n%s", after, before)
			}
			if got, err := os.ReadFile(v.dir + "/target/good"); (h.status == 0 || h.status == statusPartial) && string(got) != "good" {
				t.Errorf("an innocent file is %q, %v", got, err)
			}
			if h.quiet {
				return
			}
			v.harmless(t)
			for _, args := range [][]string{{"ls", "latest"}, {"ls", "-l", "latest"}, {"ls", "--json", "latest"}, {"find", "*"},
				{"diff", "latest", "latest:/dir"}, {"stats", "latest"}, {"verify"}, {"restore", "--json", "-v", "-t", v.dir + "/again", "latest"}} {
				if out, status := v.run(t, args...); status < 0 {
					t.Errorf("%q was killed:\n%s", args, out)
				}
			}
		})
	}
}

// restoringMachine is a machine with a restore key, whose store holds a hostile snapshot.
type restoringMachine struct{ program, dir string }

func newRestoringMachine(t *testing.T, program string, h hostileSnapshot) *restoringMachine {
	t.Helper()
	v := &restoringMachine{program, t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(v.dir+"/outside", 0o755))
	must(os.Mkdir(v.dir+"/target", 0o755))
	must(os.WriteFile(v.dir+"/outside/victim", []byte("precious"), 0o640))
	must(os.Symlink(v.dir+"/outside", v.dir+"/target/planted"))
	ctx := context.Background()
	r, err := repo.Init(ctx, v.dir+"/repo", repo.InitOptions{})
	must(err)
	b := viewtest.New(t)
	b.Repository = r.ID()
	must(os.WriteFile(v.dir+"/restore.key", b.Reader.Append(nil), 0o600))
	entries := append(h.make(b, v.dir+"/outside"), b.File("good", "good"))
	snap := b.Commit(b.Dir(entries...), tree.Summary{})
	s, err := r.OpenSession(ctx, repo.SessionRequest{Client: b.Key.Client(), Job: object.DefaultJob})
	must(err)
	must(b.Store.Each(func(rec *object.Record) error { return s.Put(ctx, rec) }))
	_, err = s.Commit(ctx, snap.Manifest, snap.Sealed)
	must(err)
	must(s.Close())
	must(r.Close())
	return v
}

// run runs the program and fails the test when its output could drive a
// terminal or shows a crash.
func (v *restoringMachine) run(t *testing.T, args ...string) (output string, status int) {
	t.Helper()
	cmd := exec.Command(v.program, append(args, "-r", v.dir+"/repo", "-k", v.dir+"/restore.key")...)
	cmd.Env = []string{"HOME=" + v.dir + "/home", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + v.dir}
	out, _ := cmd.CombinedOutput()
	for _, r := range string(out) {
		if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0) || r >= 0x202a && r <= 0x202e {
			t.Errorf("%q prints %U:\n%q", args, r, out)
			break
		}
	}
	if strings.Contains(string(out), "goroutine ") {
		t.Errorf("%q crashed:\n%s", args, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// listing describes what is beside the target.
func (v *restoringMachine) listing(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("find", v.dir, "-path", v.dir+"/target", "-prune", "-o", "-path", v.dir+"/repo", "-prune", "-o",
		"-path", v.dir+"/home", "-prune", "-o", "-mindepth", "1", "-printf", `%P %M %u %g %n %s %T@ %l\n`).Output()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(v.dir + "/outside/victim")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + string(content)
}

// harmless fails the test when something in the target gives rights.
func (v *restoringMachine) harmless(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(v.dir+"/target", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&(fs.ModeSetuid|fs.ModeDevice) != 0 || info.Mode()&fs.ModeSetgid != 0 && !d.IsDir() {
			t.Errorf("%q has mode %v", path, info.Mode())
		}
		if n, err := unix.Lgetxattr(path, "security.capability", nil); err == nil && n > 0 {
			t.Errorf("%q has a capability", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestHostileSnapshotTable compares the table of packnback-security(7) with the
// snapshots, in both directions.
func TestHostileSnapshotTable(t *testing.T) {
	_, table, found := strings.Cut(readPage(t, "packnback-security.7"), "TestHostileSnapshot/")
	table, _, _ = strings.Cut(table, ".El\n")
	if !found {
		t.Fatal("packnback-security.7 has no table of hostile snapshots")
	}
	listed := map[string]bool{}
	for line := range strings.Lines(table) {
		names, _, isRow := strings.Cut(strings.TrimPrefix(line, ".It "), " Ta ")
		if !isRow || !strings.HasPrefix(line, ".It ") || strings.HasPrefix(names, "Sy ") {
			continue
		}
		for name := range strings.SplitSeq(names, " , ") {
			listed[name] = true
		}
	}
	for _, h := range hostileSnapshots {
		if !listed[h.name] {
			t.Errorf("packnback-security.7 does not list %s", h.name)
		}
		delete(listed, h.name)
	}
	for name := range listed {
		t.Errorf("packnback-security.7 lists %s, which is not tried", name)
	}
}
