package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
)

// arrangement is a command line on its way into the order that urfave/cli
// needs: global flags, command, its flags, "--", operands. The library stops
// looking for flags at the first operand, silently, so without this "restore
// SNAP --target DIR" would take "--target" for a path.
type arrangement struct {
	app  *cli.App
	args []string

	command   *cli.Command // innermost one found so far; nil before the first
	path      []string     // names of the commands found so far, as the table spells them
	globals   []string     // flags of the app, as --name or --name=value
	flags     []string     // flags of the command, likewise
	operands  []string
	afterDash bool
}

// arrange returns args, with the program's name in front, so that flags stand
// before operands and every flag is spelt --name=value. Flags may stand before
// and after operands, short ones may be bundled (-qn) and carry their value
// attached (-rREPO); "--" ends them. Unknown flags are refused with a line
// that would work.
func arrange(app *cli.App, args []string) ([]string, error) {
	a := &arrangement{app: app, args: args}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case a.afterDash || arg == "-" || !strings.HasPrefix(arg, "-"):
			if err := a.word(arg); err != nil {
				return nil, err
			}
		case arg == "--":
			a.afterDash = true
		default:
			used, err := a.flag(i)
			if err != nil {
				return nil, err
			}
			i += used
		}
	}
	out := append([]string{app.Name}, a.globals...)
	out = append(out, a.path...)
	out = append(out, a.flags...)
	if len(a.operands) > 0 {
		out = append(append(out, "--"), a.operands...)
	}
	return out, nil
}

// word takes a command's name or an operand.
func (a *arrangement) word(arg string) error {
	table := a.app.Commands
	if a.command != nil {
		table = a.command.Subcommands
	}
	if len(table) == 0 {
		a.operands = append(a.operands, arg)
		return nil
	}
	c := lookUp(table, arg)
	if c == nil {
		name := strings.Join(append(a.path, arg), " ")
		err := usageErrorf("there is no command %s", ui.Quote(name))
		if near := nearest(arg, commandNames(table)); near != "" {
			fixed := slices.Clone(a.args)
			fixed[slices.Index(fixed, arg)] = near
			return withHint(err, a.line(fixed))
		}
		return withHint(err, strings.Join(append([]string{"packnback help"}, a.path...), " "))
	}
	a.command = c
	a.path = append(a.path, c.Name)
	return nil
}

// flag takes the flag at args[i], and its value if that stands behind it. It
// returns how many arguments after i were used.
func (a *arrangement) flag(i int) (used int, err error) {
	arg := a.args[i]
	name, value, attached := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if strings.HasPrefix(arg, "--") {
		f := a.find(name)
		if f == nil || len(name) < 2 {
			return 0, a.unknown(i)
		}
		return a.take(i, f, value, attached)
	}
	if len(name) > 1 && a.find(name) != nil {
		return 0, a.unknown(i) // -repo is meant as --repo, not as -r epo
	}
	// Short flags: all but the last of a bundle are switches.
	for letters := arg[1:]; letters != ""; letters = letters[1:] {
		f := a.find(letters[:1])
		if f == nil {
			return 0, a.unknown(i)
		}
		if rest := letters[1:]; takesValue(f) {
			return a.take(i, f, strings.TrimPrefix(rest, "="), rest != "")
		} else if strings.HasPrefix(rest, "=") {
			return a.take(i, f, rest[1:], true)
		}
		if _, err := a.take(i, f, "", false); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (a *arrangement) take(i int, f cli.Flag, value string, attached bool) (used int, err error) {
	name := f.Names()[0]
	word := "--" + name
	switch {
	case attached:
		word += "=" + value
	case takesValue(f):
		if i+1 >= len(a.args) {
			return 0, usageErrorf("flag --%s needs a value", name)
		}
		word += "=" + a.args[i+1]
		used = 1
	}
	if a.command == nil || lookUpFlag(a.command.Flags, name) == nil && name != "help" {
		a.globals = append(a.globals, word)
	} else {
		a.flags = append(a.flags, word)
	}
	return used, nil
}

// find returns the flag of that name which holds at this place: the command's
// own, a global one, or help.
func (a *arrangement) find(name string) cli.Flag {
	if a.command != nil {
		if f := lookUpFlag(a.command.Flags, name); f != nil {
			return f
		}
	}
	if f := lookUpFlag(a.app.Flags, name); f != nil {
		return f
	}
	return lookUpFlag([]cli.Flag{cli.HelpFlag}, name)
}

// unknown refuses the flag args[i] and shows a line that would work: with the
// flag it resembles, or with it taken as an operand.
func (a *arrangement) unknown(i int) error {
	arg := a.args[i]
	name, value, attached := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	where := "packnback"
	if a.command != nil {
		where = strings.Join(a.path, " ")
	}
	err := usageErrorf("%s has no flag %s", where, ui.Quote(arg))
	fixed := slices.Clone(a.args)
	if near := a.resembling(name); near != "" {
		if fixed[i] = "--" + near; attached {
			fixed[i] += "=" + value
		}
		return withHint(err, a.line(fixed))
	}
	if a.command == nil {
		return withHint(err, "packnback help")
	}
	if len(a.command.Subcommands) > 0 {
		return withHint(err, "packnback help "+where)
	}
	fixed = append(slices.Delete(fixed, i, i+1), "--", arg)
	if j := slices.Index(a.args[i:], "--"); j >= 0 {
		fixed = slices.Clone(a.args)
		fixed[i] = "./" + arg
	}
	return withHint(err, "packnback help "+where+", or if "+ui.Quote(arg)+" is an operand: "+a.line(fixed))
}

// resembling returns the long flag that name was probably meant to be.
func (a *arrangement) resembling(name string) string {
	var names []string
	flags := a.app.Flags
	if a.command != nil {
		flags = append(slices.Clone(a.command.Flags), flags...)
	}
	for _, f := range flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				names = append(names, n)
			}
		}
	}
	return nearest(name, names)
}

func (a *arrangement) line(args []string) string {
	words := []string{a.app.Name}
	for _, arg := range args {
		words = append(words, ui.ShellWord(arg))
	}
	return strings.Join(words, " ")
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return !ok || d.TakesValue()
}

func lookUp(table []*cli.Command, name string) *cli.Command {
	for _, c := range table {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func lookUpFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func commandNames(table []*cli.Command) []string {
	var names []string
	for _, c := range table {
		names = append(names, c.Names()...)
	}
	return names
}

// nearest returns the candidate that name is a misspelling of: at most two
// edits away, fewer for short names. Empty when there is none.
func nearest(name string, candidates []string) string {
	best, distance := "", min(2, max(1, len(name)/2))+1
	for _, c := range candidates {
		if len(name) < 2 {
			break
		}
		if d := edits(name, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// wantsJSON reports whether --json stands among the flags, for errors that
// come before the flags are parsed.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// operands returns c's operands if there are at least least and at most most of
// them (any number for most < 0), and a usage error otherwise.
func operands(c *cli.Context, least, most int) ([]string, error) {
	args := c.Args().Slice()
	synopsis := strings.TrimSpace(c.Command.HelpName + " " + c.Command.ArgsUsage)
	switch {
	case len(args) < least:
		return nil, withHint(usageErrorf("%s needs more operands", c.Command.Name), synopsis)
	case most >= 0 && len(args) > most:
		return nil, withHint(usageErrorf("%s has no use for the operand %s", c.Command.Name, ui.Quote(args[most])), synopsis)
	}
	for _, arg := range args {
		if arg == "" {
			return nil, usageErrorf("%s: an operand is empty", c.Command.Name)
		}
	}
	return args, nil
}
