package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func newTestRedactor(t testing.TB, values ...string) *Redactor {
	t.Helper()
	r := NewRedactor(nil)
	for _, value := range values {
		if err := r.Register(New(value)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestRedactorForms(t *testing.T) {
	const value = "p@ss wörd/'\"<&>+\\x"
	quoted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	r := newTestRedactor(t, value)
	for name, text := range map[string]string{
		"raw":               value,
		"query":             url.QueryEscape(value),
		"path":              url.PathEscape(value),
		"query, lower case": "p%40ss+w%c3%b6rd%2f%27%22%3c%26%3e%2b%5cx",
		"encodeURI":         "p%40ss%20w%C3%B6rd%2F%27%22%3C%26%3E%2B%5Cx",
		"json":              string(quoted),
		"json, not HTML":    `"p@ss wörd/'\"<&>+\\x"`,
		"json, ASCII":       `"p@ss w\u00f6rd/'\"<&>+\\x"`,
		"html":              html.EscapeString(value),
		"html, &quot;":      "p@ss wörd/&#39;&quot;&lt;&amp;&gt;+\\x",
		"shell":             `'p@ss wörd/'\''"<&>+\x'`,
		"shell, python":     `'p@ss wörd/'"'"'"<&>+\x'`,
		"hex":               hex.EncodeToString([]byte(value)),
		"HEX":               strings.ToUpper(hex.EncodeToString([]byte(value))),
		"base64":            base64.StdEncoding.EncodeToString([]byte(value)),
		"base64 URL":        base64.URLEncoding.EncodeToString([]byte(value)),
	} {
		got := r.String("before " + text + " after")
		rest := strings.Trim(strings.Replace(got, Redacted, "", 1), `"'`)
		// What base64 shares with its neighbours may stay: at most one character.
		if !strings.Contains(got, Redacted) || len(rest) > len("before  after")+4 || !strings.HasPrefix(got, "before ") {
			t.Errorf("%s: %s became %s", name, text, got)
		}
	}
}

func TestRedactorStructures(t *testing.T) {
	r := newTestRedactor(t, "  surrounded\n", "-----first line\nsecond line\nx\n",
		`{"user":"admin-user","nested":{"password":"s3cret-leaf"},"list":[12345678, true, "tiny"]}`)
	for text, want := range map[string]string{
		"surrounded":                      Redacted,
		"a second line b":                 "a " + Redacted + " b",
		"x and tiny and true":             "x and tiny and true",
		`login with s3cret-leaf`:          "login with " + Redacted,
		`number 12345678.`:                "number " + Redacted + ".",
		"s3cret-leafs3cret-leaf":          Redacted,
		"admin-user:s3cret-leaf@12345678": Redacted + ":" + Redacted + "@" + Redacted,
	} {
		if got := r.String(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestOverlappingValues(t *testing.T) {
	r := newTestRedactor(t, "abcdefgh", "efghijkl", "abcdef", "cdefgh123456", "00abcdef00")
	for text, want := range map[string]string{
		"-abcdefghijkl-":     "-" + Redacted + "-",
		"-abcdefgh1234567-":  "-" + Redacted + "7-",
		"-abcdefx-":          "-" + Redacted + "x-",
		"-abcdexefghijkl-":   "-abcdex" + Redacted + "-",
		"-00abcdef1-":        "-00" + Redacted + "1-",
		"-abcde":             "-abcde",
		"ababcdef":           "ab" + Redacted,
		"cdefgh12345efghijk": "cdefgh12345efghijk",
	} {
		if got := r.String(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	r := NewRedactor(nil)
	for _, value := range []string{"", "short", "  short \n", "redacted"} {
		if err := r.Register(New(value)); err == nil {
			t.Errorf("%q was accepted", value)
		}
	}
	if got := r.String("short and redacted"); got != "short and redacted" {
		t.Errorf("got %q", got)
	}
}

func TestOpenStreamLearnsNewValues(t *testing.T) {
	r := NewRedactor(nil)
	var b strings.Builder
	w := r.Writer(&b)
	write := func(text string) {
		if n, err := io.WriteString(w, text); err != nil || n != len(text) {
			t.Fatal(n, err)
		}
	}
	write("one hunter2-x\n")
	if err := r.Register(New("hunter2-x")); err != nil {
		t.Fatal(err)
	}
	write("two hunter2-x\nthree hunter")
	if err := r.Register(New("something else")); err != nil {
		t.Fatal(err)
	}
	write("2-x four")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := "one hunter2-x\ntwo " + Redacted + "\nthree " + Redacted + " four"
	if b.String() != want {
		t.Errorf("got %q", b.String())
	}
}

func TestWriterReportsFailure(t *testing.T) {
	w := newTestRedactor(t, "hunter2-x").Writer(failing{})
	_, err := io.WriteString(w, "a line\n")
	if !errors.Is(err, io.ErrClosedPipe) || !errors.Is(w.Close(), io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// inContext writes a secret the way programs do, between other data.
func inContext(random *rand.Rand, value string) (text, core string) {
	before, after := randomText(random, "<>!?", random.IntN(7)), randomText(random, "<>!?", random.IntN(7))
	whole := before + value + after
	quoted, err := json.Marshal(whole)
	if err != nil {
		panic(err)
	}
	sum := func(encode func(string) string) (string, string) { return encode(whole), encode(value) }
	switch random.IntN(8) {
	case 0:
		return whole, value
	case 1:
		return sum(url.QueryEscape)
	case 2:
		return sum(url.PathEscape)
	case 3:
		inner, _ := json.Marshal(value)
		return string(quoted), strings.Trim(string(inner), `"`)
	case 4:
		return sum(html.EscapeString)
	case 5:
		return sum(func(s string) string { return hex.EncodeToString([]byte(s)) })
	case 6:
		return base64Context(base64.StdEncoding, before, value, after)
	default:
		return base64Context(base64.RawURLEncoding, before, value, after)
	}
}

// base64Context finds the characters that only the value decides by changing
// what is around it.
func base64Context(encoding *base64.Encoding, before, value, after string) (text, core string) {
	text = encoding.EncodeToString([]byte(before + value + after))
	flipped := func(s string) string { return strings.Repeat("\xff", len(s)) }
	other := encoding.EncodeToString([]byte(flipped(before) + value + flipped(after)))
	from, to := (len(before)*8+5)/6, (len(before)+len(value))*8/6
	if text[from:to] != other[from:to] {
		panic("the neighbours reach into the core")
	}
	return text, text[from:to]
}

func randomText(random *rand.Rand, alphabet string, length int) string {
	runes := []rune(alphabet)
	var b strings.Builder
	for range length {
		b.WriteRune(runes[random.IntN(len(runes))])
	}
	return b.String()
}

// TestNothingLeaks writes random secrets in random forms and pieces.
func TestNothingLeaks(t *testing.T) {
	const rounds = 3000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range rounds {
		var values []string
		for range 1 + random.IntN(4) {
			values = append(values, randomText(random, `abAB01 +/=%&'"\é日{}:@_-`, 6+random.IntN(40)))
		}
		values = slices.DeleteFunc(values, func(v string) bool { return len(strings.TrimSpace(v)) < MinLength || v != strings.TrimSpace(v) })
		r := newTestRedactor(t, values...)
		var text strings.Builder
		var cores []string
		for _, value := range append(values, values...) {
			piece, core := inContext(random, value)
			fmt.Fprintf(&text, "\n~%s~", piece)
			cores = append(cores, core)
		}
		got := inPieces(t, r, random, text.String())
		for _, core := range cores {
			if strings.Contains(got, core) {
				t.Fatalf("%q of %q leaked into %q", core, values, got)
			}
		}
		if whole := r.String(text.String()); whole != got {
			t.Fatalf("in pieces %q, at once %q", got, whole)
		}
	}
}

func inPieces(t testing.TB, r *Redactor, random *rand.Rand, text string) string {
	t.Helper()
	var b strings.Builder
	w := r.Writer(&b)
	for text != "" {
		n := 1 + random.IntN(min(len(text), 20))
		if _, err := io.WriteString(w, text[:n]); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func FuzzRedactor(f *testing.F) {
	f.Add("some hunter2-x text", "hunter2-x", uint64(1))
	f.Add("{\"a\":\"line\\none two\"}", "line\none two", uint64(2))
	f.Add("postgres://user:pass@host -----BEGIN RSA PRIVATE KEY-----\nabc", "RSA PRIVATE", uint64(3))
	f.Fuzz(func(t *testing.T, text, value string, seed uint64) {
		r := NewRedactor(nil)
		if err := r.Register(New(value)); err != nil {
			return
		}
		random := rand.New(rand.NewPCG(seed, 2))
		got := inPieces(t, r, random, text)
		if len(text) < longestLine && got != r.String(text) {
			t.Fatalf("in pieces %q, at once %q", got, r.String(text))
		}
		// A value that is like the mark may appear because of the mark.
		if !strings.ContainsAny(value, "[]") && !strings.Contains(value, "redacted") && strings.Contains(got, value) {
			t.Fatalf("%q leaked into %q", value, got)
		}
	})
}

func TestPatternNet(t *testing.T) {
	// Put together here so that no scanner takes this file for a leak.
	letters := strings.Repeat("aB3", 13)
	upper := "AKIA" + "ABCDEFGHIJKLMNOP"
	jwt := "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU"
	key := "-----BEGIN EC PRIVATE " + "KEY-----\nMHcCAQ\nEEIB\n-----END EC PRIVATE " + "KEY-----\n"
	for _, test := range []struct{ rule, text, want string }{
		{"aws-access-key", "id=" + upper + ";", "id=" + Redacted + ";"},
		{"github-token", "ghp_" + letters, Redacted},
		{"github-fine-grained-token", "x github_pat_" + letters + " y", "x " + Redacted + " y"},
		{"slack-token", "xoxb-" + "1234567890-abc", Redacted},
		{"jwt", "Authorization: Bearer " + jwt + "\n", "Authorization: Bearer " + Redacted + "\n"},
		{"password-in-url", "postgres://app:pw@db/x?y", "postgres://app:" + Redacted + "@db/x?y"},
		{"password-in-url", "redis://:pw@db", "redis://:" + Redacted + "@db"},
		{"private-key", "a\n" + key + "b\n", "a\n" + Redacted + "\nb\n"},
		{"private-key", strings.ReplaceAll(key, "\n", `\n`) + `"}`, Redacted + `\n"}`},
		{"", "https://host:8080/path?at=@x", "https://host:8080/path?at=@x"},
		{"", "-----BEGIN CERTIFICATE-----\nabc\n", "-----BEGIN CERTIFICATE-----\nabc\n"},
		{"", "AKIA is a prefix; ghp_short; eyJ.eyJ.", "AKIA is a prefix; ghp_short; eyJ.eyJ."},
	} {
		var hits []string
		r := NewRedactor(func(rule string) { hits = append(hits, rule) })
		if got := r.String(test.text); got != test.want {
			t.Errorf("%q became %q, want %q", test.text, got, test.want)
		}
		if want := slices.DeleteFunc([]string{test.rule}, func(s string) bool { return s == "" }); !slices.Equal(hits, want) {
			t.Errorf("%q raised %q, want %q", test.text, hits, want)
		}
	}
}

func TestKnownPasswordInURLIsNotSuspected(t *testing.T) {
	r := NewRedactor(func(rule string) { t.Errorf("raised %s", rule) })
	if err := r.Register(New("known-password")); err != nil {
		t.Fatal(err)
	}
	if got := r.String("postgres://app:known-password@db/x"); got != "postgres://app:"+Redacted+"@db/x" {
		t.Errorf("got %q", got)
	}
}

// TestLongLines: tokens are found where a line without an end is cut, and an
// unfinished private key does not swallow everything.
func TestLongLines(t *testing.T) {
	token := "ghp_" + strings.Repeat("aB3", 13)
	random := rand.New(rand.NewPCG(1, 3))
	r := NewRedactor(nil)
	text := strings.Repeat("word "+token+" ", 3000)
	if got := inPieces(t, r, random, text); strings.Contains(got, "ghp_") || strings.Count(got, Redacted) != 3000 {
		t.Errorf("%d of 3000 masked", strings.Count(got, Redacted))
	}
	padding := strings.Repeat("=", longestLine-20)
	got := inPieces(t, r, random, padding+" -----BEGIN PRIVATE "+"KEY-----MIIB"+strings.Repeat("A", 100))
	if strings.Contains(got, "MIIB") {
		t.Error("a key was cut in its first line and shown")
	}
	got = r.String("-----BEGIN PRIVATE " + "KEY-----\n" + strings.Repeat("line\n", longestKey/4) + "the end\n")
	if !strings.HasSuffix(got, "the end\n") || !strings.HasPrefix(got, Redacted) {
		t.Errorf("got %.40q", got)
	}
}

func BenchmarkRedactor(b *testing.B) {
	r := newTestRedactor(b, "hunter2-hunter2", "another secret value", strings.Repeat("key line\n", 30))
	text := []byte(strings.Repeat("2026-01-01 12:00:00 INFO migrated table orders in 12 ms\n", 1000))
	w := r.Writer(io.Discard)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}
