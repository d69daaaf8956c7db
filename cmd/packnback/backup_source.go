package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/sender"
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

// backupInput is what a backup stores. Everything about it that can be wrong
// usage is known before open is called, which starts a command if there is one.
type backupInput struct {
	paths    []string // as the snapshot remembers them
	excludes []string
	open     func(ctx context.Context) (from sender.Source, close func() error, err error)
}

// backupSource finds out from operands and flags what to store.
func (p *program) backupSource(c *cli.Context) (*backupInput, error) {
	if c.Bool("stdin") || c.Bool("stdin-from-command") {
		return p.backupStream(c)
	}
	if c.IsSet("stdin-filename") {
		return nil, usageErrorf("backup: --stdin-filename goes with --stdin or --stdin-from-command")
	}
	names, err := p.backupOperands(c)
	if err != nil {
		return nil, err
	}
	filter, excludes, err := p.backupFilter(c)
	if err != nil {
		return nil, err
	}
	workdir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("looking for the current folder: %w", err)
	}
	plan, err := source.NewPlan(workdir, names)
	if err != nil {
		return nil, usageErrorf("backup: %v", err)
	}
	opt := source.Options{Filter: filter, OneFileSystem: c.Bool("one-file-system"), TempDir: p.env.Getenv("TMPDIR")}
	return &backupInput{names, excludes, func(context.Context) (sender.Source, func() error, error) {
		var err error
		if opt.Skip, err = p.ownFolder(); err != nil {
			return sender.Source{}, nil, err
		}
		return sender.Tree(plan, opt), func() error { return nil }, nil
	}}, nil
}

// ownFolder returns the folder of a repository on this machine: a backup that
// stored it would never be done.
func (p *program) ownFolder() ([]source.Place, error) {
	at, err := p.location()
	if err != nil || at.Remote() {
		return nil, err
	}
	info, err := os.Stat(at.Path)
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, nil
	}
	return []source.Place{{Dev: uint64(st.Dev), Ino: st.Ino}}, nil
}

// backupStream returns standard input, or what a command prints, as one file.
func (p *program) backupStream(c *cli.Context) (*backupInput, error) {
	words := c.Args().Slice()
	name := c.String("stdin-filename")
	fromCommand := c.Bool("stdin-from-command")
	switch {
	case fromCommand && c.Bool("stdin"):
		return nil, usageErrorf("backup: --stdin and --stdin-from-command exclude each other")
	case fromCommand && len(words) == 0:
		return nil, withHint(usageErrorf("backup: no command given"), "packnback backup -r REPO --stdin-from-command -- CMD…")
	case !fromCommand && len(words) > 0:
		return nil, usageErrorf("backup: --stdin takes no operands; a command goes with --stdin-from-command")
	}
	for _, list := range []string{"files-from", "files-from-verbatim", "files-from-raw"} {
		if c.IsSet(list) {
			stream := "stdin"
			if fromCommand {
				stream = "stdin-from-command"
			}
			return nil, usageErrorf("backup: --%s doesn't go with --%s: a stream is all that its snapshot holds", list, stream)
		}
	}
	if _, err := sender.Stream(name, p.env.Stdin, nil); err != nil {
		return nil, usageErrorf("backup: %v", err)
	}
	return &backupInput{paths: []string{name}, open: func(ctx context.Context) (sender.Source, func() error, error) {
		if !fromCommand {
			from, err := sender.Stream(name, patient(ctx, p.env.Stdin), nil)
			return from, func() error { return nil }, err
		}
		run, err := startCommand(ctx, p.env, words)
		if err != nil {
			return sender.Source{}, nil, err
		}
		from, err := sender.Stream(name, run.out, run.wait)
		return from, run.close, err
	}}, nil
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
