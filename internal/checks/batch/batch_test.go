package batch_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	neturl "net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/batch"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

func TestPage(t *testing.T) { checktest.Page(t, batch.Batches) }

// counters is a table of which every row must be counted up exactly once.
const counters = `CREATE TABLE c (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0);
INSERT INTO c SELECT g * 7 FROM generate_series(1, 20000) g; ANALYZE c;`

// count counts them up; until asks for one that was left out.
const count = `db: env:DB
table: c
statement: UPDATE c SET n = n + 1 WHERE id >= $1 AND id < $2
until: SELECT count(*) FROM c WHERE n = 0
`

func database(t *testing.T, sql string) string {
	t.Helper()
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, sql)
	return url
}

func in(url string) func(*check.Env) {
	return func(env *check.Env) { checktest.SetSecrets(env, checktest.Secrets{"env:DB": url}) }
}

// run runs once in a world of its own.
func run(t *testing.T, ctx context.Context, params string, change ...func(*check.Env)) (check.Outcome, error) {
	t.Helper()
	env := checktest.NewEnv(t)
	for _, f := range change {
		f(env)
	}
	return instance(t, params).Runner.Run(ctx, env)
}

func instance(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(batch.Batches, params, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return inst
}

func probe(t *testing.T, url, params string) (check.Progress, string, error) {
	t.Helper()
	env := checktest.NewEnv(t)
	in(url)(env)
	p, o, err := instance(t, params).Prober().Probe(t.Context(), env)
	return p, o.Reason, err
}

// once fails unless every row was counted exactly once.
func once(t *testing.T, url string) {
	t.Helper()
	if got := postgrestest.Value(t, url, "SELECT format('%s to %s of %s', min(n), max(n), count(*)) FROM c"); got != "1 to 1 of 20000" {
		t.Errorf("counted %s", got)
	}
}

func TestBatches(t *testing.T) {
	url := database(t, counters)
	if p, why, err := probe(t, url, count); p != check.NotDone || err != nil {
		t.Errorf("before: %s, %s, %v", p, why, err)
	}
	var log bytes.Buffer
	o, err := run(t, t.Context(), count, in(url), func(env *check.Env) { env.Log = &log })
	if err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, "20000 rows in ... batches, 20000 changed, in ... s; nothing is left", o.Reason)
	if o.Verdict != check.Pass || o.Sets["batches.rows"] != "20000" || o.Facts["retried"] != "0" {
		t.Errorf("%v", o)
	}
	checktest.Match(t, "...c ...: 20000 rows in ... batches; ... rows/s, ...", log.String())
	once(t, url)
	if p, why, err := probe(t, url, count); p != check.Done || err != nil {
		t.Errorf("after: %s, %s, %v", p, why, err)
	}
	// Again, and with other white space, it is the same job, which has ended.
	o, err = run(t, t.Context(), strings.ReplaceAll(count, "n + 1 ", "n  +  1 ")+"name: ''", in(url))
	if err != nil || o.Verdict != check.Pass || o.Facts["rows_now"] != "0" {
		t.Errorf("again: %v, %v", o, err)
	}
	once(t, url)
}

