package config

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func complete() map[string]string {
	return map[string]string{
		"DATABASE_URL": "postgres://h/d", "REDIS_URL": "redis://h", "ALLOWED_HOSTS": "a.example, .b.example",
		"SECRET_KEY": strings.Repeat("s", 32), "WEBHOOK_SECRET": strings.Repeat("w", 32),
		"ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}
}

func TestLoad(t *testing.T) {
	env := complete()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\nLOG_LEVEL=\"warn\"\nDATABASE_URL=ignored\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if c.Env != "production" || c.LogLevel != "warn" || c.DatabaseURL != "postgres://h/d" || c.LoginLimit != 5 ||
		!reflect.DeepEqual(c.AllowedHosts, []string{"a.example", ".b.example"}) {
		t.Errorf("Load = %+v", c)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, bad := range map[string]struct{ setting, value, want string }{
		"nothing":      {"DATABASE_URL", "", "DATABASE_URL is not set"},
		"debug":        {"DEBUG", "True", "DEBUG must be false"},
		"not a bool":   {"DEBUG", "perhaps", "DEBUG is neither"},
		"any host":     {"ALLOWED_HOSTS", "*", "ALLOWED_HOSTS must not"},
		"no host":      {"ALLOWED_HOSTS", " , ", "ALLOWED_HOSTS is not set"},
		"any origin":   {"CORS_ORIGINS", "*", "CORS_ORIGINS must not"},
		"same keys":    {"WEBHOOK_SECRET", strings.Repeat("s", 32), "WEBHOOK_SECRET must differ"},
		"short key":    {"SECRET_KEY", "s", "SECRET_KEY is shorter"},
		"weak box":     {"ENCRYPTION_KEY", "c2hvcnQ=", "ENCRYPTION_KEY key has 5 bytes"},
		"no number":    {"WORKER_CONCURRENCY", "many", "WORKER_CONCURRENCY is not"},
		"no duration":  {"SHUTDOWN_TIMEOUT", "-1s", "SHUTDOWN_TIMEOUT is not"},
		"unknown name": {"TULIA_ENV", "prod", "TULIA_ENV is none of production"},
	} {
		t.Run(name, func(t *testing.T) {
			env := complete()
			env[bad.setting] = bad.value
			if _, err := Load("", func(n string) string { return env[n] }); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("got %v, want %q", err, bad.want)
			}
		})
	}
}

func TestLoadRefusesFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("a secret without a name\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, os.Getenv); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// TestExampleIsComplete holds .env.example to the settings that the code reads.
func TestExampleIsComplete(t *testing.T) {
	asked := map[string]bool{}
	env := complete()
	if _, err := Load("", func(name string) string { asked[name] = true; return env[name] }); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var described []string
	for in := bufio.NewScanner(f); in.Scan(); {
		if m := regexp.MustCompile(`^([A-Z_]+)=`).FindStringSubmatch(in.Text()); m != nil {
			described = append(described, m[1])
		}
	}
	for name := range asked {
		if !slices.Contains(described, name) {
			t.Errorf(".env.example lacks %s", name)
		}
	}
	if len(described) != len(asked) {
		t.Errorf(".env.example has %d settings, the code reads %d", len(described), len(asked))
	}
}

// TestTags holds that the tags name exactly the variables that are read.
func TestTags(t *testing.T) {
	read, tags := map[string]bool{}, map[string]bool{}
	_, _ = Load("", func(name string) string { read[name] = true; return "" })
	for _, from := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Email]()} {
		for i := range from.NumField() {
			if name := from.Field(i).Tag.Get("env"); name != "" {
				tags[name] = true
			}
		}
	}
	if !maps.Equal(read, tags) {
		t.Errorf("read are %v, tagged %v", read, tags)
	}
}
