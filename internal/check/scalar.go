package check

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/secret"
)

// scalar decodes text after its variables have been put in. A value that only
// the run will know stays as written.
func (d *decoder) scalar(node *yaml.Node, p Param, into reflect.Value) json.RawMessage {
	if into.Type() == reflect.TypeFor[Script]() { // ${name} is the shell's there
		into.SetString(node.Value)
		if err := Script(node.Value).valid(); err != nil {
			d.add(node, "%s: %v", p.Name, err)
		}
		return d.marshal(node, node.Value)
	}
	text, ready := d.expand(node, p)
	if arg, ok := into.Addr().Interface().(*Arg); ok {
		*arg = Arg{Text: text, Written: node.Value}
		return d.marshal(node, text)
	}
	if !ready {
		if into.Kind() == reflect.String {
			into.SetString(text)
		}
		return d.marshal(node, text)
	}
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, text) {
		problem := d.add(node, "%s: unknown value %q", p.Name, text)
		problem.Allowed = p.Enum
		if near := diag.Nearest(text, p.Enum); near != "" {
			problem.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil
	}
	if err := setScalar(node, text, into); err != nil {
		if p.Type == "secret" { // what stands there may be the secret itself
			problem := d.add(node, "%s: %v", p.Name, err)
			problem.Line, problem.Width = "", 1
			return nil
		}
		problem := d.add(node, "%s: want %s, got %q%s", p.Name, article(p.Type), text, because(err))
		if at, ok := errors.AsType[*SyntaxError](err); ok && text == node.Value && node.Style == 0 {
			problem.Pos.Col, problem.Width = node.Column+len(string([]rune(text)[:min(at.Offset, len([]rune(text)))])), 1
		}
		return nil
	}
	switch into.Kind() {
	case reflect.Bool:
		return d.marshal(node, into.Bool())
	case reflect.Int, reflect.Int64:
		if p.Type == "integer" {
			return d.marshal(node, into.Int())
		}
	}
	return d.marshal(node, text)
}

// because adds an error of a type with its own syntax to a message.
func because(err error) string {
	if err == errSyntax {
		return ""
	}
	return ": " + err.Error()
}

var errSyntax = fmt.Errorf("not of this type")

func setScalar(node *yaml.Node, text string, into reflect.Value) error {
	switch target := into.Addr().Interface().(type) {
	case *time.Duration:
		v, err := time.ParseDuration(text)
		if err != nil || v < 0 {
			return errSyntax
		}
		*target = v
		return nil
	case *Size:
		return parseSize(text, target)
	case *Share:
		return parseShare(text, target)
	case *secret.Ref:
		ref, err := secret.ParseRef(text)
		*target = ref
		return err
	case encoding.TextUnmarshaler:
		return target.UnmarshalText([]byte(text))
	}
	switch into.Kind() {
	case reflect.String:
		if node.Tag == "!!null" {
			return errSyntax
		}
		into.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return errSyntax
		}
		into.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errSyntax
		}
		into.SetInt(v)
	case reflect.Float64:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return errSyntax
		}
		into.SetFloat(v)
	}
	return nil
}

func parseSize(text string, into *Size) error {
	units := []struct {
		suffix string
		factor float64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
	}
	for _, u := range units {
		number, found := strings.CutSuffix(text, u.suffix)
		if !found {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || v < 0 || v*u.factor > math.MaxInt64/2 || math.IsNaN(v) {
			return errSyntax
		}
		*into = Size(v * u.factor)
		return nil
	}
	return errSyntax
}

func parseShare(text string, into *Share) error {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return errSyntax
	}
	if percent {
		v /= 100
	}
	*into = Share(v)
	return nil
}
