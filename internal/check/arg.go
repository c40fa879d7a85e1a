package check

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Arg is one element of a program's argument vector. It remembers how it was
// written, because what a variable puts there must not become an option or a
// second line (CVE-2021-43286 and its kind).
type Arg struct {
	// Text is what the program gets; Written is what stands in the file.
	Text, Written string
}

// Args gives the texts of an argument vector, refusing what a variable may not
// put there: a leading "-" unless dash allows it, a line break, a NUL byte.
func Args(args []Arg, dash bool) ([]string, error) {
	var out []string
	for i, a := range args {
		if err := a.valid(dash); err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		out = append(out, a.Text)
	}
	return out, nil
}

func (a Arg) valid(dash bool) error {
	if strings.ContainsRune(a.Text, 0) {
		return errors.New("it holds a NUL byte")
	}
	if a.Text == a.Written {
		return nil
	}
	if strings.ContainsAny(a.Text, "\r\n") && !strings.ContainsAny(a.Written, "\r\n") {
		return fmt.Errorf("the value of %s holds a line break", a.Written)
	}
	if strings.HasPrefix(a.Text, "-") && !strings.HasPrefix(a.Written, "-") && !dash {
		return fmt.Errorf("the value of %s begins with -", a.Written)
	}
	return nil
}

// Script is a text for a shell. No variable is put into it, so that no value can
// become code: values reach it as "$1", "$2" … or in its environment.
type Script string

func (s Script) valid() error {
	// A variable of the checklist has a dot in its name, a shell's own has none.
	ours := regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z0-9_.]*\}`)
	if name := ours.FindString(string(s)); name != "" {
		return fmt.Errorf(`%s is not put into a script: give it in args and write "$1"`, name)
	}
	if strings.ContainsRune(string(s), 0) {
		return errors.New("it holds a NUL byte")
	}
	return nil
}
