package dotenv_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/dotenv"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"A=1\r\nB = two words # comment\n\n#C=3\nexport D=x#y", "A=1|B=two words|D=x#y"},
		{`A="a \"b\" \n\\ \$x \z" # c`, "A=a \"b\" \n\\ $x \\z"},
		{`A='a \n "b"'`, `A=a \n "b"`},
		{"A=", "A="},
		{"A=$B${C}`d`", "A=$B${C}`d`"},
		{"A=1\nA=2", "A=2"},
		{"A='one\ntwo'\nB=3", "A=one\ntwo|B=3"},
		{"\ufeffA=1", "A=1"},
		{`A="open`, "error: line 1: a quote is not closed"},
		{"\nA='x' y", "error: line 2: text after the closing quote"},
		{"hunter2", "error: line 1 is not NAME=value"},
		{"=x", "error: line 1 is not NAME=value"},
		{"A B=x", "error: line 1 is not NAME=value"},
	} {
		vars, err := dotenv.Parse([]byte(c.text))
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			pairs = append(pairs, name+"="+vars[name])
		}
		got := strings.Join(pairs, "|")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("A=1\nexport B='two\nthree' # four\nC=\"x\\ny\"")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := dotenv.Parse([]byte(text))
		for name := range vars {
			if !dotenv.ValidName(name) {
				t.Errorf("%q is taken for a name", name)
			}
		}
		if err != nil && vars != nil {
			t.Error("half a file is given with an error")
		}
	})
}
