package lint

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// InOrder sorts the names of migrations as the tools do: numbers by their value,
// Flyway's by their versions and its repeatable ones last.
func InOrder(names []string) {
	slices.SortStableFunc(names, func(a, b string) int {
		left, right := flywayName().FindStringSubmatch(path.Base(a)), flywayName().FindStringSubmatch(path.Base(b))
		if left == nil || right == nil {
			return natural(a, b)
		}
		return cmp.Or(cmp.Compare(flywayRank(left[1]+left[3]), flywayRank(right[1]+right[3])), CompareVersions(left[2], right[2]), natural(a, b))
	})
}

func flywayRank(kind string) int { return strings.Index("BVUR", kind) }

// CompareVersions compares Flyway's versions part by part: 1.2 = 1_2, 1.10 > 1.9, 1 = 1.0.
func CompareVersions(a, b string) int {
	parts := func(v string) []string {
		return strings.FieldsFunc(v, func(r rune) bool { return r == '.' || r == '_' })
	}
	left, right := parts(a), parts(b)
	for i := range max(len(left), len(right)) {
		x, y := "", ""
		if i < len(left) {
			x = strings.TrimLeft(left[i], "0")
		}
		if i < len(right) {
			y = strings.TrimLeft(right[i], "0")
		}
		if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
			return c
		}
	}
	return 0
}

// natural compares texts in which runs of digits count as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			x, y := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// FlywayVersion gives a version of Flyway as numbers without leading zeros between
// dots, without zeros at the end: 1_02.0 is 1.2.
func FlywayVersion(version string) string {
	parts := strings.FieldsFunc(version, func(r rune) bool { return r == '.' || r == '_' })
	for i := range parts {
		parts[i] = cmp.Or(strings.TrimLeft(parts[i], "0"), "0")
	}
	for len(parts) > 1 && parts[len(parts)-1] == "0" {
		parts = parts[:len(parts)-1]
	}
	return strings.Join(parts, ".")
}

// FlywayName takes a name of Flyway's apart: its kind (V, U, R, B) and its version as
// FlywayVersion writes it, "" for a repeatable one; ok is false for other names.
func FlywayName(name string) (kind, version string, ok bool) {
	found := flywayName().FindStringSubmatch(path.Base(name))
	if found == nil {
		return "", "", false
	}
	if found[3] != "" {
		return found[3], "", true
	}
	return found[1], FlywayVersion(found[2]), true
}
