package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxText bounds a message, in bytes.
	maxText = 32 << 10
	// maxAttached bounds an attached file, in bytes.
	maxAttached = 64 << 20
)

// message is what is sent. It is the same for every repetition in one run.
type message struct {
	ID          string            `json:"id"`
	Template    string            `json:"template,omitempty"`
	Text        string            `json:"text"`
	Project     string            `json:"project"`
	Environment string            `json:"environment"`
	Release     string            `json:"release"`
	Run         string            `json:"run"`
	Item        string            `json:"item"`
	Starter     string            `json:"starter"`
	Facts       map[string]string `json:"facts,omitempty"`
	Test        bool              `json:"test,omitempty"`
}

// once names what is done once: the item in its run, also when a person starts it
// anew, which env.Key tells apart.
func once(env *check.Env) string { return "allclear/" + env.Run.ID + "/" + env.Run.Item }

// id is the key by which a target knows a repeated message.
func id(env *check.Env, t target) string {
	sum := sha256.Sum256([]byte(once(env) + "\n" + t.String()))
	return hex.EncodeToString(sum[:16])
}

// composed is a message before it has a target.
type composed struct {
	message   message
	facts     map[string]string
	artefacts []check.Artefact
}

// to gives the message for one target.
func (c composed) to(env *check.Env, t target) message {
	m := c.message
	m.ID = id(env, t)
	return m
}

// compose puts the message together: template, text, file, facts, attachments.
func (p *notification) compose(ctx context.Context, env *check.Env) (composed, error) {
	r := env.Run
	c := composed{facts: map[string]string{}, message: message{
		Template: p.Template, Project: r.Project, Environment: r.Environment, Release: r.Release,
		Run: r.ID, Item: r.Item, Starter: r.Starter, Test: p.Mode == "test",
	}}
	lines, err := p.said(ctx, env)
	if err != nil {
		return c, err
	}
	for _, name := range p.Facts {
		value, known := env.Ledger.Fact(name)
		if !known {
			return c, &check.NotSupplied{What: name}
		}
		if c.message.Facts == nil {
			c.message.Facts = map[string]string{}
		}
		c.message.Facts[name] = value
		lines = append(lines, name+": "+value)
	}
	for _, what := range p.Attach {
		line, err := c.attach(ctx, env, what)
		if err != nil {
			return c, fmt.Errorf("attach %s: %w", what, err)
		}
		lines = append(lines, line)
	}
	c.message.Text = strings.Join(lines, "\n")
	if len(c.message.Text) > maxText {
		return c, fmt.Errorf("the message is longer than %d bytes", maxText)
	}
	sum := sha256.Sum256([]byte(c.message.Text))
	c.facts["text.sha256"] = hex.EncodeToString(sum[:])
	return c, nil
}

// said gives the words of the template, the text and the file.
func (p *notification) said(ctx context.Context, env *check.Env) ([]string, error) {
	var lines []string
	if p.Mode == "test" {
		lines = append(lines, "[test] Nothing to do.")
	}
	if p.Template != "" {
		lines = append(lines, sentence(p.Template, env.Run))
	}
	if p.Text != "" {
		lines = append(lines, p.Text)
	}
	if p.TextFile != "" {
		text, err := readFile(ctx, env, p.TextFile, maxText)
		if err != nil {
			return nil, fmt.Errorf("read text_file: %w", err)
		}
		filled, err := fill(strings.TrimRight(string(text), "\r\n"), values(env.Run), false)
		if err != nil {
			return nil, fmt.Errorf("text_file %s: %w", p.TextFile, err)
		}
		if strings.TrimSpace(filled) == "" {
			return nil, fmt.Errorf("text_file %s is empty", p.TextFile)
		}
		lines = append(lines, filled)
	}
	return lines, nil
}

func readFile(ctx context.Context, env *check.Env, path string, limit int64) ([]byte, error) {
	host, err := env.Host("")
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(env.Dir, path)
	}
	return host.ReadFile(ctx, path, limit)
}

