package main

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
)

// selectFlags choose parts of a snapshot.
func selectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "include", Aliases: []string{"i"}, Usage: "restore only what matches `PATTERN`; may be repeated"},
		&cli.StringSliceFlag{Name: "iinclude", Usage: "restore only what matches `PATTERN`, whatever the case of letters"},
		&cli.StringSliceFlag{Name: "include-file", Usage: "restore only what matches a pattern in `FILE`"},
		&cli.StringSliceFlag{Name: "iinclude-file", Usage: "the same, whatever the case of letters: `FILE`"},
		&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}, Usage: "leave out what matches `PATTERN`; may be repeated"},
		&cli.StringSliceFlag{Name: "iexclude", Usage: "leave out what matches `PATTERN`, whatever the case of letters"},
		&cli.StringSliceFlag{Name: "exclude-file", Usage: "leave out what matches a pattern in `FILE`"},
		&cli.StringSliceFlag{Name: "iexclude-file", Usage: "the same, whatever the case of letters: `FILE`"},
	}
}

// includes reports whether flags of selectFlags say what to include.
func includes(c *cli.Context) bool {
	return slices.ContainsFunc([]string{"include", "iinclude", "include-file", "iinclude-file"}, c.IsSet)
}

// selection reads the flags of selectFlags. Without any the function is nil.
// sparse reports whether the patterns lead straight to few folders.
func (p *program) selection(c *cli.Context) (selects func(path string) (selected, below bool), sparse bool, err error) {
	var lists [4]*source.Patterns // include, iinclude, exclude, iexclude
	var given [2]bool             // some include, some exclude
	sparse = true
	for i, name := range []string{"include", "iinclude", "exclude", "iexclude"} {
		read := func(r io.Reader) ([]string, error) { return source.ReadPatterns(r, p.env.Getenv) }
		fromFiles, err := p.readLists(c.StringSlice(name+"-file"), read)
		if err != nil {
			return nil, false, err
		}
		patterns := slices.Concat(c.StringSlice(name), fromFiles)
		given[i/2] = given[i/2] || c.IsSet(name) || c.IsSet(name+"-file")
		if lists[i], err = source.NewPatterns(patterns, i%2 == 1); err != nil {
			return nil, false, usageErrorf("--%s: %v", name, err)
		}
		sparse = sparse && !slices.ContainsFunc(patterns, func(s string) bool { return !strings.HasPrefix(s, "/") || strings.Contains(s, "**") })
	}
	switch {
	case given[0] && given[1]:
		return nil, false, usageErrorf("patterns to include and patterns to exclude don't go together")
	case given[0]:
		return func(path string) (bool, bool) {
			a, belowA := lists[0].Match(path)
			b, belowB := lists[1].Match(path)
			return a || b, a || b || belowA || belowB
		}, sparse, nil
	case given[1]:
		return func(path string) (bool, bool) {
			a, _ := lists[2].Match(path)
			b, _ := lists[3].Match(path)
			return !a && !b, !a && !b
		}, false, nil
	}
	return nil, false, nil
}
