package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// throttle says when the job waits for others.
type throttle struct {
	Lag      time.Duration `param:"lag" doc:"wait while a replica has not replayed a batch for longer" default:"10s"`
	Oldest   time.Duration `param:"oldest_transaction" doc:"wait while another session's transaction is older; 0s: do not look" default:"10m"`
	URL      string        `param:"url" doc:"an address of the application, asked once per batch, for p95" default:""`
	Measure  string        `param:"measure" doc:"a query for the application's 95th percentile in milliseconds, for p95" default:""`
	P95      time.Duration `param:"p95" doc:"wait while the application's 95th percentile is longer" default:"500ms"`
	MaxPause time.Duration `param:"max_pause" doc:"longest wait at a time; then the job fails and can be gone on with" default:"30m"`

	UntilTimeout time.Duration `param:"until_timeout" doc:"longest time for the query until" default:"10m"`
}

func (t *throttle) validate() error {
	switch {
	case t.Lag <= 0 || t.P95 <= 0 || t.MaxPause <= 0 || t.UntilTimeout <= 0:
		return errors.New("lag, p95, max_pause and until_timeout: want more than 0s")
	case t.URL != "" && t.Measure != "":
		return errors.New("url or measure: want one measure of the application")
	}
	return nil
}

// lookAgain is how long a wait is before what it waits for is looked at again.
const lookAgain = 200 * time.Millisecond

// samples is how many answers of the application the percentile is of.
const samples = 20

// mark is a place in the log that was written at a time.
type mark struct {
	log int64
	at  time.Time
}

// wait waits while others are strained. The text says why it gave up.
func (w *worker) wait(ctx context.Context) (string, error) {
	start, told := w.env.Now(), ""
	for {
		why, err := w.strain(ctx)
		if err != nil || why == "" {
			w.paused += w.env.Now().Sub(start)
			return "", err
		}
		if kind, _, _ := strings.Cut(why, ":"); kind != told {
			told = kind
			fmt.Fprintf(w.env.Log, "waiting: %s\n", why)
		}
		if w.env.Now().Sub(start) >= w.MaxPause {
			return fmt.Sprintf("waited %s: %s", w.MaxPause, why), nil
		}
		if err := w.env.Sleep(ctx, lookAgain); err != nil {
			return "", err
		}
	}
}

// strain says what is strained; "" means nothing.
func (w *worker) strain(ctx context.Context) (string, error) {
	for _, look := range []func(context.Context) (string, error){w.lagging, w.oldTransaction, w.slowApplication} {
		if why, err := look(ctx); err != nil || why != "" {
			return why, err
		}
	}
	return "", nil
}

// lagSQL gives how much log there is that replicas can have, and how far the slowest
// has replayed it, as numbers of bytes.
const lagSQL = `SELECT count(*), count(*) FILTER (WHERE state IS NULL), pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0'),
  coalesce(min(pg_wal_lsn_diff(coalesce(replay_lsn, flush_lsn, '0/0'), '0/0')), 0)
FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'`

// lagging compares what replicas have replayed with what had been written how long
// ago. The server's own replay_lag is not asked: it stands still when replaying
// does.
func (w *worker) lagging(ctx context.Context) (string, error) {
	t, err := w.eye.Query(ctx, 1, lagSQL)
	if err != nil {
		return "", fmt.Errorf("look at the replicas: %w", err)
	}
	var n [4]int64
	for i, cell := range t.Rows[0] {
		if n[i], err = strconv.ParseInt(cell.Text, 10, 64); err != nil {
			return "", fmt.Errorf("look at the replicas: %w", err)
		}
	}
	replicas, hidden, written, replayed := n[0], n[1], n[2], n[3]
	if hidden > 0 {
		return "", refuse("how far %d replicas are cannot be seen: the role needs pg_read_all_stats", hidden)
	}
	w.replicas = replicas
	if replicas == 0 {
		return "", nil
	}
	now := w.env.Now()
	w.marks = slices.DeleteFunc(w.marks, func(m mark) bool { return m.log <= replayed })
	late := time.Duration(0)
	if len(w.marks) > 0 {
		late = now.Sub(w.marks[0].at)
	}
	if len(w.marks) < 10_000 && replayed < written {
		w.marks = append(w.marks, mark{written, now})
	}
	if late > w.Lag {
		return fmt.Sprintf("a replica is behind: %d bytes, since %s", written-replayed, late.Round(time.Millisecond)), nil
	}
	return "", nil
}

