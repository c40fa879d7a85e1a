//go:build linux

package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"allclear.dev/allclear/internal/journal/sqlite"
)

// benchBody is an event of usual length.
var benchBody = []byte(`{"actor":{"idp":"local","method":"os","sub":"deploy"},"boot_id":"3a3f0f0e-9c5d-4a3e-8d5f-0d6f7b2f8a11","boottime_ns":918273645546372,"item":"deploy.verify.health-200","req_id":"01JD2W9GQ4T1","type":"item.settled","verdict":"pass","wall":"2026-11-23T16:00:00Z"}`)

// bare is what an append costs at least: one INSERT by SQLite with the same
// settings, and one synced write, in turn to two files that have their blocks.
type bare struct {
	insert  *sql.Stmt
	anchors [2]*os.File
	seq     int
}

// newBare makes a database and an anchor file.
func newBare(b *testing.B) *bare {
	b.Helper()
	dir := b.TempDir()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=foreign_keys(ON)&_pragma=cell_size_check(ON)"+
		"&_pragma=trusted_schema(OFF)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE journal(run TEXT, seq INTEGER, body BLOB, PRIMARY KEY(run, seq)) STRICT"); err != nil {
		b.Fatal(err)
	}
	insert, err := db.Prepare("INSERT INTO journal VALUES(?, ?, ?)")
	if err != nil {
		b.Fatal(err)
	}
	peer := &bare{insert: insert}
	for i := range peer.anchors {
		if peer.anchors[i], err = os.Create(filepath.Join(dir, fmt.Sprintf("anchor.%d", i))); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = peer.anchors[i].Close() })
	}
	return peer
}

// append is one INSERT and one more sync.
func (p *bare) append(b *testing.B) {
	p.seq++
	if _, err := p.insert.Exec("r1", p.seq, benchBody); err != nil {
		b.Fatal(err)
	}
	anchor := p.anchors[p.seq%2]
	if _, err := anchor.WriteAt(make([]byte, 76), 0); err != nil {
		b.Fatal(err)
	}
	if err := unix.Fdatasync(int(anchor.Fd())); err != nil {
		b.Fatal(err)
	}
}

// openBench opens a journal.
func openBench(b *testing.B) *sqlite.Log {
	b.Helper()
	log, err := sqlite.Open(b.Context(), b.TempDir(), noBallast)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	return log
}

// BenchmarkAppendOne appends from one goroutine, in turn with the bare database, so
// that a slow moment of the disk meets both. vs-bare is the bare database's median
// time by ours: 1 is as fast.
func BenchmarkAppendOne(b *testing.B) {
	log, peer := openBench(b), newBare(b)
	ours, bareTimes := make([]time.Duration, b.N), make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		if _, err := log.Append(b.Context(), "r1", uint64(i), 1, benchBody); err != nil {
			b.Fatal(err)
		}
		ours[i] = time.Since(start)
		start = time.Now()
		peer.append(b)
		bareTimes[i] = time.Since(start)
	}
	slices.Sort(ours)
	slices.Sort(bareTimes)
	median, bareMedian := ours[b.N/2], bareTimes[b.N/2]
	b.ReportMetric(1/median.Seconds(), "appends/s")
	b.ReportMetric(1/bareMedian.Seconds(), "bare/s")
	b.ReportMetric(float64(bareMedian)/float64(median), "vs-bare")
	b.ReportMetric(float64(ours[b.N*99/100])/float64(bareTimes[b.N*99/100]), "p99-vs-bare")
}

// BenchmarkAppend64 appends from 64 goroutines, and for the ratio from one, in turn,
// so that a slow moment of the disk meets both.
func BenchmarkAppend64(b *testing.B) {
	const rounds = 10
	oneLog, manyLog := openBench(b), openBench(b)
	single := max(b.N/20/rounds, 10)
	var one, many time.Duration
	b.ResetTimer()
	for round := range rounds {
		one += appendFrom(b, oneLog, round, 1, single)
		many += appendFrom(b, manyLog, round, 64, b.N/rounds)
	}
	manyRate, oneRate := float64(b.N)/many.Seconds(), float64(single*rounds)/one.Seconds()
	b.ReportMetric(manyRate, "appends/s")
	b.ReportMetric(manyRate/oneRate, "vs-one")
}

// appendFrom gives the time of appends from several goroutines, each with a run of
// its own.
func appendFrom(b *testing.B, log *sqlite.Log, round, goroutines, appends int) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(appends))
	var group sync.WaitGroup
	start := time.Now()
	for n := range goroutines {
		group.Go(func() {
			run := fmt.Sprintf("r%d-%d", round, n)
			for seq := uint64(0); left.Add(-1) >= 0; seq++ {
				if _, err := log.Append(b.Context(), run, seq, 1, benchBody); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}
