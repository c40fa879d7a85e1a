package seal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"allclear.dev/allclear/internal/postgres/seal"
	"allclear.dev/allclear/internal/secret"
)

func write(t *testing.T, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// sealed gives a sealed file of 200 kB, what is in it, and its key.
func sealed(t *testing.T) (file string, plain []byte, key *age.X25519Identity) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	plain = make([]byte, 200_000)
	_, _ = rand.Read(plain)
	file = filepath.Join(t.TempDir(), "sealed")
	if err := seal.Close(t.Context(), write(t, plain), file, []string{key.Recipient().String()}); err != nil {
		t.Fatal(err)
	}
	return file, plain, key
}

func TestCloseAndOpen(t *testing.T) {
	file, plain, key := sealed(t)
	if text, err := os.ReadFile(file); err != nil || !seal.Sealed(string(text[:30])) || bytes.Contains(text, plain[:16]) {
		t.Fatalf("it is not sealed: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	sum, err := seal.Open(t.Context(), file, out, secret.New(key.String()))
	want := sha256.Sum256(plain)
	if err != nil || sum != hex.EncodeToString(want[:]) {
		t.Errorf("%s, %v", sum, err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("another content: %v", err)
	}
}

// A key of OpenSSH, made by its own program, opens what was sealed to its public
// half.
func TestOpenSSHKeys(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(filepath.Join(dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sealed")
	if err := seal.Close(t.Context(), write(t, []byte("rows")), file, []string{strings.TrimSpace(string(public))}); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(t.Context(), file, filepath.Join(dir, "out"), secret.New(string(private))); err != nil {
		t.Error(err)
	}
}

// Nothing that was changed or cut opens, and nothing half-opened stays.
func TestDamageIsFound(t *testing.T) {
	file, _, key := sealed(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(at int) []byte {
		out := bytes.Clone(good)
		out[at] ^= 1
		return out
	}
	for name, data := range map[string][]byte{
		"cut in half": good[:len(good)/2], "cut at a block": good[:len(good)-(len(good)-200)%65552], "header flipped": flipped(bytes.Index(good, []byte("\n--- ")) + 10),
		"body flipped": flipped(len(good) / 2), "last byte flipped": flipped(len(good) - 1), "longer": append(bytes.Clone(good), 0), "empty": {}, "another file": []byte("PGDMP"),
	} {
		out := filepath.Join(t.TempDir(), "out")
		_, err := seal.Open(t.Context(), write(t, data), out, secret.New(key.String()))
		if _, broken := errors.AsType[*seal.Broken](err); !broken {
			t.Errorf("%s: %v, want it to be broken", name, err)
		}
		if _, err := os.Lstat(out); err == nil {
			t.Errorf("%s: something was left", name)
		}
	}
}

func TestMistakes(t *testing.T) {
	file, _, _ := sealed(t)
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := seal.Open(t.Context(), file, out, secret.New(other.String())); err == nil || !strings.Contains(err.Error(), "none of the keys") {
		t.Errorf("another key: %v", err)
	}
	for _, text := range []string{"", "AGE-SECRET-KEY-1NOTREALLY", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"} {
		if _, err := seal.Open(t.Context(), file, out, secret.New(text)); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, keys := range [][]string{nil, {"age1nonsense"}, {other.String()}, {"ssh-ed25519 x"}} {
		err := seal.Close(t.Context(), file, out, keys)
		if err == nil || strings.Contains(err.Error(), other.String()) {
			t.Errorf("%v: %v", keys, err)
		}
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if err := seal.Close(cancelled, file, out, []string{other.Recipient().String()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("something was left")
	}
}
