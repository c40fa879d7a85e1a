package source_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/source"
)

func with(files map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		for name, text := range files {
			file := filepath.Join(env.Dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				panic(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				panic(err)
			}
		}
	}
}

// Each text has its comments on known lines, and the same word where it is none.
func TestCommentsOfLanguages(t *testing.T) {
	var cases []checktest.Case
	for name, c := range map[string]struct{ text, want string }{
		"a.go":        {"x := \"// TODO\" // FIXME one\n/* two\nTODO here */ y := `// TODO\n# TODO`; r := '\"' // TODO three\n", "a.go:1 // FIXME one; a.go:3 TODO here */; a.go:4 // TODO three"},
		"a.py":        {"s = '# TODO'\nd = \"\"\"\n# TODO\n\"\"\"\nx = 1  # TODO later\ny = \"it's\" # FIXME\n", "a.py:5 # TODO later; a.py:6 # FIXME"},
		"a.js":        {"const u = 'http://x/TODO'; // TODO a\nconst t = `\n// TODO ${1}\n`;\n/* FIXME */", "a.js:1 // TODO a; a.js:5 /* FIXME */"},
		"a.rs":        {"fn f<'a>(x: &'a str) -> char { '\\'' } // TODO life\n", "a.rs:1 // TODO life"},
		"a.sh":        {"echo $# \"# TODO\"; x=a#TODO # TODO now\n", "a.sh:1 # TODO now"},
		"a.sql":       {"SELECT '-- TODO', 'it''s' -- TODO index\n", "a.sql:1 -- TODO index"},
		"a.html":      {"<p title=\"TODO\">TODO</p><!-- TODO hide -->{# FIXME #}", "a.html:1 <!-- TODO hide -->; a.html:1 {# FIXME #}"},
		"a.php":       {"<?php $a = '# TODO'; # TODO x\n// FIXME y\n", "a.php:1 # TODO x; a.php:2 // FIXME y"},
		"a.css":       {"a { content: \"/* TODO */\" } /* TODO */", "a.css:1 /* TODO */"},
		"a.yaml":      {"a: b#TODO\nc: d # TODO e\n", "a.yaml:2 # TODO e"},
		"Dockerfile":  {"RUN echo TODO\n# TODO pin\n", "Dockerfile:2 # TODO pin"},
		"run":         {"#!/usr/bin/env ruby\nputs '# TODO'\n# TODO ruby\n", "run:3 # TODO ruby"},
		"unclosed.go": {"/* TODO to the end", "unclosed.go:1 /* TODO to the end"},
	} {
		cases = append(cases, checktest.Case{Name: name, Params: "include: '" + name + "'", Env: with(map[string]string{name: c.text}), Want: "fail: ...want at most 0: " + c.want})
	}
	checktest.Run(t, source.Markers, cases)
}

func TestMarkers(t *testing.T) {
	two := map[string]string{"a/x.go": "// TODO(#12) a\n", "a/y.go": "// FIXME b\n", "b/z.go": "// fine, a TODOLIST\n", "b/pic.png": "\x89PNG\x00// TODO"}
	checktest.Run(t, source.Markers, []checktest.Case{
		{Name: "none", Params: "include: 'b/*.go'", Env: with(two), Want: "pass: 0 comments with TODO, FIXME, XXX, HACK in 1 files"},
		{Name: "some are accepted", Params: "include: '**/*.go'\nmax: 2", Env: with(two), Want: "pass: 2 comments..."},
		{Name: "a ticket", Params: "include: '**/*.go'\nallow: 'TODO\\(#\\d+\\)'", Env: with(two), Want: "fail: 1 comments...a/y.go:1 // FIXME b"},
		{Name: "left out", Params: "include: '**/*.go'\nexclude: ['a/**']", Env: with(two), Want: "pass: 0 comments..."},
		{Name: "other words", Params: "include: '**/*.go'\nmarkers: [fine]", Env: with(two), Want: "fail: 1 comments with fine..."},
		{Name: "nothing matches", Params: "include: '*.py'", Env: with(two), Want: "error: no file matches *.py"},
		{Name: "all left out", Params: "include: 'a/*'\nexclude: ['a/*']", Env: with(two), Want: "error: no file matches a/*"},
		{Name: "no source", Params: "include: 'b/*.png'", Env: with(two), Want: "error: 1 files match, and the comments of none of them can be read (b/pic.png)"},
		{Name: "some not read", Params: "include: 'b/*'", Env: with(two), Want: "pass: 0 comments...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["not_read"] != "b/pic.png" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "no pattern", Params: "max: 1", Want: "problem: ...include: name the files..."},
		{Name: "a bad pattern", Params: "include: '[a'", Want: "problem: ...\"[a\" is no pattern"},
		{Name: "an option for git", Params: "include: a\nsince: --output=x", Want: "problem: ...is no revision"},
	})
}

// Only lines that are new since a revision count.
func TestMarkersSince(t *testing.T) {
	repository := func(env *check.Env) {
		git := func(args ...string) {
			cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, args...)...)
			cmd.Dir = env.Dir
			if out, err := cmd.CombinedOutput(); err != nil {
				panic(string(out))
			}
		}
		with(map[string]string{"old.go": "// TODO old\n", "both.go": "package a\n// TODO old\n"})(env)
		git("init", "-q")
		git("add", "-A")
		git("commit", "-q", "-m", "one")
		git("tag", "v1")
		with(map[string]string{"both.go": "package a\n// TODO old\nvar x = 1 // TODO new\n", "sub/ünew.go": "// FIXME new\n"})(env)
		git("add", "-A")
		git("commit", "-q", "-m", "two")
	}
	checktest.Run(t, source.Markers, []checktest.Case{
		{Name: "new ones", Params: "include: '**/*.go'\nsince: v1", Env: repository, Want: "fail: 2 comments ...want at most 0: both.go:3 // TODO new; sub/ünew.go:1 // FIXME new"},
		{Name: "nothing is new", Params: "include: '**/*.go'\nsince: HEAD", Env: repository, Want: "pass: 0 comments..."},
		{Name: "no such revision", Params: "include: '**/*.go'\nsince: v9", Env: repository, Want: "error: git diff v9: ..."},
		{Name: "no repository", Params: "include: '*.go'\nsince: v1", Env: with(map[string]string{"a.go": "x"}), Want: "error: git diff v1: ...", Timeout: 5 * time.Second},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, source.Markers) }
