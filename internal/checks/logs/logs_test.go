package logs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/logs"
	"allclear.dev/allclear/internal/rest/resttest"
)

// now is the time in these tests.
func now() time.Time { return time.Date(2026, 3, 1, 14, 30, 0, 0, time.UTC) }

func atNow(e *check.Env) {
	checktest.SetSecrets(e, checktest.Secrets{"env:TOKEN": "log-token-1", "env:PASSWORD": "log-password-1"})
	e.Now, e.Run.StartedAt = now, now().Add(-time.Hour)
	e.Ledger = &checktest.Ledger{Facts: map[string]string{"deploy.started_at": "2026-03-01T14:10:00Z"}}
}

// file writes a log that was last written to at a time.
func file(t *testing.T, path, text string, at time.Time) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

const application = `2026-02-28 20:00:00,000 INFO app: started
2026-02-28 20:00:01,000 ERROR app: payment 17 of eve@example.com failed
2026-02-28 20:00:02,000 ERROR app: payment 18 of eve@example.com failed
2026-03-01 14:09:59,999 ERROR app: before the deployment
2026-03-01 14:12:00,000 INFO app: request 1
2026-03-01 14:12:01,000 ERROR app: payment 4711 of adam@example.com failed
2026-03-01 14:12:02,000 ERROR app: Internal Server Error: /v1/orders
Traceback (most recent call last):
  File "orders.py", line 7, in get
django.db.utils.OperationalError: too many connections for role "api"
2026-03-01 14:12:03,000 WARNING app: slow
2026-03-01 14:31:00,000 ERROR app: after now
`

