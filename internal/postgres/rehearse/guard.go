// Package rehearse is what a rehearsal of migrations needs from PostgreSQL beside
// the migrations themselves: a guard against rehearsing on production, a base that
// is restored once and cloned for every attempt, readers and writers that find
// out who would have to wait, a comparison of structure and of what data was
// lost, writes that only the new structure takes, and an estimate of the time on
// production.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// The reasons for which a server is taken for production.
const (
	SameServer = "same-server"
	Name       = "name"
	Replicas   = "replicas"
	Busy       = "busy"
)

// Sign is one reason to take a server for production.
type Sign struct {
	// Kind is one of the constants; What says it in words.
	Kind, What string
}

// Signs looks for signs that rehearsing on a server would touch production: it is
// the server of the database that will be deployed to, its name says so, replicas
// follow it, or others are at work in its databases.
func Signs(ctx context.Context, scratch, production *postgres.Server) ([]Sign, error) {
	var out []Sign
	if regexp.MustCompile(`(?i)(^|[^a-z])(prod|production|live|primary|master)([^a-z]|$)`).MatchString(scratch.Name()) {
		out = append(out, Sign{Name, "its name is " + scratch.Name()})
	}
	c, err := scratch.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	same, err := sameServer(ctx, c, production)
	if err != nil {
		return nil, err
	}
	if same {
		out = append(out, Sign{SameServer, "it is the server of " + production.Name()})
	}
	replicas, err := c.Int(ctx, "SELECT count(*) FROM pg_stat_replication")
	if err != nil {
		return nil, fmt.Errorf("look for replicas: %w", err)
	}
	if replicas > 0 {
		out = append(out, Sign{Replicas, fmt.Sprintf("%d replicas follow it", replicas)})
	}
	others, err := c.Query(ctx, 100, `SELECT DISTINCT datname || ' (' || coalesce(nullif(application_name, ''), usename) || ')' FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname NOT LIKE $1 AND application_name NOT IN ('allclear', 'psql')`, postgres.ScratchPrefix+"%")
	if err != nil {
		return nil, fmt.Errorf("look for others at work: %w", err)
	}
	if len(others.Rows) > 0 {
		out = append(out, Sign{Busy, "others are connected: " + postgres.Shorten(first(others), 5)})
	}
	return out, nil
}

// sameServer compares the cluster's number, and the start of the server where the
// role may not read that.
func sameServer(ctx context.Context, c *postgres.Conn, production *postgres.Server) (bool, error) {
	p, err := production.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return false, err
	}
	defer p.Close()
	for _, sql := range []string{
		"SELECT system_identifier::text FROM pg_control_system()",
		"SELECT pg_postmaster_start_time()::text || current_setting('port')",
	} {
		a, errA := c.Value(ctx, sql)
		b, errB := p.Value(ctx, sql)
		if errA == nil && errB == nil {
			return a == b, nil
		}
		if postgres.Code(errors.Join(errA, errB)) != insufficientPrivilege {
			return false, fmt.Errorf("ask which server it is: %w", errors.Join(errA, errB))
		}
	}
	return false, errors.New("ask which server it is: not permitted")
}

const insufficientPrivilege = "42501"

func first(t postgres.Table) []string {
	var out []string
	for _, row := range t.Rows {
		out = append(out, row[0].Text)
	}
	return out
}

// Refusal says why a server is refused, but for the signs that were accepted; ""
// when it is not.
func Refusal(signs []Sign, accepted []string) string {
	var out, kinds []string
	for _, s := range signs {
		if !slices.Contains(accepted, s.Kind) {
			out = append(out, s.What)
			kinds = append(kinds, s.Kind)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("the server to rehearse on looks like production: %s; give another one as scratch, or accept: [%s]", strings.Join(out, "; "), strings.Join(kinds, ", "))
}
