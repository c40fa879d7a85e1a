package journal_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/journal"
)

func TestCanonical(t *testing.T) {
	type inner struct {
		Z int    `json:"z"`
		A string `json:"a"`
	}
	for _, test := range []struct {
		name, got, want string
	}{
		{"members are sorted at every depth", canonical(t, map[string]inner{"b": {1, "x"}, "a": {2, "y"}}), `{"a":{"a":"y","z":2},"b":{"a":"x","z":1}}`},
		{"HTML is not escaped", canonical(t, "<a href='x'>&</a>"), `"<a href='x'>&</a>"`},
		{"line separators stand as they are", canonical(t, "\u2028\u2029é😀"), "\"\u2028\u2029é😀\""},
		{"control characters have the short form", canonical(t, "\x00\b\t\n\f\r\x1f\x7f\"\\/"), "\"\\u0000\\b\\t\\n\\f\\r\\u001f\x7f\\\"\\\\/\""},
		{"the whole range of int64", canonical(t, []int64{-1 << 63, 1<<63 - 1, 0}), `[-9223372036854775808,9223372036854775807,0]`},
		{"escapes are undone", canonical(t, json.RawMessage(` { "\u0062" : "\u00e9\ud83d\ude00" , "a" : [ true , false , null , {} , [ ] ] } `)), `{"a":[true,false,null,{},[]],"b":"é😀"}`},
		// RFC 8785, section 3.2.3: U+1F600 sorts by its surrogate, before U+FB33.
		{"names sort by UTF-16 units", canonical(t, json.RawMessage(`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`)), "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}"},
		{"bytes that are no text", canonical(t, "a\xffb"), "\"a\ufffdb\""},
		{"a prefix sorts first", canonical(t, map[string]int{"ab": 1, "a": 2, "": 3}), `{"":3,"a":2,"ab":1}`},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
		if err := journal.CheckCanonical([]byte(test.want)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// canonical encodes a value that can be.
func canonical[T any](t *testing.T, v T) string {
	t.Helper()
	out, err := journal.Canonical(v)
	if err != nil {
		t.Fatalf("canonical %v: %v", v, err)
	}
	return string(out)
}

func TestCanonicalRefuses(t *testing.T) {
	for _, raw := range []string{
		`1.5`, `1e3`, `1E3`, `1.0`, `-0`, `01`, `-`, `9223372036854775808`, `-9223372036854775809`,
		`{"a":1,"a":1}`, `{"a":1,"b":2,"a":1}`, `{"\u0061":1,"a":2}`, `"\ud800"`, `"\ud800\u0041"`, `"\udc00"`,
		strings.Repeat("[", 101) + strings.Repeat("]", 101),
	} {
		if out, err := journal.Canonical(json.RawMessage(raw)); err == nil {
			t.Errorf("%s became %s", raw, out)
		}
	}
	if _, err := journal.Canonical(0.5); err == nil {
		t.Error("a fraction was encoded")
	}
	for _, raw := range []string{
		``, ` `, `{`, `}`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `"a`, `"\x"`, `"\u00g0"`, `"\u12"`, "\"\n\"", "\"\xff\"", "\"\\n\xff\"",
		`nul`, `truefalse`, `1 2`, `{} {}`, ` {}`, `{} `, `{ }`, `{"b":1,"a":2}`, `"\/"`, `"\u0041"`, `"\u001F"`, `[1 ,2]`, "\ufeff{}",
	} {
		if journal.CheckCanonical([]byte(raw)) == nil {
			t.Errorf("%q passes for canonical", raw)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"b":[1,-2,{"c":"\u00e9\ud83d\ude00"}],"a":null}`, `"\`, `[[[`, `{"a":1,"a":1}`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := journal.Canonical(json.RawMessage(raw))
		if err != nil {
			if journal.CheckCanonical(raw) == nil {
				t.Fatalf("%q is canonical and yet cannot be made so: %v", raw, err)
			}
			return
		}
		if err := journal.CheckCanonical(out); err != nil {
			t.Fatalf("%q became %q: %v", raw, out, err)
		}
		var before, after any
		if json.Unmarshal(raw, &before) != nil || json.Unmarshal(out, &after) != nil || !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q, which means something else", raw, out)
		}
	})
}
