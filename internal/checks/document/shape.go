package document

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
)

// page is a document that was read.
type page struct {
	text    []byte
	front   string
	outline *checklist.Outline
	anchors map[string]bool
}

// read gives a document of the checkout; nil when it is not there.
func (r *reading) read(ctx context.Context, file string) (*page, error) {
	if p, known := r.pages[file]; known {
		return p, nil
	}
	text, err := readDocument(ctx, r.env, file)
	if errors.Is(err, fs.ErrNotExist) {
		r.pages[file] = nil
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) || slices.Contains(text, 0) {
		return nil, fmt.Errorf("%s is no UTF-8 text", file)
	}
	p := &page{text: text}
	var body []byte
	p.front, body = frontMatter(text)
	if p.outline, err = checklist.ReadOutline(body); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p.anchors = anchors(p.outline)
	r.pages[file] = p
	return p, nil
}

// frontMatter splits the YAML off that stands between lines of --- at the
// beginning. In the body it is blanks, so that lines keep their numbers.
func frontMatter(text []byte) (front string, body []byte) {
	s := strings.TrimPrefix(string(text), "\ufeff")
	opening := regexp.MustCompile(`^---[ \t]*\r?\n`).FindString(s)
	if opening == "" {
		return "", text
	}
	closing := regexp.MustCompile(`(?m)^(---|\.\.\.)[ \t]*\r?$`).FindStringIndex(s[len(opening):])
	if closing == nil {
		return "", text
	}
	end := len(opening) + closing[1]
	front = s[len(opening) : len(opening)+closing[0]]
	return front, []byte(strings.Repeat("\n", strings.Count(s[:end], "\n")) + s[end:])
}

// judge applies the rules to every document.
func (r *reading) judge(ctx context.Context) error {
	markdown := 0
	for _, file := range r.files {
		p, err := r.read(ctx, file)
		if err != nil {
			return err
		}
		if p == nil {
			r.miss("there is no %s", file)
			continue
		}
		if len(r.Paths) > 0 && !isMarkdown(file) { // a picture beside the texts
			continue
		}
		markdown++
		r.details["sha256."+file] = digest(p.text)
		if !substance(string(p.outline.Visible)) {
			r.miss("%s says nothing", file)
		}
		if err := r.shape(ctx, file, p); err != nil {
			return err
		}
	}
	if markdown == 0 && len(r.misses) == 0 && len(r.files) > 0 {
		return fmt.Errorf("none of the %d files is Markdown, in which headings, links and texts could be looked for", len(r.files))
	}
	return nil
}

func isMarkdown(file string) bool {
	return slices.Contains([]string{".md", ".markdown", ".mdx"}, strings.ToLower(path.Ext(file)))
}

func (r *reading) shape(ctx context.Context, file string, p *page) error {
	for _, want := range r.Headings {
		r.heading(file, p, want)
	}
	if err := r.mentioned(file, p); err != nil {
		return err
	}
	if err := r.front(file, p); err != nil {
		return err
	}
	if r.Tickets != "" {
		r.tickets(file, p)
	}
	if r.Links != "" {
		r.links(ctx, file, p)
	}
	return r.reviewed(ctx, file)
}

// plainHeading is a heading without its number, its last colon and its case.
func plainHeading(text string) string {
	text = regexp.MustCompile(`^\s*\d+(\.\d+)*[.)]?\s+`).ReplaceAllString(text, "")
	return strings.ToLower(strings.TrimSpace(strings.TrimRight(strings.TrimSpace(text), ":")))
}

func findHeading(p *page, want string) int {
	return slices.IndexFunc(p.outline.Headings, func(h checklist.DocumentHeading) bool { return plainHeading(h.Text) == plainHeading(want) })
}

func (r *reading) heading(file string, p *page, want string) {
	i := findHeading(p, want)
	if i < 0 {
		r.miss("%s has no heading %s", file, want)
		return
	}
	h := p.outline.Headings[i]
	if _, body := p.outline.Section(i); !substance(said(body, h.End, p.outline.Definitions)) {
		r.miss("%s, line %d: nothing stands under %s", file, h.Line, want)
	}
}

// mentioned looks for texts in what a reader sees; case and line breaks do not
// count, and a text is not found inside a longer word or path.
func (r *reading) mentioned(file string, p *page) error {
	wanted := slices.Clone(r.Mentions)
	if r.MentionsFact != "" {
		fact, ok := r.env.Ledger.Fact(r.MentionsFact)
		if !ok {
			return &check.NotSupplied{What: "the fact " + r.MentionsFact}
		}
		lines := 0
		for line := range strings.Lines(fact) {
			if line = strings.TrimSpace(line); line != "" {
				wanted, lines = append(wanted, line), lines+1
			}
		}
		r.facts["mentions_fact"] = fmt.Sprintf("%s has %d lines", r.MentionsFact, lines)
	}
	text := strings.ToLower(strings.Join(strings.Fields(string(p.outline.Visible)), " "))
	found := 0
	for _, want := range wanted {
		if !holds(text, strings.ToLower(strings.Join(strings.Fields(want), " "))) {
			r.miss("%s does not mention %s", file, cut(want))
			continue
		}
		found++
	}
	if len(wanted) > 0 {
		r.details["mentioned."+file] = fmt.Sprintf("%d of %d", found, len(wanted))
	}
	return nil
}

