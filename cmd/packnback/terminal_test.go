//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packnback/packnback/cmd/packnback/internal/env/ttytest"
	"github.com/packnback/packnback/protocol/transport/sshdtest"
)

// TestInterruptedQuestion presses Ctrl-C while the program asks something: it
// ends at once with the status of an interruption, and the terminal shows again
// what is typed.
func TestInterruptedQuestion(t *testing.T) {
	w := &world{dir: t.TempDir(), program: programPath(t)}
	w.repo = filepath.Join(w.dir, "repo")
	w.must(t, "store", "init", "-r", w.repo)
	key := w.file("admin", "restore.key")
	w.must(t, "admin", "--passphrase-command", "echo secret", "key", "generate", "--passphrase", "-o", key)
	sshd := sshdtest.Start(t)
	sshd.Authorize(t, sshd.Key(t, "me"))
	for name, c := range map[string]struct {
		args     []string
		question string
		after    string // what the screen shows behind the key's name, or the question
	}{
		"passphrase":     {[]string{"snapshots", "-r", w.repo, "-k", key}, "passphrase for ", "\": \r\n"},
		"new passphrase": {[]string{"key", "generate", "--passphrase", "-o", w.file("admin", "other.key")}, "new passphrase for ", "\": \r\n"},
		"host key":       {[]string{"snapshots", "-r", fmt.Sprintf("ssh://%s@127.0.0.1:%d/x", sshd.User, sshd.Port), "--ssh-command", "builtin -i " + filepath.Join(sshd.Dir, "me")}, "remember it: ", "remember it: \r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			y := ttytest.Open(t)
			before := y.Settings()
			var errs bytes.Buffer
			cmd := exec.CommandContext(t.Context(), w.program, c.args...)
			cmd.Env = []string{"HOME=" + w.file("admin", ""), "PATH=" + os.Getenv("PATH")}
			cmd.Stderr = &errs
			y.Attach(cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			y.Await(c.question)
			y.Type(ttytest.Interrupt)
			_ = cmd.Wait() // the status says it
			if got := cmd.ProcessState.ExitCode(); got != statusInterrupted {
				t.Errorf("status %d, want %d", got, statusInterrupted)
			}
			if got := errs.String(); !strings.HasSuffix(got, "packnback: error: interrupted\n") {
				t.Errorf("stderr: %q", got)
			}
			if after := y.Settings(); after != before {
				t.Errorf("the terminal is left as %+v, and was %+v", after, before)
			}
			// The kernel shows a key that isn't hidden before or after it signals.
			switch {
			case name != "host key":
				y.Await(c.after)
			case !strings.Contains(y.Await("^C"), c.after):
				y.Await("^C\r\n")
			}
		})
	}
	if _, err := os.Stat(w.file("admin", "other.key")); !os.IsNotExist(err) {
		t.Errorf("a key file was left behind: %v", err)
	}
}
