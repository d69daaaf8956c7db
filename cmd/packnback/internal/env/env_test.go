package env

import "testing"

func TestFolders(t *testing.T) {
	vars := map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "relative/is/ignored"}
	e := &Env{Getenv: func(name string) string { return vars[name] }}
	for _, c := range []struct {
		name string
		got  func() (string, error)
		want string
	}{
		{"config", e.ConfigDir, "/h/.config/packnback"},
		{"cache", e.CacheDir, "/c/packnback"},
		{"state", e.StateDir, "/h/.local/state/packnback"},
	} {
		got, err := c.got()
		if err != nil || got != c.want {
			t.Errorf("%s folder: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	delete(vars, "HOME")
	if got, err := e.ConfigDir(); err == nil {
		t.Errorf("config folder without $HOME: got %q, want an error", got)
	}
	vars["HOME"] = "h"
	if got, err := e.StateDir(); err == nil {
		t.Errorf("state folder with a relative $HOME: got %q, want an error", got)
	}
	if got, err := e.CacheDir(); err != nil || got != "/c/packnback" {
		t.Errorf("cache folder without $HOME: got %q, %v, want /c/packnback", got, err)
	}
}

func TestTerminalOfBuffers(t *testing.T) {
	e := &Env{}
	if e.Terminal(nil) {
		t.Error("no stream counts as a terminal")
	}
	if got := e.Width(nil, 72); got != 72 {
		t.Errorf("width of no stream: got %d, want the fallback 72", got)
	}
}
