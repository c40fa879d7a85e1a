package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/postgres"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

func TestStatsPage(t *testing.T) { checktest.Page(t, postgres.Stats) }

func at(url string) func(*check.Env) {
	return func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:DB": url})
		e.Ledger = &checktest.Ledger{}
	}
}

// as gives the address with another role.
func as(t *testing.T, address, role, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// until waits for what another session does.
func until(t *testing.T, url, sql string) {
	t.Helper()
	c := postgrestest.Open(t, url)
	eventually(t, func() bool {
		v, err := c.Value(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		return v == "t"
	})
}

func TestConnections(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, "CREATE ROLE blind LOGIN PASSWORD 'blind-1'; CREATE ROLE seeing LOGIN PASSWORD 'seeing-1' IN ROLE pg_monitor")
	session := postgrestest.Open(t, url)
	if _, err := session.Exec(t.Context(), "SET application_name = 'web'"); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	until(t, url, "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'web' AND state = 'idle in transaction'")
	const view = "view: connections\ndb: env:DB\n"
	checktest.Run(t, postgres.Stats, []checktest.Case{
		{Name: "it fits", Params: view, Env: at(url), Want: "pass: ... of 60 connections are in use (57 without the reserved 3), at most 45 are accepted", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["by.web.idle in transaction"] != "1" || o.Facts["idle_in_transaction"] != "1" || o.Facts["room"] != "57" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "no headroom", Params: view + "headroom: 99%", Env: at(url), Want: "fail: ... of 60 connections are in use (57 without the reserved 3), at most 0 are accepted"},
		{Name: "demand fits", Params: view + "demand: web * threads + (celery - 1) / 2 + 5\nwith: {web: 8, threads: 4, celery: 17}", Env: at(url), Want: "pass: ...; web * threads + (celery - 1) / 2 + 5 = 45 connections may be opened"},
		{Name: "demand does not fit", Params: view + "demand: web * threads\nwith: {web: 8, threads: 6}", Env: at(url), Want: "fail: web * threads = 48 connections may be opened, and at most 45 of 57 fit with 20% to spare"},
		{Name: "expect", Params: view + "expect: idle_in_transaction == 0", Env: at(url), Want: "fail: idle_in_transaction == 0 does not hold (idle_in_transaction = 1)"},
		{Name: "expect what is not there", Params: view + "expect: waiting == 0", Env: at(url), Want: "error: waiting (used in waiting == 0) was not supplied"},
		{Name: "a role that sees", Params: view, Env: at(as(t, url, "seeing", "seeing-1")), Want: "pass: ..."},
		{Name: "a role that does not", Params: view, Env: at(as(t, url, "blind", "blind-1")), Want: "error: the role may not see other users' sessions and statements: GRANT pg_monitor to it"},
		{Name: "silence", Params: view, Env: at(postgrestest.Silent(t)), Timeout: 300 * time.Millisecond, Want: "error: connect to ..."},
		{Name: "no name", Params: view + "demand: web * threads\nwith: {web: 8}", Want: "problem: ...with does not say what threads is..."},
		{Name: "no number", Params: view + "demand: 1 / 0", Want: "problem: ...want a number from 0..."},
		{Name: "no arithmetic", Params: view + "demand: exec(1)", Want: "problem: ...numbers, names, + - * / and brackets only..."},
		{Name: "unreadable", Params: view + "demand: 1 +", Want: "problem: ...want numbers, names..."},
		{Name: "of another view", Params: "view: locks\ndb: env:DB\ndemand: 5", Want: "problem: ...belong to view: connections..."},
		{Name: "expect of another view", Params: "view: locks\ndb: env:DB\nexpect: used < 5", Want: `problem: ...reads "used", which is not known here...`},
	})
}

// What is about a whole server has one of its own.
func TestServerOfItsOwn(t *testing.T) {
	url := postgrestest.Cluster(t, "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=100", "compute_query_id=on")
	t.Run("replication", func(t *testing.T) { replication(t, url) })
	t.Run("statements", func(t *testing.T) { statements(t, url) })
}

func statements(t *testing.T, url string) {
	work := postgrestest.Open(t, url)
	do := func(n int, sql string) {
		t.Helper()
		for range n {
			if _, err := work.Query(t.Context(), 1, sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	const view = "view: statements\ndb: env:DB\n"
	data, facts := t.TempDir(), map[string]string{}
	here := func(e *check.Env) { at(url)(e); e.DataDir, e.Ledger = data, &checktest.Ledger{Facts: facts} }
	// between lets work be done while the type waits for its second look.
	between := func(what func()) func(*check.Env) {
		return func(e *check.Env) {
			here(e)
			e.Sleep = func(context.Context, time.Duration) error { what(); return nil }
		}
	}
	one := func(name, params string, env func(*check.Env), want string) check.Outcome {
		t.Helper()
		var out check.Outcome
		checktest.Run(t, postgres.Stats, []checktest.Case{{Name: name, Params: params, Env: env, Want: want, Once: true, Check: func(_ *testing.T, o check.Outcome) { out = o }}})
		return out
	}
	one("no extension", view, here, "error: the database has no pg_stat_statements: put it into shared_preload_libraries...")
	postgrestest.Exec(t, url, "CREATE SCHEMA watch; CREATE EXTENSION pg_stat_statements SCHEMA watch")
	do(30, "SELECT pg_sleep(0.002)")
	one("nothing taken down", view+"look: after", here, "error: what the counters were before (fact postgres.statements...) was not supplied")
	facts = one("before", view+"look: before", here, "pass: the counters of ... statements are taken down; they began at ...").Sets
	one("too few", view+"look: after\nmin_calls: 1000", here, "error: only ... calls between the looks, at least 1000 are needed to judge")
	do(30, "SELECT pg_sleep(0.002)")
	o := one("as before", view+"look: after\nmean_ratio: 3", here, "pass: ... calls of ... statements took ...")
	if !strings.Contains(o.Facts["top.01"], "SELECT pg_sleep($1)") || len(o.Artefacts) != 1 {
		t.Errorf("%v %v", o.Facts, o.Artefacts)
	}
	do(30, "SELECT pg_sleep(0.03)")
	one("slower", view+"look: after\nmean_ratio: 3", here, "fail: a statement takes ... ms on average (60 calls) and took ... ms before, more than 3 times as long: SELECT pg_sleep($1)")
	one("slower and accepted", view+"look: after\nmean_ratio: 1000", here, "pass: ...")
	one("new and slow", view+"look: apart\nnew_slow: 50ms\nmin_calls: 1", between(func() { do(1, "SELECT 'a', pg_sleep(0.06)") }), "fail: a statement that was not there before takes ... ms on average (1 calls), at most 50ms is accepted: SELECT $1, pg_sleep($2)")
	one("nothing done", view+"look: apart", between(func() {}), "error: only ... calls between the looks, at least 20 are needed to judge")
	path, err := filepath.Glob(filepath.Join(data, "postgres", "*.json"))
	if err != nil || len(path) == 0 {
		t.Fatal(path, err)
	}
	one("dropped", view+"look: apart", between(func() {
		for i := range 250 {
			do(1, "SELECT 1 AS a"+fmt.Sprint(i)+", "+strings.Repeat("1, ", i+1)+"2")
		}
	}), "error: statements were dropped ... times between the looks, because there are more than pg_stat_statements.max: raise it")
	do(1, "SELECT watch.pg_stat_statements_reset()")
	one("reset", view+"look: after", here, "error: the counters began anew at ...")
	for _, file := range path {
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one("changed", view+"look: after", here, "error: read what fact ... stands for: the file has been changed")
}

func TestLocks(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, "CREATE TABLE orders (id int PRIMARY KEY)")
	const view = "view: locks\ndb: env:DB\n"
	checktest.Run(t, postgres.Stats, []checktest.Case{{Name: "nobody waits", Params: view, Env: at(url), Want: "pass: of ... locks, 0 are waited for, the longest for 0.0 s; at most 5s is accepted"}})
	holder, waiter := postgrestest.Open(t, url), postgrestest.Open(t, url)
	if err := holder.Script(t.Context(), "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = waiter.Exec(ctx, "INSERT INTO orders VALUES (1)") }()
	defer func() { stop(); <-ended }()
	until(t, url, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > interval '150 ms'")
	checktest.Run(t, postgres.Stats, []checktest.Case{
		{Name: "one waits too long", Params: view + "max_wait: 100ms", Env: at(url), Want: "fail: allclear (process ...) has waited ... s for a lock on orders, behind process ... LOCK TABLE orders IN ACCESS EXCLUSIVE MODE); at most 100ms is accepted"},
		{Name: "one waits", Params: view + "max_wait: 1h", Env: at(url), Want: "pass: of ... locks, 1 are waited for..."},
		{Name: "nobody may wait", Params: view + "max_wait: 1h\nexpect: waiting == 0", Env: at(url), Want: "fail: waiting == 0 does not hold (waiting = 1)"},
	})
}

func replication(t *testing.T, url string) {
	const view = "view: replication\ndb: env:DB\n"
	checktest.Run(t, postgres.Stats, []checktest.Case{
		{Name: "none is connected", Params: view, Env: at(url), Want: "fail: 0 replicas are connected, want at least 1"},
		{Name: "nothing wanted", Params: view + "min_replicas: 0", Want: "problem: ...nothing would be judged..."},
	})
	replica := postgrestest.Replica(t, url)
	checktest.Run(t, postgres.Stats, []checktest.Case{
		{Name: "it follows", Params: view + "replicas: [replica]", Env: at(url), Want: "pass: 1 replicas are connected and had replayed everything after at most ..."},
		{Name: "another is missing", Params: view + "replicas: [replica, other]\nmin_replicas: 2", Env: at(url), Want: "fail: replica other is not connected; 1 replicas are connected, want at least 2"},
		{Name: "the replica itself", Params: view, Env: at(replica), Want: "error: the server is a replica itself: ask the primary"},
	})
	postgrestest.Exec(t, replica, "SELECT pg_wal_replay_pause()")
	until(t, replica, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
	postgrestest.Exec(t, url, "SET synchronous_commit = on; CREATE TABLE filler AS SELECT g, repeat('x', 200) FROM generate_series(1, 2000) g")
	checktest.Run(t, postgres.Stats, []checktest.Case{
		{Name: "its replay stands still", Params: view + "max_lag: 500ms", Env: at(url), Want: "fail: replica replica has not replayed after 500ms what was written before"},
		{Name: "too much log", Params: view + "max_lag: 100ms\nmax_lag_bytes: 100kB", Env: at(url), Want: "fail: ...; replica replica is ...kB of log behind, at most 100.0 kB is accepted"},
	})
}

func TestIndexes(t *testing.T) {
	url := postgrestest.Start(t)
	const view = "view: indexes\ndb: env:DB\n"
	checktest.Run(t, postgres.Stats, []checktest.Case{{Name: "none", Params: view, Env: at(url), Want: "error: the database has no index: is it the right one?"}})
	postgrestest.Exec(t, url, "CREATE TABLE orders (id int PRIMARY KEY, kind int); CREATE INDEX by_kind ON orders (kind)")
	checktest.Run(t, postgres.Stats, []checktest.Case{
		{Name: "valid", Params: view, Env: at(url), Want: "pass: all 2 indexes are valid; 1 of them (8.2 kB) were not used since the server began to count", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["unused.by_kind"] != "8.2 kB" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "unused ones are unwanted", Params: view + "expect: unused == 0", Env: at(url), Want: "fail: unused == 0 does not hold (unused = 1)"},
	})
	c := postgrestest.Open(t, url)
	if _, err := c.Exec(t.Context(), "INSERT INTO orders VALUES (1, 1), (2, 1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY only_kind ON orders (kind)"); err == nil {
		t.Fatal("two equal rows have a unique index")
	}
	checktest.Run(t, postgres.Stats, []checktest.Case{{Name: "invalid", Params: view, Env: at(url), Want: "fail: index only_kind is invalid: a failed build has left it..."}})
}

// A real PgBouncer with one server connection, which one client holds while another
// waits. https://www.pgbouncer.org/usage.html#show-pools
func TestPgBouncer(t *testing.T) {
	url := postgrestest.Start(t)
	console, through := bouncer(t, url)
	const view = "view: connections\ndb: env:DB\npgbouncer: env:POOL\n"
	here := func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:DB": url, "env:POOL": console})
		e.Ledger = &checktest.Ledger{}
	}
	checktest.Run(t, postgres.Stats, []checktest.Case{{Name: "no application", Params: view, Env: here, Want: "error: pgbouncer: there is no pool: no application has connected through it"}})
	first := postgrestest.Open(t, through)
	if err := first.Script(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, postgres.Stats, []checktest.Case{{Name: "nobody waits", Params: view, Env: here, Want: "pass: ...; 0 clients wait in 1 pools of PgBouncer"}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if c, err := postgrestest.Server(t, through).Open(ctx, pg.Options{}); err == nil {
			c.Close()
		}
	}()
	defer func() { stop(); <-ended }()
	params := view + "max_wait: 1ms"
	eventually(t, func() bool {
		inst, _ := checktest.Decode(postgres.Stats, params, nil)
		env := checktest.NewEnv(t)
		here(env)
		o, err := inst.Runner.Run(t.Context(), env)
		return err == nil && o.Verdict == check.Fail
	})
	checktest.Run(t, postgres.Stats, []checktest.Case{{Name: "one waits", Params: params, Env: here, Want: "fail: 1 clients of PgBouncer's pool .../admin wait for a connection, the first for ..., at most 1ms is accepted"}})
}

// bouncer starts PgBouncer before a database and gives the addresses of its console
// and of the database through it.
func bouncer(t *testing.T, address string) (console, through string) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatal("pgbouncer is not installed: apt-get install pgbouncer")
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	dir := t.TempDir()
	password := postgrestest.Password(t, address)
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := file("users.txt", fmt.Sprintf("\"admin\" %q\n", password))
	config := file("pgbouncer.ini", fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nunix_socket_dir =\nauth_type = plain\nauth_file = %s\nadmin_users = admin\npool_mode = transaction\ndefault_pool_size = 1\n", u.Port(), port, users))
	args := []string{config}
	if os.Getuid() == 0 { // it does not run as root
		for path := dir; path != "/tmp" && path != "/"; path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		args = []string{"-u", "postgres", config}
	}
	var log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	u.Host = "127.0.0.1:" + port
	through = u.String()
	u.Path = "/pgbouncer"
	return u.String(), through
}

// eventually waits for another process.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for end := time.Now().Add(30 * time.Second); !done(); <-ticks.C {
		if time.Now().After(end) {
			t.Fatal("it did not come about within 30s")
		}
	}
}
