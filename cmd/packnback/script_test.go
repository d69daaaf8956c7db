package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"packnback": main, "hostile": hostile})
}

// TestScript runs testdata/script/*.txtar against the real main, each in a
// fresh folder with an empty home. Their names begin with a category: usage_,
// keys_, backup_, restore_, bad_ (bad input) and so on. The commands beyond
// those of testscript are in scriptCommands.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("TZ", "UTC")
			e.Setenv("LC_ALL", "C.UTF-8")
			return os.Mkdir(home, 0o700)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition is called %q", cond)
		},
		Cmds: scriptCommands,
	})
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"status":    scriptStatus,
	"json":      scriptJSON,
	"sametree":  scriptSameTree,
	"mark":      scriptMark,
	"untouched": scriptUntouched,
	"flip":      scriptFlip,
	"shorten":   scriptShorten,
	"noise":     scriptNoise,
	"tmpfs":     scriptTmpfs,
	"until":     scriptUntil,
}

// scriptStatus runs a command and wants an exit status: status N COMMAND….
// A failure must come with exactly one line that says what is wrong (a restore
// that is partly done names every file that is lost), and no stack trace.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
	if want == 0 || args[1] != "packnback" {
		return
	}
	stderr := ts.ReadFile("stderr")
	errorLines := 0
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "packnback: error: ") || strings.HasPrefix(line, `{"message_type":"exit_error"`) {
			errorLines++
		}
		if strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "panic:") || strings.TrimSpace(line) == "packnback: error: EOF" {
			ts.Fatalf("the message is none: %s", line)
		}
	}
	if errorLines != 1 && !(want == statusPartial && errorLines > 1) {
		ts.Fatalf("%d error lines, want 1", errorLines)
	}
}

// scriptJSON compares fields of the last line of standard output, which must be
// a JSON object: json KEY=VALUE…. "KEY" alone wants the field to be there,
// "KEY>N" a number above N, "KEY<N" one below.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var object map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &object); err != nil {
		ts.Fatalf("the last line is no JSON object: %v", err)
	}
	for _, arg := range args {
		key, want, equal := strings.Cut(arg, "=")
		key, above, greater := strings.Cut(key, ">")
		key, below, less := strings.Cut(key, "<")
		value, ok := object[key]
		got := fmt.Sprint(value)
		if f, isNumber := value.(float64); isNumber {
			got = strconv.FormatFloat(f, 'f', -1, 64)
		}
		good := ok && (!equal || got == want)
		if greater || less {
			limit, err := strconv.ParseFloat(above+below, 64)
			ts.Check(err)
			f, isNumber := value.(float64)
			good = isNumber && (greater && f > limit || less && f < limit)
		}
		if good == neg {
			ts.Fatalf("field %q is %s (there: %v), want %s", key, got, ok, arg)
		}
	}
}

// scriptSameTree wants two folders to hold the same, with all metadata:
// sametree A B.
func scriptSameTree(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sametree A B")
	}
	out, err := exec.Command("rsync", "-nacHAX", "--delete", "-i", ts.MkAbs(args[0])+"/", ts.MkAbs(args[1])+"/").CombinedOutput()
	if err != nil {
		ts.Fatalf("rsync: %v\n%s", err, out)
	}
	if same := len(out) == 0; same == neg {
		ts.Fatalf("the same: %v\n%s", same, out)
	}
}

// scriptMark remembers everything below a folder: mark DIR.
func scriptMark(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mark DIR")
	}
	ts.Setenv("MARK_"+filepath.Base(args[0]), treeHash(ts, args[0]))
}

// scriptUntouched wants a folder to be as it was at its mark: untouched DIR.
func scriptUntouched(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: untouched DIR")
	}
	if same := treeHash(ts, args[0]) == ts.Getenv("MARK_"+filepath.Base(args[0])); same == neg {
		ts.Fatalf("%s is as it was: %v", args[0], same)
	}
}

func treeHash(ts *testscript.TestScript, dir string) string {
	h := sha256.New()
	err := filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %v\n", path, d.Type())
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%x\n", sha256.Sum256(b))
		return err
	})
	ts.Check(err)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// oneFile returns the one file that a pattern names, or the largest of several.
func oneFile(ts *testscript.TestScript, pattern string) string {
	names, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	largest, size := "", int64(-1)
	for _, name := range names {
		info, err := os.Stat(name)
		ts.Check(err)
		if info.Size() > size {
			largest, size = name, info.Size()
		}
	}
	if largest == "" {
		ts.Fatalf("no file matches %s", pattern)
	}
	return largest
}

// scriptFlip turns one bit of a file over, in the middle or at an offset:
// flip FILE [OFFSET].
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	name := oneFile(ts, args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	at := len(b) / 2
	if len(args) > 1 {
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	b[at] ^= 0x10
	ts.Check(os.WriteFile(name, b, 0o600))
}

// scriptShorten cuts bytes off the end of a file: shorten FILE N.
func scriptShorten(ts *testscript.TestScript, neg bool, args []string) {
	name := oneFile(ts, args[0])
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	info, err := os.Stat(name)
	ts.Check(err)
	ts.Check(os.Truncate(name, max(0, info.Size()-n)))
}

// scriptNoise makes files of bytes that don't compress, the same in every run:
// noise DIR COUNT SIZE.
func scriptNoise(ts *testscript.TestScript, neg bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	size, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o777))
	state := uint64(len(args[0]))*0x9e3779b97f4a7c15 + 1
	for i := range count {
		var b bytes.Buffer
		for b.Len() < size { // xorshift: fast, and good enough not to compress
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			for s := range 8 {
				b.WriteByte(byte(state >> (8 * s)))
			}
		}
		b.Truncate(size)
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), fmt.Sprintf("%04d.bin", i)), b.Bytes(), 0o666))
	}
}

// scriptTmpfs mounts a small file system: tmpfs DIR SIZE. It needs root.
func scriptTmpfs(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	ts.Check(syscall.Mount("packnback-test", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			ts.Logf("unmounting %s: %v", dir, err)
		}
	})
}

// scriptUntil waits until the files that a pattern names have at least SIZE
// bytes together: until PATTERN SIZE.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	deadline := time.After(time.Minute)
	for poll := time.Tick(2 * time.Millisecond); ; {
		names, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		var total int64
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				total += info.Size()
			}
		}
		if total >= want {
			return
		}
		select {
		case <-poll:
		case <-deadline:
			ts.Fatalf("%s has %d bytes after a minute, want %d", args[0], total, want)
		}
	}
}
