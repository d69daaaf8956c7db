package main

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

func configCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "show and change a repository's settings",
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "show all settings",
				Action: func(c *cli.Context) error {
					if _, err := operands(c, 0, 0); err != nil {
						return err
					}
					return p.withStore(c.Context, func(s store) error {
						list, err := s.Settings(c.Context)
						if err != nil {
							return err
						}
						return p.printSettings(list)
					})
				},
			},
			{
				Name:      "get",
				Usage:     "show one setting",
				ArgsUsage: "KEY",
				Action: func(c *cli.Context) error {
					args, err := operands(c, 1, 1)
					if err != nil {
						return err
					}
					return p.withStore(c.Context, func(s store) error { return p.configGet(c, s, args[0]) })
				},
			},
			{
				Name:      "set",
				Usage:     "change a setting; without a value, back to the default",
				ArgsUsage: "KEY [VALUE]",
				Action: func(c *cli.Context) error {
					key, value, err := configPair(c)
					if err != nil {
						return err
					}
					return p.withStore(c.Context, func(s store) error {
						err := s.SetSetting(c.Context, key, value)
						if errors.Is(err, object.CodeInvalid) {
							return withStatus(statusUsage, err)
						}
						if err != nil {
							return err
						}
						if value == "" {
							return nil
						}
						return p.configGet(c, s, key)
					})
				},
			},
		},
	}
}

// configPair reads KEY VALUE, KEY=VALUE or KEY alone.
func configPair(c *cli.Context) (key, value string, err error) {
	args := c.Args().Slice()
	switch len(args) {
	case 1:
		key, value, _ = strings.Cut(args[0], "=")
	case 2:
		key, value = args[0], args[1]
	default:
		_, err = operands(c, 1, 2)
	}
	return key, value, err
}

func (p *program) configGet(c *cli.Context, s store, key string) error {
	list, err := s.Settings(c.Context)
	if err != nil {
		return err
	}
	for _, one := range list {
		if one.Key != key {
			continue
		}
		if p.ui.JSON {
			p.ui.PrintJSON(newSettingLine(one))
		} else {
			p.ui.Printf("%s\n", ui.Quote(one.Value))
		}
		return nil
	}
	return withHint(usageErrorf("there is no setting %s", ui.Quote(key)), "packnback config list")
}

// settingLine is what programs get of a setting.
type settingLine struct {
	MessageType string `json:"message_type"`
	Key         string `json:"key"`
	Value       string `json:"value"`
	Default     bool   `json:"default"`
}

func newSettingLine(s repo.Setting) settingLine {
	return settingLine{"setting", s.Key, s.Value, s.Default}
}

func (p *program) printSettings(list []repo.Setting) error {
	t := ui.NewTable("Setting", "Value", "", "Meaning")
	for _, one := range list {
		if p.ui.JSON {
			p.ui.PrintJSON(newSettingLine(one))
			continue
		}
		origin := "set"
		if one.Default {
			origin = "default"
		}
		t.Row(one.Key, one.Value, origin, one.Doc)
	}
	if t.Len() == 0 {
		return nil
	}
	_, err := t.WriteTo(p.ui.Stdout())
	return err
}
