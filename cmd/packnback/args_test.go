package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// testApp has commands of every shape: flags with and without values, short
// ones, subcommands.
func testApp() *cli.App {
	return &cli.App{
		Name:  "packnback",
		Flags: globalFlags(),
		Commands: []*cli.Command{
			{Name: "backup", Aliases: []string{"create"}, Flags: []cli.Flag{
				&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}},
				&cli.BoolFlag{Name: "one-file-system", Aliases: []string{"x"}},
				&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}},
				&cli.StringFlag{Name: "host", Aliases: []string{"H"}},
			}},
			{Name: "key", Subcommands: []*cli.Command{
				{Name: "send", Flags: []cli.Flag{&cli.StringSliceFlag{Name: "to"}, &cli.StringFlag{Name: "output", Aliases: []string{"o"}}}},
			}},
		},
	}
}

func TestArrange(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, want []string
	}{
		{"flags after operands", []string{"backup", "/a", "--repo", "x", "/b", "-n"}, []string{"--repo=x", "backup", "--dry-run", "--", "/a", "/b"}},
		{"flags before the command", []string{"-r", "x", "backup", "/a"}, []string{"--repo=x", "backup", "--", "/a"}},
		{"alias", []string{"create", "/a"}, []string{"backup", "--", "/a"}},
		{"values attached", []string{"backup", "-rx", "--host=h=i", "-H=k", "/a"}, []string{"--repo=x", "backup", "--host=h=i", "--host=k", "--", "/a"}},
		{"bundle", []string{"backup", "-qnxHh", "/a"}, []string{"--quiet", "backup", "--dry-run", "--one-file-system", "--host=h", "--", "/a"}},
		{"bundle with the value behind", []string{"backup", "-nr", "x", "/a"}, []string{"--repo=x", "backup", "--dry-run", "--", "/a"}},
		{"switches don't eat operands", []string{"backup", "--json", "/a", "-n", "/b"}, []string{"--json", "backup", "--dry-run", "--", "/a", "/b"}},
		{"switch with a value", []string{"backup", "--json=false", "-n=true", "/a"}, []string{"--json=false", "backup", "--dry-run=true", "--", "/a"}},
		{"double dash", []string{"backup", "-n", "--", "--repo", "-x", "--"}, []string{"backup", "--dry-run", "--", "--repo", "-x", "--"}},
		{"a value that looks like a flag", []string{"backup", "--exclude", "-x", "/a"}, []string{"backup", "--exclude=-x", "--", "/a"}},
		{"a value that is a double dash", []string{"backup", "--exclude", "--", "/a"}, []string{"backup", "--exclude=--", "--", "/a"}},
		{"an empty value", []string{"backup", "--host", "", "/a"}, []string{"backup", "--host=", "--", "/a"}},
		{"a single dash is an operand", []string{"backup", "-"}, []string{"backup", "--", "-"}},
		{"subcommand", []string{"key", "-q", "send", "-o", "f", "--to", "a", "--to=b"}, []string{"--quiet", "key", "send", "--output=f", "--to=a", "--to=b"}},
		{"an operand called like a command", []string{"backup", "help", "backup", "key"}, []string{"backup", "--", "help", "backup", "key"}},
		{"help of a command", []string{"backup", "-h"}, []string{"backup", "--help"}},
		{"help of all", []string{"--help"}, []string{"--help"}},
	} {
		got, err := arrange(testApp(), c.in)
		if err != nil {
			t.Errorf("%s: %q: %v", c.name, c.in, err)
			continue
		}
		if diff := cmp.Diff(append([]string{"packnback"}, c.want...), got); diff != "" {
			t.Errorf("%s: %q (-want +got):\n%s", c.name, c.in, diff)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	for _, c := range []struct {
		in            []string
		message, hint string
	}{
		{[]string{"backup", "/a", "-z"}, "backup has no flag -z", "packnback help backup, or if -z is an operand: packnback backup /a -- -z"},
		{[]string{"backup", "-z", "--", "b c"}, "backup has no flag -z", "packnback help backup, or if -z is an operand: packnback backup ./-z -- 'b c'"},
		{[]string{"backup", "/a", "--exlude", "b"}, "backup has no flag --exlude", "packnback backup /a --exclude b"},
		{[]string{"backup", "/a", "--exlude=b"}, "backup has no flag --exlude=b", "packnback backup /a --exclude=b"},
		{[]string{"backup", "-repo", "x"}, "backup has no flag -repo", "packnback backup --repo x"},
		{[]string{"backup", "-host=h"}, "backup has no flag -host=h", "packnback backup --host=h"},
		{[]string{"backup", "-dry-run"}, "backup has no flag -dry-run", "packnback backup --dry-run"},
		{[]string{"bakcup", "/a"}, "there is no command bakcup", "packnback backup /a"},
		{[]string{"frobnicate"}, "there is no command frobnicate", "packnback help"},
		{[]string{"key", "sned"}, "there is no command key sned", "packnback key send"},
		{[]string{"key", "--to", "x", "send"}, "key has no flag --to", "packnback help key"},
		{[]string{"--dry-run", "backup"}, "packnback has no flag --dry-run", "packnback help"},
		{[]string{"backup", "--host"}, "flag --host needs a value", ""},
		{[]string{"backup", "--r", "x"}, "backup has no flag --r", "packnback help backup, or if --r is an operand: packnback backup x -- --r"},
	} {
		_, err := arrange(testApp(), c.in)
		var usage *usageError
		if !errors.As(err, &usage) || err.Error() != c.message || hintFor(err) != c.hint {
			t.Errorf("%q:\n got %v\n     %s\nwant %s\n     %s", c.in, err, hintFor(err), c.message, c.hint)
		}
	}
}
