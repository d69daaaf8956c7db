package authorize

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

func newKey(t *testing.T) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func parse(t *testing.T, text string) *Key {
	t.Helper()
	k, err := ParseKey([]byte(text))
	if err != nil {
		t.Fatalf("ParseKey(%q): %v", text, err)
	}
	return k
}

func TestParseKey(t *testing.T) {
	line := newKey(t)
	if k := parse(t, "# made by hand\n\n"+line+" me@host\n"); k.String() != line+" me@host" || !strings.HasPrefix(k.Fingerprint(), "SHA256:") {
		t.Errorf("got %q", k)
	}
	if k := parse(t, line+" bad\x1bcomment"); k.String() != line+" bad?comment" {
		t.Errorf("got %q", k)
	}
	_, priv, _ := ed25519.GenerateKey(rand.Reader)
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakPub, err := ssh.NewPublicKey(&weak.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"private":   string(pem.EncodeToMemory(block)),
		"several":   line + "\n" + newKey(t) + "\n",
		"options":   `command="id" ` + line,
		"restrict":  "restrict " + line,
		"empty":     "\n\n",
		"nonsense":  "hello world",
		"cut":       line[:len(line)-10],
		"weak RSA":  string(ssh.MarshalAuthorizedKey(weakPub)),
		"huge":      line + strings.Repeat(" ", MaxKeyFile),
		"known key": "host " + line,
	} {
		if k, err := ParseKey([]byte(text)); err == nil {
			t.Errorf("%s: got %v, want an error", name, k)
		} else if strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}

// names are paths that have something special to a shell or to sshd.
var names = []string{
	"/srv/backup", "/srv/my backup", "/srv/it's", `/srv/"quoted"`, `/srv/back\slash`, `/srv/end\`, "/srv/$HOME", "/srv/`id`", "/srv/a;b|c&d",
	"/srv/*?[x]", "/srv/ä€", `/srv/\"both\"`, "/srv/#x", "-n", "",
}

// TestTheShellGetsTheWords gives the command to a real shell.
func TestTheShellGetsTheWords(t *testing.T) {
	for _, name := range names {
		words := []string{"printf", "%s\\n", "serve", name, "end"}
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = quoteForShell(w)
		}
		out, err := exec.Command("/bin/sh", "-c", strings.Join(quoted, " ")).Output()
		if want := "serve\n" + name + "\nend\n"; err != nil || string(out) != want {
			t.Errorf("%q: the shell got %q, %v; want %q", name, out, err, want)
		}
	}
}

// dequote reads command="..." the way OpenSSH does.
func dequote(s string) (command, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
			b.WriteByte('"')
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

func TestLine(t *testing.T) {
	key := parse(t, newKey(t)+" a comment")
	for _, name := range names {
		line, err := Line([]string{"packnback", "serve", "--repo", name}, key)
		if err != nil {
			t.Fatal(err)
		}
		command, rest := dequote(strings.TrimPrefix(line, `restrict,command="`))
		if want := "packnback serve --repo " + quoteForShell(name); command != want || rest != " "+key.String() {
			t.Errorf("%q: sshd reads %q and %q from %q", name, command, rest, line)
		}
		got, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || comment != "a comment" || len(options) != 2 || options[0] != "restrict" || ssh.FingerprintSHA256(got) != key.Fingerprint() {
			t.Errorf("%q reads as options %q, comment %q, %v", line, options, comment, err)
		}
	}
	for _, bad := range []string{"a\nb", "a\x00b", "a\x1bb"} {
		if line, err := Line([]string{bad}, key); err == nil {
			t.Errorf("Line(%q): got %q, want an error", bad, line)
		}
	}
}

func TestInstall(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, ".ssh", "authorized_keys")
	key := parse(t, newKey(t))
	line, err := Line([]string{"packnback", "serve", "--repo", "/srv"}, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if changed, err := Install(home, key, line); err != nil || changed != want {
			t.Fatalf("Install: got %v, %v; want %v", changed, err, want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != line+"\n" {
		t.Errorf("authorized_keys: got %q, %v", text, err)
	}
	for name, want := range map[string]os.FileMode{filepath.Dir(file): 0o700, file: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	var already *AlreadyError
	if _, err := Install(home, key, strings.Replace(line, "/srv", "/other", 1)); !errors.As(err, &already) || already.Line != 1 {
		t.Errorf("another line for the same key: got %v", err)
	}
	if again, _ := os.ReadFile(file); string(again) != string(text) {
		t.Errorf("a refused install changed the file to %q", again)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestInstallKeepsWhatIsThere(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".ssh")
	os.Mkdir(dir, 0o777)
	os.Chmod(dir, 0o777)
	file := filepath.Join(dir, "authorized_keys")
	before := "# mine\n" + newKey(t) // no line break at the end
	if err := os.WriteFile(file, []byte(before), 0o666); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var lines []string
	for i := range 10 {
		key := parse(t, newKey(t))
		line, _ := Line([]string{"serve", fmt.Sprint(i)}, key)
		wg.Go(func() {
			if _, err := Install(home, key, line); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		})
	}
	wg.Wait()
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), before+"\n") || strings.Count(string(text), "\n") != 12 {
		t.Errorf("authorized_keys: got %q, %v", text, err)
	}
	for _, l := range lines {
		if !strings.Contains(string(text), l+"\n") {
			t.Errorf("lost the line %q", l)
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o755 {
		t.Errorf(".ssh has mode %v, want 0755", info.Mode())
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("authorized_keys has mode %v, want 0600", info.Mode())
	}
	os.Remove(file)
	if err := os.Symlink("/etc/passwd", file); err != nil {
		t.Fatal(err)
	}
	key := parse(t, newKey(t))
	if _, err := Install(home, key, "x"); err == nil {
		t.Error("Install went through a symbolic link")
	}
}

// FuzzLine checks with sshd's own rules that a path can't end the command or
// the line.
func FuzzLine(f *testing.F) {
	for _, n := range names {
		f.Add(n)
	}
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	k, _ := ssh.NewPublicKey(pub)
	key := &Key{key: k}
	f.Fuzz(func(t *testing.T, name string) {
		line, err := Line([]string{"serve", "--repo", name}, key)
		if err != nil {
			return
		}
		if strings.ContainsAny(line, "\n\r\x00") {
			t.Fatalf("%q breaks the line: %q", name, line)
		}
		command, rest := dequote(strings.TrimPrefix(line, `restrict,command="`))
		if command != "serve --repo "+quoteForShell(name) || rest != " "+key.String() {
			t.Fatalf("%q: sshd reads %q and %q", name, command, rest)
		}
	})
}
