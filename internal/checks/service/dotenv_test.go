package service

import (
	"strings"
	"testing"
)

func TestDotenv(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"A=1\r\nB = two words # comment\n\n#C=3\nexport D=x#y", "A=1|B=two words|D=x#y"},
		{`A="a \"b\" \n\\ \$x \z" # c`, "A=a \"b\" \n\\ $x \\z"},
		{`A='a \n "b"'`, `A=a \n "b"`},
		{"A=", "A="},
		{"A=$B${C}`d`", "A=$B${C}`d`"},
		{`A="open`, "error: 1: A: the quote is not closed"},
		{"\nA='x' y", "error: 2: A: something stands behind the closing quote"},
		{"hunter2", "error: 1: want NAME=value"},
		{"=x", "error: 1: want NAME=value"},
		{"A B=x", "error: 1: want NAME=value"},
	} {
		pairs, err := dotenv(c.text)
		got := strings.Join(pairs, "|")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}
