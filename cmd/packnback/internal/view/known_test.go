package view

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

func sampleKnown() *Known {
	return &Known{
		Keys: []KnownKey{
			{Client: "web", Key: SigningKey{1}, Trusted: true},
			{Repository: object.RepositoryID{7}, Client: "web", Key: SigningKey{2}},
		},
		Heads: []KnownHead{{object.RepositoryID{7}, "web", "db", 18446744073709551615, object.ID{9}}},
	}
}

func TestKnownText(t *testing.T) {
	k := sampleKnown()
	text := k.Append(nil)
	got, err := ParseKnown(text)
	if err != nil || !reflect.DeepEqual(got, k) {
		t.Fatalf("ParseKnown(%s) = %+v, %v; want %+v", text, got, err, k)
	}
	if n := len(got.KeysOf(object.RepositoryID{7}, "web")); n != 2 {
		t.Errorf("%d keys in that repository, want 2", n)
	}
	if n := len(got.KeysOf(object.RepositoryID{8}, "web")); n != 1 {
		t.Errorf("%d keys in another repository, want 1", n)
	}
	line := func(i int) string { return strings.Split(string(text), "\n")[i] }
	for name, bad := range map[string]string{
		"no header":    line(1) + "\n",
		"version":      strings.Replace(string(text), "v1", "v2", 1),
		"twice":        string(text) + line(1) + "\n",
		"head twice":   string(text) + strings.Replace(line(3), "18446744073709551615", "5", 1) + "\n",
		"unknown line": string(text) + "pin x\n",
		"zero seq":     strings.Replace(string(text), "18446744073709551615", "0", 1),
		"seq too big":  strings.Replace(string(text), "18446744073709551615", "18446744073709551616", 1),
		"upper case":   strings.ToUpper(line(1)),
		"client":       strings.ReplaceAll(string(text), " web ", " ../x "),
		"trust":        strings.Replace(string(text), "trusted", "sure", 1),
		"long line":    string(text) + "#" + strings.Repeat("x", 1000) + "\n",
		"zero key":     strings.Replace(string(text), SigningKey{1}.String(), SigningKey{}.String(), 1),
	} {
		if _, err := ParseKnown([]byte(bad)); !errors.Is(err, ErrKnown) {
			t.Errorf("%s: got %v, want ErrKnown", name, err)
		}
	}
}

func FuzzParseKnown(f *testing.F) {
	f.Add(sampleKnown().Append(nil))
	f.Add([]byte(knownHeader + "\n# remark\n\n"))
	f.Add([]byte(knownHeader + "\nkey * a " + SigningKey{3}.String() + " first-use\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKnown(text)
		if err != nil {
			return
		}
		canonical := k.Append(nil)
		again, err := ParseKnown(canonical)
		if err != nil {
			t.Fatalf("%q is refused: %v", canonical, err)
		}
		if got := again.Append(nil); string(got) != string(canonical) {
			t.Fatalf("%q is appended as %q", canonical, got)
		}
	})
}

func TestUpdateKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "known_clients")
	if k, err := LoadKnown(path); err != nil || len(k.Keys) != 0 {
		t.Fatalf("LoadKnown of no file: %+v, %v", k, err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := UpdateKnown(path, func(k *Known) error {
				k.Pin(KnownKey{Client: "web", Key: SigningKey{byte(i + 1)}})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	k, err := LoadKnown(path)
	if err != nil || len(k.Keys) != 20 {
		t.Fatalf("after 20 updates at once: %d keys, %v; want 20", len(k.Keys), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	stop := errors.New("stop")
	if err := UpdateKnown(path, func(k *Known) error { k.Keys = nil; return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the callback's error", err)
	}
	if again, _ := LoadKnown(path); len(again.Keys) != 20 {
		t.Error("a failed change was written")
	}
}

func TestRememberNeverGoesBack(t *testing.T) {
	k := sampleKnown()
	k.Heads[0].Seq = 5
	k.Remember(KnownHead{object.RepositoryID{7}, "web", "db", 4, object.ID{1}})
	k.Remember(KnownHead{object.RepositoryID{7}, "web", "default", 1, object.ID{2}})
	if len(k.Heads) != 2 || k.Heads[0].Seq != 5 {
		t.Errorf("heads %+v", k.Heads)
	}
}