// holds finds a text that does not go on before or after it.
func holds(text, want string) bool {
	goesOn := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' }
	for from := 0; ; {
		i := strings.Index(text[from:], want)
		if i < 0 {
			return false
		}
		at, end := from+i, from+i+len(want)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[end:])
		head, _ := utf8.DecodeRuneInString(want)
		tail, _ := utf8.DecodeLastRuneInString(want)
		// A path that goes on below or with a parameter is another path.
		longer := strings.Contains(want, "/") && len(text) > end+1 && text[end] == '/' && (goesOn(rune(text[end+1])) || text[end+1] == '{')
		if !(at > 0 && goesOn(before) && goesOn(head)) && !(end < len(text) && goesOn(after) && goesOn(tail)) && !longer {
			return true
		}
		from = at + 1
	}
}

func (r *reading) front(file string, p *page) error {
	if len(r.FrontMatter) == 0 {
		return nil
	}
	if p.front == "" {
		r.miss("%s has no front matter", file)
		return nil
	}
	if len(p.front) > 64<<10 {
		return fmt.Errorf("%s: front matter of more than 64 KiB", file)
	}
	var values map[string]yaml.Node
	if err := yaml.Load([]byte(p.front), &values); err != nil {
		return fmt.Errorf("%s: front matter: %w", file, err)
	}
	for _, key := range slices.Sorted(maps.Keys(r.FrontMatter)) {
		want := r.FrontMatter[key]
		node, there := values[key]
		switch {
		case !there:
			r.miss("%s: front matter has no %s", file, key)
		case node.Kind != yaml.ScalarNode:
			return fmt.Errorf("%s: front matter: %s is no single value", file, key)
		case node.Value != want:
			r.miss("%s: front matter has %s: %s, want %s", file, key, cut(node.Value), want)
		}
	}
	return nil
}

// tickets looks for one in every entry of a section's lists.
func (r *reading) tickets(file string, p *page) {
	i := findHeading(p, r.Tickets)
	if i < 0 {
		r.miss("%s has no heading %s", file, r.Tickets)
		return
	}
	_, body := p.outline.Section(i)
	from, to, found := p.outline.Headings[i].End, p.outline.Headings[i].End+len(body), 0
	for _, e := range p.outline.Entries {
		if e.Start < from || e.Start >= to {
			continue
		}
		found++
		ticket := r.ticket(e.Text)
		if ticket == "" {
			r.miss("%s, line %d: %q names no ticket", file, e.Line, e.Text[:min(len(e.Text), 80)])
			continue
		}
		r.details["ticket."+file+":"+strconv.Itoa(e.Line)] = ticket
	}
	if found == 0 {
		r.miss("%s has no list under %s", file, r.Tickets)
	}
}

// ticket finds a ticket in a text. UTF-8, SHA-256 and the like are none.
func (r *reading) ticket(text string) string {
	if r.Ticket != nil {
		return r.Ticket.FindString(text)
	}
	standards := []string{"UTF", "SHA", "CVE", "RFC", "ISO", "HTTP", "AES", "MD", "IPV", "PEP", "CWE", "COVID"}
	for _, m := range regexp.MustCompile(`https?://[^\s)>]+|(?:^|[\s(\[])#\d+\b|\b[A-Z][A-Z0-9]+-\d+\b`).FindAllString(text, -1) {
		key, _, _ := strings.Cut(m, "-")
		if !slices.Contains(standards, key) {
			return strings.TrimLeft(m, " ([")
		}
	}
	return ""
}

// reviewed judges when a document was last committed.
func (r *reading) reviewed(ctx context.Context, file string) error {
	out, err := r.repo.try(ctx, "log", "-1", "--format=%H%x00%an%x00%cI", "--", file)
	if err != nil {
		return err
	}
	fields := strings.Split(strings.TrimSpace(string(out.Stdout)), "\x00")
	known := out.Code == 0 && len(fields) == 3
	if known {
		r.details["commit."+file] = strings.Join(fields, " ")
	}
	if r.ReviewedWithin == 0 {
		return nil
	}
	if out.Code != 0 {
		return fmt.Errorf("git log: %s", complaint(out))
	}
	if !known {
		return fmt.Errorf("no commit has touched %s: when it was reviewed is not known", file)
	}
	// In a shallow clone, the oldest commit seems to have made every file.
	shallow, err := r.repo.run(ctx, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return err
	}
	if strings.TrimSpace(shallow) != "false" {
		return errors.New("the clone is shallow: when a document was changed is not known; fetch the whole history")
	}
	at, err := time.Parse(time.RFC3339, fields[2])
	if err != nil {
		return fmt.Errorf("git log: %q is no date", cut(fields[2]))
	}
	switch age := r.env.Now().Sub(at); {
	case age < -time.Hour:
		return fmt.Errorf("%s was committed in the future (%s): a clock is wrong", file, fields[2])
	case age > r.ReviewedWithin:
		r.miss("%s was last changed %d days ago (%s), want at most %d", file, int(age.Hours()/24), fields[2], int(r.ReviewedWithin.Hours()/24))
	}
	return nil
}