const accessLog = `192.0.2.1 - - [01/Mar/2026:14:20:00 +0000] "GET /v1/orders?page=2 HTTP/1.1" 200 512 "-" "shop-app/2.1"
192.0.2.2 - eve [01/Mar/2026:14:20:01 +0000] "GET /v1/orders HTTP/1.1" 502 17 "-" "shop-app/1.9"
192.0.2.3 - - [01/Mar/2026:15:20:02 +0100] "POST /v1/orders HTTP/1.1" 201 17 "-" "shop-app/2.1"
192.0.2.3 - - [01/Mar/2026:14:20:03 +0000] "POST /v1/orders HTTP/1.1" 201 17 "-" "shop-app/2.1"
`

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	app := file(t, filepath.Join(dir, "app.log"), application, now())
	web := file(t, filepath.Join(dir, "access.log"), accessLog, now())
	jsonl := file(t, filepath.Join(dir, "json.log"), `{"ts":1772374800.5,"level":"info","msg":"one"}
{"time":"2026-03-01T14:21:00Z","level":"error","msg":"cannot reach redis at 10.0.0.7:6379","ctx":{"tenant":"a"}}
{"timestamp":1772374862000,"severity":"ERROR","msg":"cannot reach redis at 10.0.0.8:6379","ctx":{"tenant":"b"}}
`, now())
	plain := file(t, filepath.Join(dir, "plain.log"), "2026-03-01T14:20:00Z all is well\n", now())
	errorLog := file(t, filepath.Join(dir, "error.log"), "2026/03/01 15:20:00 [error] 7#7: *1 upstream timed out\n2026/03/01 15:20:00 [warn] 7#7: x\n", now())
	syslog := file(t, filepath.Join(dir, "syslog"), "Mar  1 14:20:00 web-1 app[7]: level=error msg=full\nDec 31 23:00:00 web-1 app[7]: level=error msg=old\n", now())
	logfmt := file(t, filepath.Join(dir, "logfmt.log"), "ts=2026-03-01T14:20:00.123Z caller=main.go:1 level=info msg=up\ntime=\"2026-03-01 14:20:01\" level=warn msg=slow\n", now())
	odd := file(t, filepath.Join(dir, "odd.log"), "no time here\n", now())
	empty := file(t, filepath.Join(dir, "empty.log"), "", now())
	old := file(t, filepath.Join(dir, "rotated.log"), "2026-03-01T14:25:00Z INFO new file\n", now())
	file(t, old+".1", "2026-03-01T14:15:00Z ERROR in the old file\n", now().Add(-10*time.Minute))
	file(t, old+".2", "2026-03-01T14:20:00Z ERROR long ago put aside\n", now().Add(-time.Hour))
	packed := file(t, filepath.Join(dir, "packed.log"), "2026-03-01T14:25:00Z INFO new file\n", now())
	file(t, packed+"-20260301.gz", "x", now().Add(-10*time.Minute))
	const gunicorn = "[2026-03-01 14:20:00 +0000] [7] [INFO] Booting worker\n"
	west := file(t, filepath.Join(dir, "west.log"), gunicorn+"2026-03-01 08:20:05,000 ERROR app: in Chicago\n", now())
	east := file(t, filepath.Join(dir, "east.log"), gunicorn+"2026-03-01 15:25:05,000 ERROR app: in Berlin\n", now())
	local := file(t, filepath.Join(dir, "local.log"), "2026-03-01 08:25:05,000 ERROR app: in Chicago\n", now())
	untimed := file(t, filepath.Join(dir, "untimed.log"), "2026-02-01T00:00:00Z INFO up\nTraceback (most recent call last):\nKeyError: 7\n", now())
	quiet := file(t, filepath.Join(dir, "quiet.log"), "2026-02-01T00:00:00Z ERROR long ago\n", now().Add(-time.Hour))
	p := func(path, more string) string { return "{files: '" + path + "', " + more + "}" }
	checktest.Run(t, logs.Query, []checktest.Case{
		{Name: "errors since the deployment", Params: p(app, "since: deploy.started_at, level: error"), Env: atNow, Want: "fail: 2 lines of level error or above, at most 0 accepted (4 lines in all): 2026-03-01 14:12:01,000 ERROR app: payment 4711...", Check: facts("lines", "4", "count", "2", "since", "2026-03-01T14:10:00Z", "kind.01", "1 x error: <n> ERROR app: payment <n> of <mail> failed")},
		{Name: "a traceback is one line", Params: p(app, "since: deploy.started_at, pattern: ['OperationalError', 'Traceback']"), Env: atNow, Want: "fail: 1 lines like \"OperationalError\" like \"Traceback\", at most 0...", Check: facts("kind.01", "1 x error: <n> ERROR app: Internal Server Error: /v<n>/orders … django.db.utils.OperationalError: too many connections for role <text>")},
		{Name: "ignored", Params: p(app, "since: deploy.started_at, level: error, ignore: ['payment \\d+', 'OperationalError']"), Env: atNow, Want: "pass: 0 lines of level error or above, at most 0 accepted (4 lines in all)"},
		{Name: "only what is new", Params: p(app, "since: deploy.started_at, level: error, new_signatures: 0, baseline: {window: 24h}"), Env: atNow, Want: "fail: 1 new kinds among 2 lines of level error or above, at most 0 accepted (4 lines in all): ...Internal Server Error...", Check: facts("before.lines", "4", "before.count", "3")},
		{Name: "one new kind is accepted", Params: p(app, "since: deploy.started_at, level: error, new_signatures: 1"), Env: atNow, Want: "pass: 1 new kinds among 2..."},
		{Name: "more often than before", Params: p(app, "since: deploy.started_at, level: error, ratio: 2"), Env: atNow, Want: "fail: 0.1 lines of level error or above a minute, 0.00208 in the time before, at most 2 times as many accepted..."},
		{Name: "few are accepted", Params: p(app, "since: deploy.started_at, level: error, ratio: 2, floor: 2"), Env: atNow, Want: "pass: ..."},
		{Name: "nothing before", Params: p(app, "since: deploy.started_at, level: error, ratio: 2, baseline: {before: '2026-02-28T00:00:00Z'}"), Env: atNow, Want: "error: the time before: 0 lines of any kind from 2026-02-27T00:00:00Z..."},
		{Name: "none like it before", Params: p(app, "since: deploy.started_at, pattern: Traceback, ratio: 2"), Env: atNow, Want: "error: ...no ratio to nothing..."},
		{Name: "share of old clients", Params: p(web, "pattern: ['shop-app/1[.]'], max_share: 1%, group_by: agent"), Env: atNow, Want: "fail: 25 % of the lines are lines like \"shop-app/1[.]\" (1 of 4), at most 1 % accepted...", Check: facts("group.01", "1 x shop-app/1.9")},
		{Name: "share of server errors", Params: p(web, "pattern: ['\" 5\\d\\d '], max_share: 0.5, group_by: path"), Env: atNow, Want: "pass: 25 % of the lines...", Check: facts("group.01", "1 x /v1/orders")},
		{Name: "JSON", Params: p(jsonl, "level: error, group_by: ctx.tenant, max: 2"), Env: atNow, Want: "pass: 2 lines of level error or above, at most 2 accepted (3 lines in all)", Check: facts("kind.01", "2 x error: cannot reach redis at <n>", "group.02", "1 x b")},
		{Name: "a web server's error log in its time zone", Params: "{files: {paths: ['" + errorLog + "'], zone: Europe/Berlin}, level: error}", Env: atNow, Want: "fail: 1 lines of level error or above...(2 lines in all): 2026/03/01 15:20:00 [error]..."},
		{Name: "syslog", Params: p(syslog, "level: error, since: 24h"), Env: atNow, Want: "fail: 1 lines of level error..."},
		{Name: "logfmt", Params: p(logfmt, "level: warning, group_by: file"), Env: atNow, Want: "fail: 1 lines of level warning or above, at most 0 accepted (2 lines in all): time=\"2026-03-01 14:20:01\" level=warn..."},
		{Name: "a rotated file", Params: p(old, "level: error"), Env: atNow, Want: "fail: 1 lines of level error or above, at most 0 accepted (2 lines in all): 2026-03-01T14:15:00Z ERROR in the old file"},
		{Name: "a rotated file that is compressed", Params: p(packed, "level: error"), Env: atNow, Want: "error: a part of the time since 2026-03-01T14:15:00Z is in ...packed.log-20260301.gz, which is compressed..."},
		{Name: "kept for long", Params: p(app, "since: deploy.started_at, pattern: nothing, retention: 12h"), Env: atNow, Want: "pass: ...", Check: facts("retention.lines", "3")},
		{Name: "not kept for long", Params: p(app, "since: deploy.started_at, pattern: nothing, retention: 336h"), Env: atNow, Want: "fail: nothing is there of the day before 2026-02-15T14:30:00Z"},
		{Name: "no line says its level", Params: p(plain, "level: error"), Env: atNow, Want: "error: none of 1 lines says how serious it is..."},
		{Name: "two time zones", Params: p(west, "level: error"), Env: atNow, Want: "error: ...west.log: after 2026-03-01T14:20:00Z comes 2026-03-01T08:20:05Z: lines are in another time zone (zone says in which), or a clock was set"},
		{Name: "two time zones, said in which", Params: "{files: {paths: ['" + west + "'], zone: America/Chicago}, level: error}", Env: atNow, Want: "fail: 1 lines of level error or above, at most 0 accepted (2 lines in all): 2026-03-01 08:20:05..."},
		{Name: "a later time zone", Params: p(east, "level: error"), Env: atNow, Want: "error: ...east.log: 2026-03-01T15:25:05Z is not yet: lines are in another time zone..."},
		{Name: "one of the files in another time zone", Params: "{files: ['" + plain + "', '" + local + "'], level: error}", Env: atNow, Want: "error: ...local.log: was written to at 2026-03-01T14:30:00Z, but its newest line with a time is of 2026-03-01T08:25:05Z: what came since has no time, or lines are in another time zone..."},
		{Name: "what came has no time", Params: "{files: ['" + plain + "', '" + untimed + "'], pattern: KeyError}", Env: atNow, Want: "error: ...untimed.log: was written to at ..."},
		{Name: "one of the files is quiet", Params: "{files: ['" + plain + "', '" + quiet + "'], pattern: ERROR}", Env: atNow, Want: "pass: ..."},
		{Name: "no times", Params: p(odd, "level: error"), Env: atNow, Want: "error: ...odd.log: no line has a time that is known..."},
		{Name: "nothing logged", Params: p(empty, "level: error"), Env: atNow, Want: "error: 0 lines of any kind from 2026-03-01T14:15:00Z to 2026-03-01T14:30:00Z in the files ..., at least 1 wanted..."},
		{Name: "too little logged", Params: p(app, "since: deploy.started_at, level: error, min_lines: 5"), Env: atNow, Want: "error: 4 lines of any kind..."},
		{Name: "no file", Params: p(dir+"/none.log", "level: error"), Env: atNow, Want: "error: there is no file ...none.log"},
		{Name: "a fact nobody supplied", Params: p(app, "since: rollback.started_at"), Env: atNow, Want: "error: rollback.started_at was not supplied"},
		{Name: "the time before overlaps", Params: p(app, "since: 30m, new_signatures: 0, baseline: {before: 5m}"), Env: atNow, Want: "error: baseline: the time before 2026-03-01T14:25:00Z overlaps..."},
		{Name: "no source", Params: "{level: error}", Want: "problem: ...name one source..."},
		{Name: "two sources", Params: "{docker: [a], files: b}", Want: "problem: ...name one source..."},
		{Name: "a file that is an option", Params: p("-rf", "max: 0"), Want: "problem: ...\"-rf\" is no path..."},
		{Name: "no regular expression", Params: p("a", "pattern: '('"), Want: "problem: ...pattern: ...missing closing )..."},
		{Name: "no level", Params: p("a", "level: bad"), Want: "problem: ...want trace, debug, info..."},
		{Name: "no lines are no proof", Params: p("a", "min_lines: 0"), Want: "problem: ...min_lines: want at least 1..."},
		{Name: "no zone", Params: "{files: {paths: [a], zone: Here}}", Want: "problem: ...is no time zone..."},
		{Name: "a share of everything", Params: p("a", "max_share: 1%"), Want: "problem: ...max_share goes with pattern or level..."},
		{Name: "a baseline for nothing", Params: p("a", "baseline: {window: 1h}"), Want: "problem: ...baseline goes with..."},
	})
}

