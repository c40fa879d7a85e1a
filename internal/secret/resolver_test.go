package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("good", "file-secret\r\n", 0o600)
	write("two-line-ends", "file-secret\n\n", 0o400)
	write("open", "file-secret", 0o640)
	write("empty", "\n", 0o600)
	write("short", "tiny", 0o600)
	write("huge", strings.Repeat("x", MaxLength+1), 0o600)
	write("full", strings.Repeat("x", MaxLength)+"\n", 0o600)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"GOOD": "env-secret", "EMPTY": "", "SHORT": "tiny"}
	for _, test := range []struct{ ref, want, problem string }{
		{"env:GOOD", "env-secret", ""},
		{"env:MISSING", "", "the variable is not set"},
		{"env:EMPTY", "", "it is empty"},
		{"env:SHORT", "", "4 bytes"},
		{"file:good", "file-secret", ""},
		{"file:" + filepath.Join(dir, "good"), "file-secret", ""},
		{"file:two-line-ends", "file-secret\n", ""},
		{"file:full", strings.Repeat("x", MaxLength), ""},
		{"file:open", "", "lets others read it"},
		{"file:missing", "", "no such file"},
		{"file:empty", "", "it is empty"},
		{"file:short", "", "4 bytes"},
		{"file:huge", "", "longer than 65536"},
		{"file:fifo", "", "not a regular file"},
		{"file:.", "", "not a regular file"},
		{"cmd:printf 'cmd-%s\\n' \"a b\" ", "cmd-a b", ""},
		{"cmd:pwd", dir, ""},
		{"cmd:echo $HOME;", "$HOME;", ""},
		{"cmd:false", "", "exit status 1"},
		{"cmd:/does/not/exist", "", "no such file"},
		{"cmd:true", "", "it is empty"},
		{"cmd:head -c 70000 /dev/zero", "", "longer than 65536"},
		{"cmd:echo 'open", "", "inside a quote"},
		{"cmd:''", "", "names no program"},
	} {
		t.Run(test.ref[:min(len(test.ref), 20)], func(t *testing.T) {
			resolver := &Resolver{Redactor: NewRedactor(nil), Dir: dir, LookupEnv: func(name string) (string, bool) {
				text, found := env[name]
				return text, found
			}}
			ref, err := ParseRef(test.ref)
			if err != nil {
				t.Fatal(err)
			}
			value, err := resolver.Resolve(t.Context(), ref)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) || !strings.Contains(err.Error(), ref.String()) {
					t.Fatalf("got %v", err)
				}
				if strings.Contains(err.Error(), "tiny") || strings.Contains(err.Error(), "file-secret") || !value.IsZero() {
					t.Errorf("the error shows the value: %v", err)
				}
				return
			}
			if err != nil || value.Reveal() != test.want {
				t.Fatalf("got %.40q, %v", value.Reveal(), err)
			}
			if got := resolver.Redactor.String("a " + test.want + " b"); !strings.HasPrefix(got, "a "+Redacted) || strings.Contains(got, strings.TrimSpace(test.want)) {
				t.Errorf("not registered: %.60q", got)
			}
		})
	}
	resolver := &Resolver{Redactor: NewRedactor(nil), Dir: dir, AllowReadable: true}
	if value, err := resolver.Resolve(t.Context(), Ref{"file", "open"}); err != nil || value.Reveal() != "file-secret" {
		t.Errorf("allowed: %v", err)
	}
	if _, err := resolver.Resolve(t.Context(), Ref{"vault", "x"}); err == nil {
		t.Error("an unknown kind was accepted")
	}
}

// TestHangingCommand: neither the program nor what it started is waited for.
func TestHangingCommand(t *testing.T) {
	resolver := &Resolver{Redactor: NewRedactor(nil), Timeout: 50 * time.Millisecond}
	from := time.Now()
	_, err := resolver.Resolve(t.Context(), Ref{"cmd", `sh -c 'echo half-a-secret; sleep 60 & wait'`})
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "half-a-secret\n") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(from); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestCommandErrorHidesOutput(t *testing.T) {
	resolver := &Resolver{Redactor: NewRedactor(nil)}
	_, err := resolver.Resolve(t.Context(), Ref{"cmd", `sh -c 'printf "%s%s" le aked >&2; printf "%s%s" le aked; exit 3'`})
	if err == nil || strings.Contains(err.Error(), "leaked") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}

func TestSplitCommand(t *testing.T) {
	for line, want := range map[string][]string{
		`a b  c`:             {"a", "b", "c"},
		`a 'b c' "d e"f`:     {"a", "b c", "d ef"},
		`a b\ c \' "\"" '\'`: {"a", "b c", "'", `"`, `\`},
		"a '' \t\n b":        {"a", "", "b"},
		`op read op://x/$y*`: {"op", "read", "op://x/$y*"},
	} {
		if got, err := splitCommand(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "  ", `a "b`, `a 'b`, `a \`, `""`} {
		if got, err := splitCommand(line); err == nil {
			t.Errorf("%q became %q", line, got)
		}
	}
}
