package django_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/django"
)

// project writes a Django project with these settings.
func project(t *testing.T, settings string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"manage.py":   "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')\nsys.dont_write_bytecode = True\nfrom django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
		"settings.py": settings + "\nROOT_URLCONF = 'urls'\n",
		"urls.py":     "urlpatterns = []\n",
		"shop.py":     "from django.core.checks import CRITICAL, CheckMessage, register\n\n@register()\ndef own(app_configs, **kwargs):\n    return [CheckMessage(CRITICAL, 'two\\nlines', hint='none', obj='shop', id='shop.C001')]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "run: [/usr/bin/python3, manage.py]\ndir: " + dir + "\n"
}

const careless = "SECRET_KEY = 'x'\nDEBUG = True\nALLOWED_HOSTS = []\n"

const careful = `
SECRET_KEY = ''.join(chr(65 + i % 50) for i in range(80))
DEBUG = False
ALLOWED_HOSTS = ['shop.example.com']
SECURE_HSTS_SECONDS = 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
MIDDLEWARE = ['django.middleware.security.SecurityMiddleware', 'django.middleware.csrf.CsrfViewMiddleware', 'django.middleware.clickjacking.XFrameOptionsMiddleware']
`

func TestCheck(t *testing.T) {
	bad, good := project(t, careless), project(t, careful)
	own := project(t, careful+"import shop\nSILENCED_SYSTEM_CHECKS = ['security.W022']\nSECURE_REFERRER_POLICY = None\n")
	checktest.Run(t, django.Check, []checktest.Case{
		{Name: "careful", Params: good, Want: "pass: Django finds 0 messages, of which none counts; 0 accepted"},
		{Name: "careless", Params: bad, Want: "fail: WARNING security.W001: You do not have...", Check: func(t *testing.T, o check.Outcome) {
			if !strings.Contains(o.Reason, "WARNING security.W009") || !strings.Contains(o.Reason, "security.W018") || len(o.Artefacts) != 1 || o.Facts["messages"] == "0" {
				t.Errorf("%v", o)
			}
		}},
		{Name: "higher level", Params: bad + "fail_level: ERROR", Want: "pass: Django finds ... messages, of which none counts..."},
		{Name: "without deployment", Params: bad + "deploy: false", Want: "pass: Django finds 0 messages..."},
		{Name: "by identifier", Params: bad + "ids: [security.W018]", Want: "fail: WARNING security.W018: You should not have DEBUG set to True in deployment."},
		{Name: "accepted", Params: bad + "ids: [security.W018]\nignore: [{id: security.W018, why: a trial, until: 2999-01-01}]", Want: "pass: ...; 1 accepted"},
		{Name: "not any more", Params: bad + "ids: [security.W018]\nignore: [{id: security.W018, why: a trial, until: 2020-01-01}]", Want: "fail: WARNING security.W018...security.W018 was accepted until 2020-01-01 and counts again"},
		{Name: "two lines, one silenced", Params: own, Want: "fail: CRITICAL shop.C001: shop: two; 1 more are silenced in the settings"},
		{Name: "tag", Params: bad + "tags: [urls]", Want: "pass: Django finds 0 messages..."},
		{Name: "crash", Params: project(t, "import nothing_of_this_name"), Want: "error: the checks were not made: manage.py ended with code 1 and gave no report: ModuleNotFoundError: No module named 'nothing_of_this_name'"},
		{Name: "no such tag", Params: bad + "tags: [nope]", Want: `error: the checks were not made...There is no system check with the "nope" tag.`},
		{Name: "no program", Params: "run: [/nonexistent/python]", Want: "error: run /nonexistent/python..."},
		{Name: "nothing written", Params: "run: ['true']", Want: "error: the checks were not made: manage.py ended with code 0 and gave no report: nothing was written"},
		{Name: "hang", Params: "run: [tail, -f, /dev/null, --]", Timeout: 200 * time.Millisecond, Want: "error: ..."},
		{Name: "no reason", Params: "ignore: [{id: a.W1, why: ' '}]", Want: "problem: ...say the reason"},
		{Name: "no day", Params: "ignore: [{id: a.W1, why: x, until: soon}]", Want: "problem: ...want a day..."},
		{Name: "option as a tag", Params: "tags: [--version]", Want: `problem: ..."--version" cannot follow --tag`},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, django.Check) }

// writing is a host on which every program writes the same.
type writing struct {
	check.Host
	result check.Result
}

func (w writing) Exec(context.Context, check.Command) (check.Result, error) { return w.result, nil }

func TestCheckOutput(t *testing.T) {
	of := func(r check.Result) func(*check.Env) {
		return func(e *check.Env) { e.Host = func(string) (check.Host, error) { return writing{result: r}, nil } }
	}
	const report = "System check identified some issues:\n\nWARNINGS:\n?: (security.W004) text\n\tHINT: more\n\n"
	var cases []checktest.Case
	for want, r := range map[string]check.Result{
		"error: the report says that there are 2 messages, and 1 can be read": {Stderr: []byte(report + "System check identified 2 issues (0 silenced).\n")},
		"error: the report has more than one summary...":                      {Stdout: []byte(strings.Repeat("System check identified no issues (0 silenced).\n", 2))},
		"error: python3 wrote more than 4 MiB":                                {Truncated: true},
		"error: python3 was ended by signal: killed":                          {Signal: "killed"},
		"error: manage.py ended with code 3, for which...":                    {Code: 3, Stderr: []byte(report + "System check identified 1 issue (0 silenced).\n")},
		"error: the checks were not made...":                                  {Stderr: []byte(report)},
		"fail: WARNING security.W004: text":                                   {Stderr: []byte(report + "System check identified 1 issue (0 silenced).\n")},
	} {
		cases = append(cases, checktest.Case{Name: fmt.Sprintf("%.30s", want), Want: want, Env: of(r), NetworkIsAnswer: true})
	}
	checktest.Run(t, django.Check, cases)
}
