// Package catalog lists the built-in types.
package catalog

import (
	"fmt"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checks/batch"
	"allclear.dev/allclear/internal/checks/celery"
	"allclear.dev/allclear/internal/checks/certificate"
	"allclear.dev/allclear/internal/checks/command"
	"allclear.dev/allclear/internal/checks/configfile"
	"allclear.dev/allclear/internal/checks/dashboard"
	"allclear.dev/allclear/internal/checks/django"
	"allclear.dev/allclear/internal/checks/dns"
	"allclear.dev/allclear/internal/checks/document"
	"allclear.dev/allclear/internal/checks/env"
	"allclear.dev/allclear/internal/checks/file"
	"allclear.dev/allclear/internal/checks/forge"
	"allclear.dev/allclear/internal/checks/git"
	"allclear.dev/allclear/internal/checks/host"
	"allclear.dev/allclear/internal/checks/kubernetes"
	"allclear.dev/allclear/internal/checks/ledger"
	"allclear.dev/allclear/internal/checks/load"
	"allclear.dev/allclear/internal/checks/logs"
	"allclear.dev/allclear/internal/checks/mail"
	"allclear.dev/allclear/internal/checks/maintenance"
	"allclear.dev/allclear/internal/checks/migrations"
	"allclear.dev/allclear/internal/checks/notify"
	"allclear.dev/allclear/internal/checks/oncall"
	"allclear.dev/allclear/internal/checks/openapi"
	"allclear.dev/allclear/internal/checks/person"
	"allclear.dev/allclear/internal/checks/postgres"
	"allclear.dev/allclear/internal/checks/prometheus"
	"allclear.dev/allclear/internal/checks/provider"
	"allclear.dev/allclear/internal/checks/redis"
	"allclear.dev/allclear/internal/checks/release"
	"allclear.dev/allclear/internal/checks/report"
	"allclear.dev/allclear/internal/checks/sentry"
	"allclear.dev/allclear/internal/checks/service"
	"allclear.dev/allclear/internal/checks/source"
	"allclear.dev/allclear/internal/checks/sql"
	"allclear.dev/allclear/internal/checks/statuspage"
	"allclear.dev/allclear/internal/checks/tool"
	"allclear.dev/allclear/internal/checks/tracker"
	"allclear.dev/allclear/internal/checks/uptime"
	"allclear.dev/allclear/internal/checks/web"
)

// Types lists every type in reading order: generic ones first, people last.
func Types() []*check.Type {
	return []*check.Type{
		command.Command, file.File, configfile.Value, tool.Version,
		web.HTTP, web.Flow, load.Load,
		env.Value, env.Secret, env.Contract, env.Diff,
		git.Revision, git.Tag,
		git.Checkout, git.Switch,
		file.Prune,
		host.Ports,
		release.Image,
		forge.Approvals, forge.Checks, forge.Release,
		document.Updated, document.Entry, openapi.Diff,
		report.JUnit, report.Coverage, report.Findings, source.Markers,
		sql.SQL, postgres.Backup, postgres.Restore, postgres.Stats, migrations.Status, migrations.Lint, migrations.Rehearse, migrations.Apply, batch.Batches,
		redis.Info, celery.Workers, celery.Queue, celery.Control, celery.Beat, django.Check, host.Resources,
		certificate.Certificate, dns.Record,
		prometheus.Query, prometheus.Rules, logs.Query, dashboard.Dashboard,
		mail.SMTP,
		sentry.Event, sentry.Issues, sentry.Release, tracker.Issues,
		service.Service, kubernetes.Object, maintenance.Maintenance, notify.Notify,
		oncall.OnCall, provider.Key, uptime.Monitor, statuspage.Statuspage,
		ledger.Fact, ledger.Items,
		person.Attest, person.Input, person.Signoff,
	}
}

// ByName gives the types by their names.
func ByName() map[string]*check.Type {
	types := map[string]*check.Type{}
	for _, t := range Types() {
		types[t.Name] = t
	}
	return types
}

var typeName = regexp.MustCompile(`^[a-z]+(\.[a-z]+)?$`)

// Validate tells what is wrong with the list: a name that is not one or stands
// twice, a type without a summary or a page.
func Validate(types []*check.Type) error {
	seen := map[string]bool{}
	for _, t := range types {
		switch {
		case !typeName.MatchString(t.Name):
			return fmt.Errorf("type %q: not a name", t.Name)
		case seen[t.Name]:
			return fmt.Errorf("type %s: listed twice", t.Name)
		case t.Summary == "" || strings.TrimSpace(t.Doc) == "":
			return fmt.Errorf("type %s: no summary or no page", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}
