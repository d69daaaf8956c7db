package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

func versionCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the program's version",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			return p.printVersion()
		},
	}
}

// buildVersion is the module's version as the go command recorded it, with the
// commit where there is no release.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	if info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func (p *program) printVersion() error {
	if p.ui.JSON {
		p.ui.PrintJSON(struct {
			MessageType string `json:"message_type"`
			Version     string `json:"version"`
			GoVersion   string `json:"go_version"`
			GoOS        string `json:"go_os"`
			GoArch      string `json:"go_arch"`
		}{"version", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
		return nil
	}
	p.ui.Printf("%s\n", fmt.Sprintf("packnback %s compiled with %s on %s/%s", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH))
	return nil
}
