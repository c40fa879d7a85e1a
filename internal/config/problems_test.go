package config_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/config"
)

var update = flag.Bool("update", false, "rewrite the expected messages")

// TestProblems compares the exact messages for every file in testdata/problems.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/problems/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, problems := config.Parse("allclear.yaml", src)
			if cfg != nil || !problems.HasErrors() {
				t.Fatalf("the file was accepted")
			}
			var got bytes.Buffer
			if err := problems.Write(&got); err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s (%v)", got.Bytes(), want, err)
			}
			if strings.Contains(got.String(), "hunter2") {
				t.Errorf("a secret is shown:\n%s", got.String())
			}
		})
	}
}
