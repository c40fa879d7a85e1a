package report_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/report"
)

// The documents have the shapes of their tools' documentation, cut to what matters.
const (
	sarifLog = `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"CodeQL","version":"2.19","rules":[
		{"id":"go/sql","properties":{"security-severity":"8.8"}},{"id":"go/style","defaultConfiguration":{"level":"note"}},{"id":"go/worst","properties":{"security-severity":9.1}}]}},
		"versionControlProvenance":[{"revisionId":"0123456789abcdef"}],"invocations":[{"executionSuccessful":true}],
		"results":[{"ruleId":"go/sql","ruleIndex":0,"message":{"text":"query from input"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.go"},"region":{"startLine":7}}}]},
		{"rule":{"index":1},"message":{"text":"long"}},{"ruleId":"other","message":{"text":"warning by default"}},
		{"ruleId":"go/worst","message":{"text":"accepted"},"suppressions":[{"kind":"external","status":"accepted"}]},
		{"ruleId":"go/worst","message":{"text":"gone"},"baselineState":"absent"},{"ruleId":"go/worst","message":{"text":"holds"},"kind":"pass"}]}]}`
	trivyReport = `{"SchemaVersion":2,"ArtifactName":"shop:1.2","Trivy":{"Version":"0.58"},"Results":[{"Target":"go.mod","Vulnerabilities":[
		{"VulnerabilityID":"CVE-2026-1111","PkgName":"x/net","InstalledVersion":"0.1","FixedVersion":"0.2","Severity":"CRITICAL"},{"VulnerabilityID":"CVE-2026-2222","PkgName":"y","Severity":"UNKNOWN"}]},
		{"Target":"Dockerfile","Misconfigurations":[{"ID":"DS002","Title":"root","Severity":"HIGH","Status":"FAIL"},{"ID":"DS001","Severity":"HIGH","Status":"PASS"}]}]}`
	banditReport = `{"errors":[],"generated_at":"2026-11-24T00:00:00Z","metrics":{"_totals":{"loc":120}},"results":[{"test_id":"B602","issue_severity":"HIGH","issue_text":"shell","filename":"a.py","line_number":3}]}`
	pipReport    = `{"dependencies":[{"name":"django","version":"3.2","vulns":[{"id":"PYSEC-1","aliases":["CVE-2026-3333"],"fix_versions":["3.2.1"]}]},{"name":"redis","version":"5","vulns":[]}],"fixes":[]}`
	safetyReport = `{"report_meta":{"packages_found":3,"safety_version":"2.3"},"vulnerabilities":[{"vulnerability_id":"51457","CVE":"CVE-2026-4444","package_name":"py","analyzed_version":"1.11","severity":{"cvssv3":{"base_score":7.5,"base_severity":"HIGH"}}}]}`
	npmReport    = `{"auditReportVersion":2,"vulnerabilities":{"lodash":{"name":"lodash","severity":"high","range":"<4.17.21","via":[{"source":1094500,"title":"injection","url":"https://github.com/advisories/GHSA-35jh","severity":"high"}]},"app":{"name":"app","severity":"high","via":["lodash"]}},"metadata":{"dependencies":{"prod":10,"total":12}}}`
	npmOld       = `{"advisories":{"118":{"module_name":"minimatch","severity":"moderate","cves":["CVE-2016-10540"],"title":"ReDoS","patched_versions":">=3.0.2"}},"metadata":{"totalDependencies":4}}`
	osvReport    = `{"results":[{"source":{"path":"go.mod"},"packages":[{"package":{"name":"a","version":"1"},"vulnerabilities":[{"id":"GO-1","aliases":["CVE-2026-5555"]},{"id":"GHSA-2","database_specific":{"severity":"MODERATE"}}],"groups":[{"ids":["GO-1"],"max_severity":"9.8"}]},{"package":{"name":"b","version":"1"}}]}]}`
	zapReport    = `{"@version":"2.15","site":[{"@name":"https://shop.example","alerts":[{"pluginid":"10038","alert":"CSP","riskcode":"2","confidence":"3"},{"pluginid":"1","alert":"no","riskcode":"3","confidence":"0"}]}]}`
	nucleiReport = `{"template-id":"CVE-2026-6666","info":{"name":"rce","severity":"critical","classification":{"cve-id":["CVE-2026-6666"]}},"host":"shop","matched-at":"https://shop/x"}` + "\n" + `{"template-id":"tls","info":{"name":"old","severity":"info"},"host":"shop"}`
)

