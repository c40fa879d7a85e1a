package architecture

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The lengths, in lines. A table of cases may be longer than a program.
const (
	longestFile     = 400
	longestTest     = 500
	longestFunction = 100
)

func TestFilesAndFunctionsAreShort(t *testing.T) {
	report := exceptions{}.except(t)
	s := whole(t)
	for _, f := range s.files {
		most := longestFile
		if f.test {
			most = longestTest
		}
		if f.lines > most {
			report(f.path, "%d lines, more than %d", f.lines, most)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				if n := s.set.Position(fn.End()).Line - s.line(fn) + 1; n > longestFunction {
					report(f.path+" "+fn.Name.Name, "%d lines, more than %d", n, longestFunction)
				}
			}
		}
	}
}

func TestNothingHappensBeforeMain(t *testing.T) {
	for _, f := range whole(t).files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s:%d: func init", f.path, whole(t).line(fn))
			}
		}
	}
}

// Package variables are values that never change: errors, types, patterns and
// embedded files.
func TestNoMutablePackageVariables(t *testing.T) {
	report := exceptions{}.except(t)
	for _, f := range whole(t).files {
		if f.test {
			continue
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				for i, name := range spec.Names {
					if name.Name != "_" && !embedded(decl, spec) && !(i < len(spec.Values) && constant(spec.Values[i])) {
						report(f.folder+"."+name.Name, "%s:%d: a package variable", f.path, whole(t).line(name))
					}
				}
			}
		}
	}
}

// embedded reports whether a variable is filled by the compiler from a file.
func embedded(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, group := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if group != nil && slices.ContainsFunc(group.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// constant reports whether a value is made by a call whose result cannot change.
func constant(value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	fun := call.Fun
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains([]string{"errors.New", "fmt.Errorf", "check.Define", "regexp.MustCompile"}, pkg.Name+"."+sel.Sel.Name)
}

func TestPackagesAreNamedAfterWhatTheyHold(t *testing.T) {
	for _, f := range whole(t).files {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "lib"}, path.Base(f.folder)) {
			t.Errorf("%s: the package's name says nothing", f.path)
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments, onlyTests := map[string][]string{}, map[string]bool{}
	for _, f := range whole(t).files {
		if _, seen := onlyTests[f.folder]; !seen {
			onlyTests[f.folder] = true
		}
		if !f.test {
			onlyTests[f.folder] = false
		}
	}
	for _, f := range whole(t).files {
		if f.Doc != nil && f.test == onlyTests[f.folder] {
			comments[f.folder] = append(comments[f.folder], f.path)
		}
	}
	for folder := range onlyTests {
		if len(comments[folder]) != 1 {
			t.Errorf("%s: %d package comments: %v", folder, len(comments[folder]), comments[folder])
		}
	}
}

func TestEveryExportedNameIsExplained(t *testing.T) {
	for _, f := range whole(t).files {
		if f.test {
			continue
		}
		for _, d := range f.Decls {
			for _, name := range unexplained(d) {
				t.Errorf("%s:%d: %s has no comment", f.path, whole(t).line(name), name.Name)
			}
		}
	}
}

// unexplained lists the exported names of a declaration without a comment of
// their own or of their group.
func unexplained(d ast.Decl) []*ast.Ident {
	switch decl := d.(type) {
	case *ast.FuncDecl:
		if decl.Name.IsExported() && decl.Doc == nil && (decl.Recv == nil || ast.IsExported(receiver(decl))) {
			return []*ast.Ident{decl.Name}
		}
	case *ast.GenDecl:
		if decl.Doc != nil {
			return nil
		}
		var out []*ast.Ident
		for _, s := range decl.Specs {
			switch spec := s.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && spec.Doc == nil {
					out = append(out, spec.Name)
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() && spec.Doc == nil && spec.Comment == nil {
						out = append(out, name)
					}
				}
			}
		}
		return out
	}
	return nil
}

// receiver names the type that a method belongs to.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	for {
		switch inner := t.(type) {
		case *ast.StarExpr:
			t = inner.X
		case *ast.IndexExpr:
			t = inner.X
		case *ast.Ident:
			return inner.Name
		default:
			return ""
		}
	}
}

func TestNothingIsLeftForLater(t *testing.T) {
	later := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b`)
	for _, f := range whole(t).files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if later.MatchString(c.Text) {
					t.Errorf("%s:%d: %s", f.path, whole(t).line(c), c.Text)
				}
			}
		}
	}
}

// A value without a type is for the decoder alone; the arguments of a format are
// the language's own way.
func TestParametersHaveTypes(t *testing.T) {
	const json = "a value of JSON has no type before it is looked at"
	report := exceptions{
		"internal/check.marshal":        "the decoder",
		"internal/check.numbers":        "an expression's value has the type that it has",
		"internal/checks/command.at":    json,
		"internal/checks/sql.show":      "a column has the type that the server says",
		"internal/checks/web.canonical": json,
		"internal/checks/web.lookup":    json,
		"internal/checks/web.walk":      json,
		"internal/cli.nest":             "facts of an expression",
		"internal/journal/sqlite.Scan":  "sql.Scanner asks for it",
		"internal/shim.panicked":        "what was recovered",
	}.except(t)
	for _, f := range whole(t).files {
		if f.test {
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			for _, p := range fn.Type.Params.List {
				if id, ok := p.Type.(*ast.Ident); ok && id.Name == "any" {
					report(f.folder+"."+fn.Name.Name, "%s:%d: a parameter of any type", f.path, whole(t).line(p))
				}
			}
		}
	}
}
