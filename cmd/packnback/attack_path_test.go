package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/repo/object"
)

// pathAttacks try to reach another repository than the pinned one.
var pathAttacks = []attack{
	{"other-repository", func(t *testing.T, w *world) { w.elsewhere(t, "web1", filepath.Join(w.dir, "store", "other")) }},
	{"parent-folder", func(t *testing.T, w *world) {
		w.elsewhere(t, "web1", w.repo+"/../other", w.repo+"/..", "..", "../../../../../../etc")
	}},
	{"inner-folder", func(t *testing.T, w *world) { w.elsewhere(t, "web1", w.repo+"/packs", w.repo+"/./snapshots") }},
	{"path-through-symlink", func(t *testing.T, w *world) {
		link := filepath.Join(w.dir, "store", "link")
		if err := os.Symlink(filepath.Join(w.dir, "store", "other"), link); err != nil {
			t.Fatal(err)
		}
		w.elsewhere(t, "web1", link)
	}},
	{"odd-paths", func(t *testing.T, w *world) {
		w.elsewhere(t, "web1", "~", "$HOME", "`id`", "-r", "ssh://127.0.0.1/x", strings.Repeat("a/", 2000), "\x1b[2J", "/proc/self/root"+w.repo)
	}},
	{"restrict-to", func(t *testing.T, w *world) {
		area := filepath.Join(w.dir, "store", "area")
		if err := os.MkdirAll(filepath.Join(area, "inside"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, to := range map[string]string{"out": w.repo, "up": "..", "dangling": filepath.Join(w.dir, "store", "new")} {
			if err := os.Symlink(to, filepath.Join(area, name)); err != nil {
				t.Fatal(err)
			}
		}
		w.force(t, "roamer", w.program+" serve --restrict-to "+area+" --write-only --client web1")
		w.elsewhere(t, "roamer", w.repo, "../repo", "inside/../../repo", "out", "up/repo", "up", "dangling", "/", "/etc")
		if _, err := client.Connect(t.Context(), w.wire(t, "roamer"), client.Greeting{Path: ""}); object.CodeOf(err) != object.CodeInvalid {
			t.Errorf("no path: got %v, want %v", err, object.CodeInvalid)
		}
	}},
	{"init-elsewhere", func(t *testing.T, w *world) {
		// A full key below a folder may make repositories there, and only there.
		area := filepath.Join(w.dir, "store", "area")
		w.force(t, "maker", w.program+" serve --restrict-to "+area)
		w.elsewhere(t, "maker", filepath.Join(w.dir, "store", "made"), "dangling", "../made", "up/made")
		for _, name := range []string{"made", "new"} {
			if _, err := os.Stat(filepath.Join(w.dir, "store", name)); err == nil {
				t.Errorf("a repository was made at %s", name)
			}
		}
	}},
}

// elsewhere greets the server with paths that must be denied.
func (w *world) elsewhere(t *testing.T, key string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		conn, err := client.Connect(t.Context(), w.wire(t, key), client.Greeting{Path: path})
		if err == nil {
			conn.Close()
		}
		refused(t, "a greeting that names "+path, err, object.CodeDenied, object.CodeInvalid)
		if err != nil && strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("the refusal has the escape sequence of the path in it: %q", err)
		}
	}
}

// wantPinned greets the server at the other end of rw and wants what web1's
// line says.
func (w *world) wantPinned(t *testing.T, what string, rw io.ReadWriteCloser) {
	t.Helper()
	conn, err := client.Connect(context.WithoutCancel(t.Context()), rw, client.Greeting{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer conn.Close()
	welcome := conn.Welcome()
	if welcome.Permissions != protocol.MayUpload || welcome.Client != "web1" || len(welcome.Jobs) != 1 || conn.ID() != w.admin(t).ID() {
		t.Errorf("%s: got %+v, want web1's write-only connection", what, welcome)
	}
	_, err = conn.OpenSession(t.Context(), "web2", "default", object.ID{})
	refused(t, what+": an upload as web2", err, object.CodeDenied)
}
