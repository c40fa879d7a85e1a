package changes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Package is one version of a dependency.
type Package struct{ Name, Version string }

// Is tells whether a package is the one that a report names, whose version may be
// missing. Names are compared as their registries do: Python's without regard to
// case and to the kind of separator (PEP 503), versions without Go's v.
func (p Package) Is(name, version string) bool {
	if normal(p.Name) != normal(name) {
		return false
	}
	return version == "" || strings.TrimPrefix(version, "v") == strings.TrimPrefix(p.Version, "v")
}

func normal(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-")
}

// LockFiles are the files that say which versions are used.
func LockFiles() []string {
	return []string{
		"**/go.mod", "**/go.sum", "**/requirements*.txt", "**/poetry.lock", "**/uv.lock", "**/Pipfile.lock", "**/package-lock.json", "**/npm-shrinkwrap.json",
		"**/yarn.lock", "**/pnpm-lock.yaml", "**/Gemfile.lock", "**/composer.lock", "**/Cargo.lock",
	}
}

// reader reads the versions out of one kind of lock file.
type reader func(text []byte) ([]Package, error)

// readers gives a file's reader by its name; there is none for files whose
// versions are not read, and go.sum says nothing that go.mod does not.
func readers(file string) (read reader, needless bool) {
	switch name := path.Base(file); {
	case name == "go.sum":
		return nil, true
	case name == "go.mod":
		return goMod, false
	case strings.HasPrefix(name, "requirements") && strings.HasSuffix(name, ".txt"):
		return requirements, false
	case name == "poetry.lock" || name == "uv.lock" || name == "Cargo.lock":
		return tomlPackages, false
	case name == "package-lock.json" || name == "npm-shrinkwrap.json":
		return npmLock, false
	case name == "Pipfile.lock":
		return pipfile, false
	case name == "composer.lock":
		return composer, false
	case name == "Gemfile.lock":
		return gemfile, false
	}
	return nil, false
}

// Gone lists what the lock files had in the old revision and do not have in the
// new one: replaced and removed versions. unread names files that cannot be read.
// old and new give a file's content, nothing where there is no such file.
func Gone(files []string, old, new func(file string) ([]byte, error)) (gone []Package, unread []string) {
	before, after := map[Package]bool{}, map[Package]bool{}
	for _, file := range files {
		read, needless := readers(file)
		if needless {
			continue
		}
		if read == nil || gather(file, read, old, before) != nil || gather(file, read, new, after) != nil {
			unread = append(unread, file)
		}
	}
	for p := range before {
		if !after[p] {
			gone = append(gone, p)
		}
	}
	slices.SortFunc(gone, func(a, b Package) int { return strings.Compare(a.Name+" "+a.Version, b.Name+" "+b.Version) })
	return gone, unread
}

func gather(file string, read reader, content func(string) ([]byte, error), into map[Package]bool) error {
	text, err := content(file)
	if err != nil || len(text) == 0 {
		return err
	}
	list, err := read(text)
	for _, p := range list {
		into[p] = true
	}
	return err
}

// lines calls f for every line without its end.
func lines(text []byte, f func(line string)) error {
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		f(strings.TrimRight(s.Text(), "\r"))
	}
	return s.Err()
}

// goMod reads the require directives (go.dev/ref/mod#go-mod-file-require).
func goMod(text []byte) ([]Package, error) {
	var out []Package
	inside := false
	err := lines(text, func(line string) {
		line, _, _ = strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "require" && fields[1] == "(":
			inside = true
		case len(fields) == 1 && fields[0] == ")":
			inside = false
		case inside && len(fields) == 2:
			out = append(out, Package{fields[0], fields[1]})
		case len(fields) == 3 && fields[0] == "require":
			out = append(out, Package{fields[1], fields[2]})
		}
	})
	return out, err
}

var pinned = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*===?\s*([^\s;#,*]+)\s*(?:[;#\\].*)?$`)

// requirements reads pinned versions (pip.pypa.io, "Requirements File Format"). A
// requirement that is not pinned does not say which version is used.
func requirements(text []byte) ([]Package, error) {
	var out []Package
	var open []string
	err := lines(text, func(line string) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "-") {
			return
		}
		if m := pinned.FindStringSubmatch(line); m != nil {
			out = append(out, Package{m[1], m[2]})
		} else {
			open = append(open, line)
		}
	})
	if err == nil && len(open) > 0 {
		err = fmt.Errorf("%q does not say which version is used", open[0])
	}
	return out, err
}

// tomlPackages reads the [[package]] tables that Cargo, Poetry and uv write, one
// key in a line.
func tomlPackages(text []byte) ([]Package, error) {
	var out []Package
	var p Package
	inside := false
	flush := func() {
		if inside && p.Name != "" && p.Version != "" {
			out = append(out, p)
		}
		p = Package{}
	}
	err := lines(text, func(line string) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			flush()
			inside = line == "[[package]]"
			return
		}
		key, value, found := strings.Cut(line, "=")
		if !found || !inside {
			return
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch strings.TrimSpace(key) {
		case "name":
			p.Name = value
		case "version":
			p.Version = value
		}
	})
	flush()
	if err == nil && len(out) == 0 {
		err = errors.New("it holds no package")
	}
	return out, err
}

// npmLock reads lockfileVersion 2 and 3 (docs.npmjs.com, package-lock.json): the
// keys of packages end with the package's name.
func npmLock(text []byte) ([]Package, error) {
	var lock struct {
		Packages map[string]struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Link    bool   `json:"link"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, err
	}
	if lock.Packages == nil {
		return nil, errors.New("a lock file of npm 7 or later is wanted")
	}
	var out []Package
	for key, p := range lock.Packages {
		at := strings.LastIndex(key, "node_modules/")
		if at < 0 || p.Link || p.Version == "" {
			continue // the project itself, and what lies in it
		}
		name := key[at+len("node_modules/"):]
		if p.Name != "" {
			name = p.Name
		}
		out = append(out, Package{name, p.Version})
	}
	return out, nil
}

// pipfile reads Pipfile.lock, whose versions begin with ==.
func pipfile(text []byte) ([]Package, error) {
	var lock map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, err
	}
	var out []Package
	for _, group := range slices.Sorted(maps.Keys(lock)) {
		for name, entry := range lock[group] {
			var p struct {
				Version string `json:"version"`
			}
			if group != "_meta" && json.Unmarshal(entry, &p) == nil && p.Version != "" {
				out = append(out, Package{name, strings.TrimLeft(p.Version, "=")})
			}
		}
	}
	return out, nil
}

// composer reads composer.lock (getcomposer.org/doc).
func composer(text []byte) ([]Package, error) {
	type entries []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	var lock struct {
		Packages    entries `json:"packages"`
		Development entries `json:"packages-dev"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, err
	}
	var out []Package
	for _, p := range slices.Concat(lock.Packages, lock.Development) {
		out = append(out, Package(p))
	}
	return out, nil
}

var spec = regexp.MustCompile(`^    ([A-Za-z0-9._-]+) \(([^)\s]+)\)$`)

// gemfile reads the specs of Gemfile.lock: four blanks, a name and its version.
func gemfile(text []byte) ([]Package, error) {
	var out []Package
	err := lines(text, func(line string) {
		if m := spec.FindStringSubmatch(line); m != nil {
			out = append(out, Package{m[1], m[2]})
		}
	})
	return out, err
}
