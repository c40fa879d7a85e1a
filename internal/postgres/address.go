package postgres

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// errUnreadable never holds the address.
func errUnreadable() error {
	return errors.New("the database's address cannot be read: want postgres://user:password@host:port/database")
}

// poolSettings are settings of Go's connection pool (pgx) that applications put
// into the address and that neither server nor libpq knows.
func poolSettings() []string {
	return []string{
		"pool_max_conns", "pool_min_conns", "pool_min_idle_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time",
		"pool_health_check_period", "pool_max_conn_lifetime_jitter", "default_query_exec_mode",
		"statement_cache_capacity", "description_cache_capacity",
	}
}

// libpqAddress gives the address without settings of an application's pool, and
// once more without the password, for a command line.
func libpqAddress(text string) (clean, bare string, err error) {
	if !strings.Contains(text, "://") {
		// keyword=value, where a value may be quoted and hold \' (libpq, 34.1.1.1)
		password := regexp.MustCompile(`(?i)\bpassword\s*=\s*('(\\.|[^'\\])*'|(\\.|[^\s\\])*)`)
		return text, strings.TrimSpace(password.ReplaceAllString(text, "")), nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", "", errUnreadable()
	}
	u.RawQuery = without(u.RawQuery, poolSettings()...)
	clean = u.String()
	u.RawQuery = without(u.RawQuery, "password")
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return clean, u.String(), nil
}

// without takes settings out of a URL's query and leaves the others as they are
// written: libpq, unlike HTML forms, does not read "+" as a space.
func without(query string, names ...string) string {
	if query == "" {
		return ""
	}
	return strings.Join(slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.PathUnescape(name)
		return err != nil || slices.Contains(names, name)
	}), "&")
}

// CommandLine gives the address for --dbname of PostgreSQL's programs and the
// environment that carries the password.
func (s *Server) CommandLine() (dbname string, env []string) {
	if strings.Contains(s.libpq, "://") {
		if u, err := url.Parse(s.libpq); err == nil {
			u.Path = "/" + s.config.Database
			u.RawQuery = without(u.RawQuery, "dbname")
			dbname = u.String()
		}
	} else {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s.config.Database)
		dbname = s.libpq + " dbname='" + quoted + "'" // the last of two counts
	}
	env = []string{"PGAPPNAME=" + applicationName, "PGCONNECT_TIMEOUT=10"}
	if s.config.Password != "" {
		env = append(env, "PGPASSWORD="+s.config.Password)
	}
	return dbname, env
}
