package sender

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// The environment of a test binary that is a sender to be killed.
const (
	killFolder = "PACKNBACK_TEST_KILL_FOLDER"
	killPut    = "PACKNBACK_TEST_KILL_PUT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killFolder); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

// victim backs up until its nth put is acknowledged as durable, and dies of
// SIGKILL.
func victim(dir string) {
	n, err := strconv.Atoi(os.Getenv(killPut))
	text, keyErr := os.ReadFile(filepath.Join(dir, "send.key"))
	send, parseErr := crypto.ParseSendKey(text)
	r, openErr := repo.Open(context.Background(), filepath.Join(dir, "repo"))
	if err := errors.Join(err, keyErr, parseErr, openErr); err != nil {
		panic(err)
	}
	l := &lab{t: new(testing.T), dir: filepath.Join(dir, "tree"), repo: r, cfg: labConfig(dir, send, r)}
	l.wrap = func(s Store) Store {
		return &faulty{Store: s, put: func(i int, _ *object.Record) error {
			if i != n {
				return nil
			}
			err := session(s).Checkpoint(context.Background())
			return errors.Join(err, syscall.Kill(os.Getpid(), syscall.SIGKILL))
		}}
	}
	l.backup()
	os.Exit(7) // it should be dead
}

// A sender that is killed, with no chance to tidy up, is followed by one that
// goes on where it was.
func TestKill(t *testing.T) {
	l := newLab(t)
	l.plant()
	dir := filepath.Dir(l.dir)
	_, send := keys()
	if err := os.WriteFile(filepath.Join(dir, "send.key"), send.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3, 12, 9} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killFolder+"="+dir, killPut+"="+strconv.Itoa(n))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("sender to be killed at put %d: %v\n%s", n, err, out)
		}
	}
	sum := l.backup()
	if l.asked != 0 {
		t.Errorf("asked about %d objects that the logs tell of", l.asked)
	}
	l.same(sum.Snapshot)
	whole := newLab(t)
	whole.dir = l.dir
	whole.backup()
	if got, want := l.total(), whole.total()-(3+12+9)+12; got > want {
		t.Errorf("put %d objects at last, want at most %d; a run from nothing puts %d", got, want, whole.total())
	}
	l.backup()
	if l.asked != 0 || l.total() != 1 {
		t.Errorf("after that: asked %d, put %v", l.asked, l.puts)
	}
}
