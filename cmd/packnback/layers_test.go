package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/packnback/packnback/"

// layer says where a package stands: it may import packages of ours that are
// in its list, all of them on lower floors. "floor N" in a list stands for
// every package of that floor.
type layer struct {
	floor int
	may   []string
}

const (
	internals = "cmd/packnback/internal/"
	disk      = "repo/internal/disk"
)

var layers = map[string]layer{
	"repo/object":                 {0, nil},
	disk:                          {0, nil},
	"chunk":                       {0, nil},
	"protocol/transport":          {0, nil},
	"protocol/transport/linktest": {0, nil},
	"protocol/transport/sshdtest": {0, nil},
	internals + "env":             {0, nil},
	internals + "env/ttytest":     {0, nil},

	"crypto":                       {1, []string{"repo/object"}},
	"repo/tree":                    {1, []string{"repo/object"}},
	"repo/retention":               {1, []string{"repo/object"}},
	"repo/table":                   {1, []string{disk}},
	"repo/internal/disk/crashdisk": {1, []string{disk}},
	"repo/internal/vectortest":     {1, nil},
	"protocol":                     {1, []string{"repo/object"}},
	internals + "ui":               {1, []string{internals + "env"}},
	"repo/gcmodel":                 {1, nil},

	internals + "view/viewtest": {2, []string{"repo/object", "repo/tree", "crypto", "chunk"}},

	"protocol/internal/outbox": {2, []string{"protocol", "repo/object"}},

	"repo/pack":  {2, []string{"repo/object", disk, "repo/table"}},
	"repo/index": {3, []string{"repo/object", disk, "repo/table", "repo/pack"}},
	"repo":       {4, []string{"repo/object", disk, "repo/table", "repo/pack", "repo/index", "repo/retention"}},

	"repo/storetest":  {5, []string{"repo/object", "repo"}},
	"protocol/server": {5, []string{"repo/retention", "protocol/internal/outbox", "repo/object", "repo/retention", "repo", "protocol"}},
	"protocol/client": {5, []string{"protocol/internal/outbox", "repo/object", "protocol"}},

	"protocol/internal/memstore": {6, []string{"protocol", "protocol/server", "repo/object"}},

	internals + "source":     {6, []string{"repo/object", "repo/tree", "crypto", "chunk", internals + "env"}},
	internals + "statcache":  {6, []string{"repo/object", "repo/tree", "crypto", "chunk", internals + "env", "repo/table"}},
	internals + "view":       {6, []string{"repo/object", "repo/tree", "crypto", "chunk", internals + "env", "repo/table"}},
	internals + "authorize":  {6, []string{internals + "env"}},
	internals + "recipients": {6, []string{"crypto", internals + "env"}},

	internals + "sender":   {7, []string{"floor 0", "floor 1", "floor 6"}},
	internals + "restorer": {7, []string{"floor 0", "floor 1", "floor 6"}},
	internals + "copier":   {7, []string{"floor 0", "floor 1", "floor 6"}},
	internals + "mount":    {7, []string{"floor 0", "floor 1", "floor 6"}},

	"cmd/packnback": {8, []string{"floor 0", "floor 1", "floor 2", "floor 3", "floor 4", "floor 5", "floor 6", "floor 7"}},
}

// goPackage is what the go command tells of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,Deps", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, module) {
			packages = append(packages, p)
		}
	}
}

func TestFloors(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		here, ok := layers[name]
		if !ok {
			t.Errorf("package %s stands on no floor: give it a line in layers", name)
			continue
		}
		for _, imported := range p.Imports {
			below, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			there, known := layers[below]
			if !known {
				continue // reported as a package of its own
			}
			listed := slices.Contains(here.may, below) || slices.Contains(here.may, "floor "+string(rune('0'+there.floor)))
			if there.floor >= here.floor || !listed {
				t.Errorf("%s (floor %d) may not import %s (floor %d)", name, here.floor, below, there.floor)
			}
		}
	}
}

// TestForbiddenImports holds what the security page claims: the store's code
// can't decrypt, and the package that holds the keys starts no process and
// opens no connection.
func TestForbiddenImports(t *testing.T) {
	store := func(name string) bool {
		return name != "repo/tree" && (name == "repo" || strings.HasPrefix(name, "repo/")) || name == "protocol/server"
	}
	for _, rule := range []struct {
		who       func(name string) bool
		direct    bool // only imports of the package itself count, not those of its imports
		forbidden []string
	}{
		{store, false, []string{module + "crypto", module + "repo/tree", module + "chunk", "filippo.io/age"}},
		{store, true, []string{"golang.org/x/crypto"}},
		{only("crypto"), false, []string{"os/exec", "net"}},
		{allBut("protocol/transport", "protocol/transport/sshdtest", internals+"authorize", internals+"recipients"), true, []string{"golang.org/x/crypto/ssh"}},
		{allBut("cmd/packnback"), true, []string{"github.com/urfave/cli"}},
		{allBut("crypto", internals+"recipients"), true, []string{"filippo.io/age"}},
	} {
		for _, p := range listPackages(t) {
			name := strings.TrimPrefix(p.ImportPath, module)
			if !rule.who(name) {
				continue
			}
			imports := p.Deps
			if rule.direct {
				imports = p.Imports
			}
			for _, imported := range imports {
				for _, bad := range rule.forbidden {
					if imported == bad || strings.HasPrefix(imported, bad+"/") && bad != "net" {
						t.Errorf("%s must not import %s", name, imported)
					}
				}
			}
		}
	}
}

func only(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

func allBut(names ...string) func(string) bool {
	return func(name string) bool { return !slices.Contains(names, name) }
}

// TestProcessState holds that the process's own state is touched in one place
// each: only main.go ends the process, and only env reads arguments, standard
// streams and environment.
func TestProcessState(t *testing.T) {
	owner := map[string]string{
		"Exit": "cmd/packnback/main.go",
		"Args": internals + "env/", "Stdin": internals + "env/", "Stdout": internals + "env/", "Stderr": internals + "env/",
		"Getenv": internals + "env/", "LookupEnv": internals + "env/",
	}
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "testdata" || e.Name() == ".git" || e.Name() == "scripts") {
			return fs.SkipDir // scripts are programs of their own
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		seen++
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, name := range osNames(t, path) {
			if own, ok := owner[name]; ok && !strings.HasPrefix(filepath.ToSlash(rel), own) {
				t.Errorf("%s uses os.%s, which only %s may", rel, name, own)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("found %d source files: the search looks in the wrong place", seen)
	}
}

// osNames returns the names of package os that a source file uses.
func osNames(t *testing.T, path string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	return names
}
