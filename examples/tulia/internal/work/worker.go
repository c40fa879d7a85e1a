package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"allclear.dev/allclear/examples/tulia/internal/seal"
	"allclear.dev/allclear/examples/tulia/internal/store"
)

// overdueAfter is when a queued message counts as lost: its job should have run long before.
const overdueAfter = 30 * time.Second

// Worker runs jobs.
type Worker struct {
	Store       *store.Store
	Queue       *Queue
	Box         *seal.Box
	Log         *slog.Logger
	Concurrency int
	Shutdown    time.Duration // how long running jobs may take to end
}

// Run works until ctx ends, then takes no new job and waits for those that run. What does not end in time goes
// back to the queue.
func (w *Worker) Run(ctx context.Context, rdb redis.UniversalClient) error {
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency:       w.Concurrency,
		Queues:            map[string]int{queueName: 1},
		ShutdownTimeout:   w.Shutdown,
		TaskCheckInterval: 200 * time.Millisecond,
		Logger:            logger{w.Log},
		LogLevel:          asynq.InfoLevel,
		RetryDelayFunc:    func(n int, _ error, _ *asynq.Task) time.Duration { return time.Second << min(n, 6) },
		ErrorHandler: asynq.ErrorHandlerFunc(func(_ context.Context, t *asynq.Task, err error) {
			w.Log.Error("job failed", "job", t.Type(), "error", err.Error())
		}),
	})
	mux := asynq.NewServeMux()
	mux.HandleFunc(deliverMessage, w.deliver)
	mux.HandleFunc(sweepMessages, w.sweep)
	if err := server.Start(mux); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	w.Log.Info("worker started", "concurrency", w.Concurrency)
	<-ctx.Done()
	server.Stop()
	server.Shutdown()
	w.Log.Info("worker stopped")
	return nil
}

// deliver hands one message to the provider. Running twice is harmless: only a queued message is sent.
func (w *Worker) deliver(ctx context.Context, t *asynq.Task) error {
	var job delivery
	if err := json.Unmarshal(t.Payload(), &job); err != nil {
		return fmt.Errorf("decode job: %w: %w", err, asynq.SkipRetry)
	}
	sealed, err := w.Store.Recipient(ctx, job.MessageID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find recipient: %w", err)
	}
	phone, err := w.Box.Open(sealed)
	if err != nil {
		return fmt.Errorf("read phone number: %w", err)
	}
	err = w.Store.MarkDelivered(ctx, job.MessageID, sandboxSend(phone, job.MessageID))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("record delivery: %w", err)
	}
	w.Log.Info("message delivered", "message", job.MessageID)
	return nil
}

// sandboxSend stands for a provider of text messages: it reaches nobody and returns a receipt.
func sandboxSend(phone, message string) string {
	return fmt.Sprintf("sandbox-%s-%d", message[:8], len(phone))
}

// sweep queues the messages again whose job was lost, for example with Redis.
func (w *Worker) sweep(ctx context.Context, _ *asynq.Task) error {
	lost, err := w.Store.Overdue(ctx, overdueAfter, 100)
	if err != nil {
		return fmt.Errorf("find overdue messages: %w", err)
	}
	for _, id := range lost {
		if err := w.Queue.Deliver(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// RunScheduler queues the periodic jobs until ctx ends. Exactly one process may run it.
func RunScheduler(ctx context.Context, rdb redis.UniversalClient, log *slog.Logger) error {
	s := asynq.NewSchedulerFromRedisClient(rdb, &asynq.SchedulerOpts{
		Logger:            logger{log},
		HeartbeatInterval: 2 * time.Second,
	})
	sweep := asynq.NewTask(sweepMessages, nil, asynq.MaxRetry(0), asynq.Unique(5*time.Second))
	if _, err := s.Register("@every 5s", sweep); err != nil {
		return fmt.Errorf("register sweep: %w", err)
	}
	if err := s.Start(); err != nil {
		return fmt.Errorf("start scheduler: %w", err)
	}
	log.Info("scheduler started")
	<-ctx.Done()
	s.Shutdown()
	log.Info("scheduler stopped")
	return nil
}

// logger lets the queue library write to our log.
type logger struct{ log *slog.Logger }

func (l logger) Debug(args ...any) { l.log.Debug(fmt.Sprint(args...)) }
func (l logger) Info(args ...any)  { l.log.Info(fmt.Sprint(args...)) }
func (l logger) Warn(args ...any)  { l.log.Warn(fmt.Sprint(args...)) }
func (l logger) Error(args ...any) {
	text := fmt.Sprint(args...)
	if strings.Contains(text, "connection is shared") { // asynq wants to close what is ours; that it cannot is right
		l.log.Debug(text)
		return
	}
	l.log.Error(text)
}
func (l logger) Fatal(args ...any) { l.log.Error(fmt.Sprint(args...)) }
