// Package work is what happens outside of a request: the job queue, its worker and its scheduler.
package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// The kinds of job.
const (
	deliverMessage = "message:deliver"
	sweepMessages  = "messages:sweep"
)

const queueName = "default"

type delivery struct {
	MessageID string `json:"message_id"`
}

// Queue puts jobs in and says how the queue is doing.
type Queue struct {
	client    *asynq.Client
	inspector *asynq.Inspector
}

// Stats is the state of the queue.
type Stats struct {
	Pending, Active, Scheduled, Retry int
	Processed, Failed                 int // since the queue exists
	Workers                           int // live worker processes
	Schedules                         int // entries of live schedulers
}

// NewQueue returns the queue on rdb, which stays the caller's to close.
func NewQueue(rdb redis.UniversalClient) *Queue {
	return &Queue{client: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)}
}

// Deliver asks the worker to send a message. Asking twice for the same message queues it once.
func (q *Queue) Deliver(ctx context.Context, message string) error {
	payload, err := json.Marshal(delivery{MessageID: message})
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(deliverMessage, payload),
		asynq.TaskID("deliver-"+message), asynq.MaxRetry(5), asynq.Timeout(10*time.Second))
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("queue message: %w", err)
	}
	return nil
}

// Stats reads the state of the queue. The inspector takes no context: the Redis client's own timeouts bound it.
func (q *Queue) Stats() (Stats, error) {
	servers, err := q.inspector.Servers()
	if err != nil {
		return Stats{}, fmt.Errorf("list workers: %w", err)
	}
	entries, err := q.inspector.SchedulerEntries()
	if err != nil {
		return Stats{}, fmt.Errorf("list schedules: %w", err)
	}
	s := Stats{Schedules: len(entries)}
	for _, server := range servers {
		if server.Status == "active" {
			s.Workers++
		}
	}
	queues, err := q.inspector.Queues()
	if err != nil {
		return Stats{}, fmt.Errorf("list queues: %w", err)
	}
	if !slices.Contains(queues, queueName) { // nothing was ever queued
		return s, nil
	}
	info, err := q.inspector.GetQueueInfo(queueName)
	if err != nil {
		return Stats{}, fmt.Errorf("read queue: %w", err)
	}
	s.Pending, s.Active, s.Scheduled, s.Retry = info.Pending, info.Active, info.Scheduled, info.Retry
	s.Processed, s.Failed = info.ProcessedTotal, info.FailedTotal
	return s, nil
}
