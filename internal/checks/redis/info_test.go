package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/redis"
)

const password = "correct horse battery"

// server starts a real redis-server on a free port and gives its address.
func server(t *testing.T, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	cmd := exec.Command("redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "Ready to accept connections") {
				ready <- true
			}
		}
		ready <- false
	}()
	if !<-ready {
		t.Fatal("redis-server did not start")
	}
	return "redis://127.0.0.1:" + port
}

// answering is a server that gives the same bytes to every command.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					switch strings.ToLower(strings.TrimSpace(line)) {
					case "hello": // as servers before version 6
						_, _ = io.WriteString(c, "-ERR unknown command 'HELLO'\r\n")
					case "ping":
						_, _ = io.WriteString(c, "+PONG\r\n")
					case "info":
						_, _ = io.WriteString(c, answer)
					case "get": // CONFIG GET
						_, _ = io.WriteString(c, "-ERR unknown command 'CONFIG'\r\n")
					}
				}
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func TestInfo(t *testing.T) {
	broker := server(t, "--maxmemory", "100mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes", "--save", "3600 1")
	open := server(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "0")
	closed := server(t, "--requirepass", password)
	secrets := func(e *check.Env) {
		checktest.SetSecrets(e, checktest.Secrets{"env:PW": password, "env:BAD": "something else"})
	}
	checktest.Run(t, redis.Info, []checktest.Case{
		{Name: "broker", Params: "url: " + broker + "\nrole: broker\nmax_used: 80%\npersistence: [aof, rdb]\nreplication: master", Want: "pass: Redis 7...as expected", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["maxmemory"] != "104857600" || o.Facts["used_share"] == "" || o.Facts["maxmemory_policy"] != "noeviction" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "ping", Params: "url: " + broker + "\nping: true", Want: "pass: ...answers PING"},
		{Name: "expression", Params: "url: " + broker + "\nexpect: connected_clients < 50 && redis_version startsWith \"7\"", Want: "pass: ..."},
		{Name: "expression fails", Params: "url: " + broker + "\nexpect: connected_clients > 50", Want: "fail: ...does not hold: connected_clients > 50"},
		{Name: "expression of nothing", Params: "url: " + broker + "\nexpect: gone != 50", Want: "error: gone (used in gone != 50) was not supplied"},
		{Name: "not a cache", Params: "url: " + broker + "\nrole: cache", Want: "fail: ...the eviction policy is noeviction, want allkeys-lru or ..."},
		{Name: "little room", Params: "url: " + broker + "\nmax_used: 0.1%", Want: "fail: ...of 104857600 bytes are used (...want at most 0.1%"},
		{Name: "small machine", Params: "url: " + broker + "\nmax_of_system: 0.0001%", Want: "fail: ...of the machine's memory..."},
		{Name: "not a broker", Params: "url: " + open + "\nrole: broker", Want: "fail: ...the eviction policy is allkeys-lru, want noeviction; maxmemory is 0..."},
		{Name: "share of no limit", Params: "url: " + open + "\nmax_used: 80%", Want: "fail: ...no memory limit is set (maxmemory is 0)"},
		{Name: "unlimited", Params: "url: " + open + "\nlimited: false", Want: "pass: ..."},
		{Name: "no persistence", Params: "url: " + open + "\npersistence: aof", Want: "fail: ...persistence aof: on false..."},
		{Name: "replica", Params: "url: " + open + "\nreplication: slave", Want: "fail: ...the role is master, want slave"},
		{Name: "no password", Params: closed, Want: "error: ...the server wants a password: set password"},
		{Name: "password", Params: "url: " + closed + "\npassword: env:PW", Env: secrets, Want: "pass: ..."},
		{Name: "wrong password", Params: "url: " + closed + "\npassword: env:BAD", Env: secrets, Want: "error: ...the server refuses the user or password"},
		{Name: "snapshots are off", Params: "url: " + open + "\npersistence: rdb", Want: "fail: ...persistence rdb: on false..."},
		{Name: "nobody", Params: "redis://127.0.0.1:1", Want: "error: ...connection refused"},
		{Name: "no address", Params: "127.0.0.1:1", Want: "problem: ...want redis://host:port..."},
		{Name: "password in the address", Params: "redis://:" + "hidden@h:1", Want: "problem: ...a password belongs in password..."},
		{Name: "ping and replication", Params: "url: redis://h\nping: true\nreplication: slave", Want: "problem: ...ping asks nothing else..."},
		{Name: "ping and a limit", Params: "url: redis://h\nping: true\nlimited: true", Want: "problem: ...ping asks nothing else..."},
		{Name: "ping and more", Params: "url: redis://h\nping: true\nrole: cache", Want: "problem: ...ping asks nothing else..."},
	})
}

