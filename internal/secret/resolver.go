package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// MaxLength is the longest value that a reference may give, in bytes.
const MaxLength = 64 << 10

// commandTimeout is how long the program of a cmd: reference may take.
const commandTimeout = 10 * time.Second

// Resolver turns references into values. Every value is registered with the
// Redactor before anyone gets it. No error ever contains one.
type Resolver struct {
	// Redactor learns every value; required.
	Redactor *Redactor
	// LookupEnv finds variables; os.LookupEnv if nil.
	LookupEnv func(name string) (string, bool)
	// Dir is what relative paths of files and programs are relative to; the
	// process's directory if empty.
	Dir string
	// AllowReadable accepts files that group or others may read, as some
	// orchestrators mount them.
	AllowReadable bool
	// Timeout limits the program of a cmd: reference; 10 seconds if zero.
	Timeout time.Duration
}

// Resolve gives the value that ref names, without one trailing line end. It
// fails, naming the reference, if there is none, if it is empty, shorter than
// MinLength or longer than MaxLength.
func (r *Resolver) Resolve(ctx context.Context, ref Ref) (Value, error) {
	value, err := r.resolve(ctx, ref)
	if err == nil {
		err = r.Redactor.Register(value)
	}
	if err != nil {
		return Value{}, fmt.Errorf("secret %s: %w", ref, err)
	}
	return value, nil
}

func (r *Resolver) resolve(ctx context.Context, ref Ref) (Value, error) {
	var text string
	var err error
	switch ref.Scheme {
	case "env":
		text, err = r.fromEnv(ref.Name)
	case "file":
		text, err = r.fromFile(ref.Name)
	case "cmd":
		text, err = r.fromCommand(ctx, ref.Name)
	default:
		err = fmt.Errorf("unknown kind of reference; want one of %s", strings.Join(Schemes(), ", "))
	}
	if err != nil {
		return Value{}, err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case text == "":
		return Value{}, errors.New("it is empty")
	case len(text) > MaxLength:
		return Value{}, fmt.Errorf("it is longer than %d bytes", MaxLength)
	}
	return New(text), nil
}

func (r *Resolver) fromEnv(name string) (string, error) {
	lookup := r.LookupEnv
	if lookup == nil {
		lookup = os.LookupEnv
	}
	text, found := lookup(name)
	if !found {
		return "", errors.New("the variable is not set")
	}
	return text, nil
}

func (r *Resolver) fromFile(name string) (string, error) {
	if r.Dir != "" && !filepath.IsAbs(name) {
		name = filepath.Join(r.Dir, name)
	}
	// Opening a fifo that nobody writes would otherwise wait for ever.
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("open file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("look at file: %w", err)
	}
	const groupAndOthersRead = 0o044
	switch {
	case !info.Mode().IsRegular():
		return "", errors.New("it is not a regular file")
	case info.Mode().Perm()&groupAndOthersRead != 0 && !r.AllowReadable:
		return "", fmt.Errorf("mode %#o lets others read it; want 0600", info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxLength+3))
	if err != nil {
		return "", fmt.Errorf("read file: %w", err)
	}
	return string(text), nil
}

func (r *Resolver) fromCommand(ctx context.Context, line string) (string, error) {
	argv, err := splitCommand(line)
	if err != nil {
		return "", err
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = commandTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = r.Dir
	var out limited
	cmd.Stdout = &out
	// What the program started is killed with it, and nobody waits for more.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("the program did not end in %s: %w", timeout, ctx.Err())
	case out.over:
		return "", fmt.Errorf("it is longer than %d bytes", MaxLength)
	case err != nil:
		// Its standard error may show the secret, so only how it ended is told.
		return "", fmt.Errorf("run program: %w", err)
	}
	return out.kept.String(), nil
}

// limited keeps what fits and remembers that there was more.
type limited struct {
	kept bytes.Buffer
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.kept.Len()+len(p) > MaxLength+2 {
		l.over = true
		return 0, errors.New("too long")
	}
	return l.kept.Write(p)
}

// splitCommand splits a command line at spaces. Quotes of both kinds group, a
// backslash outside single quotes takes the next character as it is; there are
// no variables, globs or any other part of a shell.
func splitCommand(line string) ([]string, error) {
	var argv []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				argv = append(argv, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("the command line ends inside a quote")
	}
	if inWord {
		argv = append(argv, word.String())
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("the command line names no program")
	}
	return argv, nil
}
