package journal_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPure holds that the package reads no clock, file or network: it may import
// what is listed.
func TestPure(t *testing.T) {
	allowed := strings.Fields(`bytes cmp context crypto/sha256 encoding/base64 encoding/hex encoding/json errors fmt iter
		maps math math/bits slices strconv strings sync unicode/utf16 unicode/utf8 golang.org/x/mod/sumdb/tlog`)
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
