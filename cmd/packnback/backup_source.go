package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
)

// filterFlags are those that leave things out of a backup.
func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}, Usage: "leave out what matches `PATTERN`; may be repeated"},
		&cli.StringSliceFlag{Name: "iexclude", Usage: "leave out what matches `PATTERN`, whatever the case of letters"},
		&cli.StringSliceFlag{Name: "exclude-file", Usage: "leave out what matches a pattern in `FILE`"},
		&cli.StringSliceFlag{Name: "iexclude-file", Usage: "the same, whatever the case of letters: `FILE`"},
		&cli.BoolFlag{Name: "exclude-caches", Usage: "leave out the contents of folders with a CACHEDIR.TAG"},
		&cli.StringSliceFlag{Name: "exclude-if-present", Usage: "leave out the contents of folders that hold a file `NAME[:HEADER]`"},
		&cli.StringFlag{Name: "exclude-larger-than", Usage: "leave out files larger than `SIZE`"},
		&cli.BoolFlag{Name: "one-file-system", Aliases: []string{"x"}, Usage: "stay on the file systems of the operands"},
	}
}

// sourceFlags say where a backup's contents come from, other than operands.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "files-from", Usage: "back up what matches the patterns in `FILE`"},
		&cli.StringSliceFlag{Name: "files-from-verbatim", Usage: "back up the paths in `FILE`, one a line"},
		&cli.StringSliceFlag{Name: "files-from-raw", Usage: "back up the paths in `FILE`, each ended by a NUL"},
		&cli.BoolFlag{Name: "stdin", Usage: "store standard input as one file"},
		&cli.StringFlag{Name: "stdin-filename", Value: "stdin", Usage: "`NAME` of that file"},
		&cli.BoolFlag{Name: "stdin-from-command", Usage: "store what the command behind -- prints"},
	}
}

// backupFilter reads the flags of filterFlags. The patterns come back as they
// were written, for the snapshot to remember.
func (p *program) backupFilter(c *cli.Context) (*source.Filter, []string, error) {
	config := source.FilterConfig{
		Exclude:   slices.Clone(c.StringSlice("exclude")),
		IExclude:  slices.Clone(c.StringSlice("iexclude")),
		Caches:    c.Bool("exclude-caches"),
		IfPresent: c.StringSlice("exclude-if-present"),
	}
	read := func(r io.Reader) ([]string, error) { return source.ReadPatterns(r, p.env.Getenv) }
	for _, files := range []struct {
		names []string
		to    *[]string
	}{{c.StringSlice("exclude-file"), &config.Exclude}, {c.StringSlice("iexclude-file"), &config.IExclude}} {
		patterns, err := p.readLists(files.names, read)
		if err != nil {
			return nil, nil, err
		}
		*files.to = append(*files.to, patterns...)
	}
	if s := c.String("exclude-larger-than"); s != "" {
		var err error
		if config.Larger, err = parseSize(s); err != nil {
			return nil, nil, usageErrorf("--exclude-larger-than: %v", err)
		}
	}
	filter, err := source.NewFilter(config)
	if err != nil {
		return nil, nil, usageErrorf("backup: %v", err)
	}
	return filter, slices.Concat(config.Exclude, config.IExclude), nil
}

// backupOperands returns the operands and what the --files-from flags name.
func (p *program) backupOperands(c *cli.Context) ([]string, error) {
	all, err := operands(c, 0, -1)
	if err != nil {
		return nil, err
	}
	fromLists := false
	for _, list := range []struct {
		flag string
		read func(io.Reader) ([]string, error)
	}{
		{"files-from", source.ReadGlobs},
		{"files-from-verbatim", source.ReadVerbatim},
		{"files-from-raw", source.ReadRaw},
	} {
		names, err := p.readLists(c.StringSlice(list.flag), list.read)
		if err != nil {
			return nil, err
		}
		fromLists = fromLists || c.IsSet(list.flag)
		all = append(all, names...)
	}
	switch {
	case len(all) > 0:
		return all, nil
	case fromLists:
		return nil, usageErrorf("backup: the lists name nothing to back up")
	}
	return nil, withHint(usageErrorf("backup: nothing to back up was named"), "packnback backup -r REPO PATH…")
}

// readLists reads the files of a repeated flag; "-" is standard input.
func (p *program) readLists(names []string, read func(io.Reader) ([]string, error)) ([]string, error) {
	var all []string
	for _, name := range names {
		list, err := p.readList(name, read)
		if err != nil {
			return nil, fmt.Errorf("reading the list %q: %w", name, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func (p *program) readList(name string, read func(io.Reader) ([]string, error)) ([]string, error) {
	if name == "-" {
		return read(p.env.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f)
}
