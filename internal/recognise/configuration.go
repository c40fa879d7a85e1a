package recognise

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/checklist"
)

// Person is who init is run by.
type Person struct{ ID, Name, Email, Key string }

// Configuration writes allclear.yaml for a checklist that has its blocks: two
// environments, the roles that it names, and for every target that its items ask
// for its value, or a line to fill in. The targets that most items wait for stand
// first.
func Configuration(project string, list *checklist.Checklist, repo Repository, who *Person) []byte {
	var b strings.Builder
	b.WriteString("# What differs between environments, and who the people are. A secret is a reference\n" +
		"# (env:NAME, file:PATH or cmd:PROGRAM), never a value. allclear plan says what is still missing.\n")
	fmt.Fprintf(&b, "project: %s\nchecklist: %s\n\n", quoted(project), quoted(list.File))
	writePeople(&b, roleNames(list), who)
	uses := variables(list)
	b.WriteString("\nenvironments:\n")
	for _, environment := range []string{"staging", "production"} {
		writeEnvironment(&b, environment, uses, repo)
	}
	return []byte(b.String())
}

// writePeople writes who takes part. Roles without people are shown by the plan.
func writePeople(b *strings.Builder, roles []string, who *Person) {
	b.WriteString("# A person signs with an SSH key: paste the line of the .pub file.\n")
	if who == nil {
		b.WriteString("people: {}\n")
	} else {
		fmt.Fprintf(b, "people:\n  %s:\n    name: %s\n", who.ID, strconv.Quote(who.Name))
		if who.Email != "" {
			fmt.Fprintf(b, "    email: %s\n", strconv.Quote(who.Email))
		}
		if who.Key != "" {
			fmt.Fprintf(b, "    key: [%s]\n", strconv.Quote(who.Key))
		}
	}
	if len(roles) == 0 {
		return
	}
	b.WriteString("# Who has which role, by the short names above. Those who sign for one gate are different people.\nroles:\n")
	for _, role := range roles {
		fmt.Fprintf(b, "  %s: []\n", quoted(role))
	}
}

func writeEnvironment(b *strings.Builder, name string, uses map[string]int, repo Repository) {
	fmt.Fprintf(b, "  %s:\n    protected: %t # ask for the environment's name before a run\n", name, name == "production")
	var windows, vars []string
	for _, v := range byUse(uses) {
		key, isWindow := strings.CutPrefix(v, "windows.")
		switch _, own := ownKeys()[v]; {
		case isWindow:
			windows = append(windows, key+": "+windowLength(key))
		case own:
			fmt.Fprintf(b, "    # %s: # %s: %s\n", v, plural(uses[v], "item"), ownKeys()[v])
		default:
			vars = append(vars, v)
		}
	}
	if len(windows) > 0 {
		slices.Sort(windows)
		fmt.Fprintf(b, "    windows: {%s}\n", strings.Join(windows, ", "))
	}
	if len(vars) == 0 {
		return
	}
	// A mapping with nothing but comments in it would be no mapping.
	set, open := []string{}, []string{}
	for _, v := range vars {
		value, ok := preset(v, repo)
		if ok {
			set = append(set, fmt.Sprintf("      %s: %s # %s\n", v, value, describe(v)))
		} else {
			open = append(open, fmt.Sprintf("      # %s: # %s: %s\n", v, plural(uses[v], "item"), describe(v)))
		}
	}
	if len(set) == 0 {
		b.WriteString("    vars: {}\n    # vars:\n" + strings.Join(open, ""))
		return
	}
	b.WriteString("    vars:\n" + strings.Join(set, "") + strings.Join(open, ""))
}

// preset is a variable's value when it is known without asking.
func preset(name string, repo Repository) (string, bool) {
	value, ok := repo.Values[name]
	if !ok {
		value, ok = map[string]string{"downtime": "no", "driver": "systemd", "queue": "celery"}[name]
	}
	if name == "downtime" { // bare, it would be a boolean
		return strconv.Quote(value), ok
	}
	return quoted(value), ok
}

// ownKeys are the keys of an environment that hold a target.
func ownKeys() map[string]string {
	return map[string]string{
		"url":      "address of the service, https://…",
		"database": "reference to the database's URL, such as env:DATABASE_URL",
		"redis":    "address of Redis, redis://host:6379",
	}
}

