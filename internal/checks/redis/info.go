// Package redis holds the types that look at a Redis server.
package redis

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/redis"
	"allclear.dev/allclear/internal/secret"
)

//go:embed info.md
var infoDoc string

// Info is the type redis.info.
var Info = check.Define[info](check.Desc{
	Name:    "redis.info",
	Summary: "the Redis server answers, and its memory, persistence and role are as they must be",
	Doc:     infoDoc,
})

type info struct {
	URL         string           `param:"url,short" doc:"redis:// or rediss:// address, with the database's number, without a password"`
	Username    string           `param:"username" doc:"ACL user" default:""`
	Password    secret.Ref       `param:"password" doc:"password" default:""`
	Role        string           `param:"role" doc:"what the server is for: a broker must never drop keys, a cache must" default:"" enum:"broker,cache"`
	Policy      []string         `param:"policy" doc:"eviction policies that are right" default:""`
	Limited     *bool            `param:"limited" doc:"whether there must be a memory limit (maxmemory above 0)" default:""`
	MaxUsed     check.Share      `param:"max_used" doc:"largest acceptable share of maxmemory in use" default:""`
	MaxOfSystem check.Share      `param:"max_of_system" doc:"largest acceptable maxmemory as a share of the machine's memory" default:""`
	Replication string           `param:"replication" doc:"role in replication" default:"" enum:"master,slave"`
	Persistence []string         `param:"persistence" doc:"what must be on, and its last write good: aof, rdb" default:""`
	Ping        bool             `param:"ping" doc:"only ask whether the server answers" default:"false"`
	Expect      check.Expression `param:"expect" doc:"condition over the fields of INFO (connected_clients < 500)" default:""`
}

// Validate holds the rules between the parameters.
func (p *info) Validate() error {
	if err := p.server().Check(); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for _, kind := range p.Persistence {
		if kind != "aof" && kind != "rdb" {
			return fmt.Errorf("persistence: want aof or rdb, got %q", kind)
		}
	}
	if p.Ping && (p.Role != "" || p.Policy != nil || p.MaxUsed > 0 || p.MaxOfSystem > 0 || p.Persistence != nil || p.Limited != nil || p.Replication != "" || !p.Expect.IsZero()) {
		return errors.New("ping asks nothing else; leave it out")
	}
	return nil
}

// Traits says which server is asked.
func (p *info) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "asks " + p.URL + " for its state", Target: p.URL,
	}
}

// Run asks the server and judges what it says.
func (p *info) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	conn, err := p.server().Connect(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	defer conn.Close()
	if err := conn.Ping(ctx).Err(); err != nil {
		return check.Outcome{}, p.server().Explain(ctx, "ping", err)
	}
	if p.Ping {
		return check.Passf("%s answers PING", p.URL), ctx.Err()
	}
	text, err := conn.Info(ctx).Result()
	if err != nil {
		return check.Outcome{}, p.server().Explain(ctx, "INFO", err)
	}
	fields, err := parse(text)
	if err != nil {
		return check.Outcome{}, err
	}
	for _, name := range []string{"maxmemory", "maxmemory_policy"} {
		if _, found := fields[name]; found {
			continue
		}
		// Versions before 4 do not have it in INFO; managed servers block CONFIG.
		setting := strings.ReplaceAll(name, "_", "-")
		if values, err := conn.ConfigGet(ctx, setting).Result(); err == nil && values[setting] != "" {
			fields[name] = values[setting]
		}
	}
	if slices.Contains(p.Persistence, "rdb") {
		// INFO does not tell whether snapshots are made at all: the last one is "ok"
		// on a server that never makes any.
		if values, err := conn.ConfigGet(ctx, "save").Result(); err == nil {
			if schedule, told := values["save"]; told {
				fields[saveSetting] = schedule
			}
		}
	}
	return p.judge(fields)
}

// saveSetting is the name, which no field of INFO has, of the setting "save".
const saveSetting = "config.save"

// snapshots tells whether the server writes snapshots: by its setting or, where
// that is not told, because it has written some since it was started.
func snapshots(fields map[string]string) (bool, error) {
	if schedule, told := fields[saveSetting]; told {
		return strings.TrimSpace(schedule) != "", nil
	}
	if saves, err := number(fields, "rdb_saves"); err == nil && saves > 0 {
		return true, nil
	}
	return false, errors.New("neither INFO nor CONFIG tells whether snapshots are on")
}

func (p *info) server() redis.Server {
	return redis.Server{URL: p.URL, Username: p.Username, Password: p.Password}
}

// parse reads the answer of INFO: lines "name:value", and comments.
func parse(text string) (map[string]string, error) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("malformed answer to INFO: %.60q", line)
		}
		fields[name] = value
	}
	if fields["redis_version"] == "" {
		return nil, errors.New("malformed answer to INFO: it names no version")
	}
	if fields["loading"] == "1" {
		return nil, errors.New("the server is still loading its data")
	}
	return fields, nil
}

