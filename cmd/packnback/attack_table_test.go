package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAttackTable compares the tables of packnback-security(7) with the
// attacks that are run, in both directions.
func TestAttackTable(t *testing.T) {
	page := readPage(t, "packnback-security.7")
	_, tables, found := strings.Cut(page, ".Sh ATTACKS AND THEIR TESTS")
	sender, rest, found2 := strings.Cut(tables, "TestHostileStore/")
	if !found || !found2 {
		t.Fatal("packnback-security.7 has no tables of attacks")
	}
	store, _, _ := strings.Cut(rest, ".Pp")
	var attacked, lied []string
	for _, a := range attacks() {
		attacked = append(attacked, a.name)
	}
	for _, d := range deceits {
		lied = append(lied, d.name)
		if lies[d.lie] == nil {
			t.Errorf("there is no lie %q", d.lie)
		}
	}
	for _, c := range []struct {
		table string
		tests []string
		least int
	}{{sender, attacked, 40}, {store, lied, 15}} {
		var listed []string
		for _, m := range regexp.MustCompile(`(?m)^\.It ([a-z0-9'-]+) Ta `).FindAllStringSubmatch(c.table, -1) {
			listed = append(listed, m[1])
		}
		for _, name := range c.tests {
			if !slices.Contains(listed, name) {
				t.Errorf("packnback-security.7 does not list %s", name)
			}
		}
		for _, name := range listed {
			if !slices.Contains(c.tests, name) {
				t.Errorf("packnback-security.7 lists %s, which is not run", name)
			}
		}
		if len(c.tests) < c.least {
			t.Errorf("%d attacks, want at least %d", len(c.tests), c.least)
		}
	}
}
