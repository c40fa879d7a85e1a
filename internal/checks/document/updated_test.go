package document_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/document"
)

const rollback = `---
version: 1.3.0
---
# Rollback

## 1. Previous version:

1.2.3, see [the changelog](../CHANGELOG.md#123---2026-11-23).

## **Database**

` + "```\n## Fenced\n```" + `

See [above](#1-previous-version) and [the commands](#commands), ![a picture](plan.png), [the folder](.), [mail](mailto:a@example.com).

<!-- ## Decision
hidden words -->

<a id="commands"></a>
## Empty

## Actions

- Write a test, see #12
- Ask TULIA-7
- Move ` + "`/v1/users`" + ` to /v2/users/{id} (https://example.com/issues/9)

## Open actions

- Use UTF-8
`

// repo makes a repository of two commits and gives their names to the run.
func repo(t *testing.T, first, second map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		for name, text := range first {
			write(t, env.Dir, name, text)
		}
		initGit(t, env.Dir)
		env.Run.PreviousRev = git(t, env.Dir, "rev-parse", "HEAD")
		for name, text := range second {
			if text == "" {
				git(t, env.Dir, "rm", "-q", name)
				continue
			}
			write(t, env.Dir, name, text)
		}
		git(t, env.Dir, "add", "-A")
		git(t, env.Dir, "commit", "-q", "-m", "two")
		env.Run.Revision = git(t, env.Dir, "rev-parse", "HEAD")
	}
}

