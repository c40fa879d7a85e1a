package postgres_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

// TestCommandLine: programs get the address without the password, which goes into
// their environment, and another database where one is asked for.
func TestCommandLine(t *testing.T) {
	const password = `p a's\w%ord`
	for address, want := range map[string]string{
		"postgres://u:p%20a%27s%5Cw%25ord@h:5433/shop?sslmode=disable&pool_max_conns=4":           "postgres://u@h:5433/other?sslmode=disable",
		"postgres://u@h/shop?password=p%20a's%5Cw%25ord&options=-c%20work_mem%3D8MB":              "postgres://u@h/other?options=-c%20work_mem%3D8MB",
		`host=h user=u password='p a\'s\\w%ord' dbname=shop sslmode=disable`:                      `host=h user=u  dbname=shop sslmode=disable dbname='other'`,
		`host=h password = 'p a\'s\\w%ord' user=u dbname=shop sslmode=disable passfile=/dev/null`: `host=h  user=u dbname=shop sslmode=disable passfile=/dev/null dbname='other'`,
	} {
		s, err := postgres.Parse(secret.New(address), (&net.Dialer{}).DialContext)
		if err != nil {
			t.Fatal(err)
		}
		dbname, env := s.In("other").CommandLine()
		if dbname != want || strings.Contains(dbname, "ord") {
			t.Errorf("%s\ngives %s\nwant  %s", address, dbname, want)
		}
		if !slices.Contains(env, "PGPASSWORD="+password) {
			t.Errorf("%s: env %v", address, env)
		}
	}
}
