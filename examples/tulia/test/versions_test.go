package test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// schemaOf returns every column and index, so that two schemas can be compared.
func schemaOf(t *testing.T, db *pgx.Conn) string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
		FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func number(t *testing.T, db *pgx.Conn, sql string) int {
	t.Helper()
	var n int
	if err := db.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestVersions deploys v2 and v3 over v1 and goes back.
func TestVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.seed.Tenants[0]
	w.worker("v1", "worker")
	v1, v2, v3 := w.web("v1"), w.web("v2"), w.web("v3")
	schema1 := schemaOf(t, w.db)

	// v2 does not call itself healthy before its migrations.
	c2 := client{t: t, base: v2.url}
	if a := c2.get("/v1/health"); a.status != 503 || a.field("schema") != "unhealthy" || a.json["schema_version"] != 3.0 || a.field("database") != "healthy" {
		t.Errorf("v2 on v1's schema: %d %s", a.status, a.text)
	}
	migrate(t, w.db, w.releases["v2"], 3, 6)
	if n := number(t, w.db, `SELECT count(*) FROM orders WHERE (channel = 'whatsapp') <> (message_id IS NOT NULL)`); n != 0 {
		t.Errorf("%d orders were filled in wrongly", n)
	}
	schema2 := schemaOf(t, w.db)

	// While both versions run, both can place orders.
	placeOrder(t, w.as(v1.url, acme.Users["agent"], acme.ID), acme.Customers[0])
	placed := placeOrder(t, w.as(v2.url, acme.Users["agent"], acme.ID), acme.Customers[0])
	if placed.field("channel") != "api" {
		t.Errorf("v2's order: %s", placed.text)
	}
	eventually(t, "both healthy", func() error {
		for _, p := range []*process{v1, v2} {
			if a := (client{t: t, base: p.url}).get("/v1/health"); a.status != 200 {
				return fmt.Errorf("%d %s", a.status, a.text)
			}
		}
		return nil
	})

	migrate(t, w.db, w.releases["v3"], 6, 8)
	testFaults(t, w, v3)
	reminded := w.as(v3.url, acme.Users["agent"], acme.ID).post("/v1/services/appointments", map[string]string{
		"service_id": acme.Service, "customer_id": acme.Customers[0],
		"starts_at": time.Now().UTC().Add(72*time.Hour).Format(time.DateOnly) + "T10:00:00Z"})
	if reminded.status != 201 || reminded.field("reminder_at") == "" {
		t.Errorf("v3 books: %d %s", reminded.status, reminded.text)
	}
	booked := w.as(v2.url, acme.Users["agent"], acme.ID).post("/v1/services/appointments", map[string]string{
		"service_id": acme.Service, "customer_id": acme.Customers[0],
		"starts_at": time.Now().UTC().Add(72*time.Hour).Format(time.DateOnly) + "T09:00:00Z"})
	want(t, "v2 books on v3's schema", booked, 201, "")

	// Each way down restores the schema before it and keeps every row.
	orders, appointments := number(t, w.db, `SELECT count(*) FROM orders`), number(t, w.db, `SELECT count(*) FROM appointments`)
	migrate(t, w.db, w.releases["v3"], 8, 6)
	if got := schemaOf(t, w.db); got != schema2 {
		t.Errorf("v3's way down leaves\n%s\nwant\n%s", got, schema2)
	}
	migrate(t, w.db, w.releases["v2"], 6, 3)
	if got := schemaOf(t, w.db); got != schema1 {
		t.Errorf("v2's way down leaves\n%s\nwant\n%s", got, schema1)
	}
	if n := number(t, w.db, `SELECT count(*) FROM orders`); n != orders {
		t.Errorf("%d orders after the way down, want %d", n, orders)
	}
	if n := number(t, w.db, `SELECT count(*) FROM appointments`); n != appointments {
		t.Errorf("%d appointments after the way down, want %d", n, appointments)
	}
	placeOrder(t, w.as(v1.url, acme.Users["agent"], acme.ID), acme.Customers[0])
}