func holds(texts ...string) func(*check.Env) {
	return func(env *check.Env) {
		for i, text := range texts {
			if err := os.WriteFile(filepath.Join(env.Dir, "r"+strconv.Itoa(i)+".json"), []byte(text), 0o600); err != nil {
				panic(err)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	counted := func(want string) func(*testing.T, check.Outcome) {
		return func(t *testing.T, o check.Outcome) {
			t.Helper()
			checktest.Match(t, want, o.Facts["counts"])
		}
	}
	const any = "files: r0.json\nmax: {info: 100}\n"
	checktest.Run(t, report.Findings, []checktest.Case{
		{Name: "sarif", Params: any, Env: holds(sarifLog), Want: "pass: CodeQL 2.19: ...", Check: counted("0 critical, 1 high, 1 medium, 1 low, 0 info; 1 accepted")},
		{Name: "sarif is too much", Params: "r0.json", Env: holds(sarifLog), Want: "fail: 1 high findings, want at most 0: go/sql query from input a.go:7"},
		{Name: "trivy", Params: any, Env: holds(trivyReport), Want: "pass: Trivy 0.58: ...", Check: counted("2 critical, 1 high, ...")},
		{Name: "what is not graded is graded here", Params: any + "unknown: low", Env: holds(trivyReport), Want: "pass: ...", Check: counted("1 critical, 1 high, 0 medium, 1 low, ...")},
		{Name: "bandit", Params: any, Env: holds(banditReport), Want: "pass: Bandit: ...", Check: counted("0 critical, 1 high, ...")},
		{Name: "pip-audit", Params: "r0.json", Env: holds(pipReport), Want: "fail: 1 critical findings, want at most 0: PYSEC-1 django 3.2 (fixed in 3.2.1)"},
		{Name: "safety", Params: any, Env: holds(safetyReport), Want: "pass: Safety 2.3: ...", Check: counted("0 critical, 1 high, ...")},
		{Name: "npm", Params: any, Env: holds(npmReport), Want: "pass: npm audit: ...", Check: counted("0 critical, 1 high, 0 medium, ...")},
		{Name: "npm 6", Params: any, Env: holds(npmOld), Want: "pass: npm audit: ...", Check: counted("0 critical, 0 high, 1 medium, ...")},
		{Name: "osv", Params: any, Env: holds(osvReport), Want: "pass: OSV-Scanner: ...", Check: counted("1 critical, 0 high, 1 medium, ...")},
		{Name: "zap", Params: any, Env: holds(zapReport), Want: "pass: ZAP 2.15: ...", Check: counted("0 critical, 0 high, 1 medium, ...; 1 accepted")},
		{Name: "nuclei", Params: any, Env: holds(nucleiReport), Want: "pass: nuclei: ...", Check: counted("1 critical, 0 high, 0 medium, 0 low, 1 info; 0 accepted")},
		{Name: "several", Params: "files: '*.json'\nmax: {critical: 9}", Env: holds(trivyReport, banditReport), Want: "pass: Bandit, Trivy 0.58: ...", Check: counted("2 critical, 2 high, ...")},
		{Name: "the named severities count", Params: "files: r0.json\nmax: {medium: 0}", Env: holds(sarifLog), Want: "fail: 1 medium findings, want at most 0: other warning by default"},
	})
}

func TestFindingsAccepted(t *testing.T) {
	at := func(day string, texts ...string) func(*check.Env) {
		return func(env *check.Env) {
			holds(texts...)(env)
			env.Now = func() time.Time { now, _ := time.Parse(time.DateTime, day+" 23:00:00"); return now }
		}
	}
	const ignores = "files: r0.json\nignore: [{id: cve-2026-3333, until: 2026-12-31, why: not reachable}]"
	checktest.Run(t, report.Findings, []checktest.Case{
		{Name: "until the day", Params: ignores, Env: at("2026-12-31", pipReport), Want: "pass: pip-audit: 0 critical, ...; 1 accepted"},
		{Name: "and no longer", Params: ignores, Env: at("2027-01-01", pipReport), Want: "fail: 1 critical findings...; cve-2026-3333 was accepted until 2026-12-31 and counts again"},
		{Name: "absent", Params: "files: r0.json\nexpect_absent: [CVE-2026-9999]\nmax: {info: 9}", Env: at("2026-12-31", pipReport), Want: "pass: ..."},
		{Name: "still there", Params: "files: r0.json\nexpect_absent: [CVE-2026-3333]\nmax: {info: 9}", Env: at("2026-12-31", pipReport), Want: "fail: CVE-2026-3333 is still found: PYSEC-1 django 3.2 (fixed in 3.2.1)"},
		{Name: "of the commit", Params: "files: r0.json\ncommit: 0123456789\nmax: {info: 9}", Env: at("2026-12-31", sarifLog), Want: "pass: ..."},
		{Name: "of another commit", Params: "files: r0.json\ncommit: fedcba98\nmax: {info: 9}", Env: at("2026-12-31", sarifLog), Want: "fail: r0.json is of commit 0123456789abcdef, want fedcba98"},
		{Name: "of no commit", Params: "files: r0.json\ncommit: fedcba98", Env: at("2026-12-31", pipReport), Want: "error: the commit of r0.json is not known..."},
		{Name: "no reason", Params: "files: r0.json\nignore: [{id: a, until: 2026-12-31, why: ' '}]", Want: "problem: ...why: say the reason"},
		{Name: "no day", Params: "files: r0.json\nignore: [{id: a, until: soon, why: b}]", Want: "problem: ...want a day such as 2026-12-31..."},
		{Name: "no such severity", Params: "files: r0.json\nmax: {severe: 0}", Want: "problem: ...max: want critical, high, medium, low or info..."},
		{Name: "neither", Params: "max: {high: 0}", Want: "problem: ...say files or run..."},
	})
}

// Nothing that was not scanned is clean.
func TestFindingsNothing(t *testing.T) {
	var cases []checktest.Case
	for text, want := range map[string]string{
		"":                                "error: r0.json: the report is empty...",
		"{}":                              "error: r0.json: it is the report of no scanner that is known...",
		"[]":                              "error: r0.json: it is no JSON object...",
		"<html>":                          "error: r0.json: it is no JSON object...",
		sarifLog[:200]:                    "error: r0.json: it is no JSON object...",
		`{"version":"2.1.0","runs":[]}`:   "error: r0.json: the SARIF log holds no run...",
		`{"version":"2.1.0","runs":[{}]}`: "error: r0.json: run 1 of the SARIF log has no results...",
		`{"version":"2.1.0","runs":[{"results":[],"invocations":[{"executionSuccessful":false}]}]}`:      "error: r0.json: run 1 of the SARIF log says that the scan did not end well",
		`{"SchemaVersion":2,"ArtifactName":"x"}`:                                                         "error: r0.json: trivy found nothing to scan in x",
		`{"errors":[{"filename":"a.py","reason":"syntax"}],"generated_at":"","metrics":{},"results":[]}`: "error: r0.json: bandit could not read a.py: syntax",
		`{"errors":[],"generated_at":"","metrics":{"_totals":{"loc":0}},"results":[]}`:                   "error: r0.json: bandit has looked at no line of code",
		`{"dependencies":[]}`: "error: r0.json: pip-audit has looked at no package",
		`{"dependencies":[{"name":"x","skip_reason":"not on PyPI"}]}`:                           "error: r0.json: pip-audit did not look at x: not on PyPI",
		`{"report_meta":{"packages_found":0},"vulnerabilities":[]}`:                             "error: r0.json: safety has looked at no package",
		`{"auditReportVersion":2,"vulnerabilities":{},"metadata":{"dependencies":{"total":0}}}`: "error: r0.json: npm audit has looked at no dependency",
		`{"auditReportVersion":2,"error":{"code":"ENOLOCK"}}`:                                   "error: r0.json: npm audit has failed: ...ENOLOCK...",
		`{"results":[]}`:                          "error: r0.json: the report names no package...",
		`{"@version":"2","site":[]}`:              "error: r0.json: ZAP has reached no site",
		`{"@version":"2","site":[{"@name":"a"}]}`: "error: r0.json: ZAP's report has no list of alerts for a",
		nucleiReport + "\n{\"x\":1}":              "error: r0.json: line 3 is no finding of nuclei...",
		npmOld + "{}":                             "error: r0.json: the report holds more than one document",
	} {
		cases = append(cases, checktest.Case{Name: want, Params: "r0.json", Env: holds(text), Want: want})
	}
	cases = append(cases,
		checktest.Case{Name: "no file", Params: "r0.json", Want: "error: no file matches r0.json"},
		checktest.Case{Name: "run", Params: "run: [cat, r0.json]\nmax: {info: 9}", Env: holds(banditReport), Want: "pass: Bandit: ..."},
		checktest.Case{Name: "run ends with another code", Params: "run: [sh, -c, 'cat r0.json; exit 1']\nmax: {info: 9}", Env: holds(banditReport), Want: "pass: Bandit: ..."},
		checktest.Case{Name: "run writes nothing", Params: "run: [sh, -c, 'echo no config >&2; exit 2']", Want: "error: sh ended with code 2 and wrote no report: no config"},
		checktest.Case{Name: "run is killed", Params: "run: [sh, -c, 'kill -9 $$']", Want: "error: sh was ended by signal: ..."},
		checktest.Case{Name: "run is not there", Params: "run: [no-such-scanner]", Want: "error: ..."},
		checktest.Case{Name: "run hangs", Params: "run: [sleep, '30']", Timeout: 300 * time.Millisecond, Want: "error: ..."},
		checktest.Case{Name: "huge", Params: "r0.json", Env: holds(strings.Repeat(" ", 65<<20)), Want: "error: read r0.json: ...", Once: true},
	)
	checktest.Run(t, report.Findings, cases)
}

func TestFindingsPage(t *testing.T) { checktest.Page(t, report.Findings) }
