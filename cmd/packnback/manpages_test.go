package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

// inMainPage are the commands that packnback(1) describes itself.
var inMainPage = []string{"unlock", "version", "completion", "help"}

// TestFlagsAndPages compares the flags of every command with the list items of
// its manual page, in both directions.
func TestFlagsAndPages(t *testing.T) {
	app := newProgram(env.Process()).app()
	global := typedFlags(app.Flags)
	main := pageFlags(t, "packnback.1")
	for _, f := range global {
		if !slices.Contains(main, f) {
			t.Errorf("packnback.1 does not explain %s", f)
		}
	}
	for _, f := range main {
		if !slices.Contains(global, f) {
			t.Errorf("packnback.1 explains %s, which is no flag", f)
		}
	}
	text := readPage(t, "packnback.1")
	for _, c := range app.Commands {
		if slices.Contains(inMainPage, c.Name) {
			for _, f := range commandFlags(c) {
				if !strings.Contains(text, "Fl "+strings.TrimPrefix(f, "-")) {
					t.Errorf("packnback.1 does not mention %s of %s", f, c.Name)
				}
			}
			continue
		}
		page := "packnback-" + c.Name + ".1"
		if !strings.Contains(text, ".It Xr packnback-"+c.Name+" 1") {
			t.Errorf("packnback.1 does not list %s", c.Name)
		}
		have, explained := commandFlags(c), pageFlags(t, page)
		for _, f := range have {
			if !slices.Contains(explained, f) {
				t.Errorf("%s does not explain %s", page, f)
			}
		}
		for _, f := range explained {
			if !slices.Contains(have, f) && !slices.Contains(global, f) {
				t.Errorf("%s explains %s, which %s does not have", page, f, c.Name)
			}
		}
	}
}

// commandFlags returns the flags of a command and its subcommands.
func commandFlags(c *cli.Command) []string {
	names := typedFlags(c.Flags)
	for _, sub := range c.Subcommands {
		names = append(names, commandFlags(sub)...)
	}
	return names
}

// typedFlags returns all names of flags as they are typed.
func typedFlags(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				name = "-" + name
			}
			names = append(names, "-"+name)
		}
	}
	return names
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "man", page))
	if err != nil {
		t.Errorf("every command has a manual page: %v", err)
	}
	return string(b)
}

// pageFlags returns the flags that a page's lists explain, as they are typed:
// lines such as ".It Fl H , Fl -host Ar NAME".
func pageFlags(t *testing.T, page string) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(readPage(t, page)) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != ".It" || words[1] != "Fl" {
			continue
		}
		for i, word := range words[:len(words)-1] {
			if word == "Fl" {
				names = append(names, "-"+words[i+1])
			}
		}
	}
	return names
}