// testFaults shows that v3 is well for TULIA_FAULT_AFTER=20 requests and then fails exactly one in ten, while its
// health stays green.
func testFaults(t *testing.T, w *world, v3 *process) {
	acme := w.seed.Tenants[0]
	c := w.as(v3.url, acme.Users["agent"], acme.ID)
	var early, late int
	for n := range 120 {
		a := c.get("/v1/orders")
		if a.status == 500 && n < 20 {
			early++
		} else if a.status == 500 {
			late++
		} else {
			want(t, "v3", a, 200, "")
		}
	}
	if early != 0 || late != 10 {
		t.Errorf("v3 failed %d of the first 20 requests and %d of the next 100, want 0 and 10", early, late)
	}
	eventually(t, "v3 healthy", func() error {
		if a := c.get("/v1/health"); a.status != 200 {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
}

// TestOperations covers what an operator sees: limits, outages, stopping, refusing bad settings, mail.
func TestOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.web("v1", "LOGIN_RATE_LIMIT=3", "TRUSTED_PROXIES=127.0.0.1")
	c := client{t: t, base: p.url}

	if a := c.get("/v1/health"); a.status != 503 || a.field("worker") != "unhealthy" || a.field("database") != "healthy" {
		t.Errorf("without a worker: %d %s", a.status, a.text)
	}
	testLoginLimit(t, c)
	testDirtySchema(t, w, c)
	testSettings(t, w)
	testMail(t, w)

	worker := w.worker("v1", "worker")
	eventually(t, "worker alive", func() error {
		if a := c.get("/v1/health"); a.field("worker") != "healthy" {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
	worker.stop(t)
	if a := c.get("/v1/health"); a.field("worker") != "unhealthy" {
		t.Errorf("after the worker stopped: %s", a.text)
	}
	p.stop(t)

	testDatabaseOutage(t, w)

	// Nothing answers at these addresses: the process starts, says so, and does not hang.
	dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	lost := w.web("v1", "DATABASE_URL=postgres://tulia@"+dead+"/tulia", "REDIS_URL=redis://"+dead)
	begin := time.Now()
	a := (client{t: t, base: lost.url}).get("/v1/health")
	for _, field := range []string{"status", "database", "cache", "worker", "schema"} {
		if a.status != 503 || a.field(field) != "unhealthy" {
			t.Errorf("without dependencies: %d %s", a.status, a.text)
		}
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("the health check took %v", took)
	}
	if text := (client{t: t, base: lost.url}).get("/metrics").text; !strings.Contains(text, "tulia_queue_up 0") || strings.Contains(text, "tulia_queue_depth") {
		t.Error("metrics invent a queue")
	}
	login := map[string]string{"email": "a@b.example", "password": "x"}
	want(t, "login without Redis", (client{t: t, base: lost.url}).post("/v1/auth/login", login), 503, "UNAVAILABLE")
	lost.stop(t)
}

func testLoginLimit(t *testing.T, c client) {
	login := func(from string) answer {
		return c.post("/v1/auth/login", map[string]string{"email": "a@b.example", "password": "x"}, "X-Forwarded-For", "9.9.9.9, "+from)
	}
	codes := map[int]int{}
	for range 8 { // two windows may share them if the minute turns
		codes[login("198.51.100.7").status]++
	}
	if codes[401] < 3 || codes[401] > 6 || codes[429] < 2 {
		t.Errorf("8 logins of one address: %v", codes)
	}
	want(t, "another address", login("198.51.100.8"), 401, "INVALID_CREDENTIALS")
}

func testDirtySchema(t *testing.T, w *world, c client) {
	set := func(sql string) {
		if _, err := w.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	set(`UPDATE schema_migrations SET dirty = true`)
	if a := c.get("/v1/health"); a.status != 503 || a.field("schema") != "unhealthy" {
		t.Errorf("half migrated: %d %s", a.status, a.text)
	}
	set(`UPDATE schema_migrations SET dirty = false`)
}

func testSettings(t *testing.T, w *world) {
	cmd := w.command("v1", "web")
	cmd.Env = append(cmd.Env, "DEBUG=true", "SECRET_KEY=short-secret", "ALLOWED_HOSTS=*", "ENCRYPTION_KEY=", "LOGIN_RATE_LIMIT=0")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("bad settings were accepted")
	}
	for _, name := range []string{"DEBUG must be false", "SECRET_KEY is shorter", "ALLOWED_HOSTS must not", "ENCRYPTION_KEY is not set", "LOGIN_RATE_LIMIT is not"} {
		if !strings.Contains(string(out), name) {
			t.Errorf("the refusal does not say %q:\n%s", name, out)
		}
	}
	if strings.Contains(string(out), "short-secret") {
		t.Error("the refusal shows a secret")
	}
	for _, args := range [][]string{{}, {"dance"}, {"-env", "/nonexistent", "web"}, {"export-release", os.TempDir()}} {
		if out, err := w.command("v1", args...).CombinedOutput(); err == nil {
			t.Errorf("%v was accepted:\n%s", args, out)
		}
	}
}

// testMail lets `tulia email` talk to a mail server that takes everything.
func testMail(t *testing.T, w *world) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go serveMail(l, got)
	host, port, _ := net.SplitHostPort(l.Addr().String())
	cmd := w.command("v1", "email", "ops@tulia.example")
	cmd.Env = append(cmd.Env, "EMAIL_HOST="+host, "EMAIL_PORT="+port)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("email: %v\n%s", err, out)
	}
	if mail := <-got; !strings.Contains(mail, "Subject: Tulia test mail") {
		t.Errorf("the server got %q", mail)
	}
}

// testDatabaseOutage breaks every connection of a running process: it says 503 while it cannot connect, and works
// again by itself.
func testDatabaseOutage(t *testing.T, w *world) {
	p := w.web("v1")
	acme := w.seed.Tenants[0]
	c := w.as(p.url, acme.Users["agent"], acme.ID)
	other := connect(t, strings.Replace(w.dbURL, "/postgres?", "/template1?", 1))
	admin := func(sql string) {
		t.Helper()
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	admin(`ALTER DATABASE postgres ALLOW_CONNECTIONS false`)
	admin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tulia'`)
	eventually(t, "outage", func() error {
		if a := c.get("/v1/orders"); a.status != 503 || a.code() != "UNAVAILABLE" {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
	if a := c.get("/v1/health"); a.status != 503 || a.field("database") != "unhealthy" || a.field("cache") != "healthy" {
		t.Errorf("health: %d %s", a.status, a.text)
	}
	admin(`ALTER DATABASE postgres ALLOW_CONNECTIONS true`)
	eventually(t, "back", func() error {
		if a := c.get("/v1/orders"); a.status != 200 {
			return fmt.Errorf("%d %s", a.status, a.text)
		}
		return nil
	})
	p.stop(t)
}
