package checklist

import (
	"os"
	"path/filepath"
	"testing"
)

// seeds gives every document of the golden tests to a fuzz target.
func seeds(f *testing.F) [][]byte {
	files, err := filepath.Glob("testdata/*/*.md")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	var out [][]byte
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, src)
	}
	return out
}

// FuzzParse looks for input that panics, hangs or gives a checklist that does not
// fit its source.
func FuzzParse(f *testing.F) {
	for _, src := range seeds(f) {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) { consistent(t, src) })
}

// FuzzEdit looks for input where an edit loses a byte or changes another item.
func FuzzEdit(f *testing.F) {
	for i, src := range seeds(f) {
		f.Add(src, uint8(i))
	}
	f.Fuzz(func(t *testing.T, src []byte, pick uint8) {
		if len(src) <= 20_000 {
			editOnce(t, src, int(pick), "http: {url: x}\nwhen: a\n\ntimeout: 5s")
		}
	})
}
