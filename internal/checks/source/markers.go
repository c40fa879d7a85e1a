// Package source holds the types that look at source code.
package source

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

//go:embed source.markers.md
var markersDoc string

// Markers is the type source.markers.
var Markers = check.Define[markers](check.Desc{
	Name:    "source.markers",
	Summary: "no comment says that something is still to be done",
	Doc:     markersDoc,
})

const (
	// maxFile bounds a file of source, in bytes; maxFiles how many are read.
	maxFile, maxFiles = 4 << 20, 50_000
	// maxDiff bounds the changes since a revision, in bytes.
	maxDiff = 64 << 20
)

type markers struct {
	Include []string       `param:"include" doc:"patterns of the files to look at" default:""`
	Exclude []string       `param:"exclude" doc:"patterns of files to leave out" default:""`
	Words   []string       `param:"markers" doc:"the words to look for" default:""`
	Allow   *regexp.Regexp `param:"allow" doc:"regular expression (RE2) for comments that are all right: TODO\\(#\\d+\\)" default:""`
	Since   string         `param:"since" doc:"only lines that are new since this revision" default:""`
	Max     int            `param:"max" doc:"how many are accepted" default:"0"`
	On      string         `param:"on" doc:"host of the checkout" default:""`
}

// Validate holds the rules between the parameters.
func (p *markers) Validate() error {
	if len(p.Include) == 0 {
		return errors.New("include: name the files to look at, such as apps/**/*.py")
	}
	for _, pattern := range slices.Concat(p.Include, p.Exclude) {
		if !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("%q is no pattern", pattern)
		}
	}
	if strings.HasPrefix(p.Since, "-") {
		return fmt.Errorf("since: %q is no revision", p.Since)
	}
	if p.Max < 0 {
		return errors.New("max: want 0 or more")
	}
	for _, w := range p.Words {
		if strings.TrimSpace(w) == "" {
			return errors.New("markers: a word is empty")
		}
	}
	return nil
}

// Traits says what is read.
func (p *markers) Traits() check.Traits {
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "looks for " + strings.Join(p.words(), ", ") + " in comments", Target: strings.Join(p.Include, ", ")}
}

func (p *markers) words() []string {
	if len(p.Words) > 0 {
		return p.Words
	}
	return []string{"TODO", "FIXME", "XXX", "HACK"}
}

// found is one comment with a marker.
type found struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// Run reads the files and counts.
func (p *markers) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	files, err := p.files(ctx, host)
	if err != nil {
		return check.Outcome{}, err
	}
	changed := map[string]map[int]bool(nil)
	if p.Since != "" {
		if changed, err = p.changed(ctx, host); err != nil {
			return check.Outcome{}, err
		}
	}
	var quoted []string
	for _, w := range p.words() {
		quoted = append(quoted, regexp.QuoteMeta(w))
	}
	word, err := regexp.Compile(`\b(?:` + strings.Join(quoted, "|") + `)\b`)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("markers: %w", err)
	}
	all, read, strange := []found{}, 0, []string{}
	for _, file := range files {
		if changed != nil && changed[file] == nil {
			continue
		}
		text, err := host.ReadFile(ctx, file, maxFile)
		if err != nil {
			return check.Outcome{}, fmt.Errorf("read %s: %w", file, err)
		}
		l, known := languageOf(file, string(text))
		if !known || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
			strange = append(strange, file)
			continue
		}
		read++
		for _, c := range l.comments(string(text)) {
			if word.MatchString(c.text) && (p.Allow == nil || !p.Allow.MatchString(c.text)) && (changed == nil || changed[file][c.line]) {
				all = append(all, found{file, c.line, strings.TrimSpace(c.text)})
			}
		}
	}
	if read == 0 && (changed == nil || len(strange) > 0) {
		return check.Outcome{}, fmt.Errorf("%d files match, and the comments of none of them can be read (%s)", len(files), list(strange))
	}
	return p.outcome(ctx, env, all, read, strange)
}

// files gives those to look at. That none matches is an error: nothing would be
// looked at.
func (p *markers) files(ctx context.Context, host check.Host) ([]string, error) {
	var out []string
	for _, pattern := range p.Include {
		some, err := host.Glob(ctx, pattern)
		if err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		for _, file := range some {
			info, err := host.Lstat(ctx, file)
			if err != nil {
				return nil, fmt.Errorf("look at %s: %w", file, err)
			}
			left := slices.ContainsFunc(p.Exclude, func(x string) bool { ok, err := doublestar.Match(x, file); return err == nil && ok })
			if info.Mode.IsRegular() && !left {
				out = append(out, file)
			}
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 0 {
		return nil, fmt.Errorf("no file matches %s", strings.Join(p.Include, ", "))
	}
	if len(out) > maxFiles {
		return nil, fmt.Errorf("more than %d files match", maxFiles)
	}
	return out, nil
}

var hunk = regexp.MustCompile(`^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@`)

// changed gives the lines that are new since a revision, by file.
func (p *markers) changed(ctx context.Context, host check.Host) (map[string]map[int]bool, error) {
	r, err := host.Exec(ctx, check.Command{Argv: []string{"git", "-c", "core.quotePath=false", "diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-renames", "--no-prefix", p.Since, "--"}, Limit: maxDiff})
	switch {
	case err != nil:
		return nil, fmt.Errorf("git diff: %w", err)
	case r.Truncated:
		return nil, fmt.Errorf("the changes since %s are more than %d MiB", p.Since, maxDiff>>20)
	case r.Code != 0 || r.Signal != "":
		return nil, fmt.Errorf("git diff %s: %.200s", p.Since, bytes.TrimSpace(r.Stderr))
	}
	out, file := map[string]map[int]bool{}, ""
	for line := range strings.Lines(string(r.Stdout)) {
		line = strings.TrimRight(line, "\n")
		if name, is := strings.CutPrefix(line, "+++ "); is {
			file = strings.TrimSuffix(name, "\t")
			out[file] = map[int]bool{}
		}
		m := hunk.FindStringSubmatch(line)
		if m == nil || file == "" {
			continue
		}
		from, _ := strconv.Atoi(m[1])
		n := 1
		if m[2] != "" {
			n, _ = strconv.Atoi(m[2])
		}
		for i := range n {
			out[file][from+i] = true
		}
	}
	return out, nil
}

func (p *markers) outcome(ctx context.Context, env *check.Env, all []found, read int, strange []string) (check.Outcome, error) {
	var shown []string
	for _, f := range all {
		shown = append(shown, fmt.Sprintf("%s:%d %.80s", f.File, f.Line, f.Text))
	}
	o := check.Passf("%d comments with %s in %d files", len(all), strings.Join(p.words(), ", "), read)
	if len(all) > p.Max {
		o = check.Failf("%d comments with %s in %d files, want at most %d: %s", len(all), strings.Join(p.words(), ", "), read, p.Max, list(shown))
	}
	o.Facts = map[string]string{"markers": strconv.Itoa(len(all)), "files": strconv.Itoa(read), "not_read": list(strange)}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the list: %w", err)
	}
	artefact, err := env.Store("markers.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the list: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, ctx.Err()
}

// list gives a few names for a message.
func list(names []string) string {
	const most = 5
	out := strings.Join(names[:min(len(names), most)], "; ")
	if len(names) > most {
		out += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.ToValidUTF8(out, "")
}
