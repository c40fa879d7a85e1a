package report_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPure holds that the package reads no file or network: it may import
// what is listed.
func TestPure(t *testing.T) {
	allowed := strings.Fields(`bytes crypto/sha256 embed encoding/hex encoding/json encoding/xml errors fmt html/template strings time unicode
		allclear.dev/allclear/internal/checklist allclear.dev/allclear/internal/metrics allclear.dev/allclear/internal/results allclear.dev/allclear/internal/run`)
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err != nil || !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
	}
}