// attach describes an item or a file by what it is and its digest, so that who
// gets the message can tell which version was meant.
func (c *composed) attach(ctx context.Context, env *check.Env, what string) (string, error) {
	if path, isFile := strings.CutPrefix(what, "file:"); isFile {
		content, err := readFile(ctx, env, path, maxAttached)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(content)
		digest := hex.EncodeToString(sum[:])
		kept, err := env.Store(filepath.Base(path), bytes.NewReader(content))
		if err != nil {
			return "", err
		}
		c.artefacts = append(c.artefacts, kept)
		c.facts["attach."+what] = digest
		return fmt.Sprintf("%s: %d bytes, sha256 %s", path, len(content), digest), nil
	}
	results, err := env.Ledger.Items(ctx, check.Query{Patterns: []string{what}})
	if err != nil {
		return "", err
	}
	if len(results.Items) == 0 {
		return "", &check.NotSupplied{What: "the result of " + what}
	}
	var lines []string
	for _, it := range results.Items {
		text, err := json.Marshal(struct {
			Run, ID, Verdict, Reason string
			At                       time.Time
		}{results.Run, it.ID, it.Verdict, it.Reason, it.At.UTC()})
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(text)
		digest := hex.EncodeToString(sum[:])
		c.facts["attach."+it.ID] = digest
		lines = append(lines, fmt.Sprintf("%s: %s, %s (sha256 %s)", it.ID, it.Verdict, it.Reason, digest))
	}
	return strings.Join(lines, "\n"), nil
}

// sentence gives a template's words.
func sentence(template string, r check.RunInfo) string {
	what := fmt.Sprintf("%s %s to %s", r.Project, r.Release, r.Environment)
	at := r.StartedAt.UTC().Format("2006-01-02 15:04 UTC")
	switch template {
	case "start":
		return fmt.Sprintf("Deployment of %s started by %s (run %s, %s).", what, r.Starter, r.ID, at)
	case "completion":
		return fmt.Sprintf("Deployment of %s is complete (run %s, started %s).", what, r.ID, at)
	case "rollback-start":
		return fmt.Sprintf("Rollback of %s to %s started (run %s).", what, before(r), r.ID)
	case "rollback-done":
		return fmt.Sprintf("Rollback of %s is done: %s is live again (run %s).", what, before(r), r.ID)
	case "downtime":
		return fmt.Sprintf("%s in %s goes into maintenance for the deployment of %s (run %s).", r.Project, r.Environment, r.Release, r.ID)
	}
	return fmt.Sprintf("Test message of %s in %s (run %s). Nothing to do.", r.Project, r.Environment, r.ID)
}

func before(r check.RunInfo) string {
	if r.Previous == "" {
		return "the version before"
	}
	return r.Previous
}

// values are what {{name}} stands for in a file of text.
func values(r check.RunInfo) map[string]string {
	return map[string]string{
		"project": r.Project, "environment": r.Environment, "release": r.Release, "revision": r.Revision,
		"previous": before(r), "run": r.ID, "item": r.Item, "starter": r.Starter,
		"started_at": r.StartedAt.UTC().Format("2006-01-02 15:04 UTC"),
	}
}

// example gives a value to every name that a webhook's body may hold.
func example() map[string]string {
	out := values(check.RunInfo{})
	out["text"], out["id"] = "text", "id"
	return out
}

// fill puts values in for {{name}}; as JSON strings where asJSON, and then the
// whole must be JSON.
func fill(text string, values map[string]string, asJSON bool) (string, error) {
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !found {
			break
		}
		name, next, closed := strings.Cut(after, "}}")
		value, known := values[strings.TrimSpace(name)]
		if !closed || !known {
			return "", fmt.Errorf("{{%.40s}} stands for nothing; there are {{project}}, {{environment}}, {{release}}, {{revision}}, {{previous}}, {{run}}, {{item}}, {{starter}}, {{started_at}} and, for webhooks, {{text}} and {{id}}", name)
		}
		if asJSON {
			quoted, err := json.Marshal(value)
			if err != nil {
				return "", err
			}
			value = string(quoted)
		}
		out.WriteString(value)
		rest = next
	}
	if asJSON && !json.Valid([]byte(out.String())) {
		return "", fmt.Errorf("it is not JSON once filled in; a name such as {{text}} becomes a string with its quotes")
	}
	return out.String(), nil
}
