//go:build linux

package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/env/ttytest"
)

// The tests of terminals start this program once more, in a session of its own,
// with or without a controlling terminal. What it is to do there is in
// $ENV_TEST.
var parts = map[string]func(ctx context.Context, e *Env){
	"attended":   func(_ context.Context, e *Env) { fmt.Println(e.Attended()) },
	"passphrase": func(ctx context.Context, e *Env) { tell(e.ReadPassphrase(ctx, "secret")) },
	"ask":        func(ctx context.Context, e *Env) { tell(e.Ask(ctx, "secret: ")) },
	"too late": func(_ context.Context, e *Env) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		tell(e.ReadPassphrase(ctx, "secret"))
	},
}

// tell prints what a question has brought.
func tell(answer string, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Println("interrupted")
	case errors.Is(err, ErrNoTerminal):
		fmt.Println("no terminal")
	case err != nil:
		fmt.Println("error:", err)
	default:
		fmt.Printf("answer: %q\n", answer)
	}
}

func TestMain(m *testing.M) {
	if part := parts[os.Getenv("ENV_TEST")]; part != nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		part(ctx, Process())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play returns the command that plays a part, which is killed when it takes too
// long.
func play(t *testing.T, part string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd, out := exec.CommandContext(ctx, program), new(bytes.Buffer)
	cmd.Env = append(os.Environ(), "ENV_TEST="+part)
	cmd.Stdout, cmd.Stderr = out, out
	ttytest.Detach(cmd)
	return cmd, out
}

func TestAttended(t *testing.T) {
	y := ttytest.Open(t)
	for name, c := range map[string]struct {
		with func(cmd *exec.Cmd)
		want string
	}{
		"neither":     {func(*exec.Cmd) {}, "false"},
		"controlling": {y.Attach, "true"},
		"stdin only":  {func(cmd *exec.Cmd) { cmd.Stdin = y.Program }, "true"},
	} {
		cmd, out := play(t, "attended")
		c.with(cmd)
		err := cmd.Run()
		if got := strings.TrimSpace(out.String()); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %s", name, got, err, c.want)
		}
	}
}

// TestQuestions asks on a terminal, and has it answered or broken off.
func TestQuestions(t *testing.T) {
	for _, c := range []struct {
		name, part, keys string
		signal           syscall.Signal // after the keys; 0: none
		want             string
		screen           string // what is shown behind the question
	}{
		{"passphrase", "passphrase", " pass word \n", 0, `answer: " pass word "`, "\r\n"},
		{"answer", "ask", " yes \n", 0, `answer: "yes"`, " yes \r\n"},
		{"empty", "passphrase", "\n", 0, `answer: ""`, "\r\n"},
		{"end of input", "passphrase", "\x04", 0, "error: reading the passphrase from the terminal: nothing was typed", "\r\n"},
		{"corrected", "passphrase", "ab\x7fc\n", 0, `answer: "ac"`, "\r\n"},
		{"passphrase interrupted", "passphrase", ttytest.Interrupt, 0, "interrupted", "\r\n"},
		{"answer interrupted", "ask", ttytest.Interrupt, 0, "interrupted", "\r\n"},
		{"interrupted in the middle", "passphrase", "half of i" + ttytest.Interrupt, 0, "interrupted", "\r\n"},
		{"passphrase terminated", "passphrase", "half of i", syscall.SIGTERM, "interrupted", "\r\n"},
		{"answer terminated", "ask", "", syscall.SIGTERM, "interrupted", "\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := ttytest.Open(t)
			before := y.Settings()
			cmd, out := play(t, c.part)
			y.Attach(cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			y.Await("secret: ")
			if got, want := y.Echoes(), c.part == "ask"; got != want {
				t.Errorf("while it asks, the terminal shows what is typed: %v, want %v", got, want)
			}
			y.Type(c.keys)
			if c.signal != 0 {
				if err := cmd.Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
			}
			err := cmd.Wait()
			if got := strings.TrimSpace(out.String()); err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
			if after := y.Settings(); after != before {
				t.Errorf("the terminal is left as %+v, and was %+v", after, before)
			}
			got := y.Await("\n")
			if c.part == "ask" { // the kernel shows the key before or after it signals
				got = strings.Replace(got, "^C", "", 1)
			}
			if want := "secret: " + c.screen; got != want {
				t.Errorf("the screen shows %q, want %q", got, want)
			}
		})
	}
}

// TestQuestionsNobodyHears are not asked.
func TestQuestionsNobodyHears(t *testing.T) {
	for part, want := range map[string]string{"passphrase": "no terminal", "ask": "no terminal", "too late": "interrupted"} {
		cmd, out := play(t, part)
		err := cmd.Run()
		if got := strings.TrimSpace(out.String()); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", part, got, err, want)
		}
	}
}
