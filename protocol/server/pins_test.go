package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// TestEveryMessageHasItsPermission holds that the table is complete: a client's
// message that isn't in it could not be sent at all, one of a store's that is
// would be.
func TestEveryMessageHasItsPermission(t *testing.T) {
	for n := range 256 {
		ty := protocol.Type(n)
		_, exists := ty.Limit()
		_, listed := needs[ty]
		if want := exists && ty.FromClient(); listed != want {
			t.Errorf("%s (%#02x): in the table %v, want %v", ty, n, listed, want)
		}
	}
	for op := range operations {
		if _, ok := operationNeeds[op]; !ok {
			t.Errorf("%s needs no permission", op)
		}
	}
	for op, need := range operationNeeds {
		if _, ok := operations[op]; !ok && op != protocol.OpInit && op != protocol.OpInitReplica {
			t.Errorf("%s has a permission and nothing that does it", op)
		}
		if need&modes[WriteOnly] != 0 || need == 0 {
			t.Errorf("%s is open to write-only connections", op)
		}
	}
}

func TestFolder(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	area, outside := filepath.Join(top, "area"), filepath.Join(top, "outside")
	for _, d := range []string{filepath.Join(area, "web1"), outside, filepath.Join(top, "area2")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": outside, "up": "..", "dangling": filepath.Join(outside, "new"), "in": "web1", "self": "self"} {
		if err := os.Symlink(to, filepath.Join(area, link)); err != nil {
			t.Fatal(err)
		}
	}
	restricted := Options{Beneath: area}
	for _, c := range []struct {
		opt  Options
		path string
		want string // empty: refused with denied
	}{
		{restricted, "web1", area + "/web1"},
		{restricted, area + "/web1", area + "/web1"},
		{restricted, "new/deeper", area + "/new/deeper"},
		{restricted, "in", area + "/web1"},
		{restricted, ".", area},
		{restricted, "a/../web1", area + "/web1"},
		{restricted, "..", ""},
		{restricted, "../outside", ""},
		{restricted, "web1/../../outside", ""},
		{restricted, outside, ""},
		{restricted, "/", ""},
		{restricted, area + "2", ""},
		{restricted, "out", ""},
		{restricted, "out/x", ""},
		{restricted, "up", ""},
		{restricted, "up/outside", ""},
		{restricted, "dangling", ""},
		{restricted, "dangling/x", ""},
		{restricted, "self", ""},
		{Options{Repository: "/srv/r"}, "", "/srv/r"},
		{Options{Repository: "/srv/r"}, "/srv/r/", "/srv/r"},
		{Options{Repository: "/srv/r"}, "/srv/x/../r", "/srv/r"},
		{Options{Repository: "/srv/r"}, "/srv/r/..", ""},
		{Options{Repository: "/srv/r"}, "/srv", ""},
		{Options{Repository: "/srv/r"}, "r", ""},
		{Options{Repository: area + "/out", Beneath: area}, "", ""},
		{Options{Repository: area + "/web1", Beneath: area}, "", area + "/web1"},
		{Options{}, "/anything", "/anything"},
	} {
		got, err := c.opt.folder(c.path)
		if c.want == "" {
			if !errors.Is(err, object.CodeDenied) {
				t.Errorf("%+v, path %q: got %q, %v; want it denied", c.opt, c.path, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%+v, path %q: got %q, %v; want %q", c.opt, c.path, got, err, c.want)
		}
	}
	if _, err := new(Options).folder(""); !errors.Is(err, object.CodeInvalid) {
		t.Errorf("no repository named: got %v, want %v", err, object.CodeInvalid)
	}
}

func TestCheckOptions(t *testing.T) {
	for _, o := range []Options{
		{Mode: WriteOnly}, {Mode: WriteOnly, Client: "../x"}, {Client: "WEB"}, {Jobs: []string{""}}, {Jobs: make([]string, protocol.MaxJobs+1)}, {Idle: -1}, {Idle: 1},
	} {
		if err := o.Check(); !errors.Is(err, object.CodeInvalid) {
			t.Errorf("%+v: got %v, want %v", o, err, object.CodeInvalid)
		}
	}
}