func TestUpdatedWhenChanged(t *testing.T) {
	checktest.Page(t, document.Updated)
	before := map[string]string{"Dockerfile": "FROM a", "app/main.py": "1", "docs/deploy.md": "# Deploy\n\nText.\n", "docs/arch/a.md": "# A\n\nText.\n", "docs/arch/a.svg": "<svg/>"}
	than := func(pairs ...string) func(*check.Env) {
		after := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			after[pairs[i]] = pairs[i+1]
		}
		return repo(t, before, after)
	}
	const one, many = "{file: docs/deploy.md, when_changed: [Dockerfile*]}", "{paths: ['docs/arch/**'], when_changed: ['Dockerfile*', 'app/**/*.py']}"
	checktest.Run(t, document.Updated, []checktest.Case{
		{Name: "both", Params: one, Env: than("Dockerfile", "FROM b", "docs/deploy.md", "# Deploy\n\nNew.\n"), Want: "pass: docs/deploy.md: all rules hold", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["triggers"] != "Dockerfile" || o.Facts["documents_changed"] != "docs/deploy.md" || len(o.Facts["base"]) != 40 || o.Facts["base"] == o.Facts["head"] {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "not the document", Params: one, Env: than("Dockerfile", "FROM b"), Want: "fail: Dockerfile changed between ... and ..., and docs/deploy.md did not"},
		{Name: "nothing asks for it", Params: one, Env: than("app/main.py", "2"), Want: "pass: none of the 1 files that changed between ... and ... matches Dockerfile*", Check: func(t *testing.T, o check.Outcome) {
			if got, there := o.Facts["triggers"]; got != "" || !there || o.Facts["changed"] != "1" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "one of many", Params: many, Env: than("app/main.py", "2", "docs/arch/a.svg", "<svg>"), Want: "pass: 2 documents..."},
		{Name: "none of many", Params: many, Env: than("app/main.py", "2", "docs/deploy.md", "# x\n\ny"), Want: "fail: app/main.py changed between ..., and no document of docs/arch/** did"},
		{Name: "a document removed", Params: many, Env: than("app/main.py", "2", "docs/arch/a.svg", ""), Want: "fail: app/main.py changed..."},
		{Name: "a trigger removed", Params: one, Env: than("Dockerfile", ""), Want: "fail: Dockerfile changed..."},
		{Name: "the other rules are judged", Params: "{file: docs/deploy.md, when_changed: [Dockerfile*], headings: [Steps]}", Env: than("app/main.py", "2"), Want: "fail: docs/deploy.md has no heading Steps"},
		{Name: "named base", Params: "{file: docs/deploy.md, when_changed: [Dockerfile*], base: HEAD}", Env: than("app/main.py", "2"), Want: "error: base and head are the same commit..."},
		{Name: "pattern of nothing", Params: "{file: docs/deploy.md, when_changed: [Dockerfile*, 'apps/**']}", Env: than("app/main.py", "2"), Want: "error: when_changed: apps/** matches no file of either revision"},
		{Name: "unknown base", Params: "{file: docs/deploy.md, when_changed: [Dockerfile*], base: v9}", Env: than("app/main.py", "2"), Want: "error: the repository knows no v9..."},
		{Name: "nothing live", Params: one, Env: func(e *check.Env) { than("app/main.py", "2")(e); e.Run.PreviousRev = "" }, Want: "error: the revision that is live (say base) was not supplied"},
		{Name: "no repository", Params: "{file: docs/deploy.md, when_changed: [Dockerfile*], base: main}", Env: func(e *check.Env) { write(t, e.Dir, "docs/deploy.md", "x") }, Want: "error: git rev-parse main: fatal: not a git repository..."},
		{Name: "no document", Params: "{paths: ['doc/**'], when_changed: [Dockerfile*]}", Env: than("Dockerfile", "FROM b"), Want: "error: no document matches doc/**"},
		{Name: "problem: base option", Params: "{file: a, base: x}", Want: "problem: ...go with when_changed"},
		{Name: "base is an option", Params: "{file: a, when_changed: [b], base: --output=x}", Env: than("Dockerfile", "FROM b"), Want: "error: ...is no revision"},
	})
}

func TestUpdatedShape(t *testing.T) {
	files := func(pairs ...string) func(*check.Env) {
		return func(env *check.Env) {
			today(env)
			write(t, env.Dir, "CHANGELOG.md", good)
			write(t, env.Dir, "docs/plan.png", "png")
			write(t, env.Dir, "docs/rollback.md", strings.NewReplacer(pairs...).Replace(rollback))
		}
	}
	checktest.Run(t, document.Updated, []checktest.Case{
		{Name: "there", Params: "docs/rollback.md", Env: files(), Want: "pass: docs/rollback.md: all rules hold"},
		{Name: "not there", Params: "docs/none.md", Env: files(), Want: "fail: there is no docs/none.md"},
		{Name: "headings", Params: "{file: docs/rollback.md, headings: [previous version, Database]}", Env: files(), Want: "pass: ..."},
		{Name: "carriage returns", Params: "{file: docs/rollback.md, headings: [Database], front_matter: {version: 1.3.0}, links: local}", Env: files("\n", "\r\n"), Want: "pass: ..."},
		{Name: "in a fence", Params: "{file: docs/rollback.md, headings: [Fenced]}", Env: files(), Want: "fail: docs/rollback.md has no heading Fenced"},
		{Name: "in a comment", Params: "{file: docs/rollback.md, headings: [Decision]}", Env: files(), Want: "fail: docs/rollback.md has no heading Decision"},
		{Name: "nothing below", Params: "{file: docs/rollback.md, headings: [Empty]}", Env: files(), Want: "fail: docs/rollback.md, line 22: nothing stands under Empty"},
		{Name: "mentions", Params: "{file: docs/rollback.md, mentions: [/v1/users, 'write a  test']}", Env: files(), Want: "pass: ..."},
		{Name: "longer path", Params: "{file: docs/rollback.md, mentions: [/v2/users]}", Env: files(), Want: "fail: docs/rollback.md does not mention /v2/users"},
		{Name: "within a word", Params: "{file: docs/rollback.md, mentions: [chang]}", Env: files(), Want: "fail: ...does not mention chang"},
		{Name: "hidden", Params: "{file: docs/rollback.md, mentions: [hidden words]}", Env: files(), Want: "fail: ...does not mention hidden words"},
		{Name: "fact", Params: "{file: docs/rollback.md, mentions_fact: openapi.breaking_paths}", Env: func(e *check.Env) {
			files()(e)
			e.Ledger = &checktest.Ledger{Facts: map[string]string{"openapi.breaking_paths": "/v1/users\n/v2/users/{id}\n/v1/orders"}}
		}, Want: "fail: docs/rollback.md does not mention /v1/orders"},
		{Name: "no fact", Params: "{file: docs/rollback.md, mentions_fact: openapi.breaking_paths}", Env: files(), Want: "error: the fact openapi.breaking_paths was not supplied"},
		{Name: "front matter", Params: "{file: docs/rollback.md, front_matter: {version: 1.3.0}}", Env: files(), Want: "pass: ..."},
		{Name: "another value", Params: "{file: docs/rollback.md, front_matter: {version: 1.4.0, owner: ops}}", Env: files(), Want: "fail: docs/rollback.md: front matter has no owner; docs/rollback.md: front matter has version: 1.3.0, want 1.4.0"},
		{Name: "no front matter", Params: "{file: CHANGELOG.md, front_matter: {version: 1.3.0}}", Env: files(), Want: "fail: CHANGELOG.md has no front matter"},
		{Name: "broken front matter", Params: "{file: docs/rollback.md, front_matter: {version: 1.3.0}}", Env: files("version: 1.3.0", "version: [1"), Want: "error: docs/rollback.md: front matter: ..."},
		{Name: "list in front matter", Params: "{file: docs/rollback.md, front_matter: {version: 1.3.0}}", Env: files("version: 1.3.0", "version: [1]"), Want: "error: docs/rollback.md: front matter: version is no single value"},
		{Name: "tickets", Params: "{file: docs/rollback.md, actions_have_tickets: Actions}", Env: files(), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["ticket.docs/rollback.md:27"] != "TULIA-7" || o.Facts["ticket.docs/rollback.md:26"] != "#12" || !strings.HasPrefix(o.Facts["ticket.docs/rollback.md:28"], "https://example.com/issues/9") {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "no ticket", Params: "{file: docs/rollback.md, actions_have_tickets: Open actions}", Env: files(), Want: `fail: docs/rollback.md, line 32: "Use UTF-8" names no ticket`},
		{Name: "own tickets", Params: "{file: docs/rollback.md, actions_have_tickets: Actions, ticket: 'OPS-\\d+'}", Env: files(), Want: "fail: ...\"Write a test, see #12\" names no ticket; ..."},
		{Name: "no list", Params: "{file: docs/rollback.md, actions_have_tickets: Database}", Env: files(), Want: "fail: docs/rollback.md has no list under Database"},
		{Name: "links", Params: "{file: docs/rollback.md, links: local}", Env: files(), Want: "pass: ..."},
		{Name: "dead link", Params: "{file: docs/rollback.md, links: local}", Env: files("../CHANGELOG.md#123---2026-11-23", "CHANGELOG.md"), Want: "fail: docs/rollback.md, line 8: CHANGELOG.md leads to no file"},
		{Name: "dead image", Params: "{file: docs/rollback.md, links: local}", Env: files("plan.png", "plan.svg"), Want: "fail: docs/rollback.md, line 16: plan.svg leads to no file"},
		{Name: "dead anchor", Params: "{file: docs/rollback.md, links: local}", Env: files("#1-previous-version", "#previous-version"), Want: "fail: docs/rollback.md, line 16: docs/rollback.md has no heading or anchor previous-version"},
		{Name: "dead anchor elsewhere", Params: "{file: docs/rollback.md, links: local}", Env: files("2026-11-23)", "2026-11-24)"), Want: "fail: ...CHANGELOG.md has no heading or anchor 123---2026-11-24"},
		{Name: "from the root", Params: "{file: docs/rollback.md, links: local}", Env: files("(plan.png)", "(/docs/plan.png?raw=1)"), Want: "pass: ..."},
		{Name: "out of the checkout", Params: "{file: docs/rollback.md, links: local}", Env: files("plan.png", "../../plan.png"), Want: "fail: ...../../plan.png leaves the checkout"},
		{Name: "template", Params: "{file: docs/rollback.md, links: local}", Env: files("(plan.png)", "({{image}})"), Want: "error: ...is known only after it was filled in"},
		{Name: "link to nothing", Params: "{file: docs/rollback.md, links: local}", Env: func(e *check.Env) {
			files()(e)
			if err := os.Remove(filepath.Join(e.Dir, "docs/plan.png")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("gone.png", filepath.Join(e.Dir, "docs/plan.png")); err != nil {
				t.Fatal(err)
			}
		}, Want: "fail: docs/rollback.md, line 16: plan.png leads to no file"},
		{Name: "several", Params: "{paths: ['**/*.md', 'docs/*'], links: local}", Env: files(), Want: "pass: 3 documents: all rules hold"},
		{Name: "pictures only", Params: "{paths: ['docs/*.png'], links: local}", Env: files(), Want: "error: none of the 1 files is Markdown..."},
		{Name: "each value", Params: "{file: 'docs/{each}.md', each: {values: [rollback, restore]}}", Env: files(), Want: "fail: there is no docs/restore.md"},
		{Name: "only a template", Params: "docs/t.md", Env: func(e *check.Env) { write(t, e.Dir, "docs/t.md", "# T\n\n<!-- text -->\nTODO\n") }, Want: "fail: docs/t.md says nothing"},
		{Name: "no text", Params: "docs/t.md", Env: func(e *check.Env) { write(t, e.Dir, "docs/t.md", "\x00") }, Want: "error: docs/t.md is no UTF-8 text"},
		{Name: "problem: nothing", Params: "{headings: [A]}", Want: "problem: ...name the document..."},
		{Name: "problem: each", Params: "{file: a.md, each: {values: [b]}}", Want: "problem: ...{each} in file"},
		{Name: "problem: paths", Params: "{paths: [a]}", Want: "problem: ...say what must hold..."},
	})
}

func TestUpdatedReviewed(t *testing.T) {
	at := func(days int) func(*check.Env) {
		return func(env *check.Env) {
			repo(t, map[string]string{"docs/a.md": "# A\n\nText.\n"}, map[string]string{"b": "1"})(env)
			env.Now = func() time.Time { return time.Now().AddDate(0, 0, days) }
		}
	}
	const params = "{file: docs/a.md, reviewed_within: 4320h}"
	checktest.Run(t, document.Updated, []checktest.Case{
		{Name: "fresh", Params: params, Env: at(1), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if !strings.Contains(o.Facts["commit.docs/a.md"], " Eve 20") {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "old", Params: params, Env: at(181), Want: "fail: docs/a.md was last changed 181 days ago (...), want at most 180"},
		{Name: "future", Params: params, Env: at(-1), Want: "error: ...a clock is wrong"},
		{Name: "never committed", Params: "{file: docs/n.md, reviewed_within: 4320h}", Env: func(e *check.Env) { at(1)(e); write(t, e.Dir, "docs/n.md", "text") }, Want: "error: no commit has touched docs/n.md..."},
		{Name: "no repository", Params: params, Env: func(e *check.Env) { write(t, e.Dir, "docs/a.md", "text") }, Want: "error: git log: ..."},
		{Name: "shallow", Params: params, Env: func(e *check.Env) {
			origin := checktest.NewEnv(t)
			at(1)(origin)
			git(t, e.Dir, "clone", "-q", "--depth=1", "file://"+origin.Dir, ".")
		}, Want: "error: the clone is shallow..."},
	})
}

const rules = `groups:
  - name: api
    rules:
      - {record: a, expr: b}
      - {alert: Down, expr: up == 0, annotations: {runbook_url: "https://git.example.com/blob/main/docs/rollback.md#database"}}
      - {alert: Slow, expr: x > 1, annotations: {runbook_url: "%s"}}
`

func TestUpdatedRunbooks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			fmt.Fprint(w, "here")
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/login":
			w.WriteHeader(http.StatusForbidden)
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/hang":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	with := func(address string) func(*check.Env) {
		return func(env *check.Env) {
			write(t, env.Dir, "docs/rollback.md", rollback)
			write(t, env.Dir, "rules/a.yml", fmt.Sprintf(rules, strings.ReplaceAll(address, "WEB", server.URL)))
		}
	}
	const params = "each: {rules: rules/*.yml, prefix: https://git.example.com/blob/main/}"
	const page = "file: docs/web.md\nlinks: all"
	web := func(text string) func(*check.Env) {
		return func(env *check.Env) {
			write(t, env.Dir, "docs/web.md", strings.ReplaceAll(text, "WEB", server.URL))
		}
	}
	checktest.Run(t, document.Updated, []checktest.Case{
		{Name: "by path", Params: params + "\nheadings: [Database]", Env: with("docs/rollback.md"), Want: "pass: 2 alerts: each has its runbook, and all rules hold", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["runbook.Down"] != "docs/rollback.md" || o.Facts["alerts"] != "2" || o.Facts["documents"] != "1" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "in the web", Params: params, Env: with("WEB/ok"), Want: "pass: ..."},
		{Name: "moved", Params: params, Env: with("WEB/moved"), Want: "pass: ..."},
		{Name: "gone", Params: params, Env: with("WEB/gone"), Want: "fail: rules/a.yml: Slow: ...gone answers 404"},
		{Name: "login", Params: params, Env: with("WEB/login"), Want: "error: ...login answers 403..."},
		{Name: "too many requests", Params: params, Env: with("WEB/busy"), Want: "error: ...answers 429..."},
		{Name: "broken", Params: params, Env: with("WEB/broken"), Want: "error: ...answers 500..."},
		{Name: "loop", Params: params, Env: with("WEB/loop"), Want: "error: ...more than 5 redirects"},
		{Name: "hang", Params: params, Env: with("WEB/hang"), Timeout: 300 * time.Millisecond, Want: "error: ..."},
		{Name: "no such file", Params: params, Env: with("docs/none.md"), Want: "fail: rules/a.yml: Slow: /docs/none.md leads to no file"},
		{Name: "no such heading", Params: params, Env: with("docs/rollback.md#none"), Want: "fail: rules/a.yml: Slow: docs/rollback.md has no heading or anchor none"},
		{Name: "missing", Params: params, Env: with(""), Want: "fail: rules/a.yml: Slow has no runbook_url"},
		{Name: "template", Params: params, Env: with("https://x.example.com/{{ $labels.job }}"), Want: "error: ...is known only when it fires"},
		{Name: "headings of the web", Params: params + "\nheadings: [Fix]", Env: with("WEB/ok"), Want: "fail: docs/rollback.md has no heading Fix"},
		{Name: "headings of the web alone", Params: params + "\nheadings: [Database]", Env: with("WEB/ok"), Want: "error: ...is not in the checkout (say prefix)..."},
		{Name: "no rules", Params: params, Env: func(e *check.Env) { write(t, e.Dir, "rules/a.yml", "groups: []") }, Want: "error: rules/*.yml: there is no alert rule in it"},
		{Name: "no rule files", Params: params, Want: "error: each: no file matches rules/*.yml"},
		{Name: "malformed rules", Params: params, Env: func(e *check.Env) { write(t, e.Dir, "rules/a.yml", "groups: [a") }, Want: "error: rules/a.yml: ..."},
		{Name: "neither alert nor record", Params: params, Env: func(e *check.Env) { write(t, e.Dir, "rules/a.yml", "groups: [{name: g, rules: [{expr: x}]}]") }, Want: "error: ...neither an alert nor a record"},
		{Name: "operator", Params: params, Env: func(e *check.Env) {
			write(t, e.Dir, "docs/r.md", "text")
			write(t, e.Dir, "rules/a.yml", "kind: PrometheusRule\nspec: {groups: [{name: g, rules: [{alert: A, annotations: {runbook_url: docs/r.md}}]}]}\n---\ngroups: []\n")
		}, Want: "pass: 1 alerts..."},
		{Name: "links", Params: page, Env: web("[a](WEB/ok) and <WEB/moved>, mailto:a@example.com"), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["web_addresses"] != "2" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "dead links beside unknown ones", Params: page, Env: web("[a](WEB/gone) [b](WEB/busy)"), Want: "fail: docs/web.md, line 1: ...gone answers 404", Check: func(t *testing.T, o check.Outcome) {
			if !strings.Contains(o.Facts["not_seen.1"], "429") {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "local only", Params: "{file: docs/web.md, links: local}", Env: web("[a](WEB/gone)"), Want: "pass: ..."},
	})
}
