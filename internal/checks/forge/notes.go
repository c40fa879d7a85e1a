package forge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"allclear.dev/allclear/internal/check"
)

// maxChangelog bounds the file that notes are read from, in bytes.
const maxChangelog = 8 << 20

// notes reads what the release says. miss says what is wrong with the team's own
// file; what is kept at the provider is read there.
func (p *release) notes(ctx context.Context, env *check.Env) (text, miss string, err error) {
	switch p.From {
	case fromKept:
		return "", "", nil
	case fromText:
		return tidy(p.Text), "", nil
	}
	name := p.File
	if name == "" {
		name = "CHANGELOG.md"
	}
	content, miss, err := readFile(ctx, env, name, maxChangelog)
	if err != nil || miss != "" {
		return "", miss, err
	}
	if !utf8.Valid(content) {
		return "", name + " is not UTF-8", nil
	}
	text = tidy(string(content))
	if p.From == fromChangelog {
		version := p.Section
		if version == "" {
			version = env.Run.Release
		}
		if version == "" {
			return "", "", &check.NotSupplied{What: "the release of this run (or give section)"}
		}
		if text, miss = section(text, version); miss != "" {
			return "", name + ": " + miss, nil
		}
	}
	if len(text) > maxNotes {
		return "", fmt.Sprintf("%s: the notes are longer than %d bytes", name, maxNotes), nil
	}
	return text, "", nil
}

// readFile reads a file of the checkout; a missing one is a miss, not an error.
func readFile(ctx context.Context, env *check.Env, name string, most int64) ([]byte, string, error) {
	host, err := env.Host("")
	if err != nil {
		return nil, "", err
	}
	content, err := host.ReadFile(ctx, name, most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "there is no file " + name, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", name, err)
	}
	return content, "", ctx.Err()
}

// section gives what stands below a version's heading of the second level, in
// the form of Keep a Changelog (https://keepachangelog.com/en/1.1.0/), with the
// link definitions that it uses.
func section(text, version string) (string, string) {
	heading := regexp.MustCompile(`^## +\[?v?([^\]\s]+)\]?(.*)$`)
	definition := regexp.MustCompile(`^ {0,3}\[([^\]]+)\]: +\S`)
	var body, links, versions []string
	found, in, fence := 0, false, ""
	for l := range strings.SplitSeq(text, "\n") {
		if fence = fenced(fence, l); fence == "" {
			if m := heading.FindStringSubmatch(l); m != nil {
				if in = strings.EqualFold(m[1], strings.TrimPrefix(version, "v")); in {
					found++
				}
				if in && strings.Contains(strings.ToUpper(m[2]), "[YANKED]") {
					return "", fmt.Sprintf("the section %s is marked as yanked", version)
				}
				versions = append(versions, line(m[1], 40))
				continue
			}
			if strings.HasPrefix(l, "# ") {
				in = false
			}
			if definition.MatchString(l) {
				links = append(links, l)
				continue
			}
		}
		if in {
			body = append(body, l)
		}
	}
	switch {
	case found == 0:
		return "", fmt.Sprintf("no section %s (there are: %s)", version, some(versions, 5))
	case found > 1:
		return "", fmt.Sprintf("%d sections %s", found, version)
	}
	out := tidy(strings.Join(body, "\n"))
	var used []string
	for _, l := range links {
		if strings.Contains(strings.ToLower(out), "["+strings.ToLower(definition.FindStringSubmatch(l)[1])+"]") {
			used = append(used, strings.TrimSpace(l))
		}
	}
	if len(used) > 0 {
		out += "\n\n" + strings.Join(used, "\n")
	}
	return out, ""
}

// fenced follows blocks of code, in which no line is a heading: it gives the
// fence that is open after a line.
func fenced(open, l string) string {
	l = strings.TrimSpace(l)
	for _, mark := range []string{"```", "~~~"} {
		switch {
		case open == "" && strings.HasPrefix(l, mark):
			return mark
		case open == mark && strings.HasPrefix(l, mark):
			return ""
		}
	}
	return open
}

// tidy makes notes comparable: providers may change line ends.
func tidy(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n"))
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// idOf is what the mark says about the action that made a release.
func idOf(key string) string { return sum("forge.release\n" + key)[:32] }

// mark adds to notes, invisibly, who made the release and what the notes were:
// so that a draft can be told that is ours, and one that a person changed.
func mark(notes, id string) string {
	return tidy(notes) + "\n\n<!-- allclear " + id + " " + sum(tidy(notes))[:32] + " -->"
}

// unmark gives notes without the mark, and what the mark says; id is "" without
// one.
func unmark(text string) (notes, id, sumOf string) {
	text = tidy(text)
	m := regexp.MustCompile(`<!-- allclear ([0-9a-f]{32}) ([0-9a-f]{32}) -->$`).FindStringSubmatch(text)
	if m == nil {
		return text, "", ""
	}
	return tidy(strings.TrimSuffix(text, m[0])), m[1], m[2]
}

// asset is a file or link that belongs to a release.
type asset struct {
	File   string `param:"file,short" doc:"the file to upload (GitHub)" default:""`
	SHA256 string `param:"sha256" doc:"what the file's SHA-256 must be" default:""`
	Name   string `param:"name" doc:"its name in the release; the file's own when left out" default:""`
	URL    string `param:"url" doc:"the address to link (GitLab)" default:""`
}

// maxAsset bounds one file, in bytes: it is held in memory to be sent.
const maxAsset = 256 << 20

func (a asset) validate(provider string) error {
	switch {
	case provider == onGitHub && (a.File == "" || a.URL != ""):
		return errors.New("on GitHub an asset is a file")
	case provider == onGitLab && (a.URL == "" || a.File != "" || a.SHA256 != ""):
		return errors.New("on GitLab an asset is a link: give url, of what was uploaded to the package registry")
	case provider == onGitLab && a.Name == "":
		return errors.New("a link needs a name")
	case provider == onGitLab && !strings.HasPrefix(a.URL, "https://") && !strings.HasPrefix(a.URL, "http://"):
		return fmt.Errorf("url: want an http or https address, got %.100q", a.URL)
	case a.SHA256 != "" && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(a.SHA256):
		return errors.New("sha256: want 64 hexadecimal digits")
	case provider == onGitHub && !regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._+-]*[A-Za-z0-9])?$`).MatchString(a.name()):
		// GitHub renames what holds other characters, and it would not be found again.
		return fmt.Errorf("name: GitHub renames %.100q; give a name of letters, digits, and . _ - + within", a.name())
	}
	return nil
}

func (a asset) name() string {
	if a.Name != "" {
		return a.Name
	}
	return path.Base(a.File)
}

// file is an asset's content.
type file struct {
	name, sha256 string
	content      []byte
}

// read reads the assets that are files, before anything is changed.
func (p *release) read(ctx context.Context, env *check.Env) ([]file, string, error) {
	var out []file
	for _, a := range p.Assets {
		if a.File == "" {
			continue
		}
		content, miss, err := readFile(ctx, env, a.File, maxAsset)
		if err != nil || miss != "" {
			return nil, miss, err
		}
		f := file{name: a.name(), sha256: sum(string(content)), content: content}
		if len(content) == 0 {
			return nil, a.File + " is empty", nil
		}
		if a.SHA256 != "" && a.SHA256 != f.sha256 {
			return nil, fmt.Sprintf("%s has the SHA-256 %s, want %s", a.File, f.sha256, a.SHA256), nil
		}
		out = append(out, f)
	}
	return out, "", nil
}
