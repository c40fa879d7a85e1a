// Package configfile holds the type that looks into configuration files: YAML,
// JSON, TOML, INI and .env.
package configfile

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed config.value.md
var valueDoc string

// Value is the type config.value.
var Value = check.Define[value](check.Desc{
	Name: "config.value", Summary: "the values of a configuration file are as they must be", Doc: valueDoc,
})

// value looks at one file.
type value struct {
	File     string                 `param:"file" doc:"the file"`
	Format   string                 `param:"format" doc:"how it is written; by its name when left out" default:"" enum:"yaml,json,toml,ini,env"`
	Document int                    `param:"document" doc:"which of several YAML documents, from 1" default:"0"`
	Values   map[string]check.Value `param:"values" doc:"values by path (server.ports[0].name)" default:""`
	Expect   check.Expression       `param:"expect" doc:"condition over config, the whole file" default:""`
	Absent   []string               `param:"absent" doc:"paths that must not be there" default:""`
	On       string                 `param:"on" doc:"host of the file; this machine when left out" default:""`
}

// maxFile bounds a configuration file, in bytes.
const maxFile = 8 << 20

// Validate holds the rules between parameters.
func (v *value) Validate() error {
	switch {
	case strings.TrimSpace(v.File) == "":
		return errors.New("file is empty")
	case len(v.Values) == 0 && v.Expect.IsZero() && len(v.Absent) == 0:
		return errors.New("say what the file must hold: values, expect or absent")
	case v.Document < 0:
		return errors.New("document is counted from 1")
	case v.format() == "":
		return fmt.Errorf("format: the name of %s does not tell how it is written", v.File)
	case v.Document > 0 && v.format() != "yaml":
		return errors.New("document is for YAML")
	}
	for path := range v.Values {
		if _, err := parsePath(path); err != nil {
			return fmt.Errorf("values: %w", err)
		}
	}
	for _, path := range v.Absent {
		if _, err := parsePath(path); err != nil {
			return fmt.Errorf("absent: %w", err)
		}
	}
	return v.Expect.Only("config")
}

// Traits says that a file is read.
func (v *value) Traits() check.Traits {
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "reads " + v.File, Target: v.File}
}

// format is how the file is written: as said, or as its name says.
func (v *value) format() string {
	name := strings.ToLower(v.File[strings.LastIndex(v.File, "/")+1:])
	switch {
	case v.Format != "":
		return v.Format
	case strings.HasSuffix(name, ".yaml"), strings.HasSuffix(name, ".yml"):
		return "yaml"
	case strings.HasSuffix(name, ".json"):
		return "json"
	case strings.HasSuffix(name, ".toml"):
		return "toml"
	case strings.HasSuffix(name, ".ini"), strings.HasSuffix(name, ".cfg"):
		return "ini"
	case name == ".env", strings.HasPrefix(name, ".env."), strings.HasSuffix(name, ".env"):
		return "env"
	}
	return ""
}

// Run reads the file and compares. A file that is not there or cannot be read is
// not known to hold anything.
func (v *value) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(v.On)
	if err != nil {
		return check.Outcome{}, err
	}
	text, err := host.ReadFile(ctx, v.File, maxFile)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("read %s: %w", v.File, err)
	}
	config, err := decode(v.format(), text, v.Document)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("%s: %w", v.File, err)
	}
	return v.judge(config)
}

func (v *value) judge(config []byte) (check.Outcome, error) {
	facts := map[string]string{}
	var wrong []string
	for _, path := range sorted(v.Values) {
		miss, err := compare(config, path, v.Values[path], facts)
		if err != nil {
			return check.Outcome{}, err
		}
		if miss != "" {
			wrong = append(wrong, miss)
		}
	}
	for _, path := range v.Absent {
		if _, there, err := lookup(config, path); err != nil {
			return check.Outcome{}, err
		} else if there {
			wrong = append(wrong, path+" is there")
		}
	}
	if !v.Expect.IsZero() {
		whole, err := check.FromJSON(config)
		if err != nil {
			return check.Outcome{}, err
		}
		holds, err := v.Expect.Eval(map[string]any{"config": whole})
		if err != nil {
			return check.Outcome{}, err
		}
		if !holds {
			wrong = append(wrong, "not so: "+v.Expect.String())
		}
	}
	outcome := check.Passf("%s is as it must be", v.File)
	if len(wrong) > 0 {
		outcome = check.Failf("%s: %s", v.File, strings.Join(wrong, "; "))
	}
	outcome.Facts = facts
	return outcome, nil
}

// compare says in which way the value at a path is not the wanted one.
func compare(config []byte, path string, want check.Value, facts map[string]string) (string, error) {
	got, there, err := lookup(config, path)
	if err != nil {
		return "", err
	}
	if !there {
		return path + " is not there", nil
	}
	same, err := equal(got, []byte(want))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	facts[path] = shown(path, string(got))
	if same {
		return "", nil
	}
	return fmt.Sprintf("%s is %s, want %s", path, shown(path, string(got)), shown(path, want.String())), nil
}

var secretName = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|api_?key|private|credential|_key$|dsn)`)

// withPassword is an address with a password in it.
var withPassword = regexp.MustCompile(`://[^\s/:@"]*:[^\s/@"]+@`)

// shown hides the value of a name that speaks of a secret, a list or mapping in
// which such a name stands, and an address with a password; it cuts long ones.
func shown(path, text string) string {
	const most = 200
	nested := strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
	if secretName.MatchString(path) || nested && secretName.MatchString(text) || withPassword.MatchString(text) {
		return "[not shown]"
	}
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
