// Package config reads the application's settings from the environment.
package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"allclear.dev/allclear/examples/tulia/internal/seal"
)

// Config is what the environment says. Every setting is described in .env.example. The tags tell which variable each field
// comes from.
type Config struct {
	Env           string        `env:"TULIA_ENV"`  // production, staging or development
	Addr          string        `env:"TULIA_ADDR"` // host:port to listen on
	DatabaseURL   string        `env:"DATABASE_URL"`
	DatabaseConns int           `env:"DATABASE_MAX_CONNS"` // size of the connection pool of one process
	RedisURL      string        `env:"REDIS_URL"`
	SecretKey     []byte        `env:"SECRET_KEY"`
	Box           *seal.Box     `env:"ENCRYPTION_KEY"`
	WebhookSecret []byte        `env:"WEBHOOK_SECRET"`
	Debug         bool          `env:"DEBUG"`
	AllowedHosts  []string      `env:"ALLOWED_HOSTS"`
	CORSOrigins   []string      `env:"CORS_ORIGINS"`
	Proxies       []string      `env:"TRUSTED_PROXIES"`    // addresses whose X-Forwarded-For is believed
	LoginLimit    int           `env:"LOGIN_RATE_LIMIT"`   // logins a minute and client address
	Concurrency   int           `env:"WORKER_CONCURRENCY"` // jobs that one worker runs at a time
	LogLevel      string        `env:"LOG_LEVEL"`
	LogFile       string        `env:"LOG_FILE"`
	FaultAfter    string        `env:"TULIA_FAULT_AFTER"` // v3 only
	Shutdown      time.Duration `env:"SHUTDOWN_TIMEOUT"`
	Email         Email
}

// Email is the mail server. An empty Host means that mail is off.
type Email struct {
	Host     string `env:"EMAIL_HOST"`
	Port     string `env:"EMAIL_PORT"`
	User     string `env:"EMAIL_USER"`
	Password string `env:"EMAIL_PASSWORD"`
	From     string `env:"EMAIL_FROM"`
}

// Load reads the settings, first from the environment and then from envFile (lines NAME=VALUE; "" is none).
// The error names every setting that is missing or wrong, and never a value.
func Load(envFile string, getenv func(string) string) (Config, error) {
	file, err := readEnvFile(envFile)
	if err != nil {
		return Config{}, err
	}
	r := reader{lookup: func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return file[name]
	}}
	c := Config{
		Env:           r.oneOf("TULIA_ENV", "production", "staging", "development"),
		Addr:          r.text("TULIA_ADDR", "127.0.0.1:8000"),
		DatabaseURL:   r.required("DATABASE_URL"),
		DatabaseConns: r.number("DATABASE_MAX_CONNS", 10),
		RedisURL:      r.required("REDIS_URL"),
		SecretKey:     r.key("SECRET_KEY"),
		WebhookSecret: r.key("WEBHOOK_SECRET"),
		Debug:         r.boolean("DEBUG"),
		AllowedHosts:  r.list("ALLOWED_HOSTS"),
		CORSOrigins:   r.list("CORS_ORIGINS"),
		Proxies:       r.list("TRUSTED_PROXIES"),
		LoginLimit:    r.number("LOGIN_RATE_LIMIT", 5),
		Concurrency:   r.number("WORKER_CONCURRENCY", 4),
		LogLevel:      r.text("LOG_LEVEL", "info"),
		LogFile:       r.text("LOG_FILE", ""),
		FaultAfter:    r.text("TULIA_FAULT_AFTER", "30s"),
		Shutdown:      r.duration("SHUTDOWN_TIMEOUT", 4*time.Second),
		Email: Email{
			Host: r.text("EMAIL_HOST", ""), Port: r.text("EMAIL_PORT", "587"), User: r.text("EMAIL_USER", ""),
			Password: r.text("EMAIL_PASSWORD", ""), From: r.text("EMAIL_FROM", ""),
		},
	}
	if key := r.required("ENCRYPTION_KEY"); key != "" {
		if c.Box, err = seal.New(key); err != nil {
			r.wrong("ENCRYPTION_KEY", err.Error())
		}
	}
	r.checkTogether(c)
	return c, errors.Join(r.problems...)
}

// checkTogether finds what only the combination of settings makes wrong.
func (r *reader) checkTogether(c Config) {
	if len(c.AllowedHosts) == 0 {
		r.wrong("ALLOWED_HOSTS", "is not set")
	}
	if c.Env != "production" {
		return
	}
	if c.Debug {
		r.wrong("DEBUG", "must be false in production")
	}
	for _, h := range c.AllowedHosts {
		if h == "*" {
			r.wrong("ALLOWED_HOSTS", "must not be * in production")
		}
	}
	for _, o := range c.CORSOrigins {
		if o == "*" {
			r.wrong("CORS_ORIGINS", "must not be * in production")
		}
	}
	if bytes.Equal(c.SecretKey, c.WebhookSecret) && c.SecretKey != nil {
		r.wrong("WEBHOOK_SECRET", "must differ from SECRET_KEY")
	}
}

func readEnvFile(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open settings: %w", err)
	}
	defer f.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("read settings %s: a line has no =", path)
		}
		values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return values, nil
}
