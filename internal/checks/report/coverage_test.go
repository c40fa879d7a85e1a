package report_test

import (
	"errors"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/report"
)

const (
	cobertura = `<?xml version="1.0" ?><!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage line-rate="0.99" lines-covered="99" lines-valid="100"><packages><package name="a"><classes>
<class name="a.py" filename="src/a.py"><methods><method><lines><line number="1" hits="1"/></lines></method></methods><lines>
<line number="1" hits="1"/><line number="2" hits="3" branch="true" condition-coverage="50% (1/2)"/><line number="3" hits="0"/><line number="4" hits="1"/></lines></class>
<class name="b.py" filename="src/pay/b.py"><lines><line number="1" hits="1"/></lines></class></classes></package></packages></coverage>`
	lcov = `TN:
SF:src/a.py
FN:1,f
DA:1,1
DA:2,0
DA:3,5,checksum
DA:4,0
BRDA:2,0,0,1
BRDA:2,0,1,-
LF:4
LH:2
end_of_record
`
	golang = `mode: set
x/a.go:1.1,3.2 8 1
x/a.go:4.1,5.2 2 0
x/a.go:4.1,5.2 2 0
`
	python = `{"meta":{"version":"7"},"files":{"a.py":{"executed_lines":[1,2,3],"missing_lines":[4],"excluded_lines":[],"executed_branches":[[1,2]],"missing_branches":[[1,4]]}},"totals":{"percent_covered":100}}`
)

