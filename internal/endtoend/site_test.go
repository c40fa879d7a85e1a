package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// live puts 1.0 live as the team did before it had allclear: unpacked, migrated,
// and each process started by hand.
func (w *world) live() {
	w.Helper()
	release := filepath.Join(w.srv, "releases/1.0")
	w.check(os.Mkdir(release, 0o755))
	w.run(w.dir, "git", "-C", w.checkout, "archive", "-o", filepath.Join(w.dir, "1.0.tar"), "v1.0")
	w.run(release, "tar", "-xf", filepath.Join(w.dir, "1.0.tar"))
	w.write("srv/releases/1.0/REVISION", w.commitOf("1.0")+"\n", 0o644) // what allclear goes by
	w.check(os.Symlink(filepath.Join(w.srv, "shared/.env"), filepath.Join(release, ".env")))
	w.check(os.Symlink(release, filepath.Join(w.srv, "current")))
	for _, argv := range [][]string{{"migrate", "--noinput"}, {"collectstatic", "--noinput"}} {
		w.run(release, append([]string{python, "manage.py"}, argv...)...)
	}
	for name, argv := range map[string][]string{
		"web":     {"gunicorn", "bakery.wsgi", "--bind", w.bind, "--workers", "2"},
		"default": {"celery", "-A", "bakery", "worker", "-n", "default@bakery", "-Q", "default", "-c", "2", "-l", "info"},
		"mail":    {"celery", "-A", "bakery", "worker", "-n", "mail@bakery", "-Q", "mail", "-c", "1", "-l", "info"},
		"beat":    {"celery", "-A", "bakery", "beat", "-l", "info", "-s", filepath.Join(w.srv, "run/beat-schedule"), "--pidfile="},
	} {
		pid := w.start("srv/run/"+name, release, append([]string{python, "-m"}, argv...)...)
		w.write("srv/run/"+name+".pid", strconv.Itoa(pid)+"\n", 0o600)
	}
	w.until("the site", func() error { return w.healthy("1.0") })
	for n := range 20 {
		w.order(fmt.Sprint("first-", n))
	}
}

func (w *world) commitOf(release string) string {
	w.Helper()
	return w.git("rev-parse", "v"+release+"^{commit}")
}

// ask sends a request to the site and gives status and JSON of the answer.
func (w *world) ask(method, path string, body map[string]any) (int, map[string]any, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(w.Context(), method, "http://"+w.bind+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+w.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	var answer map[string]any
	if response.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(response.Body).Decode(&answer)
	}
	return response.StatusCode, answer, err
}

// order places an order and waits until both kinds of workers have done their part.
func (w *world) order(reference string) {
	w.Helper()
	status, placed, err := w.ask("POST", "/api/orders", map[string]any{"reference": reference, "quantity": 1})
	if err != nil || status != http.StatusCreated {
		w.Fatalf("place an order: %d %v %v", status, placed, err)
	}
	w.until("the order", func() error {
		status, found, err := w.ask("GET", fmt.Sprintf("/api/orders/%.0f", placed["id"]), nil)
		if err == nil && (status != http.StatusOK || found["status"] != "confirmed" || found["receipt"] != true) {
			err = fmt.Errorf("%d %v", status, found)
		}
		return err
	})
}

// healthy wants the whole site to be, and to be this release.
func (w *world) healthy(release string) error {
	status, answer, err := w.ask("GET", "/health", nil)
	if err == nil && (status != 200 || answer["version"] != release) {
		err = fmt.Errorf("%d %v, want %s", status, answer, release)
	}
	return err
}

// holds wants the whole world to be at a release: the site and every process, the
// link, and Django's own table of migrations.
func (w *world) holds(release string, migrations ...string) {
	w.Helper()
	if err := w.healthy(release); err != nil {
		w.Error(err)
	}
	folder := filepath.Join(w.srv, "releases", release)
	if at, err := filepath.EvalSymlinks(filepath.Join(w.srv, "current")); err != nil || at != folder {
		w.Errorf("current is %s: %v", at, err)
	}
	units := map[string]int{}
	for _, pid := range w.running() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		for _, unit := range []string{"gunicorn", "default@bakery", "mail@bakery", "beat"} {
			if slices.Contains(strings.Split(string(line), "\x00"), unit) {
				units[unit]++
				if dir != folder {
					w.Errorf("process %d of %s works in %s", pid, unit, dir)
				}
			}
		}
	}
	// A master and its children; the children of Celery keep its command line.
	if want := map[string]int{"gunicorn": 3, "default@bakery": 3, "mail@bakery": 2, "beat": 1}; !maps.Equal(units, want) {
		w.Errorf("processes %v, want %v", units, want)
	}
	if got := w.column("SELECT name FROM django_migrations WHERE app = 'orders' ORDER BY name"); !slices.Equal(got, migrations) {
		w.Errorf("django_migrations holds %v, want %v", got, migrations)
	}
}

// left wants what two deployments and a rollback leave behind, and nothing else: the
// orders of users and none of the smoke tests, a tag, and who was told what.
func (w *world) left() {
	w.Helper()
	if got := w.column("SELECT count(*) FROM orders_order WHERE status = 'confirmed' AND receipt"); !slices.Equal(got, []string{"22"}) {
		w.Errorf("%s orders, want 22", got)
	}
	if got := w.column("SELECT reference FROM orders_order WHERE NOT receipt"); len(got) > 0 {
		w.Errorf("orders without a receipt: %q", got)
	}
	if got := w.column("SELECT datname FROM pg_database WHERE datname LIKE 'allclear%'"); len(got) > 0 {
		w.Errorf("databases of rehearsals are left: %q", got)
	}
	if got := w.git("tag", "--list", "live/*"); got != "live/1.1" {
		w.Errorf("tags %q", got)
	}
	var told []string
	for line := range strings.Lines(w.read("srv/notices.jsonl")) {
		var notice struct{ Template string }
		w.check(json.Unmarshal([]byte(line), &notice))
		told = append(told, notice.Template)
	}
	if want := []string{"start", "completion", "start", "rollback-done"}; !slices.Equal(told, want) {
		w.Errorf("told %v, want %v", told, want)
	}
}

// schema is the structure of the application's table, column by column and index
// by index, and the migrations with the times at which they were applied.
func (w *world) schema() string {
	w.Helper()
	return strings.Join(w.column(`
		SELECT 'column ' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull FROM pg_attribute
			WHERE attrelid = 'orders_order'::regclass AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) || ' ' || indisvalid FROM pg_index WHERE indrelid = 'orders_order'::regclass
		UNION ALL SELECT 'migration ' || app || ' ' || name || ' ' || applied FROM django_migrations ORDER BY 1`), "\n")
}

// column gives the values of a query's only column.
func (w *world) column(sql string) []string {
	w.Helper()
	t, err := postgrestest.Open(w.T, w.database).Query(w.Context(), 1000, sql)
	w.check(err)
	var out []string
	for _, row := range t.Rows {
		out = append(out, row[0].Text)
	}
	return out
}
