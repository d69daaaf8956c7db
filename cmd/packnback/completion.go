package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func completionCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for the shell",
		ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			switch args[0] {
			case "bash":
				return printBashCompletion(p.ui.Stdout(), c.App)
			case "zsh":
				if _, err := io.WriteString(p.ui.Stdout(), "#compdef packnback\nautoload -U +X bashcompinit && bashcompinit\n"); err != nil {
					return err
				}
				return printBashCompletion(p.ui.Stdout(), c.App)
			case "fish":
				return printFishCompletion(p.ui.Stdout(), c.App)
			}
			return usageErrorf("completion: no script for the shell %q; there are bash, zsh and fish", args[0])
		},
	}
}

// printBashCompletion prints a function that offers commands, subcommands,
// flags and files. It holds all names, so completing starts no process.
func printBashCompletion(w io.Writer, app *cli.App) error {
	var b strings.Builder
	b.WriteString("_packnback() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} word command= names= flags=\n")
	b.WriteString("\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase \"$command $word\" in\n")
	walkCommands(app.Commands, "", func(path string, c *cli.Command) {
		parent, _ := cutLast(path)
		for _, name := range c.Names() {
			fmt.Fprintf(&b, "\t\t%q) command=%q ;;\n", parent+" "+name, path)
		}
	})
	b.WriteString("\t\tesac\n\tdone\n\tcase $command in\n")
	entry := func(pattern string, names, flags []string) {
		fmt.Fprintf(&b, "\t%s) names=%q flags=%q ;;\n", pattern, strings.Join(names, " "), strings.Join(flags, " "))
	}
	global := flagWords(app.Flags)
	entry("''", commandNames(app.Commands), global)
	walkCommands(app.Commands, "", func(path string, c *cli.Command) {
		entry(fmt.Sprintf("%q", path), commandNames(c.Subcommands), append(flagWords(c.Flags), global...))
	})
	b.WriteString("\tesac\n\tif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n")
	b.WriteString("\telif [[ $names ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$names\" -- \"$cur\"))\n")
	b.WriteString("\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n")
	b.WriteString("complete -o filenames -o bashdefault -F _packnback packnback\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func printFishCompletion(w io.Writer, app *cli.App) error {
	var b strings.Builder
	flags := func(list []cli.Flag, condition string) {
		for _, f := range list {
			b.WriteString("complete -c packnback" + condition)
			for _, name := range f.Names() {
				if len(name) == 1 {
					b.WriteString(" -s " + name)
				} else {
					b.WriteString(" -l " + name)
				}
			}
			if takesValue(f) {
				b.WriteString(" -r")
			}
			b.WriteString("\n")
		}
	}
	flags(app.Flags, "")
	walkCommands(app.Commands, "", func(path string, c *cli.Command) {
		parent, _ := cutLast(path)
		condition := " -n __fish_use_subcommand"
		if parent != "" {
			condition = fmt.Sprintf(" -n '__fish_seen_subcommand_from %s'", parent)
		}
		fmt.Fprintf(&b, "complete -c packnback%s -a '%s' -d '%s'\n", condition, strings.Join(c.Names(), " "), strings.ReplaceAll(c.Usage, "'", `\'`))
		flags(c.Flags, fmt.Sprintf(" -n '__fish_seen_subcommand_from %s'", strings.Join(c.Names(), " ")))
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// walkCommands calls visit for every command with the names that lead to it.
func walkCommands(table []*cli.Command, above string, visit func(path string, c *cli.Command)) {
	for _, c := range table {
		path := strings.TrimSpace(above + " " + c.Name)
		visit(path, c)
		walkCommands(c.Subcommands, path, visit)
	}
}

func cutLast(path string) (before, last string) {
	if i := strings.LastIndexByte(path, ' '); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

func flagWords(flags []cli.Flag) []string {
	var words []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				words = append(words, "--"+name)
			}
		}
	}
	return words
}
