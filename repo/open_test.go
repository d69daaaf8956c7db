package repo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

func wantCode(t *testing.T, what string, err error, want object.Code) {
	t.Helper()
	if err == nil || object.CodeOf(err) != want {
		t.Errorf("%s: got error %v (code %d), want code %d", what, err, object.CodeOf(err), want)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: the error has several lines:\n%v", what, err)
	}
}

func TestInit(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "deep", "repository")
	r, err := Init(ctx, dir, InitOptions{Settings: map[string]string{"grace": "36h"}})
	if err != nil {
		t.Fatal(err)
	}
	id := r.ID()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := os.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before := readTree(t, dir)
	_, err = Init(ctx, dir, InitOptions{})
	wantCode(t, "init of a repository", err, object.CodeExists)
	if after := readTree(t, dir); len(after) != len(before) || after["config"] != before["config"] {
		t.Error("a second init has changed something")
	}
	r, err = Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.ID() != id {
		t.Errorf("id is %s, was %s", r.ID(), id)
	}
	if s, err := r.Setting("grace"); err != nil || s.Value != "36h" || s.Default {
		t.Errorf("grace: %+v, %v", s, err)
	}
}

// readTree returns the contents of all files below dir but lock files.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, "/locks/") {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestInitWhere(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	full := filepath.Join(dir, "full")
	mounted := filepath.Join(dir, "mounted")
	broken := filepath.Join(dir, "broken")
	for name, content := range map[string]string{file: "x", full + "/letter": "x", mounted + "/lost+found/": "", broken + "/packs/00/pack": "x"} {
		if err := os.MkdirAll(filepath.Dir(name+"x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := Init(ctx, file, InitOptions{})
	wantCode(t, "init at a file", err, object.CodeExists)
	for _, taken := range []string{"index/1.idx", "tmp/letter", "CURRENT", "heads/letter"} {
		name := filepath.Join(dir, "taken", taken)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "taken", "letter"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err = Init(ctx, filepath.Join(dir, "taken"), InitOptions{})
		wantCode(t, "init where "+taken+" is in the way", err, object.CodeInvalid)
		if got := readTree(t, filepath.Join(dir, "taken")); len(got) != 2 {
			t.Errorf("a refused init left %d files, want the two that were there", len(got))
		}
		if err := os.RemoveAll(filepath.Join(dir, "taken")); err != nil {
			t.Fatal(err)
		}
	}
	doubts := 0
	beside, err := Init(ctx, full, InitOptions{Warn: func(string) { doubts++ }})
	if err != nil || doubts != 1 {
		t.Fatalf("init beside a letter: %v, %d doubts, want 1", err, doubts)
	}
	if err := beside.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(full, "letter")); err != nil || string(b) != "x" {
		t.Errorf("the letter beside a new repository: %q, %v", b, err)
	}
	_, err = Init(ctx, broken, InitOptions{})
	wantCode(t, "init over packs without a config", err, object.CodeDamaged)
	_, err = Init(ctx, filepath.Join(dir, "bad"), InitOptions{Settings: map[string]string{"grace": "soon"}})
	wantCode(t, "init with a bad setting", err, object.CodeInvalid)
	r, err := Init(ctx, mounted, InitOptions{})
	if err != nil {
		t.Fatalf("init in a fresh file system: %v", err)
	}
	r.Close()
	// An init that was cut off before the config may be repeated.
	if err := os.Remove(filepath.Join(mounted, "config")); err != nil {
		t.Fatal(err)
	}
	if r, err = Init(ctx, mounted, InitOptions{}); err != nil {
		t.Fatalf("init after one that was cut off: %v", err)
	}
	r.Close()
}

func TestOpenBad(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	_, err := Open(ctx, filepath.Join(dir, "absent"))
	wantCode(t, "missing folder", err, object.CodeNoRepo)
	_, err = Open(ctx, dir)
	wantCode(t, "folder without a config", err, object.CodeNoRepo)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(ctx, file)
	wantCode(t, "a file", err, object.CodeNoRepo)
	repository := filepath.Join(dir, "repository")
	r, err := Init(ctx, repository, InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	config := filepath.Join(repository, "config")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		content string
		want    object.Code
	}{
		"newer version": {strings.Replace(string(good), "version 1", "version 2", 1), object.CodeVersion},
		"changed byte":  {strings.Replace(string(good), "id ", "iD ", 1), object.CodeDamaged},
		"truncated":     {string(good[:len(good)/2]), object.CodeDamaged},
		"empty":         {"", object.CodeDamaged},
	} {
		if err := os.WriteFile(config, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, repository)
		wantCode(t, "config: "+what, err, test.want)
	}
}

func TestSettings(t *testing.T) {
	ctx := context.Background()
	d := newDisk(t)
	r := openRepository(t, d.Process())
	defer r.Close()
	for _, bad := range [][2]string{
		{"grace", "soon"}, {"grace", "-1h"}, {"min-age", "1x"}, {"min-free", "5%"}, {"max-unused", "101%"}, {"max-unused", "5"},
		{"unusual-factor", "0"}, {"unusual-factor", "NaN"}, {"policy.web1", "daily=7"}, {"policy.a/b/c", "daily=7"},
		{"policy.*/*", "often=7"}, {"colour", "red"}, {"grace", "7d\nset x y"}, {"grace", " 7d"},
		{"unusual-gone", "0.5%"}, {"unusual-new", "0%"}, {"unusual-rate", "1.5%"}, {"unusual-rate", "101%"},
	} {
		wantCode(t, "setting "+bad[0]+" to "+bad[1], r.SetSetting(ctx, bad[0], bad[1]), object.CodeInvalid)
	}
	for _, good := range [][2]string{{"grace", "1d12h"}, {"unusual-gone", "1%"}, {"unusual-new", "100%"}, {"min-free", "500M"}, {"max-unused", "2.5%"}, {"policy.web*/*", "daily=7,weekly=4"}} {
		if err := r.SetSetting(ctx, good[0], good[1]); err != nil {
			t.Errorf("setting %s to %s: %v", good[0], good[1], err)
		}
	}
	other := openRepository(t, d.Crash(0).Process())
	defer other.Close()
	if got, err := other.Setting("policy.web*/*"); err != nil || got.Value != "daily=7,weekly=4" || got.Default {
		t.Errorf("policy after a power cut: %+v, %v", got, err)
	}
	if got := other.minFree(1 << 40); got != 500<<20 {
		t.Errorf("min-free is %d bytes", got)
	}
	if err := other.SetSetting(ctx, "min-free", ""); err != nil {
		t.Error(err)
	}
	for _, size := range []struct{ total, want uint64 }{{100 << 30, 5 << 30}, {1 << 40, 10 << 30}} {
		if got := other.minFree(size.total); got != size.want {
			t.Errorf("min-free of a disk of %d: got %d, want %d", size.total, got, size.want)
		}
	}
	if err := other.SetSetting(ctx, "policy.web*/*", ""); err != nil {
		t.Error(err)
	}
	if _, err := other.Setting("policy.web*/*"); !errors.Is(err, object.CodeNotFound) {
		t.Errorf("a policy that was taken back: %v", err)
	}
	if got := other.thresholds(); got.Gone != 1 || got.New != 100 || got.Rate != 10 {
		t.Errorf("the thresholds are %+v", got)
	}
	if n := len(other.Settings()); n != len(settingTable) {
		t.Errorf("%d settings are listed, want %d", n, len(settingTable))
	}
}