func TestInfoBrokenServers(t *testing.T) {
	checktest.Run(t, redis.Info, []checktest.Case{
		{Name: "not INFO", Params: answering(t, bulk("hello")), Want: `error: malformed answer to INFO: "hello"`},
		{Name: "no version", Params: answering(t, bulk("a:1\r\n")), Want: "error: malformed answer to INFO: it names no version"},
		{Name: "empty", Params: answering(t, bulk("")), Want: "error: malformed answer to INFO: it names no version"},
		{Name: "loading", Params: answering(t, bulk("redis_version:7\r\nloading:1\r\n")), Want: "error: the server is still loading its data"},
		{Name: "fields missing", Params: "url: " + answering(t, bulk("redis_version:7\r\nused_memory:1\r\n")) + "\nrole: broker", Want: "error: neither INFO nor CONFIG tells maxmemory_policy"},
		{Name: "NaN", Params: "url: " + answering(t, bulk("redis_version:7\r\nused_memory:nan\r\nmaxmemory:5\r\n")) + "\nmax_used: 80%", Want: "error: malformed answer to INFO: used_memory is \"nan\""},
		{Name: "NaN in an expression", Params: "url: " + answering(t, bulk("redis_version:7\r\nratio:nan\r\n")) + "\nexpect: '!(ratio > 1)'", Want: "error: ...NaN"},
		{Name: "snapshots not known", Params: "url: " + answering(t, bulk("redis_version:7\r\nrdb_last_bgsave_status:ok\r\n")) + "\npersistence: rdb", Want: "error: neither INFO nor CONFIG tells whether snapshots are on"},
		{Name: "snapshots were made", Params: "url: " + answering(t, bulk("redis_version:7\r\nrdb_last_bgsave_status:ok\r\nrdb_saves:3\r\n")) + "\npersistence: rdb", Want: "pass: ..."},
		{Name: "not text", Params: answering(t, "*2\r\n:1\r\n:2\r\n"), Want: "error: ..."},
		{Name: "2 GB announced", Params: answering(t, "$2000000000\r\n"), Want: `error: ...announced a length of "2000000000"`},
		{Name: "overflow announced", Params: answering(t, "$9223372036854775807\r\n"), Want: `error: ...announced a length of "9223372036854775807"`},
		{Name: "list of 1e9", Params: answering(t, "*1000000000\r\n"), Want: `error: ...announced a length of "1000000000"`},
		{Name: "HTTP", Params: answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), Want: "error: ...does not speak the Redis protocol"},
		{Name: "hang", Params: answering(t, ""), Timeout: 100 * time.Millisecond, Want: "error: INFO ...context deadline exceeded"},
		{Name: "answer that hangs", Params: answering(t, "$100\r\nredis_ver"), Timeout: 100 * time.Millisecond, Want: "error: INFO ...context deadline exceeded"},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, redis.Info) }

// TestCancelledMidway proves that a server that hangs is left when the run ends.
func TestCancelledMidway(t *testing.T) {
	inst, problems := checktest.Decode(redis.Info, answering(t, ""), nil)
	if inst == nil {
		t.Fatal(problems)
	}
	env := checktest.NewEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	dial := env.Dial
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		defer time.AfterFunc(20*time.Millisecond, cancel)
		return dial(ctx, network, address)
	}
	start := time.Now()
	if o, err := inst.Runner.Run(ctx, env); err == nil {
		t.Errorf("got %v", o)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}