func TestCoverage(t *testing.T) {
	one := func(text string) func(*check.Env) { return files(t, "c", text) }
	past := func(value string) func(*check.Env) {
		return func(env *check.Env) {
			one(cobertura)(env)
			env.Ledger = &checktest.Ledger{Past: map[string][]check.Recorded{"coverage.line.an.item": {{Release: "1.2.2", Value: value}}}}
		}
	}
	checktest.Run(t, report.Coverage, []checktest.Case{
		{Name: "cobertura", Params: "file: c\nmin: 79.9", Env: one(cobertura), Want: "pass: line coverage is 80.00%, more than 79.9%", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["line"] != "4 of 5 (80.00%)" || o.Facts["branch"] != "1 of 2 (50.00%)" || o.Sets["coverage.line"] != "80.0000" {
				t.Errorf("facts %v sets %v", o.Facts, o.Sets)
			}
		}},
		{Name: "exactly is not more", Params: "file: c\nmin: 80", Env: one(cobertura), Want: "fail: line coverage is 80.00%, want more than 80%"},
		{Name: "branches", Params: "file: c\nmin: 40\nmetric: branch", Env: one(cobertura), Want: "pass: branch coverage is 50.00%..."},
		{Name: "lcov", Params: "file: c\nmin: 49", Env: one(lcov), Want: "pass: line coverage is 50.00%..."},
		{Name: "lcov branches", Params: "file: c\nmin: 50\nmetric: branch", Env: one(lcov), Want: "fail: branch coverage is 50.00%, want more than 50%"},
		{Name: "go", Params: "file: c\nmin: 79", Env: one(golang), Want: "pass: line coverage is 80.00%..."},
		{Name: "go has no branches", Params: "file: c\nmin: 1\nmetric: branch", Env: one(golang), Want: "error: the reports count nothing for branch"},
		{Name: "coverage.py", Params: "file: c\nmin: 74", Env: one(python), Want: "pass: line coverage is 75.00%..."},
		{Name: "merged", Params: "file: [a/*.lcov, b.xml]\nmin: 99", Env: files(t, "a/1.lcov", lcov, "a/2.lcov", "SF:src/a.py\nDA:2,1\nDA:4,1\nend_of_record\n", "b.xml", cobertura), Want: "pass: line coverage is 100.00%..."},
		{Name: "paths", Params: "file: c\nmin: 10\npaths: {'src/pay/**': 99, 'src/*.py': 80}", Env: one(cobertura), Want: "fail: line coverage of src/*.py is 75.00%, want more than 80%"},
		{Name: "paths without files", Params: "file: c\nmin: 10\npaths: {'lib/**': 90}", Env: one(cobertura), Want: "error: the reports count nothing for lib/**"},
		{Name: "fell", Params: "file: c\nmin: 10\nmax_drop: 0.5", Env: past("80.6"), Want: "fail: line coverage fell by 0.60 points since 1.2.2, want at most 0.5"},
		{Name: "fell a little", Params: "file: c\nmin: 10\nmax_drop: 0.5", Env: past("80.5"), Want: "pass: ...; it was 80.50% in 1.2.2"},
		{Name: "another item's coverage", Params: "file: c\nmin: 10\nmax_drop: 0.5", Env: func(env *check.Env) { past("10")(env); env.Run.Item = "frontend.coverage" }, Want: "pass: ...; no earlier run to compare with"},
		{Name: "first run", Params: "file: c\nmin: 10\nmax_drop: 0.5", Env: one(cobertura), Want: "pass: ...; no earlier run to compare with"},
		{Name: "NaN before", Params: "file: c\nmin: 10\nmax_drop: 0.5", Env: past("NaN"), Want: `error: the last run's coverage is "NaN", which is not a percentage`},
		{Name: "no history", Params: "file: c\nmin: 10\nmax_drop: 0", Env: func(env *check.Env) {
			one(cobertura)(env)
			env.Ledger = &checktest.Ledger{Failure: errors.New("the journal is locked")}
		}, Want: "error: read the last run's coverage: the journal is locked"},
		{Name: "empty", Params: "file: c\nmin: 10", Env: one(""), Want: "error: c: it is none of..."},
		{Name: "nothing counted", Params: "file: c\nmin: 0", Env: one("<coverage/>"), Want: "error: c: it counts nothing"},
		{Name: "one report counts nothing", Params: "file: [c, d]\nmin: 10", Env: files(t, "c", golang, "d", "mode: set\n"), Want: "error: d: it counts nothing"},
		{Name: "branch without a count", Params: "file: c\nmin: 10\nmetric: branch", Env: one("SF:a\nDA:1,1\nBRDA:1,0,0,\nend_of_record\n"), Want: `error: c: malformed record "BRDA:1,0,0,"`},
		{Name: "line without a number", Params: "file: c\nmin: 10", Env: one("SF:a\nDA:,1\nend_of_record\n"), Want: `error: c: malformed record "DA:,1"`},
		{Name: "cut", Params: "file: c\nmin: 10", Env: one(cobertura[:len(cobertura)-30]), Want: "error: c: XML syntax error..."},
		{Name: "other XML", Params: "file: c\nmin: 10", Env: one("<html/>"), Want: "error: c: the root is <html>, want <coverage>"},
		{Name: "no hits", Params: "file: c\nmin: 10", Env: one(`<coverage><class filename="a"><line number="1"/></class></coverage>`), Want: "error: ...without number or hits"},
		{Name: "bad lcov", Params: "file: c\nmin: 10", Env: one("SF:a\nDA:x"), Want: `error: c: malformed record "DA:x"`},
		{Name: "cut lcov", Params: "file: c\nmin: 10", Env: one(lcov[:len(lcov)-20]), Want: "error: c: the report is cut: no end_of_record at its end"},
		{Name: "bad go", Params: "file: c\nmin: 10", Env: one("mode: set\na.go:1.1,2.2 x 1"), Want: "error: c: malformed line..."},
		{Name: "bad python", Params: "file: c\nmin: 10", Env: one(`{"files":{"a.py":{"executed_lines":[1]}}}`), Want: "error: c: a.py: executed_lines or missing_lines is not there"},
		{Name: "NaN python", Params: "file: c\nmin: 10", Env: one(`{"files":NaN}`), Want: "error: c: invalid character 'N'..."},
		{Name: "commit", Params: "file: c\nmin: 10\ncommit: abcdef01", Env: files(t, "c", lcov, "c.commit", "abcdef0123456789"), Want: "pass: ..."},
		{Name: "other commit", Params: "file: c\nmin: 10\ncommit: abcdef01", Env: files(t, "c", lcov, "c.commit", "0bcdef0123456789"), Want: "fail: c is of commit 0bcdef0123456789, want abcdef01"},
		{Name: "commit unknown", Params: "file: c\nmin: 10\ncommit: abcdef01", Env: one(lcov), Want: "error: the commit of c is not known..."},
		{Name: "a share, not a percentage", Params: "file: c\nmin: 0.8", Want: "problem: ...min: is a percentage: write 80 for 80%"},
		{Name: "too much", Params: "file: c\nmin: 100", Want: "problem: ...more than 100% is never covered"},
		{Name: "bad pattern", Params: "file: c\nmin: 10\npaths: {'[': 10}", Want: `problem: ...paths: "[" is not a pattern`},
		{Name: "bad minimum", Params: "file: c\nmin: nan", Want: "problem: ...want a number..."},
	})
}

func TestPages(t *testing.T) {
	checktest.Page(t, report.JUnit)
	checktest.Page(t, report.Coverage)
}
