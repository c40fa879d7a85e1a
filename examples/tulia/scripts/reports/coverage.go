package main

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

const module = "allclear.dev/allclear/examples/tulia/"

// profile is how often each line of each file ran. A line that several statements share ran as often as the one
// that ran most.
type profile map[string]map[int]int

// add reads a profile in Go's text format: "file:line.column,line.column statements count". Tests and this tool are
// not part of the application.
func (p profile) add(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open coverage: %w", err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		file, rest, ok := strings.Cut(strings.TrimPrefix(in.Text(), module), ".go:")
		if !ok || strings.HasPrefix(file, "scripts/") || strings.HasPrefix(file, "test/") {
			continue
		}
		var line, column, lastLine, lastColumn, statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &line, &column, &lastLine, &lastColumn, &statements, &count); err != nil {
			return fmt.Errorf("read coverage line %q: %w", in.Text(), err)
		}
		if statements == 0 {
			continue
		}
		hits := p[file+".go"]
		if hits == nil {
			hits = map[int]int{}
			p[file+".go"] = hits
		}
		for ; line <= lastLine; line++ {
			hits[line] = max(hits[line], count)
		}
	}
	return nil
}

type coverage struct {
	XMLName      xml.Name       `xml:"coverage"`
	LineRate     string         `xml:"line-rate,attr"`
	BranchRate   string         `xml:"branch-rate,attr"`
	LinesCovered int            `xml:"lines-covered,attr"`
	LinesValid   int            `xml:"lines-valid,attr"`
	Timestamp    int64          `xml:"timestamp,attr"` // milliseconds, as Cobertura has it
	Version      string         `xml:"version,attr"`
	Sources      []string       `xml:"sources>source"`
	Packages     []coverPackage `xml:"packages>package"`
}

type coverPackage struct {
	Name       string       `xml:"name,attr"`
	LineRate   string       `xml:"line-rate,attr"`
	BranchRate string       `xml:"branch-rate,attr"`
	Classes    []coverClass `xml:"classes>class"`
}

type coverClass struct {
	Name       string      `xml:"name,attr"`
	Filename   string      `xml:"filename,attr"`
	LineRate   string      `xml:"line-rate,attr"`
	BranchRate string      `xml:"branch-rate,attr"`
	Lines      []coverLine `xml:"lines>line"`
}

type coverLine struct {
	Number int `xml:"number,attr"`
	Hits   int `xml:"hits,attr"`
}

// writeCobertura writes the profile. Go does not measure branches: their rate is 0 of 0.
func writeCobertura(to string, p profile, now time.Time) error {
	c := coverage{BranchRate: "0", Timestamp: now.UnixMilli(), Version: "go", Sources: []string{"."}}
	byPackage := map[string][]coverClass{}
	covered, valid := map[string]int{}, map[string]int{}
	for _, file := range slices.Sorted(maps.Keys(p)) {
		class := coverClass{Name: path.Base(file), Filename: file, BranchRate: "0"}
		hit := 0
		for _, line := range slices.Sorted(maps.Keys(p[file])) {
			class.Lines = append(class.Lines, coverLine{line, p[file][line]})
			if p[file][line] > 0 {
				hit++
			}
		}
		class.LineRate = rate(hit, len(class.Lines))
		dir := path.Dir(file)
		byPackage[dir] = append(byPackage[dir], class)
		covered[dir], valid[dir] = covered[dir]+hit, valid[dir]+len(class.Lines)
		c.LinesCovered, c.LinesValid = c.LinesCovered+hit, c.LinesValid+len(class.Lines)
	}
	for _, dir := range slices.Sorted(maps.Keys(byPackage)) {
		c.Packages = append(c.Packages, coverPackage{dir, rate(covered[dir], valid[dir]), "0", byPackage[dir]})
	}
	c.LineRate = rate(c.LinesCovered, c.LinesValid)
	return writeXML(to, c)
}

func rate(part, all int) string {
	if all == 0 {
		return "0"
	}
	return fmt.Sprintf("%.4f", float64(part)/float64(all))
}
