package sender

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/packnback/packnback/cmd/packnback/internal/source"
)

// Source is where the entries of a backup come from.
type Source struct {
	plan   *source.Plan
	opt    source.Options
	stream *stream
}

// Tree returns a source that walks plan. The Report of opt is not used.
func Tree(plan *source.Plan, opt source.Options) Source { return Source{plan: plan, opt: opt} }

func (s *Source) walk(ctx context.Context, ev *events, step func(*source.Item) error) error {
	opt := s.opt
	opt.Report = ev.problem
	return s.plan.Walk(ctx, opt, step)
}

// leaveOut keeps the walk out of a folder. Its own cache would be different
// after every look at it.
func (s *Source) leaveOut(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the cache: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.opt.Skip = append(slices.Clip(s.opt.Skip), source.Place{Dev: uint64(st.Dev), Ino: st.Ino})
	}
	return nil
}
