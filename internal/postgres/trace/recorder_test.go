package trace_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/postgres/postgrestest"
	"allclear.dev/allclear/internal/postgres/trace"
	"allclear.dev/allclear/internal/postgres/wire"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

const base = `CREATE TABLE teams (id int PRIMARY KEY);
	CREATE TABLE orders (id int PRIMARY KEY, team int, note text, total numeric);
	INSERT INTO teams SELECT generate_series(1, 10);
	INSERT INTO orders SELECT g, g % 10 + 1, 'note', g FROM generate_series(1, 5000) g;
	CREATE TABLE stock (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO stock VALUES (1)`

// pieces is the splitting that a rehearsal uses.
func pieces(sql string) []wire.Piece {
	list, err := lint.Pieces(sql)
	if err != nil {
		return nil
	}
	var out []wire.Piece
	for _, p := range list {
		out = append(out, wire.Piece(p))
	}
	return out
}

// behind starts a recorder and a proxy in front of a new database.
func behind(t *testing.T) (direct, address string, finish func() []trace.Transaction) {
	t.Helper()
	direct = postgrestest.Start(t)
	postgrestest.Exec(t, direct, base)
	server := postgrestest.Server(t, direct)
	recorder, err := trace.Record(t.Context(), server, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(recorder.Close)
	proxy, err := wire.Listen(t.Context(), server, recorder, pieces, recorder.Settings())
	if err != nil {
		t.Fatal(err)
	}
	return direct, proxy.Address(), func() []trace.Transaction {
		t.Helper()
		if err := proxy.Close(); err != nil {
			t.Fatal(err)
		}
		done, _ := recorder.Transactions()
		return done
	}
}

// told writes what was recorded, one line for each statement.
func told(all []trace.Transaction) string {
	var b strings.Builder
	for _, tx := range all {
		for _, e := range tx.Events {
			fmt.Fprintf(&b, "%d", tx.Number)
			if !tx.Committed {
				b.WriteString(" undone")
			}
			fmt.Fprintf(&b, " %s:", strings.Join(strings.Fields(e.SQL), " "))
			for _, l := range e.Fresh {
				if !strings.HasPrefix(l.Mode, "AccessShare") {
					fmt.Fprintf(&b, " %s=%s", l.Relation, strings.TrimSuffix(l.Mode, "Lock"))
				}
			}
			for _, part := range []struct {
				name string
				list []string
			}{{"scanned", e.Scanned}, {"rewritten", e.Rewritten}, {"built", e.Built}} {
				if len(part.list) > 0 {
					fmt.Fprintf(&b, " %s %s", part.name, strings.Join(part.list, ","))
				}
			}
			if e.Error != "" {
				b.WriteString(" refused " + e.Error)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func TestRecorder(t *testing.T) {
	for _, c := range []struct {
		name, want string
		run        func(t *testing.T, c *postgres.Conn)
	}{
		{"a text of several statements is one transaction", `
1 ALTER TABLE orders ALTER COLUMN note SET NOT NULL: orders=AccessExclusive scanned orders
1 CREATE INDEX orders_note ON orders (note): scanned orders built orders
`, script("ALTER TABLE orders ALTER COLUMN note SET NOT NULL; CREATE INDEX orders_note ON orders (note)")},
		{"each is undone with the one that is refused", `
1 undone ALTER TABLE orders ADD COLUMN x int: orders=AccessExclusive
1 undone ALTER TABLE orders ADD COLUMN x int: refused column "x" of relation "orders" already exists (SQLSTATE 42701)
`, script("ALTER TABLE orders ADD COLUMN x int; ALTER TABLE orders ADD COLUMN x int; DROP TABLE orders")},
		{"a transaction of the client's own", `
1 BEGIN:
1 ALTER TABLE orders ADD CONSTRAINT t FOREIGN KEY (team) REFERENCES teams: orders=ShareRowExclusive teams=ShareRowExclusive scanned orders,teams
1 COMMIT:
`, script("BEGIN; ALTER TABLE orders ADD CONSTRAINT t FOREIGN KEY (team) REFERENCES teams; COMMIT")},
		{"the extended protocol", `
1 ALTER TABLE orders ALTER COLUMN total TYPE text: orders=AccessExclusive orders_pkey=AccessExclusive scanned orders rewritten orders built orders
2 UPDATE orders SET note = $1 WHERE id = 1: orders=RowExclusive orders_pkey=RowExclusive
`, func(t *testing.T, c *postgres.Conn) {
			for _, sql := range []string{"ALTER TABLE orders ALTER COLUMN total TYPE text"} {
				if _, err := c.Exec(t.Context(), sql); err != nil {
					t.Error(err)
				}
			}
			if n, err := c.Exec(t.Context(), "UPDATE orders SET note = $1 WHERE id = 1", "new"); err != nil || n != 1 {
				t.Error(n, err)
			}
		}},
		{"both protocols in turn, also after a refusal", `
1 undone BEGIN:
1 undone SELECT nothing: refused column "nothing" does not exist (SQLSTATE 42703)
1 undone ROLLBACK:
2 INSERT INTO teams VALUES (99): teams=RowExclusive
`, func(t *testing.T, c *postgres.Conn) {
			if _, err := c.Exec(t.Context(), "BEGIN"); err != nil {
				t.Error(err)
			}
			if err := c.Script(t.Context(), "SELECT nothing"); postgres.Code(err) != postgres.UndefinedColumn {
				t.Error(err)
			}
			if _, err := c.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Error(err)
			}
			if err := c.Script(t.Context(), "INSERT INTO teams VALUES (99)"); err != nil {
				t.Error(err)
			}
		}},
		{"a constraint that refuses at the end", `
1 undone INSERT INTO stock VALUES (1): stock=RowExclusive
`, func(t *testing.T, c *postgres.Conn) {
			if err := c.Script(t.Context(), "INSERT INTO stock VALUES (1)"); postgres.Code(err) != "23505" {
				t.Errorf("want a refusal at the end, got %v", err)
			}
		}},
		{"what a table that is new goes through does not count", `
1 CREATE TABLE fresh (id int):
1 CREATE INDEX ON fresh (id):
`, script("CREATE TABLE fresh (id int); CREATE INDEX ON fresh (id)")},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, address, finish := behind(t)
			conn := postgrestest.Open(t, address)
			c.run(t, conn)
			conn.Close()
			got := told(slices.DeleteFunc(finish(), func(tx trace.Transaction) bool {
				return strings.Contains(tx.Events[0].SQL, "set_config") // the session's own beginning
			}))
			// That statement was the session's first transaction.
			for n := range 5 {
				got = strings.ReplaceAll("\n"+got, fmt.Sprintf("\n%d ", n+2), fmt.Sprintf("\n%d ", n+1))[1:]
			}
			if want := strings.TrimPrefix(c.want, "\n"); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// TestRecorderLooksOnMeanwhile has a build wait for an older snapshot until its
// locks have been looked at.
func TestRecorderLooksOnMeanwhile(t *testing.T) {
	direct, address, finish := behind(t)
	older := postgrestest.Open(t, direct)
	if err := older.Script(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM teams"); err != nil {
		t.Fatal(err)
	}
	released := make(chan error, 1)
	go func() {
		looker := postgrestest.Server(t, direct)
		c, err := looker.Open(context.Background(), postgres.Options{})
		for seen := ""; err == nil && seen != "t"; {
			seen, err = c.Value(context.Background(), `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity w ON w.pid = l.pid, pg_stat_activity o
				WHERE l.locktype = 'virtualxid' AND NOT l.granted AND w.query LIKE 'CREATE INDEX CONCURRENTLY%'
				AND o.query LIKE 'SELECT relation, mode FROM pg_locks%' AND o.query_start > l.waitstart AND o.pid <> w.pid)`)
		}
		released <- errors.Join(err, older.Script(context.Background(), "COMMIT"))
		c.Close()
	}()
	c := postgrestest.Open(t, address)
	if _, err := c.Exec(t.Context(), "CREATE INDEX CONCURRENTLY orders_team ON orders (team)"); err != nil {
		t.Error(err)
	}
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := "CREATE INDEX CONCURRENTLY orders_team ON orders (team): orders=ShareUpdateExclusive built orders\n"
	if got := told(finish()); !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRecorderKeepsNobodyWaiting has one client look around while another holds
// the strongest lock: the recorder's own questions wait for neither.
func TestRecorderKeepsNobodyWaiting(t *testing.T) {
	_, address, finish := behind(t)
	a, b := postgrestest.Open(t, address), postgrestest.Open(t, address)
	if err := a.Script(t.Context(), "BEGIN; ALTER TABLE orders ALTER COLUMN total TYPE text"); err != nil {
		t.Fatal(err)
	}
	if err := b.Script(t.Context(), "CREATE TABLE meanwhile (id int); DROP TABLE meanwhile"); err != nil {
		t.Fatal(err)
	}
	if err := a.Script(t.Context(), "ALTER TABLE orders ALTER COLUMN note SET NOT NULL; COMMIT"); err != nil {
		t.Fatal(err)
	}
	if got := told(finish()); !strings.Contains(got, "rewritten orders") || !strings.Contains(got, "SET NOT NULL: scanned orders") {
		t.Errorf("recorded %s", got)
	}
}

func script(sql string) func(*testing.T, *postgres.Conn) {
	return func(t *testing.T, c *postgres.Conn) {
		if err := c.Script(t.Context(), sql); err != nil && !strings.Contains(sql, "x int; ALTER") {
			t.Error(err)
		}
	}
}

// TestClientsNoticeNothing runs the same script straight and through the proxy:
// every word that psql writes is the same, and so is what is in the database.
func TestClientsNoticeNothing(t *testing.T) {
	direct, address, finish := behind(t)
	other := postgrestest.Start(t)
	postgrestest.Exec(t, other, base)
	text := `
SELECT 1 AS a; SELECT 2 AS b\; SELECT 3 AS c;
SET search_path = pg_catalog; SHOW search_path; RESET search_path;
BEGIN; INSERT INTO orders VALUES (9001, 1, 'x', 1); SAVEPOINT s; INSERT INTO orders VALUES (9001, 1, 'x', 1);
ROLLBACK TO s; SELECT count(*) FROM orders; COMMIT;
INSERT INTO orders VALUES (9002)\; INSERT INTO orders VALUES (9002);
SELECT count(*) FROM orders WHERE id = 9002;
COPY orders (id, note) FROM STDIN;
9003	copied
9004	too
\.
COPY (SELECT id, note FROM orders WHERE id > 9000 ORDER BY 1) TO STDOUT;
COPY orders (id) FROM STDIN;
nonsense
\.
SELEC nothing;
;
DO $$ BEGIN RAISE NOTICE 'hello'; END $$;
CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO stock VALUES (7); COMMIT; INSERT INTO stock VALUES (8); COMMIT; END $$;
CALL twice(); SELECT count(*) FROM stock;
VACUUM orders; ANALYZE orders;
INSERT INTO stock VALUES (1);
CREATE INDEX CONCURRENTLY o1 ON orders (note); REINDEX INDEX CONCURRENTLY o1; DROP INDEX CONCURRENTLY o1;
BEGIN; CREATE INDEX CONCURRENTLY o2 ON orders (note); ROLLBACK;
BEGIN; SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(10); COMMIT;
PREPARE p AS SELECT note FROM orders WHERE id = $1; EXECUTE p (9003); DEALLOCATE ALL;
LISTEN news; NOTIFY news, 'x';
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM orders ORDER BY id; FETCH 2 FROM c; CLOSE c;
DISCARD ALL;
DROP TABLE teams, stock;
`
	straight, through := psql(t, other, text), psql(t, address, text)
	if straight != through {
		t.Errorf("straight:\n%s\nthrough the proxy:\n%s", straight, through)
	}
	if a, b := postgrestest.Value(t, other, "SELECT count(*) || ' ' || sum(id) FROM orders"), postgrestest.Value(t, direct, "SELECT count(*) || ' ' || sum(id) FROM orders"); a != b {
		t.Errorf("straight %s, through the proxy %s", a, b)
	}
	finish()
}

func psql(t *testing.T, address, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "psql", "-X", "-a", "-d", address)
	cmd.Stdin = strings.NewReader(text)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out.Bytes())
	}
	return regexp.MustCompile(`PID \d+`).ReplaceAllString(out.String(), "PID")
}

// TestProtocols runs a real load by each of the three ways that clients speak.
func TestProtocols(t *testing.T) {
	for _, mode := range []string{"simple", "extended", "prepared"} {
		t.Run(mode, func(t *testing.T) {
			direct, address, finish := behind(t)
			run(t, "pgbench", "-i", "-q", address)
			run(t, "pgbench", "-n", "-M", mode, "-c", "3", "-t", "20", address)
			if n := postgrestest.Value(t, direct, "SELECT count(*) FROM pgbench_history"); n != "60" {
				t.Errorf("%s transactions are in, want 60", n)
			}
			committed := 0
			for _, tx := range finish() {
				if tx.Committed && slices.ContainsFunc(tx.Events, func(e trace.Event) bool { return strings.HasPrefix(e.SQL, "INSERT INTO pgbench_history") }) {
					committed++
				}
			}
			if committed != 60 {
				t.Errorf("%d transactions were recorded, want 60", committed)
			}
		})
	}
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv[0], err, out)
	}
}

func TestStrangersAndCancel(t *testing.T) {
	direct, address, finish := behind(t)
	wrong := strings.Replace(address, "rehearsal:", "rehearsal:x", 1)
	if _, err := postgrestest.Server(t, wrong).Open(t.Context(), postgres.Options{}); postgres.Code(err) != "28P01" {
		t.Errorf("a stranger got %v", err)
	}
	c := postgrestest.Open(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for postgrestest.Open(t, direct).Script(t.Context(), "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()) LOOP PERFORM pg_stat_clear_snapshot(), pg_sleep(0.005); END LOOP; END $$") != nil {
		}
		cancel()
	}()
	if _, err := c.Exec(ctx, "SELECT pg_sleep(30)"); err == nil {
		t.Error("a cancelled statement ended well")
	}
	for postgrestest.Value(t, direct, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(30)'") != "0" {
	}
	finish()
}
