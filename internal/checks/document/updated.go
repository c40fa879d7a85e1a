package document

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

//go:embed docs.updated.md
var updatedDoc string

// Updated is the type docs.updated.
var Updated = check.Define[updated](check.Desc{
	Name:    "docs.updated",
	Summary: "documents say what they must, and were changed when what they describe was",
	Doc:     updatedDoc,
})

const (
	// maxDocuments bounds how many documents are judged.
	maxDocuments = 500
	// maxDetails bounds how much of what was seen stands in the facts; all of it is
	// kept as a file.
	maxDetails = 100
	// eachMark stands in file for one of the values.
	eachMark = "{each}"
)

type updated struct {
	File           string            `param:"file,short" doc:"the document; with each: values, {each} in it is one of them" default:""`
	Paths          []string          `param:"paths" doc:"patterns of documents (docs/architecture/**)" default:""`
	WhenChanged    []string          `param:"when_changed" doc:"patterns of files whose change asks for a change of the documents" default:""`
	Base           string            `param:"base" doc:"revision to compare with; left out: the one that is live" default:""`
	Head           string            `param:"head" doc:"revision that is compared" default:"HEAD"`
	Headings       []string          `param:"headings" doc:"headings that every document must have, with something below" default:""`
	Mentions       []string          `param:"mentions" doc:"texts that the document must hold" default:""`
	MentionsFact   string            `param:"mentions_fact" doc:"fact of this run whose every line the document must hold (openapi.breaking_paths)" default:""`
	FrontMatter    map[string]string `param:"front_matter" doc:"values that must stand in the YAML at the document's beginning" default:""`
	Links          string            `param:"links" doc:"links to look at: local ones into the checkout, or all, web addresses too" default:"" enum:"local,all"`
	ReviewedWithin time.Duration     `param:"reviewed_within" doc:"longest time since the last commit to every document" default:""`
	Each           eachOf            `param:"each" doc:"one document for each alert rule or value" default:""`
	Tickets        string            `param:"actions_have_tickets" doc:"heading (Actions) whose every list entry must name a ticket" default:""`
	Ticket         *regexp.Regexp    `param:"ticket" doc:"regular expression (RE2) of a ticket; left out: #12, ABC-12 or a web address" default:""`
}

// eachOf says what there must be a document for.
type eachOf struct {
	Rules      []string `param:"rules,short" doc:"patterns of Prometheus rule files: a runbook for every alert" default:""`
	Annotation string   `param:"annotation" doc:"annotation that names the runbook" default:"runbook_url"`
	Prefix     string   `param:"prefix" doc:"what addresses in the annotation begin with that are files of the checkout (https://git.example.com/app/blob/main/)" default:""`
	Values     []string `param:"values" doc:"values for {each} in file" default:""`
}

// Validate holds the rules between the parameters.
func (p *updated) Validate() error {
	rules, values := len(p.Each.Rules) > 0, len(p.Each.Values) > 0
	switch {
	case p.File == "" && len(p.Paths) == 0 && !rules:
		return errors.New("file: name the document, or say paths or each")
	case p.File != "" && len(p.Paths) > 0:
		return errors.New("say file or paths, one of them")
	case rules && (p.File != "" || len(p.Paths) > 0 || values):
		return errors.New("each: with rules, the annotation names the files")
	case values != strings.Contains(p.File, eachMark):
		return errors.New("each: values go with {each} in file")
	case !rules && p.Each.Prefix != "":
		return errors.New("each: prefix goes with rules")
	case len(p.WhenChanged) == 0 && (p.Base != "" || p.Head != "HEAD"):
		return errors.New("base and head go with when_changed")
	case len(p.Paths) > 0 && len(p.WhenChanged) == 0 && !p.shaped():
		return errors.New("paths: say what must hold: when_changed, headings, links …")
	case p.Ticket != nil && p.Tickets == "":
		return errors.New("ticket goes with actions_have_tickets")
	}
	for _, pattern := range slices.Concat(p.Paths, p.WhenChanged, p.Each.Rules) {
		if !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("%q is no pattern", pattern)
		}
	}
	for _, text := range slices.Concat(p.Headings, p.Mentions, p.Each.Values) {
		if strings.TrimSpace(text) == "" {
			return errors.New("a text of headings, mentions or each is empty")
		}
	}
	for _, file := range append([]string{p.File}, p.Each.Values...) {
		if strings.HasPrefix(file, "-") || strings.ContainsAny(file, "\r\n\x00") {
			return fmt.Errorf("%q is no file", file)
		}
	}
	return nil
}

// shaped tells whether something is asked of the documents themselves; content,
// whether what stands in them must be read for it.
func (p *updated) shaped() bool { return p.content() || p.Links != "" }

func (p *updated) content() bool {
	return len(p.Headings) > 0 || len(p.Mentions) > 0 || p.MentionsFact != "" || len(p.FrontMatter) > 0 ||
		p.ReviewedWithin > 0 || p.Tickets != ""
}

