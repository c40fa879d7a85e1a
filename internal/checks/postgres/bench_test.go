package postgres_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/postgres"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// benchRows is the size of the table that the benchmarks work on.
const benchRows = "3000000"

// BenchmarkProof compares what is done for a backup with the least that anybody
// does: making and proving it by a restore with pg_dump and pg_restore alone,
// summing up a table's content with counting it, and copying a database with
// restoring it. Each figure is a ratio of one run.
func BenchmarkProof(b *testing.B) {
	url := postgrestest.Start(b)
	server := postgrestest.Server(b, url)
	c, err := server.Open(b.Context(), pg.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, sql := range []string{`CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, note text, placed timestamptz NOT NULL);
		INSERT INTO orders SELECT g, g % 1000, md5(g::text), timestamptz '2026-01-01' + g * interval '1 second' FROM generate_series(1, ` + benchRows + `) g;
		CREATE INDEX ON orders (customer)`, "VACUUM ANALYZE orders"} {
		if err := c.Script(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	c.Close() // nobody may be connected to what is cloned
	for b.Loop() {
		folder := b.TempDir()
		dump := timed(b, "pg_dump", "-Fc", "-f", filepath.Join(folder, "bare.dump"), "-d", url)
		bare := dump + restored(b, server, filepath.Join(folder, "bare.dump"))
		start := time.Now()
		env := checktest.NewEnv(b)
		in(url, folder, nil)(env)
		inst, problems := checktest.Decode(postgres.Backup, named+"verify: restore", check.NoVars{})
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		if o, err := inst.Runner.Run(b.Context(), env); err != nil || o.Verdict != "pass" {
			b.Fatalf("%+v %v", o, err)
		}
		b.ReportMetric(time.Since(start).Seconds()/bare.Seconds(), "full-proof/pg_dump+pg_restore")
		b.ReportMetric(digested(b, server), "digest/count(*)")
		b.ReportMetric(cloned(b, server)/restored(b, server, filepath.Join(folder, "bare.dump")).Seconds(), "clone/restore")
	}
}

// timed runs one of PostgreSQL's programs.
func timed(b *testing.B, argv ...string) time.Duration {
	b.Helper()
	start := time.Now()
	if out, err := exec.CommandContext(b.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return time.Since(start)
}

// restored loads an archive into a scratch database.
func restored(b *testing.B, server *pg.Server, file string) time.Duration {
	b.Helper()
	scratch, err := server.In("postgres").NewScratch(b.Context(), pg.Locale{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := scratch.Drop(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	dbname, env := scratch.CommandLine()
	start := time.Now()
	cmd := exec.CommandContext(b.Context(), "pg_restore", "--dbname="+dbname, "--jobs=2", "--exit-on-error", file)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return time.Since(start)
}

// digested gives how much longer a digest of all rows takes than counting them.
func digested(b *testing.B, server *pg.Server) float64 {
	b.Helper()
	c, err := server.Open(b.Context(), pg.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Digests(b.Context(), false); err != nil { // into memory
		b.Fatal(err)
	}
	start := time.Now()
	if _, err := c.Int(b.Context(), "SELECT count(*) FROM orders"); err != nil {
		b.Fatal(err)
	}
	counted := time.Since(start)
	start = time.Now()
	if _, err := c.Digests(b.Context(), true); err != nil {
		b.Fatal(err)
	}
	return time.Since(start).Seconds() / counted.Seconds()
}

// cloned gives the seconds that copying the database takes.
func cloned(b *testing.B, server *pg.Server) float64 {
	b.Helper()
	start := time.Now()
	clone, err := server.In("postgres").NewClone(b.Context(), server.Database())
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(start).Seconds()
	if err := clone.Drop(b.Context()); err != nil {
		b.Error(err)
	}
	return took
}
