package source

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Patterns is a list of patterns with the meaning that restic gives to those
// of --exclude and --include. It is safe for concurrent use.
//
// A pattern is matched component by component with filepath.Match; "**" stands
// for any number of components. One that begins with a slash matches from the
// root, others anywhere in a path. What is below a match matches too. In the
// order of the list, a pattern that begins with "!" takes back what the ones
// before it matched.
type Patterns struct {
	list    []pattern
	fold    bool
	negated bool // some pattern is
}

type pattern struct {
	parts    []part
	absolute bool
	negated  bool
}

// part is one component of a pattern.
type part struct {
	text   string
	any    bool // "**"
	simple bool // no special characters: compare
}

// NewPatterns compiles a list; fold ignores the case of letters. Empty ones
// are left out; an error names the first that is malformed.
func NewPatterns(list []string, fold bool) (*Patterns, error) {
	p := &Patterns{fold: fold}
	for _, text := range list {
		if text == "" {
			continue
		}
		c, err := newPattern(text, fold)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", text, err)
		}
		p.list = append(p.list, c)
		p.negated = p.negated || c.negated
	}
	return p, nil
}

func newPattern(text string, fold bool) (pattern, error) {
	var c pattern
	if text, c.negated = strings.CutPrefix(text, "!"); text == "" {
		return c, filepath.ErrBadPattern
	}
	if fold {
		text = strings.ToLower(text)
	}
	text = filepath.Clean(text)
	text, c.absolute = strings.CutPrefix(text, "/")
	for _, s := range components(text) {
		if _, err := filepath.Match(s, ""); err != nil {
			return c, err
		}
		c.parts = append(c.parts, part{text: s, any: s == "**", simple: !strings.ContainsAny(s, `\[]*?`)})
	}
	return c, nil
}

// components splits a cleaned path without a leading slash.
func components(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// Match reports whether path, which is absolute and cleaned, matches, and
// whether something below it might. Without patterns nothing does.
func (p *Patterns) Match(path string) (matched, child bool) {
	if len(p.list) == 0 {
		return false, false
	}
	if p.fold {
		path = strings.ToLower(path)
	}
	names := components(strings.TrimPrefix(path, "/"))
	for i := range p.list {
		c := &p.list[i]
		m := c.match(names)
		if c.negated {
			matched, child = matched && !m, child && !m
			continue
		}
		matched = matched || m
		child = child || c.mayMatchBelow(names)
		if matched && child && !p.negated {
			return true, true
		}
	}
	return matched, child
}

// match looks for parts among consecutive names, from the first if absolute.
func (c *pattern) match(names []string) bool {
	if c.absolute {
		return matchFrom(c.parts, names)
	}
	for i := range names {
		if matchFrom(c.parts, names[i:]) {
			return true
		}
	}
	return false
}

// matchFrom reports whether names begin with parts. After a mismatch it needs
// to go back no further than to the last "**", whatever that stood for.
func matchFrom(parts []part, names []string) bool {
	afterAny, restart := -1, 0
	i, j := 0, 0
	for i < len(parts) {
		switch {
		case parts[i].any:
			i++
			afterAny, restart = i, j
		case j < len(names) && parts[i].match(names[j]):
			i, j = i+1, j+1
		case afterAny >= 0 && restart < len(names):
			restart++
			i, j = afterAny, restart
		default:
			return false
		}
	}
	return true
}

func (p *part) match(name string) bool {
	if p.simple {
		return p.text == name
	}
	ok, err := filepath.Match(p.text, name)
	return ok && err == nil // NewPatterns has refused malformed ones
}

// mayMatchBelow reports whether something below names can match.
func (c *pattern) mayMatchBelow(names []string) bool {
	if !c.absolute {
		return true
	}
	for i := range min(len(c.parts), len(names)) {
		if c.parts[i].any {
			return true
		}
		if !c.parts[i].match(names[i]) {
			return false
		}
	}
	return true
}
