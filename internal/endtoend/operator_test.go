package endtoend

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// operator is the team at its terminals: it knows allclear by its verbs, its exit
// codes and what it prints as JSON.
type operator struct {
	*world
	allclear string
	roles    map[string][]string // of the run's items
	signs    map[string]bool
	digest   string // of the run's plan
}

type planned struct {
	Digest string
	Items  []struct {
		ID, Kind string
		Needs    []string `json:"needs_targets"`
		Roles    []string
	}
}

type standing struct {
	Status, Stops string
	Items         []struct{ ID, Status, Reason string }
}

// as runs allclear as a person and gives its exit code.
func (o *operator) as(who string, args ...string) (stdout, stderr string, code int) {
	o.Helper()
	cmd := exec.Command(o.allclear, append([]string{"-C", o.checkout, "--as", who, "--no-input", "--color", "never"}, args...)...)
	cmd.Dir = o.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		o.Fatalf("allclear %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs allclear as a person and wants it to end well.
func (o *operator) must(who string, args ...string) string {
	o.Helper()
	out, errs, code := o.as(who, args...)
	if code != 0 {
		o.Fatalf("allclear %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// begin plans a release, accepts the plan as it is, and starts its run.
func (o *operator) begin(release string) {
	o.Helper()
	o.git("checkout", "-q", "v"+release)
	var p planned
	o.decode(o.must("dan", "plan", "production", "--release", release, "--json"), &p)
	o.digest = p.Digest
	o.roles, o.signs = map[string][]string{}, map[string]bool{}
	for _, it := range p.Items {
		o.roles[it.ID], o.signs[it.ID] = it.Roles, it.Kind == "sign-off"
	}
	o.must("dan", "run", "production", "--release", release, "--accept", p.Digest, "--detach")
}

// accompany states and signs what people have to, until the run stands as wanted.
func (o *operator) accompany(want string) standing {
	o.Helper()
	for deadline := time.Now().Add(3 * patience); ; time.Sleep(200 * time.Millisecond) {
		st := o.status()
		if st.Status == want {
			return st
		}
		if over := []string{"held", "in doubt", "done", "rolled back", "aborted"}; slices.Contains(over, st.Status) || time.Now().After(deadline) {
			o.Fatalf("the run is %s, not %s: %s\n%s", st.Status, want, st.Stops, o.story(st))
		}
		for _, it := range st.Items {
			if it.Status == "waiting" {
				o.answer(it.ID)
			}
		}
	}
}

// answer is what a person of the item's role says.
func (o *operator) answer(id string) {
	o.Helper()
	who := "dan"
	if roles := o.roles[id]; len(roles) > 0 {
		who = map[string]string{"Tech Lead": "ana", "DevOps Lead": "ben", "Deployment Engineer": "dan", "QA Lead": "eli"}[roles[0]]
	}
	verb := []string{"attest", "production", id, "--text", "seen and discussed by the team"}
	if o.signs[id] {
		verb = []string{"sign", "production", id}
	}
	_, errs, code := o.as(who, append(verb, "--key", filepath.Join(o.dir, "keys", who))...)
	if code == 0 {
		return
	}
	for _, it := range o.status().Items { // it may have moved on meanwhile
		if it.ID == id && it.Status == "waiting" {
			o.Fatalf("%s: %v: exit code %d\n%s", who, verb, code, errs)
		}
	}
}

func (o *operator) status() standing {
	o.Helper()
	out, errs, _ := o.as("dan", "status", "production", "--json") // each state has its own exit code
	if out == "" {
		o.Fatal(errs)
	}
	var st standing
	o.decode(out, &st)
	return st
}

// item gives how one item of the newest run stands, and why.
func (o *operator) item(id string) (status, reason string) {
	o.Helper()
	for _, it := range o.status().Items {
		if it.ID == id {
			return it.Status, it.Reason
		}
	}
	o.Fatalf("no item %s", id)
	return "", ""
}

// story is what a person would look at when a run stands where it should not.
func (o *operator) story(st standing) string {
	var b strings.Builder
	for _, it := range st.Items {
		if !slices.Contains([]string{"pass", "done", "n/a", "pending", ""}, it.Status) {
			b.WriteString(it.ID + " " + it.Status + ": " + it.Reason + "\n")
		}
	}
	logs, _ := filepath.Glob(filepath.Join(o.srv, "run/*.log"))
	for _, log := range logs {
		below, err := filepath.Rel(o.dir, log)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(o.read(below)), "\n")
		b.WriteString("== " + below + "\n" + strings.Join(lines[max(0, len(lines)-6):], "\n") + "\n")
	}
	return b.String()
}

func (o *operator) decode(text string, into any) {
	o.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		o.Fatalf("%v: %.300s", err, text)
	}
}

// record wants the record of all runs to verify, here and as a bundle elsewhere,
// and the report to be the team's list, filled in.
func (o *operator) record() {
	o.Helper()
	if out := o.must("eli", "verify", "production"); !strings.Contains(out, "verified: 3 runs") { // one is the adoption
		o.Errorf("verify says %s", out)
	}
	bundle := filepath.Join(o.dir, "record-1.2")
	o.must("eli", "report", "production", "--bundle", bundle)
	o.must("eli", "verify", bundle)
	report := o.must("eli", "report", "production")
	for _, want := range []string{"- [x] The migrations are applied", "- [ ] An order is placed, confirmed by a worker", "- [x] The newer release takes its migrations back"} {
		if !strings.Contains(report, want) {
			o.Errorf("the report lacks %q", want)
		}
	}
	for _, secret := range []string{o.token, o.key, o.database} {
		if strings.Contains(report, secret) {
			o.Error("the report holds a secret")
		}
	}
}
