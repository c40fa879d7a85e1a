package lint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres/lint"
)

// peer is the variable with the path of squawk's program; without it only our
// figures are shown.
const peer = "ALLCLEAR_SQUAWK"

// about are squawk's rules about locks that are held over a scan, a build or a
// rewrite, by what it says of them; its others are about lost data, old code,
// timeouts and style. The last two are about locks that are strong but brief.
func about() []string {
	return []string{
		"adding-field-with-default", "adding-foreign-key-constraint", "adding-not-nullable-field", "adding-serial-primary-key-field",
		"ban-alter-domain-with-add-constraint", "changing-column-type", "constraint-missing-not-valid", "disallowed-unique-constraint",
		"require-concurrent-index-creation", "require-concurrent-reindex",
		"require-concurrent-index-deletion", "require-concurrent-partition-detach",
	}
}

// remark is what squawk says about a place, both counted from 0.
type remark struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Rule   string `json:"rule_name"`
}

// BenchmarkSquawk compares our verdicts with squawk's over the corpus and the sets,
// statement by statement, each against what PostgreSQL did.
func BenchmarkSquawk(b *testing.B) {
	program := os.Getenv(peer)
	for b.Loop() {
		for _, of := range append([]string{"corpus"}, sets()...) {
			cases := judged(b, of, true)
			b.Logf("%-7s allclear              %s", of, table(ours(cases)))
			b.Logf("%-7s allclear, no schema   %s", of, table(ours(judged(b, of, false))))
			if program == "" {
				b.Logf("%-7s squawk is missing: %s does not name it", of, peer)
				continue
			}
			theirs, brief := figuresOf(b, program, cases)
			b.Logf("%-7s squawk, no schema     %s; %d of its alarms are about locks that are strong but brief", of, table(theirs), brief)
		}
	}
}

// judgement is a statement, our verdict and PostgreSQL's.
type judgement struct {
	src       lint.Source
	statement lint.Statement
	hazard    bool
	skip      bool // refused, or of transactions
}

// table writes figures as a line of a table.
func table(f figures) string {
	return fmt.Sprintf("found %3d  missed %3d  out of sight %d  alarms %3d  quiet %3d", f.found, f.missed, f.unseen, f.alarms, f.quiet)
}

// judged runs the linter on the corpus or a set, with what exists before or without.
func judged(b *testing.B, of string, known bool) []judgement {
	b.Helper()
	var out []judgement
	if of == "corpus" {
		seen := traced(b)
		for _, c := range corpus(b) {
			src := lint.Source{Name: c.id + ".sql", Text: c.sql}
			tr := seen[c.id]
			out = append(out, judgement{src, verdicts(b, src, "schema.sql", known)[0], tr.Error == "" && isHazard(c.sql, tr), tr.Error != ""})
		}
		return out
	}
	seen := traces(b, of)
	for _, src := range migrations(b, of) {
		for i, s := range verdicts(b, src, of+"/schema.sql", known) {
			did := seen[src.Name][i]
			out = append(out, judgement{src, s, did.Hazard(), did.Error != "" || isControl(did.SQL)})
		}
	}
	return out
}

func verdicts(b *testing.B, src lint.Source, schema string, known bool) []lint.Statement {
	b.Helper()
	opts := lint.Options{TimeZone: "UTC"}
	if known {
		opts.Schema = []lint.Source{{Name: schema, Text: file(b, schema)}}
	}
	out, err := lint.Run([]lint.Source{src}, opts)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func ours(cases []judgement) figures {
	var f figures
	for _, c := range cases {
		f.count(c, slices.ContainsFunc(c.statement.Findings, func(f lint.Finding) bool { return f.Level == lint.Hazard }), c.statement.Opaque)
	}
	return f
}

func (f *figures) count(c judgement, says, unseen bool) {
	switch {
	case c.skip:
		f.refused++
	case c.hazard && says:
		f.found++
	case c.hazard && unseen:
		f.unseen++
	case c.hazard:
		f.missed++
	case says:
		f.alarms++
	default:
		f.quiet++
	}
}

// figuresOf runs squawk on the files of the cases, those of one transaction apart,
// and counts what it says of each statement.
func figuresOf(b *testing.B, program string, cases []judgement) (all figures, brief int) {
	b.Helper()
	dirs := map[bool]string{true: b.TempDir(), false: b.TempDir()}
	where := map[string]string{}
	for _, c := range cases {
		text := c.src.Text
		if n := len(c.src.Messages); n > 0 {
			text = text[:c.src.Messages[n-1]] // what comes after it is not run
		}
		name := filepath.Join(dirs[c.src.OneTransaction], c.src.Name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		where[c.src.Name] = name
	}
	said := map[string][]remark{}
	for one, dir := range dirs {
		for _, r := range asks(b, program, dir, one) {
			said[r.File] = append(said[r.File], r)
		}
	}
	for i, c := range cases {
		last := i+1 == len(cases) || cases[i+1].src.Name != c.src.Name
		var rules []string
		for _, r := range said[where[c.src.Name]] {
			from := r.Line+1 > c.statement.Line || r.Line+1 == c.statement.Line && r.Column+1 >= c.statement.Col
			before := last || r.Line+1 < cases[i+1].statement.Line || r.Line+1 == cases[i+1].statement.Line && r.Column+1 < cases[i+1].statement.Col
			if from && before && slices.Contains(about(), r.Rule) {
				rules = append(rules, r.Rule)
			}
		}
		all.count(c, len(rules) > 0, false)
		if !c.skip && !c.hazard && len(rules) > 0 && !slices.ContainsFunc(rules, func(r string) bool { return !slices.Contains(about()[len(about())-2:], r) }) {
			brief++
		}
	}
	return all, brief
}

// asks runs squawk on a folder; it ends with 1 when it has something to say.
func asks(b *testing.B, program, dir string, oneTransaction bool) []remark {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil || len(names) == 0 {
		return nil
	}
	args := []string{"--reporter", "json", "--pg-version", "15"}
	if oneTransaction {
		args = append(args, "--assume-in-transaction")
	}
	out, err := exec.CommandContext(b.Context(), program, append(args, names...)...).Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		b.Fatal(err)
	}
	var all []remark
	if err := json.Unmarshal(out, &all); err != nil {
		b.Fatal(fmt.Errorf("read squawk's answer %.80q: %w", strings.TrimSpace(string(out)), err))
	}
	return all
}
