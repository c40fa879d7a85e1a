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

// decode reads a file of a format into mappings, lists and plain values. What is
// empty or written wrongly is an error, as is a key that stands there twice.
func decode(format string, text []byte, document int) (any, error) {
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
		return check.FromJSON(text)
	case "toml":
		var out map[string]any
		if err := toml.Unmarshal(text, &out); err != nil {
			return nil, err
		}
		return normal(out)
	case "ini":
		return decodeINI(text)
	case "env":
		return decodeEnv(text)
	}
	return nil, fmt.Errorf("format %q is not known", format)
}

// decodeYAML reads one document. Of several one must be chosen, because a value of
// the wrong one says nothing.
func decodeYAML(text []byte, document int) (any, error) {
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
	return normal(found)
}

// normal turns what a decoder gives into what JSON knows: dates become texts,
// numbers one kind of whole and one of broken ones.
func normal(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("it holds what has no place in JSON: %w", err)
	}
	return check.FromJSON(text)
}

// decodeINI reads sections of keys. Keys above the first section stand at the top;
// every value is a text.
func decodeINI(text []byte) (any, error) {
	file, err := ini.LoadSources(ini.LoadOptions{AllowShadows: true, IgnoreInlineComment: true, KeyValueDelimiters: "=:"}, text)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for _, section := range file.Sections() {
		into := out
		if section.Name() != ini.DefaultSection {
			into = map[string]any{}
			out[section.Name()] = into
		}
		for _, key := range section.Keys() {
			if len(key.ValueWithShadows()) > 1 {
				return nil, fmt.Errorf("%s stands there twice in [%s]", key.Name(), section.Name())
			}
			into[key.Name()] = strings.TrimSpace(key.String())
		}
	}
	return out, nil
}

// decodeEnv reads NAME=value lines; every value is a text.
func decodeEnv(text []byte) (any, error) {
	vars, err := dotenv.Parse(text)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for name, value := range vars {
		out[name] = value
	}
	return out, nil
}
