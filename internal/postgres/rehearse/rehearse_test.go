package rehearse_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
	"allclear.dev/allclear/internal/postgres/rehearse"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }

func TestPredict(t *testing.T) {
	second := rehearse.Part{SQL: "a", Work: rehearse.Rewrite, Here: 100, There: 100, Took: time.Second}
	tenth := rehearse.Part{SQL: "b", Work: rehearse.Scan, Here: 10, There: 100, Took: time.Second}
	catalog := rehearse.Part{SQL: "c", Work: rehearse.CatalogOnly, Here: 10, There: 1000, Took: time.Second}
	for _, c := range []struct {
		name   string
		parts  []rehearse.Part
		ratios []float64
		want   string // expected, low, high, unlearned, driver
	}{
		{"nothing", nil, nil, "0s 0s 0s 0s "},
		{"full size", []rehearse.Part{second}, nil, "1s 500ms 2s 1s a"},
		{"a tenth of the size", []rehearse.Part{tenth}, nil, "10s 3.333333333s 30s 10s b"},
		{"a catalog does not grow", []rehearse.Part{catalog}, nil, "1s 500ms 2s 1s c"},
		{"the largest drives", []rehearse.Part{second, tenth, catalog}, nil, "12s 4.333333333s 34s 12s b"},
		{"one deployment corrects", []rehearse.Part{second}, []float64{3}, "3s 1.5s 6s 1s a"},
		{"three are the range", []rehearse.Part{second}, []float64{4, 1.5, 2}, "2s 1.5s 4s 1s a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := rehearse.Predict(c.parts, c.ratios)
			if got := fmt.Sprintf("%s %s %s %s %s", e.Expected, e.Low, e.High, e.Unlearned, e.Driver.SQL); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	url := postgrestest.Start(t)
	server := postgrestest.Server(t, url)
	signs, err := rehearse.Signs(t.Context(), server.In("postgres"), server)
	if err != nil {
		t.Fatal(err)
	}
	if text := rehearse.Refusal(signs, nil); !strings.Contains(text, "it is the server of "+server.Name()) {
		t.Errorf("signs %v, refusal %q", signs, text)
	}
	if text := rehearse.Refusal(signs, []string{rehearse.SameServer, rehearse.Busy}); text != "" {
		t.Errorf("all accepted, refused with %q", text)
	}
	other := postgrestest.Server(t, postgrestest.Cluster(t))
	if signs, err = rehearse.Signs(t.Context(), other, server); err != nil || len(signs) != 0 {
		t.Errorf("another server: %v, %v", signs, err)
	}
	postgrestest.Exec(t, url, "CREATE DATABASE shop_production")
	if signs, err = rehearse.Signs(t.Context(), server.In("shop_production"), other); err != nil || len(signs) == 0 || signs[0].Kind != rehearse.Name {
		t.Errorf("a name: %v, %v", signs, err)
	}
	if _, err := rehearse.Signs(t.Context(), postgrestest.Server(t, "postgres://u@127.0.0.1:1/x"), server); err == nil {
		t.Error("a server that cannot be asked is not refused")
	}
}

func TestUsers(t *testing.T) {
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, `CREATE TABLE orders (id int PRIMARY KEY, n int); INSERT INTO orders VALUES (1, 1); CREATE TABLE "Odd, one" (a int); CREATE TABLE gone (a int)`)
	server := postgrestest.Server(t, url)
	waits := func(do func(c *postgres.Conn)) []rehearse.Wait {
		t.Helper()
		users, err := rehearse.Employ(t.Context(), server, []string{"orders", `"Odd, one"`, "gone"}, time.Millisecond, sleep)
		if err != nil {
			t.Fatal(err)
		}
		c, err := server.Open(t.Context(), postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		do(c)
		list, err := users.Dismiss()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := waits(func(c *postgres.Conn) {
		if err := c.Script(t.Context(), "SELECT pg_sleep(0.1); BEGIN; LOCK orders; SELECT pg_sleep(0.3); DROP TABLE gone; COMMIT; SELECT pg_sleep(0.1)"); err != nil {
			t.Fatal(err)
		}
	})
	found := map[string]rehearse.Wait{}
	for _, w := range list {
		found[w.Table+" "+w.Does] = w
	}
	if len(found) != 6 || found["orders reads"].Longest < 250*time.Millisecond || found["orders writes"].Longest < 250*time.Millisecond {
		t.Errorf("locked out for 300 ms, told %+v", list)
	}
	if w := found[`"Odd, one" reads`]; w.Requests == 0 || w.Broken != "" {
		t.Errorf("not locked out, told %+v", w)
	}
	if w := found["gone reads"]; !strings.Contains(w.Broken, "does not exist") {
		t.Errorf("a table that went, told %+v", w)
	}
	if _, err := rehearse.Employ(t.Context(), server, []string{"missing"}, 0, sleep); err == nil {
		t.Error("users of a table that is not there")
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func TestLosses(t *testing.T) {
	a, b := postgrestest.Start(t), postgrestest.Start(t)
	for _, url := range []string{a, b} {
		postgrestest.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, x text, y int); INSERT INTO t SELECT g, 'x' || g, g FROM generate_series(1, 10) g; CREATE TABLE same (a int); CREATE TABLE v (n int)`)
	}
	postgrestest.Exec(t, b, `UPDATE t SET x = CASE id WHEN 1 THEN 'x2' WHEN 2 THEN 'x1' ELSE x END; UPDATE t SET y = NULL WHERE id > 7; INSERT INTO v VALUES (1)`)
	from, to := postgrestest.Server(t, a), postgrestest.Server(t, b)
	before, err := rehearse.Look(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	after, err := rehearse.Look(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	losses, err := rehearse.Losses(t.Context(), from, to, before, after, "v")
	want := "[{public.t.x 10 10 10} {public.t.y 10 7 10}]"
	if got := fmt.Sprint(losses); err != nil || got != want {
		t.Errorf("got %s, %v, want %s: two values were exchanged, three are gone", got, err, want)
	}
	if like, _ := rehearse.Compare(before, after); like != rehearse.Identical {
		t.Errorf("the structures are %s", like)
	}
	postgrestest.Exec(t, b, "ALTER TABLE t DROP COLUMN x; ALTER TABLE t ADD COLUMN x text")
	if after, err = rehearse.Look(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if like, _ := rehearse.Compare(before, after); like != rehearse.OrderOnly {
		t.Errorf("a column that came last: the structures are %s", like)
	}
}

func TestWritesBetween(t *testing.T) {
	a, b := postgrestest.Start(t), postgrestest.Start(t)
	for _, url := range []string{a, b} {
		postgrestest.Exec(t, url, `CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id int PRIMARY KEY, m mood, s varchar(5) NOT NULL, n smallint, k int); INSERT INTO t VALUES (1, 'good', 'a', 1, 1)`)
	}
	postgrestest.Exec(t, b, `ALTER TYPE mood ADD VALUE 'bad'`)
	postgrestest.Exec(t, b, `ALTER TABLE t ALTER COLUMN s TYPE text, ALTER COLUMN s DROP NOT NULL, ALTER COLUMN n TYPE bigint, ALTER COLUMN k TYPE bigint, ADD CHECK (k < 100), ADD COLUMN extra int`)
	from, to := postgrestest.Server(t, a), postgrestest.Server(t, b)
	writes, err := rehearse.WritesBetween(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	made, err := rehearse.Carry(t.Context(), to, writes)
	if err != nil {
		t.Fatal(err)
	}
	var why []string
	for _, w := range made {
		why = append(why, w.Why)
	}
	want := "t.m has a new label; t.s may be NULL; t.s has become text, from character varying(5); t.n has become bigint, from smallint"
	if got := strings.Join(why, "; "); got != want || len(writes) != 5 {
		t.Errorf("made %s of %d, want %s of 5: the check refuses one", got, len(writes), want)
	}
}