// shown are the fields kept as facts.
func shown() []string {
	return []string{
		"redis_version", "role", "maxmemory", "maxmemory_policy", "used_memory", "used_memory_peak", "total_system_memory",
		"evicted_keys", "rejected_connections", "connected_clients", "aof_enabled", "aof_last_write_status",
		"rdb_last_bgsave_status", "rdb_last_save_time", "uptime_in_seconds",
	}
}

// number reads a field that must be a whole number.
func number(fields map[string]string, name string) (int64, error) {
	text, found := fields[name]
	if !found {
		return 0, fmt.Errorf("neither INFO nor CONFIG tells %s", name)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("malformed answer to INFO: %s is %.40q", name, text)
	}
	return n, nil
}

// judge applies the rules; the first that is broken is the reason.
func (p *info) judge(fields map[string]string) (check.Outcome, error) {
	facts := map[string]string{}
	for _, name := range shown() {
		if value, found := fields[name]; found {
			facts[name] = value
		}
	}
	misses, err := p.rules(fields, facts)
	if err != nil {
		return check.Outcome{}, err
	}
	o := check.Passf("Redis %s at %s is as expected", fields["redis_version"], p.URL)
	if len(misses) > 0 {
		o = check.Failf("%s: %s", p.URL, strings.Join(misses, "; "))
	}
	o.Facts = facts
	return o, nil
}

func (p *info) rules(fields, facts map[string]string) ([]string, error) {
	var misses []string
	miss := func(format string, args ...any) { misses = append(misses, fmt.Sprintf(format, args...)) }
	policies, limited := p.Policy, p.Limited
	if p.Role != "" && limited == nil {
		limited = new(bool)
		*limited = true
	}
	if p.Role == "broker" && policies == nil {
		policies = []string{"noeviction"}
	}
	if p.Role == "cache" && policies == nil {
		policies = []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "volatile-lrm"}
	}
	if policies != nil {
		policy, found := fields["maxmemory_policy"]
		if !found {
			return nil, errors.New("neither INFO nor CONFIG tells maxmemory_policy")
		}
		if !slices.Contains(policies, policy) {
			miss("the eviction policy is %s, want %s", policy, strings.Join(policies, " or "))
		}
	}
	if err := p.memory(fields, facts, limited, miss); err != nil {
		return nil, err
	}
	if p.Replication != "" && fields["role"] != p.Replication {
		miss("the role is %s, want %s", fields["role"], p.Replication)
	}
	for _, kind := range p.Persistence {
		on, good := fields["aof_enabled"] == "1", fields["aof_last_write_status"]
		if kind == "rdb" {
			var err error
			if on, err = snapshots(fields); err != nil {
				return nil, err
			}
			good = fields["rdb_last_bgsave_status"]
		}
		if good == "" && on {
			return nil, fmt.Errorf("INFO does not tell the state of %s", kind)
		}
		if !on || good != "ok" {
			miss("persistence %s: on %t, last write %q", kind, on, good)
		}
	}
	if !p.Expect.IsZero() {
		held, err := p.Expect.Eval(scope(fields))
		if err != nil {
			return nil, err
		}
		if !held {
			miss("does not hold: %s", p.Expect)
		}
	}
	return misses, nil
}

// memory judges the limit and what is used of it.
func (p *info) memory(fields, facts map[string]string, limited *bool, miss func(string, ...any)) error {
	if limited == nil && p.MaxUsed == 0 && p.MaxOfSystem == 0 {
		return nil
	}
	limit, err := number(fields, "maxmemory")
	if err != nil {
		return err
	}
	used, err := number(fields, "used_memory")
	if err != nil {
		return err
	}
	if limit > 0 {
		facts["used_share"] = fmt.Sprintf("%.1f%%", 100*float64(used)/float64(limit))
	}
	switch {
	case limited != nil && *limited != (limit > 0):
		miss("maxmemory is %d, so a limit is set: %t, want %t", limit, limit > 0, *limited)
	case limit == 0 && (p.MaxUsed > 0 || p.MaxOfSystem > 0):
		miss("no memory limit is set (maxmemory is 0)")
	}
	if share := float64(used) / float64(max(limit, 1)); p.MaxUsed > 0 && limit > 0 && share > float64(p.MaxUsed) {
		miss("%d of %d bytes are used (%.1f%%), want at most %.1f%%", used, limit, 100*share, 100*float64(p.MaxUsed))
	}
	if p.MaxOfSystem > 0 && limit > 0 {
		system, err := number(fields, "total_system_memory")
		if err != nil {
			return err
		}
		if share := float64(limit) / float64(max(system, 1)); share > float64(p.MaxOfSystem) {
			miss("maxmemory is %.1f%% of the machine's memory, want at most %.1f%%", 100*share, 100*float64(p.MaxOfSystem))
		}
	}
	return nil
}

// scope gives INFO's fields to an expression: whole numbers and fractions as
// numbers, everything else as text.
func scope(fields map[string]string) map[string]any {
	out := map[string]any{}
	for name, value := range fields {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			out[name] = int(n)
		} else if f, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = f
		} else {
			out[name] = value
		}
	}
	return out
}
