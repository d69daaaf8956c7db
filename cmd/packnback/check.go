package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/repo"
)

func checkCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "check a repository's structure and checksums, without a key",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "read-data", Usage: "read and check every pack"},
			&cli.StringFlag{Name: "read-data-subset", Usage: "read and check a random share of the packs: `N%`"},
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			opt := repo.CheckOptions{ReadData: c.Bool("read-data")}
			if c.IsSet("read-data-subset") {
				var err error
				if opt.Subset, err = parsePercent(c.String("read-data-subset")); err != nil {
					return err
				}
				if opt.ReadData {
					return usageErrorf("check: --read-data reads everything already; leave out --read-data-subset")
				}
			}
			return p.withStore(c.Context, func(s store) error {
				result, err := s.Check(c.Context, opt, p.printProblem)
				if err != nil {
					return err
				}
				return p.printCheckResult("check", result)
			})
		},
	}
}

// parsePercent reads "5%" or "5": more than 0, at most 100.
func parsePercent(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) {
		return 0, usageErrorf("%q is not a share: want a number up to 100 with a percent sign, such as 5%%", s)
	}
	return n, nil
}

// problemLine is what programs get of a repo.Problem.
type problemLine struct {
	MessageType string `json:"message_type"`
	What        string `json:"what"`
	Name        string `json:"name,omitempty"`
	ID          string `json:"id,omitempty"`
	Detail      string `json:"detail"`
}

func (p *program) printProblem(pr repo.Problem) {
	line := problemLine{"problem", pr.What, pr.Name, "", pr.Detail}
	where := pr.What
	if pr.Name != "" && pr.Name != pr.What {
		where += " " + ui.Quote(pr.Name)
	}
	if !pr.ID.IsZero() {
		line.ID = pr.ID.String()
		where += " " + line.ID
	}
	if p.ui.JSON {
		p.ui.PrintJSON(line)
		return
	}
	p.ui.Printf("%s: %s\n", where, ui.QuoteText(pr.Detail))
}

// checkSummary is the last line of check, repair and verify in JSON mode.
type checkSummary struct {
	MessageType string `json:"message_type"`
	Command     string `json:"command"`
	Snapshots   uint64 `json:"snapshots"`
	Packs       uint64 `json:"packs"`
	PacksRead   uint64 `json:"packs_read"`
	Objects     uint64 `json:"objects"`
	Bytes       uint64 `json:"bytes"`
	NumErrors   int    `json:"num_errors"`
}

// printCheckResult prints the result and returns the error of damage if there
// is any.
func (p *program) printCheckResult(command string, r repo.CheckResult) error {
	if p.ui.JSON {
		p.ui.PrintJSON(checkSummary{"summary", command, r.Snapshots, r.Packs, r.PacksRead, r.Objects, r.Bytes, r.Problems})
	} else {
		p.ui.Remarkf("%s: %s snapshots, %s objects in %s packs, %s; %s packs read", command,
			ui.Count(r.Snapshots), ui.Count(r.Objects), ui.Count(r.Packs), ui.Size(r.Bytes), ui.Count(r.PacksRead))
	}
	if r.Problems == 0 {
		p.ui.Remarkf("no errors were found")
		return nil
	}
	damage := withStatus(statusDamage, fmt.Errorf("%s found %s in the repository at %s", command,
		ui.Number(uint64(r.Problems), "problem", "problems"), ui.Quote(p.repository)))
	if command == "check" {
		return withHint(damage, "packnback repair index mends a damaged index or CURRENT, packnback repair packs saves what is whole of damaged packs; "+
			"packnback-check(1) has the rest")
	}
	return damage
}
