package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"allclear.dev/allclear/examples/tulia/internal/config"
	"allclear.dev/allclear/examples/tulia/internal/seed"
	"allclear.dev/allclear/examples/tulia/internal/store"
	"allclear.dev/allclear/examples/tulia/internal/web"
	"allclear.dev/allclear/examples/tulia/internal/work"
	"allclear.dev/allclear/examples/tulia/migrations"
)

// app is what all long-running commands share.
type app struct {
	cfg   config.Config
	log   *slog.Logger
	db    *store.Store
	redis *redis.Client
	queue *work.Queue
	file  *os.File // the log file, if there is one
}

// open reads the settings and prepares, but does not need, the database and Redis.
func open(ctx context.Context, envFile string) (*app, error) {
	cfg, err := config.Load(envFile, os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	a := &app{cfg: cfg}
	if err := a.openLog(); err != nil {
		return nil, err
	}
	if a.db, err = store.Open(ctx, cfg.DatabaseURL, cfg.DatabaseConns); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(cfg.RedisURL)
	if err != nil {
		return nil, errors.New("REDIS_URL is malformed") // the error may hold the password
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = time.Second, time.Second, time.Second
	options.MaxRetries = 1
	options.ClientName = "tulia"
	a.redis = redis.NewClient(options)
	a.queue = work.NewQueue(a.redis)
	return a, nil
}

func (a *app) openLog() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.cfg.LogLevel)); err != nil {
		return fmt.Errorf("settings: LOG_LEVEL is none of debug, info, warn, error")
	}
	out := os.Stdout
	if a.cfg.LogFile != "" {
		file, err := os.OpenFile(a.cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		a.file, out = file, file
	}
	handler := slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	a.log = slog.New(handler).With("version", version)
	return nil
}

func (a *app) close() {
	_ = a.redis.Close() // nothing is left to be lost
	a.db.Close()
	if a.file != nil {
		_ = a.file.Close()
	}
}

// web serves until ctx ends, then takes no new connection and finishes the requests that run.
func (a *app) web(ctx context.Context) error {
	needed, err := migrations.Needed()
	if err != nil {
		return err
	}
	s := &web.Server{
		Config: a.cfg, Store: a.db, Redis: a.redis, Queue: a.queue, Log: a.log.With("service", "web"),
		Version: version, Revision: revision, Schema: needed, Now: time.Now,
	}
	handler, err := s.Handler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", a.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	a.log.Info("web started", "addr", listener.Addr().String(), "revision", revision)
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.Background(), a.cfg.Shutdown)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	a.log.Info("web stopped")
	return nil
}

func (a *app) worker(ctx context.Context) error {
	w := &work.Worker{
		Store: a.db, Queue: a.queue, Box: a.cfg.Box, Log: a.log.With("service", "worker"),
		Concurrency: a.cfg.Concurrency, Shutdown: a.cfg.Shutdown,
	}
	return w.Run(ctx, a.redis)
}

func (a *app) scheduler(ctx context.Context) error {
	return work.RunScheduler(ctx, a.redis, a.log.With("service", "scheduler"))
}

// minPassword is NIST SP 800-63B's least length where the password is the only factor.
const minPassword = 15

func (a *app) seed(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("seed", flag.ContinueOnError)
	orders := flags.Int("orders", 300, "orders per tenant")
	if err := flags.Parse(args); err != nil {
		return err
	}
	password := os.Getenv("TULIA_SEED_PASSWORD")
	if len(password) < minPassword {
		return fmt.Errorf("TULIA_SEED_PASSWORD is shorter than %d characters", minPassword)
	}
	result, err := seed.Run(ctx, a.db, a.cfg.Box, password, *orders, time.Now())
	if err != nil {
		return err
	}
	pretty := json.NewEncoder(out)
	pretty.SetIndent("", "  ")
	return pretty.Encode(result)
}

// email sends one mail through the configured server, to show that it works.
func (a *app) email(args []string) error {
	e := a.cfg.Email
	if len(args) != 1 {
		return errors.New("usage: tulia email ADDRESS")
	}
	if e.Host == "" || e.From == "" {
		return errors.New("EMAIL_HOST and EMAIL_FROM are not set")
	}
	var auth smtp.Auth
	if e.User != "" {
		auth = smtp.PlainAuth("", e.User, e.Password, e.Host)
	}
	text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: Tulia test mail\r\n\r\nSent by tulia %s.\r\n", e.From, args[0], version)
	if err := smtp.SendMail(net.JoinHostPort(e.Host, e.Port), auth, e.From, args, []byte(text)); err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}