// host stands in for one with the programs: each argument vector that is not in
// the table fails the test.
type host struct {
	check.Host
	t       *testing.T
	results map[string]check.Result
}

func (h *host) Name() string { return "web-1" }

func (h *host) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	argv := strings.Join(c.Argv, " ")
	r, ok := h.results[argv]
	if !ok {
		h.t.Errorf("nobody expects %s", argv)
	}
	return r, nil
}

func on(t *testing.T, argv string, r check.Result) func(*check.Env) {
	return func(e *check.Env) {
		atNow(e)
		e.Host = func(name string) (check.Host, error) {
			if name != "web-1" {
				return nil, fmt.Errorf("unknown host %q", name)
			}
			return &host{t: t, results: map[string]check.Result{argv: r}}, nil
		}
	}
}

// rotating is this machine with files that are put aside while one is read.
type rotating struct {
	check.Host
	aside func()
}

func (r *rotating) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	r.aside()
	return r.Host.Exec(ctx, c)
}

func TestFilesRotatedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2026-03-01T14:20:00Z ERROR MISCONF\n")
	e := checktest.NewEnv(t)
	atNow(e)
	local, err := e.Host("")
	if err != nil {
		t.Fatal(err)
	}
	e.Host = func(string) (check.Host, error) {
		return &rotating{local, func() {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Error(err)
			}
			write("2026-03-01T14:25:00Z INFO started\n")
		}}, nil
	}
	inst, problems := checktest.Decode(logs.Query, "{files: '"+path+"', pattern: MISCONF}", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	if o, err := inst.Runner.Run(t.Context(), e); err == nil || !strings.Contains(err.Error(), "rotated while they were read") {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestPrograms(t *testing.T) {
	const journalctl = "journalctl --output=json --all --no-pager --since=@1772374500 --until=@1772375401 --unit=api.service --unit=worker@1.service"
	// As journalctl of systemd 252 prints it, shortened.
	const entries = `{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1772374560000123","PRIORITY":"6","_SYSTEMD_UNIT":"api.service","SYSLOG_IDENTIFIER":"gunicorn","_PID":"7","MESSAGE":"[2026-03-01 14:16:00 +0000] [7] [INFO] Booting worker"}
{"__REALTIME_TIMESTAMP":"1772374561000000","PRIORITY":"3","_SYSTEMD_UNIT":"api.service","MESSAGE":"redis.exceptions.ConnectionError"}
{"__REALTIME_TIMESTAMP":"1772374562000000","PRIORITY":"6","_SYSTEMD_UNIT":"api.service","MESSAGE":[69,82,82,79,82,32,195,164]}
{"__REALTIME_TIMESTAMP":"1772374563000000","PRIORITY":"6","MESSAGE":null}
{"__REALTIME_TIMESTAMP":"1772375400000000","PRIORITY":"3","MESSAGE":"just after now"}
`
	const units = "{journal: {units: [api.service, worker@1.service]}, on: web-1, "
	const logsOf = "docker compose --project-name=shop --file=compose.yml logs --no-color --timestamps --since=2026-03-01T14:15:00Z --until=2026-03-01T14:30:00Z api"
	const services = "{compose: {services: [api], project: shop, files: [compose.yml]}, on: web-1, "
	const logsOfOne = "docker logs --timestamps --since=2026-03-01T14:15:00Z --until=2026-03-01T14:30:00Z api-1"
	good := func(out string) check.Result { return check.Result{Stdout: []byte(out)} }
	checktest.Run(t, logs.Query, []checktest.Case{
		{Name: "journal", Params: units + "level: error, group_by: _SYSTEMD_UNIT}", Env: on(t, journalctl, good(entries)), Want: "fail: 2 lines of level error or above, at most 0 accepted (4 lines in all): redis.exceptions.ConnectionError", Check: facts("group.01", "2 x api.service", "kind.02", "1 x error: ERROR ä", "source", "the journal of api.service, worker@1.service on web-1")},
		{Name: "journal without such lines", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, good(entries)), Want: "pass: 0 lines like \"MISCONF\", at most 0 accepted (4 lines in all)"},
		{Name: "journal without lines", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, good("-- No entries --\n")), Want: "error: 0 lines of any kind..."},
		{Name: "journal that is not shown", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, check.Result{Stdout: []byte(entries), Stderr: []byte("Hint: You are currently not seeing messages from other users and the system.\n")}), Want: "error: journalctl does not show this user the system's messages..."},
		{Name: "journal that is cut", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, good(entries[:len(entries)-20])), Want: "error: journalctl printed what is no entry..."},
		{Name: "journal without times", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, good(`{"MESSAGE":"x"}`)), Want: "error: journalctl printed an entry without its time"},
		{Name: "journal with a message in several parts", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, good(`{"__REALTIME_TIMESTAMP":"1772374561000000","MESSAGE":["MISCONF","x"]}`)), Want: "error: journalctl printed an entry whose MESSAGE is neither text nor bytes"},
		{Name: "journal that fails", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, check.Result{Code: 1, Stderr: []byte("Failed to add match")}), Want: "error: journalctl --output=json ended with 1 : Failed to add match"},
		{Name: "too much printed", Params: units + "pattern: MISCONF}", Env: on(t, journalctl, check.Result{Stdout: []byte(entries), Truncated: true}), Want: "error: ...printed more than 64 MiB..."},
		{Name: "unknown host", Params: "{journal: {units: [a]}, on: web-9}", Env: on(t, "", check.Result{}), Want: "error: unknown host \"web-9\""},
		{Name: "compose", Params: services + "level: error, group_by: container}", Env: on(t, logsOf, good("api-1  | 2026-03-01T14:20:00.123456789Z INFO up\napi-2  | 2026-03-01T14:20:01Z ERROR a | b\napi-2  | 2026-03-01T14:20:02Z \n")), Want: "fail: 1 lines of level error or above, at most 0 accepted (3 lines in all): ERROR a | b", Check: facts("group.01", "1 x api-2")},
		{Name: "compose that prints something else", Params: services + "level: error}", Env: on(t, logsOf, good("time=\"x\" level=warning msg=\"the attribute version is obsolete\"\n")), Want: "error: docker compose logs printed a line without container and time..."},
		{Name: "no such service", Params: services + "level: error}", Env: on(t, logsOf, check.Result{Code: 1, Stderr: []byte("no such service: api")}), Want: "error: docker compose ended with 1 : no such service: api"},
		{Name: "containers, both streams", Params: "{docker: [api-1], on: web-1, level: error}", Env: on(t, logsOfOne, check.Result{Stdout: []byte("2026-03-01T14:20:00Z INFO up\n"), Stderr: []byte("2026-03-01T14:20:01Z CRITICAL down\n")}), Want: "fail: 1 lines of level error or above, at most 0 accepted (2 lines in all): CRITICAL down"},
		{Name: "container without times", Params: "{docker: [api-1], on: web-1, level: error}", Env: on(t, logsOfOne, good("INFO up\n")), Want: "error: docker logs api-1 printed a line without its time: INFO up"},
		{Name: "no such container", Params: "{docker: [api-1], on: web-1, level: error}", Env: on(t, logsOfOne, check.Result{Code: 1, Stderr: []byte("Error response from daemon: No such container: api-1")}), Want: "error: docker logs ended with 1 : Error response..."},
		{Name: "an option as container", Params: "{docker: ['--details'], on: web-1}", Want: "problem: ...\"--details\" is no name..."},
		{Name: "an option as unit", Params: "{journal: {units: ['-r']}}", Want: "problem: ...\"-r\" is no name..."},
		{Name: "an option as service", Params: "{compose: {services: ['-f']}}", Want: "problem: ...\"-f\" is no name..."},
	})
}

