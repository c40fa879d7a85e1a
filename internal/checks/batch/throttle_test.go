package batch_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// lines collects what is logged and calls back for each line.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	on   func(line string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if l.on != nil {
		l.on(string(p))
	}
	return len(p), nil
}

func logTo(w io.Writer) func(*check.Env) { return func(env *check.Env) { env.Log = w } }

// begun opens a session in a transaction that has run a statement.
func begun(t *testing.T, url, sql string) func() {
	t.Helper()
	c := postgrestest.Open(t, url)
	if err := c.Script(t.Context(), "BEGIN; "+sql); err != nil {
		t.Fatal(err)
	}
	return func() { _, _ = c.Exec(context.WithoutCancel(t.Context()), "COMMIT") }
}

func TestLocked(t *testing.T) {
	url := database(t, counters)
	release := begun(t, url, "UPDATE c SET n = n WHERE id = 70000")
	quick := count + "lock_timeout: 80ms\npause: 0s\nbatch: 5000\n"
	o, err := run(t, t.Context(), quick+"retries: 1", in(url))
	if err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, "batch of ... rows: ERROR: canceling statement due to lock timeout (SQLSTATE 55P03) (blocked by session ... of admin (allclear, idle in transaction, transaction since ... s)), rolled back, after 2 tries; ... rows in ... batches are done, and running again goes on from there", o.Reason)
	if o.Verdict != check.Fail {
		t.Errorf("%v", o)
	}
	log := &lines{on: func(line string) {
		if strings.Contains(line, "again in") {
			release()
		}
	}}
	o, err = run(t, t.Context(), quick+"retries: 3", in(url), logTo(log))
	if err != nil || o.Verdict != check.Pass || o.Facts["retried"] != "1" {
		t.Errorf("%v, %v, %s", o, err, log.text.String())
	}
	once(t, url)
}

// TestSlow: batches that take too long are made smaller, until one row is too
// slow; a person who cancels one is not taken for that.
func TestSlow(t *testing.T) {
	url := database(t, `CREATE TABLE c (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO c SELECT g FROM generate_series(1, 40) g;
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$; CREATE TRIGGER slow BEFORE UPDATE ON c FOR EACH ROW EXECUTE FUNCTION slow()`)
	params := count + "batch: 40\ntarget: 50ms\nbatch_timeout: 150ms\npause: 0s\n"
	log := &lines{}
	o, err := run(t, t.Context(), params, in(url), logTo(log))
	if err != nil || o.Verdict != check.Pass || o.Facts["changed"] != "40" {
		t.Errorf("%v, %v", o, err)
	}
	checktest.Match(t, "a batch took longer than 150ms: smaller ones of 10 rows...", log.text.String())
	postgrestest.Exec(t, url, "UPDATE c SET n = 0 WHERE id = 40; CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5); RETURN NEW; END $$")
	o, err = run(t, t.Context(), params+"name: second\nretries: 5", in(url))
	if err != nil || o.Verdict != check.Fail {
		t.Errorf("%v, %v", o, err)
	}
	checktest.Match(t, "batch of 1 rows: it took too long: ... statement timeout ..., rolled back; 0 rows in 0 batches are done...", o.Reason)
	canceller := postgrestest.Open(t, url)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = canceller.Exec(ctx, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'UPDATE c%' AND state = 'active' AND wait_event = 'PgSleep'")
		}
	})
	o, err = run(t, t.Context(), count+"name: third", in(url))
	stop()
	wg.Wait()
	if err != nil || o.Verdict != check.Fail {
		t.Errorf("%v, %v", o, err)
	}
	checktest.Match(t, "batch of 1000 rows: ERROR: canceling statement due to user request ..., rolled back; 0 rows ...", o.Reason)
}

func TestCancelled(t *testing.T) {
	url := database(t, counters)
	release := begun(t, url, "UPDATE c SET n = n WHERE id = 7")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if o, err := run(t, ctx, count+"lock_timeout: 5s", in(url)); err == nil {
		t.Errorf("cancelled: %v", o)
	}
	release()
	p, why, err := probe(t, url, count)
	for err != nil && strings.Contains(err.Error(), "still at work") {
		p, why, err = probe(t, url, count)
	}
	if p != check.NotDone || err != nil || !strings.Contains(why, "0 rows in 0 batches are done") {
		t.Errorf("probe: %s, %s, %v", p, why, err)
	}
}

