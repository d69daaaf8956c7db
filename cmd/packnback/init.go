package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo"
)

func initCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make a repository",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			s, err := p.initStore(c.Context)
			if err != nil {
				return err
			}
			p.printInitialized(s)
			return s.Close()
		},
	}
}

// initStore makes the repository that --repo names and opens it. The caller
// closes it.
func (p *program) initStore(ctx context.Context) (store, error) {
	at, err := p.location()
	if err != nil {
		return nil, err
	}
	if at.Remote() {
		return p.initRemote(ctx, at)
	}
	r, err := repo.Init(ctx, at.Path, repo.InitOptions{Warn: func(text string) { p.warnf("%s", text) }})
	if err != nil {
		return nil, err
	}
	return localStore{r}, nil
}

func (p *program) printInitialized(s store) {
	if p.ui.JSON {
		p.ui.PrintJSON(struct {
			MessageType string `json:"message_type"`
			ID          string `json:"id"`
			Repository  string `json:"repository"`
		}{"initialized", s.ID().String(), p.repository})
		return
	}
	p.ui.Remarkf("made repository %s at %s", s.ID(), ui.Quote(p.repository))
}