func facts(pairs ...string) func(*testing.T, check.Outcome) {
	return func(t *testing.T, o check.Outcome) {
		for i := 0; i < len(pairs); i += 2 {
			if got := o.Facts[pairs[i]]; got != pairs[i+1] {
				t.Errorf("fact %s is %q, want %q", pairs[i], got, pairs[i+1])
			}
		}
	}
}

// faulty holds that every answer that is none leads to an error.
func faulty(t *testing.T, f *resttest.Fake, params string) {
	t.Helper()
	inst, problems := checktest.Decode(logs.Query, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		env := checktest.NewEnv(t)
		atNow(env)
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if o, err := inst.Runner.Run(ctx, env); err == nil {
			t.Errorf("%s: got %s: %s, want an error", fault.Name, o.Verdict, o.Reason)
		}
		stop()
	}
	f.Fail(nil)
}

func TestPage(t *testing.T) { checktest.Page(t, logs.Query) }

func TestSendingIsTraffic(t *testing.T) {
	inst, problems := checktest.Decode(logs.Query, "{files: a, canary: 'http://127.0.0.1/'}", nil)
	if inst == nil || inst.Traits.Effect != check.Traffic {
		t.Errorf("%v %v", inst, problems)
	}
	inst, _ = checktest.Decode(logs.Query, "{docker: [a]}", nil)
	if inst == nil || inst.Traits.Effect != check.Reads || inst.Traits.Pool != check.Exec || inst.Traits.Target != "the containers a" {
		t.Errorf("%v", inst)
	}
}