// Traits says what is read.
func (p *updated) Traits() check.Traits {
	what := p.File
	if len(p.Paths) > 0 {
		what = strings.Join(p.Paths, ", ")
	}
	if len(p.Each.Rules) > 0 {
		what = "the runbooks of " + strings.Join(p.Each.Rules, ", ")
	}
	pool := check.Exec
	if p.Links == "all" || len(p.Each.Rules) > 0 {
		pool = check.Network
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: pool, Does: "reads " + what, Target: what}
}

// reading is one run of the type.
type reading struct {
	*updated
	env  *check.Env
	host check.Host
	repo git
	// facts, misses (what is wrong) and unseen (what could not be found out) grow.
	facts map[string]string
	// details are what was seen of each document, alert and ticket.
	details map[string]string
	misses  []string
	unseen  []error
	// pages are documents read so far; web are addresses to ask, with where they stand.
	pages map[string]*page
	web   map[string]string
	// files are the documents to judge.
	files []string
}

func (r *reading) miss(format string, args ...any) {
	r.misses = append(r.misses, fmt.Sprintf(format, args...))
}

func (r *reading) doubt(format string, args ...any) {
	r.unseen = append(r.unseen, fmt.Errorf(format, args...))
}

// Run finds the documents and judges them.
func (p *updated) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := p.Validate(); err != nil {
		return check.Outcome{}, err
	}
	host, err := env.Host("")
	if err != nil {
		return check.Outcome{}, err
	}
	r := &reading{updated: p, env: env, host: host, repo: git{host}, facts: map[string]string{}, details: map[string]string{}, pages: map[string]*page{}, web: map[string]string{}}
	asked, err := r.find(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	quiet := ""
	if len(p.WhenChanged) > 0 {
		if quiet, err = r.changes(ctx); err != nil {
			return check.Outcome{}, err
		}
	}
	if p.shaped() || len(p.WhenChanged) == 0 {
		if err := r.judge(ctx); err != nil {
			return check.Outcome{}, err
		}
	}
	r.askWeb(ctx)
	return r.outcome(ctx, asked, quiet)
}

// find fills in the documents, and counts what there is to be documented.
func (r *reading) find(ctx context.Context) (int, error) {
	switch {
	case len(r.Each.Rules) > 0:
		return r.runbooks(ctx)
	case len(r.Each.Values) > 0:
		for _, value := range r.Each.Values {
			r.files = append(r.files, strings.ReplaceAll(r.File, eachMark, value))
		}
	case r.File != "":
		r.files = []string{path.Clean(r.File)}
	}
	for _, pattern := range r.Paths {
		found, err := r.host.Glob(ctx, pattern)
		if err != nil {
			return 0, fmt.Errorf("list documents: %w", err)
		}
		for _, file := range found {
			info, err := r.host.Lstat(ctx, file)
			if err != nil {
				return 0, fmt.Errorf("look at %s: %w", file, err)
			}
			if info.Mode.IsRegular() {
				r.files = append(r.files, file)
			}
		}
	}
	slices.Sort(r.files)
	r.files = slices.Compact(r.files)
	if len(r.files) > maxDocuments {
		return 0, fmt.Errorf("more than %d documents", maxDocuments)
	}
	if len(r.files) == 0 {
		return 0, fmt.Errorf("no document matches %s", strings.Join(r.Paths, ", "))
	}
	return len(r.files), nil
}

// outcome sums up. What is wrong is a fail, whatever could not be seen; with
// nothing wrong, what could not be seen is an error.
func (r *reading) outcome(ctx context.Context, asked int, quiet string) (check.Outcome, error) {
	o := check.Passf("%d documents: all rules hold", asked)
	if quiet != "" {
		o = check.Passf("%s", quiet)
	}
	switch {
	case len(r.Each.Rules) > 0:
		o = check.Passf("%d alerts: each has its runbook, and all rules hold", asked)
	case len(r.files) == 1 && quiet == "":
		o = check.Passf("%s: all rules hold", r.files[0])
	}
	if len(r.misses) > 0 {
		text := strings.Join(r.misses[:min(len(r.misses), 10)], "; ")
		if more := len(r.misses) - 10; more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
		o = check.Failf("%s", text)
		for i, err := range r.unseen {
			r.facts["not_seen."+strconv.Itoa(i+1)] = cut(err.Error())
		}
	}
	r.facts["documents"] = strconv.Itoa(len(r.files))
	if len(r.details) <= maxDetails {
		maps.Copy(r.facts, r.details)
	}
	o.Facts = r.facts
	text, err := json.MarshalIndent(r.details, "", " ")
	if err != nil {
		return o, fmt.Errorf("write what was seen: %w", err)
	}
	artefact, err := r.env.Store("documents.json", bytes.NewReader(text))
	if err != nil {
		return o, fmt.Errorf("keep what was seen: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	if err := ctx.Err(); err != nil {
		return o, err
	}
	if len(r.misses) == 0 && len(r.unseen) > 0 {
		return o, errors.Join(r.unseen...)
	}
	return o, nil
}
