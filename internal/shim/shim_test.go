package shim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAttemptRunsOnce(t *testing.T) {
	root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
	j := job{Do: "effect", File: book, Text: "migrated"}
	result := finish(t, begin(t, root, number(1), j, Options{}), Finished)
	if string(result.Bytes) != "done" || result.Error != "" || result.ID != number(1) {
		t.Fatalf("got %+v", result)
	}
	if result.Ended.Before(result.Started) || result.Elapsed <= 0 {
		t.Errorf("times %s to %s, elapsed %s", result.Started, result.Ended, result.Elapsed)
	}
	for range 3 {
		again := finish(t, begin(t, root, number(1), j, Options{}), Finished)
		if string(again.Bytes) != "done" {
			t.Fatalf("got %+v", again)
		}
	}
	if n := ledger(t, book, "migrated"); n != 1 {
		t.Errorf("the effect happened %d times", n)
	}
}

func TestConcurrentStartsSpawnOnce(t *testing.T) {
	root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
	for n := 1; n <= 20; n++ {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				j := job{Do: "effect", File: book, Text: number(n).String()}
				a, err := Start(t.Context(), root, number(n), j.bytes(), Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if _, state, err := a.Wait(t.Context()); err != nil || state != Finished {
					t.Errorf("%s, %v", state, err)
				}
			})
		}
		group.Wait()
		if count := ledger(t, book, number(n).String()); count != 1 {
			t.Fatalf("attempt %d had its effect %d times", n, count)
		}
	}
}

func TestOtherJobIsRefused(t *testing.T) {
	root := t.TempDir()
	finish(t, begin(t, root, number(1), job{Do: "nothing"}, Options{}), Finished)
	_, err := Start(t.Context(), root, number(1), job{Do: "stdin"}.bytes(), Options{})
	if !errors.Is(err, ErrOtherJob) {
		t.Errorf("got %v", err)
	}
}

func TestHandlerReplies(t *testing.T) {
	for _, test := range []struct {
		name  string
		job   job
		bytes string
		error string
	}{
		{"error and bytes", job{Do: "fail", Text: "no such table"}, "half", "no such table"},
		{"error without text", job{Do: "fail"}, "half", "an error without a text"},
		{"panic", job{Do: "panic"}, "", "the handler panicked with a string"},
		{"runtime fault", job{Do: "fault"}, "", "index out of range"},
		{"long result", job{Do: "long result"}, "", "more than 4194304"},
		{"command fails", job{Do: "run", Argv: []string{"false"}}, "", "exit status 1"},
		{"no command", job{Do: "run", Argv: []string{"/does/not/exist"}}, "", "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := finish(t, begin(t, t.TempDir(), number(1), test.job, Options{}), Finished)
			if string(result.Bytes) != test.bytes || !strings.Contains(result.Error, test.error) || result.Error == "" {
				t.Errorf("got %q, %q", result.Bytes, result.Error)
			}
			if strings.Contains(result.Error, "secret-in-a-panic") {
				t.Error("the panic's value was stored")
			}
		})
	}
}

func TestStdinIsNotStored(t *testing.T) {
	root, secret := t.TempDir(), []byte(strings.Repeat("hunter2-", MaxStdin/8))
	sum := sha256.Sum256(secret)
	a := begin(t, root, number(1), job{Do: "stdin"}, Options{Stdin: secret})
	if result := finish(t, a, Finished); !bytes.Equal(result.Bytes, sum[:]) {
		t.Errorf("the handler saw something else, digest %x", result.Bytes)
	}
	data, err := os.ReadFile(a.Path)
	if err != nil || bytes.Contains(data, []byte("hunter2")) || bytes.Contains(data, []byte("aHVudGVyMi")) {
		t.Errorf("stored %q, %v", data[:min(len(data), 200)], err)
	}
	_, err = Start(t.Context(), root, number(2), nil, Options{Stdin: make([]byte, MaxStdin+1)})
	if err == nil {
		t.Error("a longer input was accepted")
	}
	if _, err = Start(t.Context(), root, number(2), make([]byte, MaxJob+1), Options{}); err == nil {
		t.Error("a longer job was accepted")
	}
}

