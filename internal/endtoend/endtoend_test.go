// Package endtoend deploys a real product with the real program: Django and Celery
// as Debian has them, a schema that changes, a release that goes bad and is taken
// back. It has tests only.
package endtoend

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/cli"
)

// Every item of the example binds, and nothing is missing.
func TestPlan(t *testing.T) {
	w := newWorld(t)
	w.git("checkout", "-q", "v1.1")
	var out, errs bytes.Buffer
	args := []string{"allclear", "-C", w.checkout, "--as", "dan", "--no-input", "plan", "production", "--release", "1.1", "--previous", "1.0", "--json"}
	if code := cli.Main(args, cli.Streams{In: &bytes.Buffer{}, Out: &out, Err: &errs}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	var p planned
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if list := w.read("checkout/DEPLOYMENT_CHECKLIST.md"); len(p.Items) != strings.Count(list, "\n- [ ] ") {
		t.Errorf("%d items are planned, not each one of the list", len(p.Items))
	}
	for _, it := range p.Items {
		if len(it.Needs) > 0 {
			t.Errorf("%s needs %v", it.ID, it.Needs)
		}
	}
}

// 1.1 replaces 1.0 with its migrations; 1.2 confirms no order any more, is held by
// its smoke test and taken back, with its migration.
func TestDeployment(t *testing.T) {
	if os.Getenv("ALLCLEAR_SLOW") == "" {
		t.Log("only with ALLCLEAR_SLOW=1, as in scripts/slow")
		return
	}
	w := newWorld(t)
	t.Cleanup(w.end)
	w.serve()
	w.settings()
	w.live()
	o := &operator{world: w, allclear: filepath.Join(w.dir, "allclear")}
	w.run("../..", "go", "build", "-o", o.allclear, "./cmd/allclear")
	o.must("dan", "adopt", "production", "1.0", "--revision", w.commitOf("1.0"))
	w.git("checkout", "-q", "v1.1")
	if out := o.must("dan", "doctor", "production"); !strings.Contains(out, "is not there yet") {
		t.Errorf("doctor does not say that the release's folder is still to be made:\n%s", out)
	}

	o.begin("1.1")
	o.accompany("done")
	w.holds("1.1", "0001_initial", "0002_pickup", "0003_pickup_index")
	w.order("with 1.1")
	before := w.schema()

	o.begin("1.2")
	o.accompany("held")
	if status, reason := o.item("deploy.smoke.order"); status != "fail" || !strings.Contains(reason, "confirmed") {
		t.Errorf("deploy.smoke.order is %s: %s", status, reason)
	}
	w.holds("1.2", "0001_initial", "0002_pickup", "0003_pickup_index", "0004_gift_note")
	if w.schema() == before {
		t.Error("the migration of 1.2 has changed nothing")
	}

	o.must("dan", "rollback", "production", "--reason", "orders are not confirmed any more since 1.2", "--accept", o.digest)
	o.accompany("rolled back")
	w.holds("1.1", "0001_initial", "0002_pickup", "0003_pickup_index")
	if now := w.schema(); now != before {
		t.Errorf("the schema was\n%s\nand is\n%s", before, now)
	}
	w.order("after the rollback")
	w.left()
	o.record()
}
