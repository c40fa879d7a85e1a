package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v4"
	"gopkg.in/ini.v1"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
)

// decode reads a file of a format and gives it as JSON. What is empty or written
// wrongly is an error, as is a key that stands there twice.
func decode(format string, text []byte, document int) ([]byte, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("the file is empty")
	}
	if !utf8.Valid(text) {
		return nil, errors.New("the file is not UTF-8")
	}
	switch format {
	case "yaml":
		return decodeYAML(text, document)
	case "json":
		if _, err := check.FromJSON(text); err != nil {
			return nil, err
		}
		return text, unique(text)
	case "toml":
		var out map[string]any
		if err := toml.Unmarshal(text, &out); err != nil {
			return nil, err
		}
		return json.Marshal(out)
	case "ini":
		return decodeINI(text)
	case "env":
		return decodeEnv(text)
	}
	return nil, fmt.Errorf("format %q is not known", format)
}

// decodeYAML reads one document. Of several one must be chosen, because a value of
// the wrong one says nothing.
func decodeYAML(text []byte, document int) ([]byte, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var found any
	n := 0
	for {
		var one any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n++; document == 0 || n == document {
			found = one
		}
	}
	switch {
	case document == 0 && n > 1:
		return nil, fmt.Errorf("the file holds %d documents: say which with document", n)
	case n < document:
		return nil, fmt.Errorf("the file holds %d documents, and document %d is asked for", n, document)
	}
	out, err := json.Marshal(found)
	if err != nil {
		return nil, fmt.Errorf("it holds what has no place in JSON: %w", err)
	}
	return out, nil
}

// decodeINI reads sections of keys. Keys above the first section stand at the top;
// every value is a text.
func decodeINI(text []byte) ([]byte, error) {
	file, err := ini.LoadSources(ini.LoadOptions{AllowShadows: true, IgnoreInlineComment: true, KeyValueDelimiters: "=:"}, text)
	if err != nil {
		return nil, err
	}
	type keys map[string]string
	top, sections := keys{}, map[string]keys{}
	for _, section := range file.Sections() {
		into := top
		if section.Name() != ini.DefaultSection {
			into = keys{}
			sections[section.Name()] = into
		}
		for _, key := range section.Keys() {
			if len(key.ValueWithShadows()) > 1 {
				return nil, fmt.Errorf("%s stands there twice in [%s]", key.Name(), section.Name())
			}
			into[key.Name()] = strings.TrimSpace(key.String())
		}
	}
	out := map[string]any{}
	for name, value := range top {
		out[name] = value
	}
	for name, section := range sections {
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s is a key and a section", name)
		}
		out[name] = section
	}
	return json.Marshal(out)
}

// decodeEnv reads NAME=value lines; every value is a text.
func decodeEnv(text []byte) ([]byte, error) {
	vars, err := dotenv.Parse(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(vars)
}
