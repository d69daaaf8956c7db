package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

func init() {
	scriptCommands["ids"] = scriptIDs
	scriptCommands["weigh"] = scriptWeigh
	scriptCommands["freed"] = scriptFreed
	scriptCommands["fill"] = scriptFill
}

// scriptIDs puts the ids of the JSON array that is the standard output into
// $PREFIX1, $PREFIX2 and so on, and wants a number of them: ids PREFIX N.
func scriptIDs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ids PREFIX N")
	}
	var list []struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if len(list) != want {
		ts.Fatalf("%d ids, want %d", len(list), want)
	}
	for i, one := range list {
		ts.Setenv(fmt.Sprintf("%s%d", args[0], i+1), one.ID)
	}
}

// packBytes adds up the sizes of all packs of a repository.
func packBytes(ts *testscript.TestScript, repository string) (total int64) {
	err := filepath.WalkDir(filepath.Join(ts.MkAbs(repository), "packs"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		total += info.Size()
		return err
	})
	ts.Check(err)
	return total
}

// scriptWeigh remembers how much the packs of a repository take: weigh REPO.
func scriptWeigh(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: weigh REPO")
	}
	ts.Setenv("WEIGHT", strconv.FormatInt(packBytes(ts, args[0]), 10))
}

// scriptFreed wants the packs of a repository to take as much less than when
// they were weighed as the prune --json before says, and at least N bytes less:
// freed REPO N.
func scriptFreed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: freed REPO N")
	}
	least, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	before, err := strconv.ParseInt(ts.Getenv("WEIGHT"), 10, 64)
	ts.Check(err)
	var sum pruneSummary
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &sum))
	now := packBytes(ts, args[0])
	if got := before - now; got != int64(sum.BytesFreed) || got < least {
		ts.Fatalf("the packs took %d bytes and take %d now: %d less; prune says %d, want at least %d", before, now, got, sum.BytesFreed, least)
	}
	if now != int64(sum.BytesKept) {
		ts.Fatalf("the packs take %d bytes, prune says %d", now, sum.BytesKept)
	}
}

// scriptFill writes a file until the file system has no byte left: fill FILE.
func scriptFill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill FILE")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		n, err := f.Write(block)
		if err != nil && n == 0 {
			block = block[:len(block)/2]
		}
	}
}

// TestUnitsCallCommands holds that the command lines in scripts/systemd are
// ones that this program understands.
func TestUnitsCallCommands(t *testing.T) {
	units, err := filepath.Glob("../../scripts/systemd/*.service")
	if err != nil || len(units) < 2 {
		t.Fatalf("found %v, %v; want the units of sender and store", units, err)
	}
	for _, name := range units {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, after, ok := strings.Cut(string(text), "\nExecStart=/usr/local/bin/packnback ")
		line, _, _ := strings.Cut(after, "\n")
		if !ok {
			t.Errorf("%s starts no packnback", name)
			continue
		}
		app := newProgram(&env.Env{Args: strings.Fields(line), Getenv: os.Getenv, Stdout: io.Discard, Stderr: io.Discard}).app()
		if _, err := arrange(app, strings.Fields(line)); err != nil {
			t.Errorf("%s: packnback %s: %v", name, line, err)
		}
	}
}

// TestSenderUnitHidesNothing holds that the unit of the sender has no directive
// that puts something else in the place of files. What is hidden is missing in
// every snapshot, and nothing says so: a folder looks empty, or is another file
// system, on which the backup doesn't go.
func TestSenderUnitHidesNothing(t *testing.T) {
	text, err := os.ReadFile("../../scripts/systemd/packnback-backup.service")
	if err != nil {
		t.Fatal(err)
	}
	hiding := map[string][]string{ // which values are harmless
		"PrivateTmp": {"no"}, "PrivateDevices": {"no"}, "PrivateUsers": {"no"}, "PrivateMounts": {"no"}, "DynamicUser": {"no"},
		"ProtectKernelModules": {"no"}, "ProtectHome": {"no", "read-only"}, "ProtectProc": {"default"}, "ProcSubset": {"all"},
		"InaccessiblePaths": nil, "TemporaryFileSystem": nil, "BindPaths": nil, "BindReadOnlyPaths": nil,
		"RootDirectory": nil, "RootImage": nil, "MountImages": nil, "ExtensionImages": nil, "ExtensionDirectories": nil,
	}
	directives := 0
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		directives++
		if harmless, hides := hiding[name]; hides && !slices.Contains(harmless, value) {
			t.Errorf("%s=%s hides files from the backup", name, value)
		}
	}
	if directives < 20 {
		t.Errorf("found %d directives; this is not the unit that was meant", directives)
	}
	// All but the unit's own folders is read-only, /tmp too.
	if want := "TMPDIR=/var/cache/packnback"; !strings.Contains(string(text), want) {
		t.Errorf("the unit doesn't set %s", want)
	}
}
