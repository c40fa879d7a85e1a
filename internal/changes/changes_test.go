package changes_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/changes"
)

func TestKinds(t *testing.T) {
	files := []string{"shop/migrations/0007_total.py", "README.md", "deploy/k8s/web.yaml", "a.tf", "b.tf", "c.tf", "requirements.txt"}
	got := changes.Of(files, changes.Merge(map[string][]string{"docs": {"*.md"}, "api": {"shop/urls.py"}}), "1.0 and 1.1")
	for kind, want := range map[string]string{
		"migrations":     "true true shop/migrations/0007_total.py",
		"infrastructure": "true true deploy/k8s/web.yaml, a.tf, b.tf and 1 more",
		"dependencies":   "true true requirements.txt",
		"docs":           "true true README.md",
		"api":            "true false none of the 7 files that differ between 1.0 and 1.1 is like shop/urls.py",
	} {
		a := got[kind]
		if text := fmt.Sprintf("%v %v %s", a.Known, a.Changed, a.Why); text != want {
			t.Errorf("%s: %s, want %s", kind, text, want)
		}
	}
	for kind, a := range changes.Unknown(changes.Patterns(), "no history") {
		if a.Known || a.Changed || a.Why != "no history" {
			t.Errorf("%s: %+v is known", kind, a)
		}
	}
}

// locks are lock files in an old and a new version, and what is gone between them.
func locks() map[string][3]string {
	return map[string][3]string{
		"go.mod": {
			"module x\n\nrequire github.com/a/b v1.2.3\nrequire (\n\tgolang.org/x/net v0.1.0 // indirect\n\texample.com/c v1.0.0\n)\n",
			"module x\nrequire (\n\tgithub.com/a/b v1.2.3\n\tgolang.org/x/net v0.2.0\n)\n", "example.com/c v1.0.0, golang.org/x/net v0.1.0",
		},
		"requirements-prod.txt": {
			"# pinned\n-r base.txt\nDjango[argon2]==4.2.1 ; python_version > '3.8'\r\nredis == 5.0.1 \\\n    --hash=sha256:aa\n",
			"Django==4.2.5\nredis==5.0.1\n", "Django 4.2.1",
		},
		"poetry.lock": {
			"[[package]]\nname = \"urllib3\"\nversion = \"1.26.4\"\n\n[package.extras]\nversion = \"9\"\n\n[[package]]\nname = \"six\"\nversion = \"1.16\"\n",
			"[[package]]\nname = \"urllib3\"\nversion = \"1.26.5\"\n[[package]]\nname = \"six\"\nversion = \"1.16\"\n", "urllib3 1.26.4",
		},
		"web/package-lock.json": {
			`{"packages": {"": {"version": "1.0.0"}, "node_modules/a": {"version": "1.0.0"}, "node_modules/b/node_modules/@s/a": {"version": "2.0.0"}, "node_modules/l": {"link": true}}}`,
			`{"packages": {"node_modules/a": {"version": "1.0.1"}, "node_modules/@s/a": {"version": "2.0.0"}}}`, "a 1.0.0",
		},
		"Pipfile.lock":  {`{"_meta": {"hash": {}}, "default": {"flask": {"version": "==2.0"}}}`, `{"_meta": {}, "default": {}}`, "flask 2.0"},
		"composer.lock": {`{"packages": [{"name": "a/b", "version": "1.0"}], "packages-dev": []}`, `{"packages": [{"name": "a/b", "version": "1.1"}]}`, "a/b 1.0"},
		"Gemfile.lock": {
			"GEM\n  specs:\n    rails (7.0.1)\n      actionpack (= 7.0.1)\n    rack (2.2.3)\n", "GEM\n  specs:\n    rails (7.0.1)\n    rack (2.2.4)\n", "rack 2.2.3",
		},
	}
}

func content(text string) func(string) ([]byte, error) {
	return func(string) ([]byte, error) { return []byte(text), nil }
}

func TestWhatIsGone(t *testing.T) {
	for file, c := range locks() {
		gone, unread := changes.Gone([]string{file, "go.sum"}, content(c[0]), content(c[1]))
		var names []string
		for _, p := range gone {
			names = append(names, p.Name+" "+p.Version)
		}
		if got := strings.Join(names, ", "); got != c[2] || len(unread) > 0 {
			t.Errorf("%s: gone %s, want %s; unread %v", file, got, c[2], unread)
		}
	}
}

// What cannot be read is said, never taken for unchanged.
func TestUnreadable(t *testing.T) {
	for file, text := range map[string]string{
		"yarn.lock": "x", "requirements.txt": "django>=4\n", "package-lock.json": `{"dependencies": {}}`, "poetry.lock": "nothing", "composer.lock": "{",
		"Pipfile.lock": "[]",
	} {
		if _, unread := changes.Gone([]string{file}, content(text), content(text)); len(unread) != 1 {
			t.Errorf("%s is taken as read", file)
		}
	}
	broken := func(string) ([]byte, error) { return nil, errors.New("cut off") }
	if _, unread := changes.Gone([]string{"go.mod"}, content("module x\n"), broken); len(unread) != 1 {
		t.Error("a file that cannot be had is taken as read")
	}
	if gone, unread := changes.Gone([]string{"go.mod"}, content("require a.example/b v1.0.0\n"), content("")); len(gone) != 1 || len(unread) > 0 {
		t.Error("a lock file that is no more takes nothing away")
	}
}

func TestReplaced(t *testing.T) {
	gone := []changes.Package{{Name: "Django_Rest", Version: "4.2.1"}, {Name: "golang.org/x/net", Version: "v0.1.0"}}
	for _, c := range []struct {
		advisories []changes.Advisory
		gone       []changes.Package
		unread     []string
		reports    int
		want       string
	}{
		{[]changes.Advisory{{ID: "GHSA-1", Package: "django-rest", Version: "4.2.1"}}, gone, nil, 1, "true true it replaces GHSA-1 in Django_Rest 4.2.1"},
		{[]changes.Advisory{{ID: "GO-2", Package: "golang.org/x/net", Version: "0.1.0"}}, gone, []string{"yarn.lock"}, 1, "true true it replaces GO-2 in golang.org/x/net v0.1.0"},
		{[]changes.Advisory{{ID: "npm 7", Package: "django.rest"}}, gone, nil, 1, "true true it replaces npm 7 in Django_Rest 4.2.1"},
		{[]changes.Advisory{{ID: "GHSA-1", Package: "django-rest", Version: "4.2.0"}}, gone, nil, 1, "true false Django_Rest 4.2.1, golang.org/x/net v0.1.0 are replaced, and 1 reports know nothing against them"},
		{nil, gone, nil, 0, "false false Django_Rest 4.2.1, golang.org/x/net v0.1.0 are replaced, and no report of a scanner is named under changes.advisories in allclear.yaml"},
		{nil, gone, []string{"yarn.lock"}, 1, "false false which versions changed in yarn.lock cannot be read"},
		{nil, nil, nil, 0, "true false no version of a dependency is replaced"},
	} {
		a := changes.Replaced(c.gone, c.unread, c.advisories, c.reports)
		if got := fmt.Sprintf("%v %v %s", a.Known, a.Changed, a.Why); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