func TestOutputIsCaptured(t *testing.T) {
	argv := []string{"printf", "one\ntwo\033[2J\nno line end"}
	a := begin(t, t.TempDir(), number(1), job{Do: "run", Argv: argv}, Options{})
	result := finish(t, a, Finished)
	sum := sha256.Sum256([]byte(argv[1]))
	want := Output{Bytes: int64(len(argv[1])), Stored: int64(len(argv[1])), SHA256: hex.EncodeToString(sum[:])}
	if result.Output != want {
		t.Errorf("got %+v, want %+v", result.Output, want)
	}
	if got := read(t, a, 4); got != argv[1][4:] {
		t.Errorf("got %q", got)
	}
	if got := read(t, a, 1000); got != "" {
		t.Errorf("got %q past the end", got)
	}
}

func TestOutputCanBeReadWhileRunning(t *testing.T) {
	a := begin(t, t.TempDir(), number(1), job{Do: "run", Argv: []string{"sh", "-c", "echo first; exec sleep 60"}}, Options{})
	until(t, "the first line is there", func() bool { return read(t, a, 0) == "first\n" })
	if _, err := a.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	const size = 100 << 20
	a := begin(t, t.TempDir(), number(1), job{Do: "flood", Size: size}, Options{})
	result := finish(t, a, Finished)
	digest := sha256.New()
	if err := flood(digest, size); err != nil {
		t.Fatal(err)
	}
	want := Output{Bytes: size, Stored: MaxOutput, SHA256: hex.EncodeToString(digest.Sum(nil))}
	if result.Output != want {
		t.Errorf("got %+v, want %+v", result.Output, want)
	}
	if got := read(t, a, MaxOutput); got != "\n[cut: 67108864 of 104857600 bytes are kept]\n" {
		t.Errorf("the marker is %q", got)
	}
	reader, err := a.Output(0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for line, err := range Lines(reader) {
		if err != nil || len(line) > MaxLine {
			t.Fatalf("a line of %d bytes, %v", len(line), err)
		}
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("y", MaxLine)
	var got []string
	for line, err := range Lines(strings.NewReader("a\r\n\n" + long + "z\nend")) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	want := []string{"a", "", long, "z", "end"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %d lines: %.40q", len(got), got)
	}
	broken := io.MultiReader(strings.NewReader("a\n"), failingReader{})
	var last error
	for _, err := range Lines(broken) {
		last = err
	}
	if !errors.Is(last, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", last)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func read(t *testing.T, a *Attempt, offset int64) string {
	t.Helper()
	reader, err := a.Output(offset)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDirectoriesDoNotCollide(t *testing.T) {
	ids := []ID{
		{"r", "a", "b", 1}, {"r", "a@b", "", 1}, {"r", "a", "", 1}, {"r", "a/b", "", 1}, {"r", "a%2Fb", "", 1},
		{"r", "..", "", 1}, {"..", "a", "", 1}, {".fence", "a", "", 1}, {"r/a", "", "x", 1}, {"r", "a", "b+1", 1}, {"r", "a", "b", 11},
		{"r", strings.Repeat("long", 100), "", 1}, {"r", strings.Repeat("long", 101), "", 1}, {"r", "é\n\x00", "", 1},
	}
	seen := map[string]ID{}
	for _, id := range ids {
		dir, err := id.path("/root")
		if id.Item == "" {
			if err == nil {
				t.Errorf("%s was accepted", id)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[dir]; taken {
			t.Errorf("%s and %s share %s", id, other, dir)
		}
		seen[dir] = id
		if filepath.Dir(filepath.Dir(dir)) != "/root" || len(filepath.Base(dir)) > 255 {
			t.Errorf("%s is at %s", id, dir)
		}
	}
}

func TestShimRefusesToBeStartedByHand(t *testing.T) {
	a := begin(t, t.TempDir(), number(1), job{Do: "nothing"}, Options{})
	finish(t, a, Finished)
	for _, args := range [][]string{nil, {"a", "b"}, {t.TempDir()}, {a.Path}} {
		if code := Main(args, strings.NewReader(""), act); code != exitRefused {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
