package env

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/dotenv"
)

// documented is a variable that a document describes.
type documented struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// Optional tells that the document says that it need not be set.
	Optional bool `json:"optional,omitempty"`
}

// findDocumented reads a dotenv example or the tables of a Markdown file.
func findDocumented(file, text string) (map[string]documented, error) {
	base := strings.ToLower(path.Base(file))
	switch {
	case strings.HasSuffix(base, ".md"), strings.HasSuffix(base, ".markdown"):
		return tables(file, text), nil
	case strings.Contains(base, "env"):
		return example(file, text)
	}
	return nil, fmt.Errorf("%s: want a dotenv file (.env.example) or Markdown", file)
}

var commented = regexp.MustCompile(`^#+\s*(?:export\s+)?([A-Z][A-Z0-9_]*)=`)

// example reads a dotenv file. A variable that is commented out is optional.
func example(file, text string) (map[string]documented, error) {
	set, err := dotenv.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out, number := map[string]documented{}, 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if m := commented.FindStringSubmatch(line); m != nil {
			if _, is := set[m[1]]; !is {
				out[m[1]] = documented{file, number, true}
			}
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); name != "" {
			if _, is := set[name]; is {
				out[name] = documented{file, number, false}
			}
		}
	}
	return out, nil
}

var (
	cellName  = regexp.MustCompile("^`?([A-Z][A-Z0-9_]*)`?$")
	delimiter = regexp.MustCompile(`^\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?$`)
)

// tables reads the tables of a Markdown file: the first column names variables. A
// column called Required or Default tells which are optional.
func tables(file, text string) map[string]documented {
	out := map[string]documented{}
	fence, head, header := "", "", []string(nil)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		mark := ""
		if strings.HasPrefix(line, "```") || strings.HasPrefix(line, "~~~") {
			mark = line[:3]
		}
		switch {
		case mark != "" && fence == "":
			fence = mark
		case mark != "" && fence == mark:
			fence = ""
		}
		if fence != "" || mark != "" || !strings.Contains(line, "|") {
			header, head = nil, ""
			continue
		}
		if delimiter.MatchString(line) && strings.Contains(line, "-") && head != "" {
			header = cells(head)
			continue
		}
		if head = line; header == nil {
			continue
		}
		row := cells(line)
		if m := cellName.FindStringSubmatch(row[0]); m != nil {
			out[m[1]] = documented{file, number, optionalRow(header, row)}
		}
	}
	return out
}

// cells splits a row of a table.
func cells(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	var out []string
	for cell := range strings.SplitSeq(strings.ReplaceAll(line, `\|`, "\x00"), "|") {
		out = append(out, strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
	}
	return out
}

func optionalRow(header, row []string) bool {
	for i := range min(len(header), len(row)) {
		value := strings.ToLower(strings.Trim(row[i], "`* "))
		switch strings.ToLower(header[i]) {
		case "required", "required?", "mandatory":
			if value == "no" || value == "optional" || value == "false" || value == "❌" {
				return true
			}
		case "default", "default value":
			if value != "" && value != "-" && value != "–" && value != "—" && value != "none" && value != "n/a" {
				return true
			}
		}
	}
	return false
}
