package main

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
)

func findCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "find",
		Usage:     "find files by name in snapshots",
		ArgsUsage: "PATTERN...",
		Flags: append(snapshotFlags(),
			&cli.StringSliceFlag{Name: "snapshot", Aliases: []string{"s"}, Usage: "look only in `SNAP`; may be repeated"},
			&cli.BoolFlag{Name: "ignore-case", Aliases: []string{"i"}, Usage: "whatever the case of letters"},
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show mode, owner, size and time"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 1, -1)
			if err != nil {
				return err
			}
			f := &finder{long: c.Bool("long"), fold: c.Bool("ignore-case")}
			if err := f.compile(ops); err != nil {
				return err
			}
			var sels []view.Selector
			for _, s := range c.StringSlice("snapshot") {
				sel, err := parseSelector(s)
				if err != nil {
					return err
				}
				sels = append(sels, sel)
			}
			return p.withReading(c, func(r *reading) error {
				f.reading = r
				return f.run(c.Context, sels)
			})
		},
	}
}

// finder is one run of find.
type finder struct {
	*reading
	names, paths []string // patterns without and with a slash
	long, fold   bool
	hits         uint64
	lost         int
}

// compile sorts the patterns. Those with a slash match whole paths, from the
// root if they begin with it; the others match names.
func (f *finder) compile(patterns []string) error {
	for _, pattern := range patterns {
		if f.fold {
			pattern = strings.ToLower(pattern)
		}
		if !doublestar.ValidatePattern(pattern) || pattern == "" {
			return usageErrorf("find: %q is not a pattern", pattern)
		}
		switch {
		case !strings.Contains(pattern, "/"):
			f.names = append(f.names, pattern)
		case strings.HasPrefix(pattern, "/"):
			f.paths = append(f.paths, path.Clean(pattern))
		default:
			f.paths = append(f.paths, "/**/"+path.Clean(pattern))
		}
	}
	return nil
}

func (f *finder) matches(at, name string) bool {
	if f.fold {
		at, name = strings.ToLower(at), strings.ToLower(name)
	}
	for _, p := range f.names {
		if doublestar.MatchUnvalidated(p, name) {
			return true
		}
	}
	for _, p := range f.paths {
		if doublestar.MatchUnvalidated(p, at) {
			return true
		}
	}
	return false
}

func (f *finder) run(ctx context.Context, sels []view.Selector) error {
	var err error
	if len(sels) > 0 {
		err = f.chosen(ctx, sels)
	} else {
		err = f.everywhere(ctx)
	}
	switch {
	case err != nil:
		return err
	case f.lost > 0:
		return withStatus(statusDamage, fmt.Errorf("%d folders could not be read", f.lost))
	case f.hits == 0:
		f.ui.Remarkf("nothing found")
	}
	return nil
}
