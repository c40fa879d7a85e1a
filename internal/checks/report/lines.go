package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// unit is what coverage counts: a line, or a block of statements of a Go file,
// or one branch.
type unit struct{ file, place string }

// coverage is what was counted, merged over all reports: a unit that any of them
// covers is covered. Lines weigh 1; a block of Go weighs its statements.
type coverage struct {
	lines, branches map[unit]cover
	// merged counts what the reports told, repetitions included.
	merged int
}

type cover struct {
	weight int
	hit    bool
}

func newCoverage() *coverage {
	return &coverage{lines: map[unit]cover{}, branches: map[unit]cover{}}
}

func (c *coverage) merge(into map[unit]cover, at unit, weight int, hit bool) {
	c.merged++
	was := into[at]
	into[at] = cover{weight: max(was.weight, weight), hit: was.hit || hit}
}

// share gives covered and counted weight of the files that match.
func share(of map[unit]cover, match func(file string) bool) (covered, counted int) {
	for at, c := range of {
		if !match(at.file) {
			continue
		}
		counted += c.weight
		if c.hit {
			covered += c.weight
		}
	}
	return covered, counted
}

// add reads one report.
func (c *coverage) add(format string, text []byte) error {
	if format == "" {
		format = guess(text)
	}
	switch format {
	case "cobertura":
		return c.cobertura(text)
	case "lcov":
		return c.lcov(text)
	case "go":
		return c.golang(text)
	case "coverage.py":
		return c.python(text)
	}
	return errors.New("it is none of cobertura, lcov, go, coverage.py")
}

// guess tells the format by how the file begins.
func guess(text []byte) string {
	head := string(bytes.TrimSpace(text[:min(len(text), 512)]))
	switch {
	case strings.HasPrefix(head, "mode: "):
		return "go"
	case strings.HasPrefix(head, "<"):
		return "cobertura"
	case strings.HasPrefix(head, "{"):
		return "coverage.py"
	case strings.HasPrefix(head, "TN:"), strings.HasPrefix(head, "SF:"):
		return "lcov"
	}
	return ""
}

// cobertura recounts the lines; the totals in the document are not used, since a
// line stands in it once for its class and once for its method.
func (c *coverage) cobertura(text []byte) error {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.CharsetReader = charset
	file, depth, root := "", 0, false
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			if !root || depth > 0 {
				return errors.New("the document is cut")
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch e := token.(type) {
		case xml.EndElement:
			depth--
		case xml.StartElement:
			if depth++; depth > maxNesting {
				return fmt.Errorf("elements nest deeper than %d", maxNesting)
			}
			if !root && e.Name.Local != "coverage" {
				return fmt.Errorf("the root is <%s>, want <coverage>", e.Name.Local)
			}
			root = true
			switch e.Name.Local {
			case "class":
				file = attribute(e, "filename")
			case "line":
				if err := c.coberturaLine(file, e); err != nil {
					return err
				}
			}
		}
	}
}

func (c *coverage) coberturaLine(file string, e xml.StartElement) error {
	line := attribute(e, "number")
	hits, err := strconv.ParseInt(attribute(e, "hits"), 10, 64)
	if err != nil || hits < 0 || line == "" || file == "" {
		return fmt.Errorf("a line of %q without number or hits", file)
	}
	c.merge(c.lines, unit{file, line}, 1, hits > 0)
	// condition-coverage="50% (1/2)": which of them were taken is not told, so the
	// first ones are counted as taken.
	_, conditions, found := strings.Cut(attribute(e, "condition-coverage"), "(")
	if !found {
		return nil
	}
	var taken, all int
	if _, err := fmt.Sscanf(conditions, "%d/%d)", &taken, &all); err != nil || taken < 0 || taken > all || all > 10_000 {
		return fmt.Errorf("line %s of %s: condition-coverage is malformed", line, file)
	}
	for i := range all {
		c.merge(c.branches, unit{file, line + "/" + strconv.Itoa(i)}, 1, i < taken)
	}
	return nil
}