// oldTransaction looks for a transaction that keeps the dead rows of the job from
// being removed.
func (w *worker) oldTransaction(ctx context.Context) (string, error) {
	if w.Oldest == 0 {
		return "", nil
	}
	t, err := w.eye.Query(ctx, 1, `SELECT format('session %s of %s (%s, %s)', pid, usename, application_name, state), extract(epoch FROM clock_timestamp() - xact_start), query = '<insufficient privilege>'
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND (backend_type = 'client backend' OR query = '<insufficient privilege>')
ORDER BY 3 DESC, xact_start NULLS LAST LIMIT 1`)
	if err != nil {
		return "", fmt.Errorf("look at the transactions: %w", err)
	}
	if len(t.Rows) == 0 {
		return "", nil
	}
	row := t.Rows[0]
	if row[2].Text == "t" {
		return "", refuse("other users' transactions cannot be seen: the role needs pg_read_all_stats, or oldest_transaction: 0s")
	}
	if row[1].Null {
		return "", nil
	}
	seconds, err := strconv.ParseFloat(row[1].Text, 64)
	if err != nil {
		return "", fmt.Errorf("look at the transactions: %w", err)
	}
	if age := time.Duration(seconds * float64(time.Second)); age > w.Oldest {
		return fmt.Sprintf("a transaction is old: %s, %s", row[0].Text, age.Round(time.Millisecond)), nil
	}
	return "", nil
}

// slowApplication measures the application.
func (w *worker) slowApplication(ctx context.Context) (string, error) {
	switch {
	case w.Measure != "":
		v, err := w.eye.Value(ctx, w.Measure)
		if err != nil {
			return "", fmt.Errorf("measure: %w", err)
		}
		ms, err := strconv.ParseFloat(v, 64)
		if err != nil || !(ms >= 0 && ms < 1e12) { // NaN is neither
			return "", refuse("measure: want milliseconds, got %.40q", v)
		}
		if p95 := time.Duration(ms * float64(time.Millisecond)); p95 > w.P95 {
			return fmt.Sprintf("the application is slow: p95 %s", p95.Round(time.Millisecond)), nil
		}
	case w.URL != "":
		took, err := w.ask(ctx)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			w.answers = nil // what was before says nothing about now
			return fmt.Sprintf("the application does not answer: %v", err), nil
		}
		if w.answers = append(w.answers, took); len(w.answers) > samples {
			w.answers = w.answers[1:]
		}
		sorted := slices.Sorted(slices.Values(w.answers))
		if p95 := sorted[(len(sorted)*95+99)/100-1]; p95 > w.P95 {
			return fmt.Sprintf("the application is slow: p95 %s", p95.Round(time.Millisecond)), nil
		}
	}
	return "", nil
}

// maxBody bounds what is read of the application's answer, in bytes.
const maxBody = 1 << 20

// ask sends one request and gives the time to the end of its answer.
func (w *worker) ask(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*w.P95)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL, nil)
	if err != nil {
		return 0, err
	}
	start := w.env.Now()
	response, err := w.env.HTTP.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxBody)); err != nil {
		return 0, err
	}
	if response.StatusCode >= 500 {
		return 0, fmt.Errorf("status %d", response.StatusCode)
	}
	return w.env.Now().Sub(start), nil
}
