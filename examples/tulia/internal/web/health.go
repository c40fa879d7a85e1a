package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/metric"
	"allclear.dev/allclear/examples/tulia/internal/work"
)

// probeTimeout bounds each probe of a dependency: a health check that hangs tells nothing.
const probeTimeout = 1500 * time.Millisecond

const (
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

// live says that the process answers, and nothing about what it depends on. The load balancer asks it: a worker
// that is down must not take the web servers with it.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	_ = reply(w, http.StatusOK, map[string]any{"status": "alive", "version": s.Version, "revision": s.Revision})
}

// health probes every dependency and answers 503 if one is down.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	var schema int64
	results := s.probe(map[string]func() error{
		"database": func() error { return s.Store.Ping(ctx) },
		"cache":    func() error { return s.Redis.Ping(ctx).Err() },
		"worker":   s.workerAlive,
		"schema": func() (err error) {
			schema, err = s.schemaFits(ctx)
			return err
		},
	})
	body := map[string]any{
		"status": healthy, "version": s.Version, "revision": s.Revision, "schema_needed": s.Schema,
	}
	code := http.StatusOK
	for name, err := range results {
		body[name] = healthy
		if err != nil {
			body[name], body["status"] = unhealthy, unhealthy
			code = http.StatusServiceUnavailable
			s.Log.Warn("unhealthy", "dependency", name, "error", err.Error(), "request_id", idOf(r))
		}
	}
	body["schema_version"] = nil
	if results["schema"] == nil || errors.Is(results["schema"], errSchema) {
		body["schema_version"] = schema
	}
	_ = reply(w, code, body)
}

// probe runs the probes at the same time and returns the answer of each. One that is not back in time has failed.
func (s *Server) probe(probes map[string]func() error) map[string]error {
	results := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, f := range probes {
		wg.Go(func() {
			err := f()
			mu.Lock()
			defer mu.Unlock()
			results[name] = err
		})
	}
	wg.Wait()
	return results
}

// workerAlive reports whether a worker process has shown itself lately. The Redis client's own timeouts bound it.
func (s *Server) workerAlive() error {
	stats, err := s.Queue.Stats()
	if err == nil && stats.Workers == 0 {
		return errors.New("no worker process is alive")
	}
	return err
}

// errSchema reports a schema that was read and does not fit.
var errSchema = errors.New("schema does not fit")

// schemaFits returns the schema's version, and errSchema if it is too old for us or half migrated. A newer one is
// fine: migrations only add, so that the version before them can run on.
func (s *Server) schemaFits(ctx context.Context) (int64, error) {
	version, dirty, err := s.Store.SchemaVersion(ctx)
	switch {
	case err != nil:
		return 0, err
	case dirty:
		return version, fmt.Errorf("%w: migration %d was left half done", errSchema, version)
	case version < s.Schema:
		return version, fmt.Errorf("%w: it is %d, this version needs %d", errSchema, version, s.Schema)
	}
	return version, nil
}

// metrics writes our counts and the queue's. If the queue cannot be read, its numbers are missing, not zero.
func (s *Server) metrics(requests *metric.Requests) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# HELP tulia_build_info What is running.\n# TYPE tulia_build_info gauge\n"+
			"tulia_build_info{version=%q,revision=%q} 1\n", s.Version, s.Revision)
		if _, err := requests.WriteTo(w); err != nil {
			return
		}
		stats, err := s.Queue.Stats()
		if err != nil {
			s.Log.Error("redis unavailable", "error", err.Error(), "request_id", idOf(r))
			metric.Gauge(w, "tulia_queue_up", "Whether the queue could be read.", 0)
			return
		}
		metric.Gauge(w, "tulia_queue_up", "Whether the queue could be read.", 1)
		writeQueue(w, stats)
	}
}

func writeQueue(w http.ResponseWriter, s work.Stats) {
	metric.Gauge(w, "tulia_queue_depth", "Jobs that wait to run.", float64(s.Pending+s.Retry+s.Scheduled))
	metric.Gauge(w, "tulia_queue_active", "Jobs that run.", float64(s.Active))
	metric.Gauge(w, "tulia_workers", "Live worker processes.", float64(s.Workers))
	metric.Gauge(w, "tulia_scheduler_entries", "Schedules of live schedulers.", float64(s.Schedules))
	metric.Counter(w, "tulia_jobs_processed_total", "Jobs that ended, failed ones included.", float64(s.Processed))
	metric.Counter(w, "tulia_jobs_failed_total", "Jobs that failed.", float64(s.Failed))
}