// TestKilled ends the session that works, again and again, from outside.
func TestKilled(t *testing.T) {
	url := database(t, counters)
	killer := postgrestest.Open(t, url)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var kills atomic.Int64
	const enough = 8 // more would only make it pause longer and longer
	wg.Go(func() {
		for ctx.Err() == nil && kills.Load() < enough {
			t, err := killer.Query(ctx, 10, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
				AND pid <> pg_backend_pid() AND state <> 'idle' AND random() < 0.1`)
			if err == nil {
				kills.Add(int64(len(t.Rows)))
			}
		}
	})
	params := count + "batch: 50\nmax_batch: 50\npause: 0s\nretries: 1000"
	o, err := run(t, t.Context(), params, in(url))
	for err != nil { // killed before it began, which the engine tries again
		o, err = run(t, t.Context(), params, in(url))
	}
	stop()
	wg.Wait()
	if err != nil || o.Verdict != check.Pass {
		t.Fatalf("%v, %v", o, err)
	}
	if kills.Load() < 3 {
		t.Errorf("only %d sessions were killed", kills.Load())
	}
	once(t, url)
}

// cutting ends each connection after some writes, wherever that is: before a
// statement, or between COMMIT and its answer.
func cutting(env *check.Env) {
	dial := env.Dial
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return &fragile{Conn: c, left: 40 + rand.IntN(160)}, err
	}
}

type fragile struct {
	net.Conn
	left int
}

func (f *fragile) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	if f.left--; f.left == 0 {
		_ = f.Close() // the server has the message, nobody gets the answer
	}
	return n, err
}

func TestConnectionLost(t *testing.T) {
	url := database(t, counters)
	params := count + "batch: 100\nmax_batch: 200\npause: 0s\nretries: 1000\noldest_transaction: 0s"
	o, err := run(t, t.Context(), params, in(url), cutting)
	if err != nil || o.Verdict != check.Pass || o.Facts["retried"] == "0" {
		t.Fatalf("%v, %v", o, err)
	}
	once(t, url)
	params = count + "retries: 1\nname: twice"
	postgrestest.Exec(t, url, "UPDATE c SET n = 0 WHERE id = 7")
	_, err = run(t, t.Context(), params, in(url), func(env *check.Env) {
		dial := env.Dial
		var dialled atomic.Int64
		env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if dialled.Add(1) > 2 {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
			}
			c, err := dial(ctx, network, address)
			return &fragile{Conn: c, left: 35}, err
		}
	})
	if err == nil || !strings.Contains(err.Error(), "connect again") && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "closed") {
		t.Errorf("never connected again: %v", err)
	}
}

// TestCrashed ends the runner itself at any moment, and starts another.
func TestCrashed(t *testing.T) {
	url := database(t, counters)
	runs, unfinished := 0, 0
	for ; runs < 200; runs++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(40+rand.IntN(80))*time.Millisecond)
		o, err := run(t, ctx, count+"batch: 100\nmax_batch: 300\npause: 0s", in(url))
		cancel()
		if err == nil && o.Verdict == check.Pass {
			break
		}
		p, why, err := probe(t, url, count)
		for err != nil && strings.Contains(err.Error(), "still at work") { // the server notices the end
			p, why, err = probe(t, url, count)
		}
		if p != check.NotDone && p != check.Done || err != nil {
			t.Fatalf("probe: %s, %s, %v", p, why, err)
		}
		if strings.Contains(why, "goes on from there") {
			unfinished++
		}
	}
	if runs < 2 || unfinished == 0 {
		t.Errorf("ended after %d runs, %d of them in the middle", runs, unfinished)
	}
	once(t, url)
}

func TestTwoRunners(t *testing.T) {
	url := database(t, counters)
	other := postgrestest.Open(t, url)
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock(hashtextextended('allclear.batches job', 0))"); err != nil {
		t.Fatal(err)
	}
	o, err := run(t, t.Context(), count+"name: job", in(url))
	if err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, "the job is at work already: session ... of admin (allclear), since ... s; nothing was changed", o.Reason)
	if _, _, err := probe(t, url, count+"name: job"); err == nil || !strings.Contains(err.Error(), "still at work") {
		t.Errorf("probe while it is at work: %v", err)
	}
}

// TestKeys goes through keys of each type, with a first, last and strange value.
func TestKeys(t *testing.T) {
	for kind, values := range map[string]string{
		"uuid":            "SELECT md5(g::text)::uuid FROM generate_series(1, 300) g UNION SELECT '00000000-0000-0000-0000-000000000000'",
		"text":            `SELECT md5(g::text) FROM generate_series(1, 300) g UNION SELECT v FROM (VALUES (''), ('~~~~'), ('zz''"\,{}'), ('ÿ')) x(v)`,
		"varchar(40)":     "SELECT md5(g::text) FROM generate_series(1, 300) g",
		"text COLLATE de": "SELECT chr(97 + g % 26) || g FROM generate_series(1, 300) g UNION SELECT 'zz'",
		"int2":            "SELECT g FROM generate_series(-150, 150) g",
		"numeric":         "SELECT g / 7.0 FROM generate_series(-150, 150) g",
		"date":            "SELECT '2026-01-01'::date + g FROM generate_series(1, 300) g",
		"timestamptz":     "SELECT '2026-01-01'::timestamptz + g * interval '1 second 1 microsecond' FROM generate_series(1, 300) g",
		"bytea":           `SELECT decode(md5(g::text), 'hex') FROM generate_series(1, 300) g UNION SELECT '\xffff'`,
	} {
		t.Run(kind, func(t *testing.T) {
			url := database(t, "CREATE COLLATION de (provider = icu, locale = 'de'); CREATE TABLE c (\"The Key\" "+kind+" PRIMARY KEY, n int DEFAULT 0); INSERT INTO c "+values)
			o, err := run(t, t.Context(), "db: env:DB\ntable: public.c\nstatement: 'UPDATE c SET n = n + 1 WHERE \"The Key\" >= $1 AND \"The Key\" < $2'\nuntil: SELECT count(*) FROM c WHERE n <> 1\nbatch: 7\nmax_batch: 7\npause: 0s", in(url))
			if err != nil || o.Verdict != check.Pass || o.Facts["changed"] != postgrestest.Value(t, url, "SELECT count(*) FROM c") {
				t.Errorf("%v, %v", o, err)
			}
		})
	}
}

func TestCompositeKey(t *testing.T) {
	url := database(t, `CREATE TABLE c (b text, a int, n int DEFAULT 0, PRIMARY KEY (a, b)); INSERT INTO c SELECT g::text, g % 5 FROM generate_series(1, 1000) g;
		CREATE TABLE copies (a int, b text)`)
	params := "db: env:DB\ntable: c\nuntil: SELECT count(*) <> 0 FROM c\nbatch: 30\nmax_batch: 90\npause: 0s\nname: "
	for _, statement := range []string{
		"UPDATE c SET n = n + 1 WHERE (a, b) >= ($1, $2) AND (a, b) < ($3, $4)",
		"INSERT INTO copies SELECT x.a, x.b FROM c AS x WHERE (x.a, x.b) >= ($1::int, $2) AND (x.a, x.b) < ($3, $4)",
	} {
		params := strings.Replace(params, "<> 0", "= 1000", 1)
		params = strings.Replace(params, "FROM c", "FROM "+map[bool]string{true: "copies", false: "c WHERE n = 1"}[strings.HasPrefix(statement, "INSERT")], 1)
		o, err := run(t, t.Context(), params+statement[:6]+"\nstatement: "+statement, in(url))
		if err != nil || o.Verdict != check.Pass || o.Facts["changed"] != "1000" {
			t.Errorf("%s: %v, %v", statement, o, err)
		}
	}
	if n := postgrestest.Value(t, url, "SELECT format('%s %s', count(*), count(DISTINCT (a, b))) FROM copies"); n != "1000 1000" {
		t.Errorf("copied %s", n)
	}
}

func TestRefused(t *testing.T) {
	url := database(t, counters+`CREATE TABLE bare (id int); CREATE TABLE half (id int UNIQUE); CREATE TABLE empty (id int PRIMARY KEY);
		CREATE TABLE top (id bigint PRIMARY KEY, n int DEFAULT 0); INSERT INTO top VALUES (9223372036854775807); CREATE TABLE nets (id inet PRIMARY KEY, n int); INSERT INTO nets VALUES ('10.0.0.1')`)
	of := func(table, statement, more string) string {
		return "db: env:DB\ntable: " + table + "\nstatement: \"" + statement + "\"\nuntil: SELECT 5\n" + more
	}
	update := "UPDATE c SET n = n + 1 WHERE "
	world := in(url)
	checktest.Run(t, batch.Batches, []checktest.Case{
		{Name: "no such table", Params: of("cc", update+"id >= $1 AND id < $2", ""), Env: world, Want: "fail: there is no table cc; nothing was changed"},
		{Name: "no key", Params: of("bare", update+"id >= $1 AND id < $2", ""), Env: world, Want: "fail: table bare has no primary key...nothing was changed"},
		{Name: "key with NULLs", Params: of("half", update+"id >= $1 AND id < $2", "key: id"), Env: world, Want: "fail: table half has no primary key, or no unique index without NULLs...; nothing was changed"},
		{Name: "another column", Params: of("c", update+"n >= $1 AND n < $2", ""), Env: world, Want: `fail: the statement's bounds are not of id, the key of c; nothing was changed`},
		{Name: "no key after the last", Params: of("top", "UPDATE top SET n = 1 WHERE id >= $1 AND id < $2", ""), Env: world, Want: "fail: no key comes after the last one; nothing was changed"},
		{Name: "type of key", Params: of("nets", "UPDATE nets SET n = 1 WHERE id >= $1 AND id < $2", ""), Env: world, Want: "fail: a key that ends with a column of type inet cannot be gone through; nothing was changed"},
		{Name: "syntax", Params: of("c", "UPDATE c SET WHERE id >= $1 AND id < $2", ""), Env: world, Want: "fail: plan the statement: ERROR: syntax error...; nothing was changed"},
		{Name: "no such column", Params: of("c", "UPDATE c SET m = 1 WHERE id >= $1 AND id < $2", ""), Env: world, Want: "fail: plan the statement: ...does not exist...; nothing was changed"},
		{Name: "until is no query", Params: strings.Replace(count, "SELECT count(*) FROM c WHERE n = 0", "SELECT 'x'", 1), Env: world, Want: "error: until: want true, false or a whole number"},
		{Name: "until has no answer", Params: strings.Replace(count, "SELECT count(*) FROM c WHERE n = 0", "SELECT NULL::int", 1), Env: world, Want: "error: until: want one value, got NULL"},
		{Name: "until writes", Params: strings.Replace(count, "SELECT count(*) FROM c WHERE n = 0", "DELETE FROM c RETURNING 1", 1), Env: world, Want: "fail: until: ...read-only transaction...; nothing was changed"},
		{Name: "nothing to do", Params: strings.Replace(count, "n = 0", "n = 5", 1), Env: world, Want: "pass: nothing is left to do"},
		{Name: "empty table", Params: of("empty", "DELETE FROM empty WHERE id >= $1 AND id < $2", ""), Env: world, Want: "fail: all 0 rows in 0 batches are done, and until says that 5 are left..."},
		{Name: "beyond its bounds", Params: of("c", update+"id >= $1 AND id < $2 OR n = 0", "batch: 10"), Env: world, Want: "fail: the statement changed 20000 rows for a range of 10...; 0 rows in 0 batches are done..."},
		{Name: "measure is no number", Params: count + "measure: SELECT 'NaN'::float8", Env: world, Want: `fail: measure: want milliseconds, got "NaN"; nothing was changed`},
		{Name: "silent", Params: count, Env: in(postgrestest.Silent(t)), Timeout: 100 * time.Millisecond, Want: "error: connect to ...deadline exceeded"},
		{Name: "no address", Params: strings.Replace(count, "env:DB", "env:NO", 1), Env: world, Want: "error: secret env:NO: not set"},
	})
	if n := postgrestest.Value(t, url, "SELECT sum(n) FROM c"); n != "0" {
		t.Errorf("%s rows were changed", n)
	}
	for statement, want := range map[string]string{
		"UPDATE c SET n = 1": "it has no bounds", "UPDATE c SET n = 1 WHERE id >= $1": "it has 1 bounds",
		"UPDATE c SET n = 1 WHERE id < $2": "it does not use $1", "UPDATE c SET n = 1 WHERE id > $1 AND id < $2": `$1 stands after ">", want ">="`,
		"UPDATE c SET n = 1 WHERE id >= $1 AND id <= $2": `$2 stands after "<=", want "<"`, "UPDATE c SET n = 1 WHERE id BETWEEN $1 AND $2": `$1 stands after "BETWEEN"`,
		"UPDATE c SET n = 1 WHERE id >= $1 AND id < $2; COMMIT": "want one statement", "SELECT 1": "want UPDATE, DELETE", "": "it is empty",
		"UPDATE c SET n = '$2' WHERE id >= $1 -- $2": "it has 1 bounds", "UPDATE c SET n = $$ x WHERE id >= $1 AND id < $2": "does not end",
		"UPDATE c SET n = 1 WHERE (a, b) >= ($1, $2) AND (a, b) < ($3, $5)": "it does not use $4",
	} {
		node := "db: env:DB\ntable: c\nuntil: SELECT 1\nstatement: " + strconv.Quote(statement)
		if _, problems := checktest.Decode(batch.Batches, node, nil); !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v, want %s", statement, problems, want)
		}
	}
}

func TestRights(t *testing.T) {
	url := database(t, counters+`DO $$ BEGIN CREATE ROLE batch_worker LOGIN PASSWORD 'weak-but-long'; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT ALL ON c TO batch_worker`)
	address, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = neturl.UserPassword("batch_worker", "weak-but-long")
	other := postgrestest.Open(t, url)
	if _, err := other.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	hiding := database(t, counters+"GRANT ALL ON c TO batch_worker; ALTER TABLE c ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON c USING (false)")
	hidden, err := neturl.Parse(hiding)
	if err != nil {
		t.Fatal(err)
	}
	hidden.User = address.User
	checktest.Run(t, batch.Batches, []checktest.Case{
		{Name: "others hidden", Params: count, Env: in(address.String()), Want: "fail: other users' transactions cannot be seen: the role needs pg_read_all_stats...; nothing was changed"},
		{Name: "rows hidden", Params: count + "oldest_transaction: 0s", Env: in(hidden.String()), Want: "fail: ...row-level security policy for table \"c\"...; nothing was changed"},
		{Name: "may not create", Params: count + "oldest_transaction: 0s", Env: in(address.String()), Want: "fail: create the jobs' table: ERROR: permission denied for database ...; nothing was changed"},
	})
}