// TestWaits: each thing that it waits for, and that it goes on when that is over.
func TestWaits(t *testing.T) {
	for _, c := range []struct{ name, params, before, after, want string }{
		{"old transaction", "oldest_transaction: 100ms", "", "", "waiting: a transaction is old: session ... of admin (allclear, idle in transaction), ..."},
		{"measure", "p95: 200ms\nmeasure: SELECT ms FROM load", "UPDATE load SET ms = 250.5", "UPDATE load SET ms = 12", "waiting: the application is slow: p95 251ms..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := database(t, counters+"CREATE TABLE load (ms float8); INSERT INTO load VALUES (1); "+c.before)
			release := func() { postgrestest.Exec(t, url, c.after) }
			if c.after == "" {
				release = begun(t, url, "SELECT 1")
				if old := postgrestest.Value(t, url, "SELECT pg_sleep(0.12)::text"); old != "" {
					t.Fatal(old)
				}
			}
			o, err := run(t, t.Context(), count+"max_pause: 1ms\n"+c.params, in(url))
			if err != nil || o.Verdict != check.Fail || !strings.HasPrefix(o.Reason, "waited 1ms: ") {
				t.Errorf("for ever: %v, %v", o, err)
			}
			log := &lines{on: func(line string) {
				if strings.HasPrefix(line, "waiting") {
					release()
				}
			}}
			o, err = run(t, t.Context(), count+c.params, in(url), logTo(log))
			for err == nil && strings.HasPrefix(o.Reason, "the job is at work already") { // the server has not seen yet that the first one has left
				o, err = run(t, t.Context(), count+c.params, in(url), logTo(log))
			}
			if err != nil || o.Verdict != check.Pass || o.Facts["waited"] == "0.000" {
				t.Errorf("%v, %v", o, err)
			}
			checktest.Match(t, c.want, log.text.String())
			once(t, url)
		})
	}
}

// TestApplication asks a server that is broken, then slow, then well.
func TestApplication(t *testing.T) {
	url := database(t, counters)
	var asked atomic.Int64
	var log *lines
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n == 2:
			w.WriteHeader(http.StatusBadGateway)
		case n == 3:
			select { // longer than is waited for
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		}
	}))
	defer app.Close()
	log = &lines{}
	o, err := run(t, t.Context(), count+"batch: 100\nmax_batch: 1000\np95: 100ms\nurl: "+app.URL, in(url), logTo(log))
	if err != nil || o.Verdict != check.Pass {
		t.Fatalf("%v, %v", o, err)
	}
	checktest.Match(t, "waiting: the application does not answer: status 502...", log.text.String())
	if batches := o.Facts["batches"]; fmt.Sprint(asked.Load()) < batches {
		t.Errorf("asked %d times for %s batches", asked.Load(), batches)
	}
	once(t, url)
}

// TestReplicaBehind stops a real replica's replay by a lock on it.
func TestReplicaBehind(t *testing.T) {
	url := postgrestest.Cluster(t)
	postgrestest.Exec(t, url, counters+"CREATE TABLE gone (x int)")
	replica := postgrestest.Replica(t, url)
	release := begun(t, replica, "SELECT * FROM gone")
	postgrestest.Exec(t, url, "DROP TABLE gone")
	log := &lines{on: func(line string) {
		if strings.HasPrefix(line, "waiting: a replica is behind: ") {
			release()
		}
	}}
	o, err := run(t, t.Context(), count+"batch: 400\nmax_batch: 400\nlag: 150ms", in(url), logTo(log))
	if err != nil || o.Verdict != check.Pass || o.Facts["replicas"] != "1" || o.Facts["waited"] == "0.000" {
		t.Errorf("%v, %v", o, err)
	}
	checktest.Match(t, "...waiting: a replica is behind: ... bytes, since ...", log.text.String())
	once(t, url)
}
