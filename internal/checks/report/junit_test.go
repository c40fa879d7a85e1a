package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/report"
)

// files puts these texts into the case's folder.
func files(t *testing.T, texts ...string) func(*check.Env) {
	return func(env *check.Env) {
		for i := 0; i+1 < len(texts); i += 2 {
			path := filepath.Join(env.Dir, texts[i])
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(texts[i+1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const (
	pytest = `<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="0" failures="0" skipped="1" tests="3" timestamp="2026-11-20T10:00:00" hostname="ci">
<properties><property name="env" value="staging"/><property name="commit" value="0123456789abcdef0123456789abcdef01234567"/></properties>
<testcase classname="tests.test_a" name="test_one" time="0.001"/><testcase classname="tests.test_a" name="test_two"></testcase>
<testcase classname="tests.test_a" name="test_three"><skipped type="pytest.skip" message="no"/></testcase></testsuite></testsuites>`
	surefire = `<testsuite name="org.AppTest" tests="2" errors="0" skipped="0" failures="0" flakes="1"><testcase name="a" classname="org.AppTest"/>
<testcase name="flaky" classname="org.AppTest"><flakyFailure message="x" type="E">trace</flakyFailure></testcase></testsuite>`
	jest = `<testsuites name="jest tests" tests="2" failures="1" errors="0"><testsuite name="sum" errors="0" failures="1" skipped="0" tests="2">
<testcase classname="sum adds" name="sum adds"/><testcase classname="sum" name="sum breaks"><failure>Error: expect</failure></testcase></testsuite></testsuites>`
	gotestsum = `<testsuites tests="3" failures="1"><testsuite tests="3" failures="1" name="pkg"><testcase classname="pkg" name="TestA"><failure message="Failed" type=""/></testcase>
<testcase classname="pkg" name="TestB"/><testcase classname="pkg" name="TestA"/></testsuite></testsuites>`
	bomb = `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">]><testsuites><testsuite><testcase name="&c;"/></testsuite></testsuites>`
)

func TestJUnit(t *testing.T) {
	one := func(text string) func(*check.Env) { return files(t, "r.xml", text) }
	r := "suites: {unit: r.xml}"
	dated := func(age time.Duration) func(env *check.Env) {
		return func(env *check.Env) {
			one(pytest)(env)
			then := time.Now().Add(-age)
			if err := os.Chtimes(filepath.Join(env.Dir, "r.xml"), then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
	linked := func(env *check.Env) {
		one(pytest)(env)
		if err := os.Symlink("r.xml", filepath.Join(env.Dir, "new.xml")); err != nil {
			t.Fatal(err)
		}
	}
	// reversed has the older report, in which the test passed, behind the newer one.
	reversed := func(env *check.Env) {
		files(t, "u/a.xml", `<testsuite><testcase name="a"><failure/></testcase></testsuite>`, "u/b.xml", `<testsuite><testcase name="a"/></testsuite>`)(env)
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(env.Dir, "u/b.xml"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	checktest.Run(t, report.JUnit, []checktest.Case{
		{Name: "pytest", Params: r, Env: one(pytest), Want: "pass: 3 tests in 1 suites, 1 skipped, none failed", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["suite.unit"] != "3 tests, 0 failed, 0 errors, 1 skipped, 0 reruns" || len(o.Facts["sha256.r.xml"]) != 64 {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "surefire", Params: r, Env: one(surefire), Want: "pass: 2 tests in 1 suites, 0 skipped, none failed", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["reruns"] != "1" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "jest", Params: r, Env: one(jest), Want: "fail: unit: 1 of 2 tests failed: sum.sum breaks"},
		{Name: "gotestsum", Params: r, Env: one(gotestsum), Want: "fail: unit: 1 of 3 tests failed: pkg.TestA"},
		{Name: "gotestsum, reruns allowed", Params: r + "\nreruns: true", Env: one(gotestsum), Want: "pass: 2 tests in 1 suites..."},
		{Name: "several suites", Params: "suites: {unit: 'u/**/*.xml', e2e: e.xml}", Env: files(t, "u/a/1.xml", pytest, "u/2.xml", surefire, "e.xml", surefire), Want: "pass: 7 tests in 2 suites, 1 skipped, none failed"},
		{Name: "one suite missing", Params: "suites: {unit: r.xml, e2e: e.xml}", Env: one(pytest), Want: "error: suite e2e: no file matches e.xml"},
		{Name: "commit", Params: r + "\ncommit: 0123456789ab", Env: one(pytest), Want: "pass: ..."},
		{Name: "other commit", Params: r + "\ncommit: fedcba9876", Env: one(pytest), Want: "fail: unit: r.xml is of commit 0123456789abcdef0123456789abcdef01234567, want fedcba9876"},
		{Name: "commit beside", Params: r + "\ncommit: fedcba9876", Env: files(t, "r.xml", surefire, "r.xml.commit", "fedcba9876543210\n"), Want: "pass: ..."},
		{Name: "commit too short", Params: r + "\ncommit: fedcba9876", Env: files(t, "r.xml", surefire, "r.xml.commit", "f"), Want: "fail: ..."},
		{Name: "commit unknown", Params: r + "\ncommit: fedcba9876", Env: one(surefire), Want: "error: ...the commit of r.xml is not known..."},
		{Name: "property", Params: r + "\nproperties: {env: staging}", Env: one(pytest), Want: "pass: ..."},
		{Name: "other property", Params: r + "\nproperties: {env: production}", Env: one(pytest), Want: "fail: unit: property env is staging, want production"},
		{Name: "no property", Params: r + "\nproperties: {env: production}", Env: one(surefire), Want: "error: suite unit: no property env"},
		{Name: "skipped", Params: r + "\nmax_skipped: 0", Env: one(pytest), Want: "fail: 1 tests were skipped, want at most 0"},
		{Name: "few", Params: r + "\nmin_tests: 3", Env: one(pytest), Want: "fail: unit: 2 tests ran, want at least 3"},
		{Name: "old", Params: r + "\nmax_age: 2h", Env: dated(3 * time.Hour), Want: "fail: r.xml is 3h0m0s old, want at most 2h0m0s"},
		{Name: "from the future", Params: r + "\nmax_age: 2h", Env: dated(-3 * time.Hour), Want: "error: r.xml was written 3h0m0s in the future: a clock is wrong"},
		{Name: "a new link to an old report", Params: "suites: {unit: new.xml}\nmax_age: 2h", Env: linked, Want: "error: suite unit: read new.xml: it is a link..."},
		{Name: "empty", Params: r, Env: one(" \n"), Want: "fail: unit: r.xml is empty; unit: 0 tests ran, want at least 1"},
		{Name: "no tests", Params: r, Env: one("<testsuites/>"), Want: "fail: unit: 0 tests ran..."},
		{Name: "all skipped", Params: r, Env: one(`<testsuite><testcase name="a"><skipped/></testcase></testsuite>`), Want: "fail: unit: 0 tests ran..."},
		{Name: "collection error", Params: r, Env: one(`<testsuite errors="1"><testcase name="a"/><testcase name="b"><error/></testcase></testsuite>`), Want: "fail: unit: 1 of 2 tests failed: b"},
		{Name: "error outside", Params: r, Env: one(`<testsuite><testcase name="a"/><error/></testsuite>`), Want: "fail: unit: 1 of 1 tests failed: outside any test"},
		{Name: "counters tell of failures", Params: r, Env: one(`<testsuite tests="1" failures="2"><testcase name="a"/></testsuite>`), Want: "fail: unit: the report counts 2 failures and errors but shows none"},
		{Name: "counters tell of more tests", Params: r, Env: one(`<testsuite tests="9"><testcase name="a"/></testsuite>`), Want: "fail: unit: the report counts 9 tests but shows 1"},
		{Name: "the root's counters tell of failures", Params: r, Env: one(`<testsuites tests="1" failures="1"><testsuite tests="1"><testcase name="a"/></testsuite></testsuites>`), Want: "fail: unit: the report counts 1 failures and errors but shows none"},
		{Name: "the root's counters tell of more tests", Params: r, Env: one(`<testsuites tests="2"><testsuite><testcase name="a"/></testsuite></testsuites>`), Want: "fail: unit: the report counts 2 tests but shows 1"},
		{Name: "counters tell of more failures than reruns", Params: r + "\nreruns: true", Env: one(`<testsuite tests="2" failures="2"><testcase name="a"/><testcase name="b"/></testsuite>`), Want: "fail: unit: the report counts 2 failures and errors but shows none"},
		{Name: "failed, then skipped", Params: r + "\nreruns: true", Env: one(`<testsuite><testcase name="b"/><testcase name="a"><failure/></testcase><testcase name="a"><skipped/></testcase></testsuite>`), Want: "fail: unit: 1 of 2 tests failed: a"},
		{Name: "tests without names are not the same test", Params: r + "\nreruns: true", Env: one(`<testsuite><testcase><failure/></testcase><testcase/></testsuite>`), Want: "fail: unit: 1 of 2 tests failed..."},
		{Name: "the older report does not take back the newer", Params: "suites: {unit: 'u/*.xml'}\nreruns: true", Env: reversed, Want: "fail: unit: 1 of 1 tests failed: a"},
		{Name: "test within a test", Params: r, Env: one(`<testsuite><testcase name="a"><failure/><testcase name="b"/></testcase></testsuite>`), Want: "error: ...<testcase> within <testcase>"},
		{Name: "ended in other words", Params: r, Env: one(`<testsuite><testcase name="a"/><testcase name="b" status="broken"/></testsuite>`), Want: "fail: unit: 1 of 2 tests failed: b"},
		{Name: "latin", Params: r, Env: one("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><testsuite><testcase name=\"\xe9t\xe9\"><failure/></testcase></testsuite>"), Want: "fail: unit: 1 of 1 tests failed: été"},
		{Name: "other root", Params: r, Env: one("<html></html>"), Want: "error: ...the root is <html>..."},
		{Name: "cut", Params: r, Env: one(pytest[:len(pytest)-40]), Want: "error: ...XML syntax error..."},
		{Name: "not XML", Params: r, Env: one("hello"), Want: "error: ...there is no XML element in it"},
		{Name: "entities", Params: r, Env: one(bomb), Want: "error: ...invalid character entity &c;"},
		{Name: "deep", Params: r, Env: one("<testsuite>" + strings.Repeat("<a>", 100000)), Want: "error: ...elements nest deeper than 64"},
		{Name: "encoding", Params: r, Env: one(`<?xml version="1.0" encoding="ebcdic"?><testsuite/>`), Want: "error: ..."},
		{Name: "huge", Params: r, Env: func(env *check.Env) {
			one("x")(env)
			if err := os.Truncate(filepath.Join(env.Dir, "r.xml"), 1<<30); err != nil {
				t.Fatal(err)
			}
		}, Want: "error: ...longer than 67108864 bytes"},
		{Name: "no suites", Params: "suites: {}", Want: "problem: ...suites: name at least one"},
		{Name: "no minimum", Params: r + "\nmin_tests: 0", Want: "problem: ...a suite in which nothing ran proves nothing..."},
	})
}

// TestJUnitNames proves that many failures stay readable and bounded.
func TestJUnitNames(t *testing.T) {
	var b strings.Builder
	b.WriteString("<testsuite>")
	for i := range 10_000 {
		fmt.Fprintf(&b, `<testcase name="t%d"><failure/></testcase>`, i)
	}
	b.WriteString("</testsuite>")
	checktest.Run(t, report.JUnit, []checktest.Case{{
		Name: "many", Params: "suites: {unit: r.xml}", Env: files(t, "r.xml", b.String()),
		Want: "fail: unit: 10000 of 10000 tests failed: t0, t1, t2, t3, t4 and 9995 more",
		Check: func(t *testing.T, o check.Outcome) {
			if n := strings.Count(o.Facts["failed.unit"], ","); n != 49 {
				t.Errorf("%d names", n+1)
			}
		},
	}})
}
