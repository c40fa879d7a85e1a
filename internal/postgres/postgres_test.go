package postgres_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
	"allclear.dev/allclear/internal/secret"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

func TestAddress(t *testing.T) {
	dial := (&net.Dialer{}).DialContext
	for _, bad := range []string{"", "nonsense", "postgres://u:geheim-geheim@h:port/db", "postgres://u:geheim-geheim@[::1/db"} {
		_, err := postgres.Parse(secret.New(bad), dial)
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("Parse(%q) = %v", bad, err)
		}
	}
	s, err := postgres.Parse(secret.New("postgres://u:geheim-geheim@db.example:5433/shop"), dial)
	if err != nil || s.Name() != "db.example:5433/shop" {
		t.Errorf("%v %v", s, err)
	}
}

func TestSession(t *testing.T) {
	url := postgrestest.Start(t)
	s := postgrestest.Server(t, url)
	c, err := s.Open(t.Context(), postgres.Options{ReadOnly: true, StatementTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Exec(t.Context(), "CREATE TABLE x (a int)"); postgres.Code(err) != "25006" {
		t.Errorf("a read-only session wrote: %v", err)
	}
	if _, err := c.Exec(t.Context(), "SELECT pg_sleep(5)"); postgres.Code(err) != postgres.QueryCanceled {
		t.Errorf("statement_timeout: %v", err)
	}
	table, err := c.Query(t.Context(), 2, "SELECT g, NULL FROM generate_series(1, 3) g")
	if err != nil || !table.More || len(table.Rows) != 2 || !table.Rows[0][1].Null {
		t.Errorf("rows %+v %v", table, err)
	}
	if _, err := c.Value(t.Context(), "SELECT NULL"); err == nil {
		t.Error("NULL passed as a value")
	}
	if app, err := c.Value(t.Context(), "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"); err != nil || app != "allclear" {
		t.Error(app, err)
	}
}

// TestContext: a statement ends on the server when its context does, and a server
// that never answers does not hold anyone.
func TestContext(t *testing.T) {
	url := postgrestest.Start(t)
	c, err := postgrestest.Server(t, url).Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(ctx, "SELECT pg_sleep(60)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	if n := postgrestest.Value(t, url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"); n != "0" {
		t.Error("the statement still runs on the server")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := postgrestest.Server(t, postgrestest.Silent(t)).Open(ctx, postgres.Options{}); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "hush") {
		t.Errorf("silent server: %v", err)
	}
}

const shop = `CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE "Order Line" (id int PRIMARY KEY, customer int REFERENCES customer, doc json, at timestamptz DEFAULT now());
CREATE TABLE empty (a int);
INSERT INTO customer (name) SELECT 'c' || g FROM generate_series(1, 100) g;
INSERT INTO "Order Line" SELECT g, g, '{"a": 1}', '2026-01-01' FROM generate_series(1, 50) g;`

func TestDigestsAndSchema(t *testing.T) {
	a, b := postgrestest.Start(t), postgrestest.Start(t)
	postgrestest.Exec(t, a, shop)
	postgrestest.Exec(t, b, shop)
	ca, cb := postgrestest.Open(t, a), postgrestest.Open(t, b)
	digests := func(c *postgres.Conn) []postgres.TableDigest {
		d, err := c.Digests(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	da := digests(ca)
	if len(da) != 3 || postgres.TotalRows(da) != 150 || da[0].Method != "text" {
		t.Fatalf("digests %+v", da)
	}
	if diff := postgres.Differences(da, digests(cb)); diff != nil {
		t.Errorf("equal databases differ: %v", diff)
	}
	postgrestest.Exec(t, b, `UPDATE customer SET name = 'x' WHERE id = 7; UPDATE "Order Line" SET doc = '{"a": 2}' WHERE id = 3; INSERT INTO empty VALUES (1)`)
	want := `public.Order Line has 50 rows of other content; public.customer has 100 rows of other content; public.empty has 1 rows, want 0`
	if got := postgres.Shorten(postgres.Differences(da, digests(cb)), 5); got != want {
		t.Errorf("got %s", got)
	}
	sa, err := ca.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sb, err := cb.Schema(t.Context())
	if err != nil || sa.SHA256 != sb.SHA256 || !strings.Contains(sa.Text, "column public.customer.name text not null") {
		t.Fatalf("schemas %v\n%s", err, sa.Text)
	}
	postgrestest.Exec(t, b, `ALTER TABLE customer ADD mail text`)
	if sb, err = cb.Schema(t.Context()); err != nil || sa.SHA256 == sb.SHA256 {
		t.Errorf("a new column did not change the fingerprint: %v", err)
	}
}

func TestScratch(t *testing.T) {
	s := postgrestest.Server(t, postgrestest.Start(t))
	scratch, err := s.NewScratch(t.Context(), postgres.Locale{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := scratch.Open(t.Context(), postgres.Options{}) // a session must not keep it alive
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := scratch.Drop(ctx); err != nil {
		t.Errorf("drop after cancel: %v", err)
	}
	if _, err := scratch.Open(t.Context(), postgres.Options{}); postgres.Code(err) != postgres.NoSuchDatabase {
		t.Errorf("still there: %v", err)
	}
	if err := s.CreateDatabase(t.Context(), s.Database(), postgres.Locale{}); postgres.Code(err) != postgres.DuplicateDB {
		t.Errorf("reused: %v", err)
	}
}

func TestLease(t *testing.T) {
	url := postgrestest.Start(t)
	leases := postgres.NewLeases(postgrestest.Server(t, url))
	if held, err := leases.Holder(t.Context(), "production"); held != nil || err != nil {
		t.Fatalf("before any lease: %v %v", held, err)
	}
	var wg sync.WaitGroup
	won := make(chan *postgres.Lease, 8)
	for i := range 8 {
		wg.Go(func() {
			l, err := leases.Acquire(t.Context(), postgres.Claim{Environment: "production", Owner: "laptop-" + string(rune('a'+i)), Run: "r-" + string(rune('1'+i))})
			held, busy := errors.AsType[*postgres.LeaseHeld](err)
			switch {
			case err == nil:
				won <- l
			case !busy || held.Run == "" || held.Expired:
				t.Errorf("err = %v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of 8 got the lease", len(won))
	}
	first := <-won
	if err := first.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := postgres.Claim{Environment: "production", Owner: "ci", Run: "r-9"}
	if _, err := leases.TakeOver(t.Context(), second, "it looks dead"); err == nil {
		t.Error("took over a lease that is alive")
	}
	postgrestest.Exec(t, url, "UPDATE allclear.lease SET heartbeat = heartbeat - interval '61 s'")
	_, err := leases.Acquire(t.Context(), second)
	if held, ok := errors.AsType[*postgres.LeaseHeld](err); !ok || !held.Expired || held.Age < time.Minute {
		t.Errorf("expired: %v", err)
	}
	taken, err := leases.TakeOver(t.Context(), second, "laptop lost")
	if err != nil || taken.Token() <= first.Token() {
		t.Fatalf("take over: %v %v", taken, err)
	}
	for _, err := range []error{first.Renew(t.Context()), first.Release(t.Context())} {
		if lost, ok := errors.AsType[*postgres.LeaseLost](err); !ok || lost.Held == nil || lost.Held.Run != "r-9" {
			t.Errorf("old holder: %v", err)
		}
	}
	if err := taken.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	third, err := leases.Acquire(t.Context(), postgres.Claim{Environment: "production", Owner: "x", Run: "r-10"})
	if err != nil || third.Token() <= taken.Token() {
		t.Errorf("tokens must grow over a release: %v %v", third, err)
	}
	other, err := leases.Acquire(t.Context(), postgres.Claim{Environment: "staging", Owner: "x", Run: "r-10"})
	if err != nil || other.Token() != 1 {
		t.Errorf("another environment: %v", err)
	}
}

// TestOrphans: a scratch database whose maker has died is dropped by the next that
// makes one; one whose maker lives is not.
func TestOrphans(t *testing.T) {
	url := postgrestest.Start(t)
	server := postgrestest.Server(t, url)
	alive, err := server.NewScratch(t.Context(), postgres.Locale{})
	if err != nil {
		t.Fatal(err)
	}
	postgrestest.Exec(t, url, "CREATE DATABASE allclear_scratch_of_the_dead")
	second, err := server.In("postgres").NewClone(t.Context(), alive.Database()) // seen from another database
	if err != nil {
		t.Fatal(err)
	}
	list := func() string {
		return postgrestest.Value(t, url, `SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_database WHERE datname LIKE 'allclear\_scratch\_%'`)
	}
	if got := list(); strings.Contains(got, "dead") || !strings.Contains(got, alive.Database()) || !strings.Contains(got, second.Database()) {
		t.Errorf("there are %s", got)
	}
	for _, s := range []*postgres.Scratch{second, alive} {
		if err := s.Drop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := list(); got != "" {
		t.Errorf("left: %s", got)
	}
}
