package architecture

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table of docs/exit-codes.md has the codes of the program, no more and no
// fewer.
func TestExitCodesAreDocumented(t *testing.T) {
	var codes []string
	for _, f := range whole(t).files {
		if f.path != "internal/cli/exit.go" {
			continue
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				if value, ok := spec.Values[0].(*ast.BasicLit); ok && strings.HasPrefix(spec.Names[0].Name, "Exit") {
					codes = append(codes, value.Value)
				}
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "exit-codes.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, row[1])
	}
	if len(codes) == 0 || !slices.Equal(codes, documented) {
		t.Errorf("the program ends with %v, docs/exit-codes.md has %v", codes, documented)
	}
}

// What a document of ours points at within the repository is there.
func TestLinksOfDocumentsLead(t *testing.T) {
	for _, name := range documents(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		plain := regexp.MustCompile("(?ms)^ *(```+).*?^ *```+|`[^`\n]*`").ReplaceAllString(string(text), "")
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(plain, -1) {
			target, _, _ := strings.Cut(link[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, link[1])
			}
		}
	}
}

// Every decision is in the index.
func TestDecisionsAreListed(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "docs", "adr", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(root, "docs", "adr"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "README.md" && !strings.Contains(string(index), "("+e.Name()+")") {
			t.Errorf("docs/adr/README.md does not list %s", e.Name())
		}
	}
}

// documents lists our Markdown files: those at the top and those below docs.
func documents(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if names[i], err = filepath.Rel(root, name); err != nil {
			t.Fatal(err)
		}
	}
	return names
}
