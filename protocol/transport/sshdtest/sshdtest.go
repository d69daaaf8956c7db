// Package sshdtest runs a real OpenSSH sshd on the loopback interface for
// tests: with its own configuration, host key and authorized_keys in
// a temporary folder, on a free port, stopped when the test ends.
//
// Tests of the transport and of whole programs use it; the program never links
// it. It needs sshd and ssh-keygen, and skips the test where they are missing.
package sshdtest

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Server is a running sshd. Its methods may be called by one goroutine.
type Server struct {
	Port int
	User string // whose login it takes: the user that runs the test
	Dir  string // its files; Dir/home has what a client's HOME needs

	mu  sync.Mutex
	log strings.Builder
}

// maxLog is how many bytes of its log a failed test shows.
const maxLog = 4 << 10

// sshd must be called by its whole name.
var places = []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/libexec/sshd"}

const config = `Port %d
ListenAddress 127.0.0.1
HostKey %[2]s/host_key
AuthorizedKeysFile %[2]s/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
LogLevel VERBOSE
MaxStartups 500
MaxSessions 500
Subsystem sftp internal-sftp
`

// Start starts an sshd that takes no key yet. Further lines of configuration
// may be given.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	program := ""
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			program = p
		}
	}
	if program == "" {
		t.Skip("there is no sshd here")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{User: me.Username, Dir: t.TempDir()}
	if os.Geteuid() == 0 {
		// Where it changes its root to; an empty folder that only root may write.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	hostKey := s.Key(t, "host_key")
	s.write(t, "authorized_keys", "", 0o600)
	if err := os.MkdirAll(filepath.Join(s.Dir, "home", ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 5 { // somebody else may take the port before sshd does
		s.Port = freePort(t)
		text := fmt.Sprintf(config, s.Port, s.Dir) + strings.Join(lines, "\n") + "\n"
		s.write(t, "sshd_config", text, 0o600)
		s.write(t, "home/.ssh/known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port, hostKey), 0o600)
		if s.run(t, program) {
			return s
		}
		if !strings.Contains(s.Log(), "already in use") {
			break
		}
	}
	t.Fatalf("sshd did not start:\n%s", s.Log())
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// run starts sshd and returns true when it listens, false when it has ended.
func (s *Server) run(t testing.TB, program string) bool {
	t.Helper()
	cmd := exec.Command(program, "-D", "-e", "-f", filepath.Join(s.Dir, "sshd_config"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var once sync.Once
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if strings.Contains(lines.Text(), "Server listening on") {
				once.Do(func() { close(listening) })
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		cmd.Wait()
		if t.Failed() {
			log := s.Log()
			t.Logf("sshd said, at the end:\n%s", log[max(0, len(log)-maxLog):])
		}
	})
	select {
	case <-listening:
		return true
	case <-done:
		return false
	}
}

// Log returns what sshd has logged so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *Server) write(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// Key makes a key pair in the file name below s.Dir and its public half in
// name.pub. It returns the public half as authorized_keys wants it.
func (s *Server) Key(t testing.TB, name string) string {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub)))
	s.write(t, name, string(pem.EncodeToMemory(block)), 0o600)
	s.write(t, name+".pub", line+"\n", 0o644)
	return line
}

// Authorize adds a line to authorized_keys.
func (s *Server) Authorize(t testing.TB, line string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.Dir, "authorized_keys"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// Home returns a folder that a client can have as HOME: its known_hosts has
// the server's key.
func (s *Server) Home() string { return filepath.Join(s.Dir, "home") }

// SSH returns an ssh command that logs in with the key in the file name below
// s.Dir and with nothing of the user's own configuration. The host to give it
// is 127.0.0.1.
func (s *Server) SSH(name string) []string {
	return []string{"ssh", "-F", "none", "-p", fmt.Sprint(s.Port), "-l", s.User, "-i", filepath.Join(s.Dir, name),
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=" + filepath.Join(s.Dir, "home/.ssh/known_hosts"), "-o", "GlobalKnownHostsFile=none", "-o", "LogLevel=ERROR"}
}
