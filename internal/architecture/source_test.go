// Package architecture holds the rules that the whole source obeys: who may import
// whom, and how it is written. It has tests only.
package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path of our module; root is its folder.
const (
	module = "allclear.dev/allclear/"
	root   = "../.."
)

// file is a parsed source file.
type file struct {
	// path and folder are slash-separated and begin below the module's folder.
	path, folder string
	test         bool
	lines        int
	*ast.File
}

// imports lists the import paths, ours without the module's path.
func (f file) imports() []string {
	var out []string
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil { // the parser has accepted it
			continue
		}
		out = append(out, strings.TrimPrefix(name, module))
	}
	return out
}

// source is every Go file of the module, whatever system it is built for. The
// example application is a module of its own.
type source struct {
	set   *token.FileSet
	files []file
}

// load parses once for all tests.
var load = sync.OnceValues(func() (*source, error) {
	s := &source{set: token.NewFileSet()}
	for _, top := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir() && e.Name() == "testdata":
				return filepath.SkipDir
			case e.IsDir() || !strings.HasSuffix(name, ".go"):
				return nil
			}
			return s.add(name)
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
})

func (s *source) add(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(s.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	below, err := filepath.Rel(root, name)
	if err != nil {
		return err
	}
	below = filepath.ToSlash(below)
	s.files = append(s.files, file{
		path: below, folder: path.Dir(below), test: strings.HasSuffix(below, "_test.go"),
		lines: strings.Count(string(text), "\n"), File: parsed,
	})
	return nil
}

func (s *source) line(n ast.Node) int { return s.set.Position(n.Pos()).Line }

func whole(t *testing.T) *source {
	t.Helper()
	s, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.files) < 100 {
		t.Fatalf("only %d files found", len(s.files))
	}
	return s
}

// exceptions are what a rule lets through, each with its reason. One that is no
// longer needed is an error, so that the list only shrinks.
type exceptions map[string]string

// except makes a report function that lets the listed names through.
func (e exceptions) except(t *testing.T) func(name, format string, args ...any) {
	t.Helper()
	used := map[string]bool{}
	t.Cleanup(func() {
		for name := range e {
			if !used[name] {
				t.Errorf("%s no longer needs to be an exception", name)
			}
		}
	})
	return func(name, format string, args ...any) {
		t.Helper()
		if _, ok := e[name]; ok {
			used[name] = true
			return
		}
		t.Errorf(name+": "+format, args...)
	}
}