// describe says what a variable of the standard checklist holds.
func describe(name string) string {
	if text, ok := map[string]string{
		"address":              "address that the host's name must lead to, such as 192.0.2.10",
		"alertmanager_url":     "address of Alertmanager, https://…",
		"backups":              "folder of the database's backups",
		"beat_unit":            "name of Celery's scheduler: a systemd unit, compose service or deployment",
		"code":                 "folder of the code that goes live",
		"collect_static":       "program that puts static files into place",
		"concurrency":          "how many tasks each Celery worker executes at once, such as 8",
		"critical_endpoint":    "address that must answer whatever happens, https://…",
		"customers":            "where messages to customers go, written as notices is",
		"dashboard":            "uid of the dashboard in Grafana, as in its address",
		"deployment_guide":     "file of the deployment guide",
		"downtime":             `"yes" when users will notice the deployment`,
		"driver":               "what runs the services: systemd, compose or kubernetes",
		"env_example":          "file that documents every setting",
		"grafana_url":          "address of Grafana, https://…",
		"home":                 "folder on this machine with releases, shared/log and tmp, such as /srv/shop",
		"host":                 "name under which the service is reached, such as www.example.com",
		"install_dependencies": "program that installs what the release needs",
		"log_stream":           `LogQL selector of the service's lines in Loki, such as {app="shop"}`,
		"loki_url":             "address of Loki, https://…",
		"mail_from":            "address that the service sends mail from",
		"maintenance_file":     "file that is there while the site is closed",
		"migrations":           "folder of the SQL migrations",
		"notices":              "where messages go: slack:#channel, teams:env:NAME, webhook:env:NAME or file:PATH",
		"old_clients":          "regular expression that finds requests of old clients in the log",
		"oncall_policy":        "id of the escalation policy in PagerDuty, as in its address",
		"print_schema":         "program that prints the description of the API",
		"production_settings":  "file with the settings of production, to compare staging's with",
		"prometheus_url":       "address of Prometheus, https://…",
		"pull_release":         "program that fetches a release; its argument is the version",
		"queue":                "name of Celery's main queue",
		"rehearsal":            "reference to the address of a copy of the database that nobody uses, to try migrations on",
		"repository":           "owner/name of the repository on GitHub",
		"schema":               "file with the description of the API (OpenAPI)",
		"scratch":              "reference to the address of a PostgreSQL server for trials, such as env:SCRATCH_URL",
		"sentry_org":           "organization in Sentry",
		"sentry_project":       "project in Sentry",
		"settings":             "file of the service's settings",
		"smtp_host":            "name of the mail server",
		"status_page":          "id of the status page at Statuspage",
		"test_data_query":      "query that counts the test data",
		"web_connections":      "connections to the database that the web servers may open together, such as 16",
		"web_unit":             "name of the web server: a systemd unit, compose service or deployment",
		"worker_unit":          "name of Celery's workers: a systemd unit, compose service or deployment",
	}[name]; ok {
		return text
	}
	return "asked for by the checklist"
}

func windowLength(name string) string {
	if length, ok := map[string]string{"m15": "15m", "h1": "1h", "h24": "24h", "every": "30s"}[name]; ok {
		return length
	}
	return "1h"
}

var (
	variable     = regexp.MustCompile(`\$\{env\.([A-Za-z0-9_.]+)\}`)
	conditionVar = regexp.MustCompile(`(?m)^when: .*\benv\.(downtime)\b`)
)

// variables counts the items that ask for each variable of an environment. A type
// that takes the environment's database unless told otherwise asks for it too.
func variables(list *checklist.Checklist) map[string]int {
	uses := map[string]int{}
	count := func(b *checklist.Block, items int) {
		if b == nil {
			return
		}
		seen := map[string]bool{}
		for _, re := range []*regexp.Regexp{variable, conditionVar} {
			for _, m := range re.FindAllStringSubmatch(b.Source, -1) {
				seen[m[1]] = true
			}
		}
		if b.Type != nil {
			for _, name := range byDefault(b.Type.Name, b.Source) {
				seen[name] = true
			}
		}
		for name := range seen {
			uses[name] += items
		}
	}
	for _, phase := range list.Phases {
		for _, section := range phase.Sections {
			count(section.Block, len(section.Items))
			for _, item := range section.Items {
				count(item.Block, 1)
			}
		}
	}
	delete(uses, "name")
	return uses
}

// byDefault gives the variables that a type takes its targets from when its block
// does not say them.
func byDefault(typeName, source string) []string {
	system, _, _ := strings.Cut(typeName, ".")
	switch {
	case typeName == "sql", system == "postgres", system == "migrations" && typeName != "migrations.lint":
		return unless(source, "db:", "database")
	case system == "celery":
		return unless(source, "broker:", "redis")
	case system == "forge":
		return unless(source, "repo:", "repository")
	case system == "prometheus":
		return unless(source, " url:", "prometheus_url")
	case typeName == "sentry.issues", typeName == "sentry.release":
		return append(unless(source, "org:", "sentry_org"), unless(source, "project:", "sentry_project")...)
	case typeName == "logs.query" && strings.Contains(source, "loki:"):
		return unless(source, "loki_url", "loki_url")
	case typeName == "dashboard" && strings.Contains(source, "grafana:"):
		return unless(source, " url:", "grafana_url")
	}
	return nil
}

// unless gives a variable for a block that does not hold a text.
func unless(source, text, variable string) []string {
	if strings.Contains(source, text) {
		return nil
	}
	return []string{variable}
}

func byUse(uses map[string]int) []string {
	names := slices.Sorted(maps.Keys(uses))
	slices.SortStableFunc(names, func(a, b string) int { return uses[b] - uses[a] })
	return names
}

var roleList = regexp.MustCompile(`role: \[([^\]]*)\]`)

// roleNames lists the roles that a checklist's blocks name, sorted.
func roleNames(list *checklist.Checklist) []string {
	set := map[string]bool{}
	for item := range list.Items() {
		if item.Block == nil {
			continue
		}
		for _, by := range item.Block.Settings.By.Value {
			set[by.Value] = true
		}
		if t := item.Block.Type; t != nil && (t.Name == "signoff" || t.Name == "attest") {
			for _, m := range singleRole.FindAllStringSubmatch(item.Block.Source, -1) {
				set[strings.Trim(m[1], ` "`)] = true
			}
			for _, m := range roleList.FindAllStringSubmatch(item.Block.Source, -1) {
				for _, role := range strings.Split(m[1], ",") {
					set[strings.Trim(role, ` "`)] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

var singleRole = regexp.MustCompile(`role: ([^\[{},\n][^{},\n]*)`)

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