// lcov reads SF, DA and BRDA records.
func (c *coverage) lcov(text []byte) error {
	file := ""
	err := eachLine(text, func(line string) error {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Split(value, ",")
		switch key {
		case "SF":
			file = value
		case "end_of_record":
			file = ""
		case "DA":
			if len(fields) < 2 || file == "" {
				return fmt.Errorf("malformed record %.60q", line)
			}
			hits, err := strconv.ParseInt(fields[1], 10, 64)
			if _, bad := strconv.ParseUint(fields[0], 10, 32); err != nil || bad != nil {
				return fmt.Errorf("malformed record %.60q", line)
			}
			c.merge(c.lines, unit{file, fields[0]}, 1, hits > 0)
		case "BRDA":
			if len(fields) != 4 || file == "" {
				return fmt.Errorf("malformed record %.60q", line)
			}
			taken, err := strconv.ParseUint(fields[3], 10, 64)
			if err != nil && fields[3] != "-" { // - means that its line never ran
				return fmt.Errorf("malformed record %.60q", line)
			}
			c.merge(c.branches, unit{file, strings.Join(fields[:3], "/")}, 1, taken > 0)
		case "TN", "LF", "LH", "FN", "FNDA", "FNF", "FNH", "FNL", "FNA", "BRF", "BRH", "VER", "MCDC", "MCF", "MCH", "":
		default:
			return fmt.Errorf("malformed record %.60q", line)
		}
		return nil
	})
	if err == nil && file != "" {
		return errors.New("the report is cut: no end_of_record at its end")
	}
	return err
}

// golang reads "file:line.col,line.col statements count".
func (c *coverage) golang(text []byte) error {
	header := false
	return eachLine(text, func(line string) error {
		if strings.HasPrefix(line, "mode: ") {
			header = true
			return nil
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return nil
		}
		if !header || len(fields) != 3 {
			return fmt.Errorf("malformed line %.60q", line)
		}
		colon := strings.LastIndex(fields[0], ":")
		statements, err1 := strconv.Atoi(fields[1])
		count, err2 := strconv.ParseUint(fields[2], 10, 64)
		if colon <= 0 || err1 != nil || err2 != nil || statements < 0 || statements > 1_000_000 {
			return fmt.Errorf("malformed line %.60q", line)
		}
		c.merge(c.lines, unit{fields[0][:colon], fields[0][colon+1:]}, statements, count > 0)
		return nil
	})
}

// python reads the JSON report of coverage.py.
func (c *coverage) python(text []byte) error {
	var doc struct {
		Files map[string]struct {
			Executed         *[]int   `json:"executed_lines"`
			Missing          *[]int   `json:"missing_lines"`
			ExecutedBranches [][2]int `json:"executed_branches"`
			MissingBranches  [][2]int `json:"missing_branches"`
		} `json:"files"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return err
	}
	for name, f := range doc.Files {
		if f.Executed == nil || f.Missing == nil {
			return fmt.Errorf("%s: executed_lines or missing_lines is not there", name)
		}
		for _, n := range *f.Executed {
			c.merge(c.lines, unit{name, strconv.Itoa(n)}, 1, true)
		}
		for _, n := range *f.Missing {
			c.merge(c.lines, unit{name, strconv.Itoa(n)}, 1, false)
		}
		for _, b := range f.ExecutedBranches {
			c.merge(c.branches, unit{name, fmt.Sprint(b)}, 1, true)
		}
		for _, b := range f.MissingBranches {
			c.merge(c.branches, unit{name, fmt.Sprint(b)}, 1, false)
		}
	}
	return nil
}

func eachLine(text []byte, do func(string) error) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if err := do(strings.TrimRight(lines.Text(), "\r")); err != nil {
			return err
		}
	}
	return lines.Err()
}
