package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxNote bounds the small files that a release's folder holds about itself.
	maxNote = 64 << 10
	// cleanup bounds removing what was begun after the item was cancelled.
	cleanup = 30 * time.Second
)

// refused is a failure that is certain: nothing was changed, or what was begun
// was removed again.
type refused struct{ why string }

// Error says why.
func (r *refused) Error() string { return r.why }

func refuse(format string, args ...any) error { return &refused{fmt.Sprintf(format, args...)} }

// settle makes a certain failure a verdict; any other error stays one.
func settle(outcome check.Outcome, err error) (check.Outcome, error) {
	if _, certain := errors.AsType[*refused](err); certain {
		outcome.Verdict, outcome.Reason = check.Fail, err.Error()
		return outcome, nil
	}
	return outcome, err
}

// place is a host, worked on with the small programs that every Linux has.
type place struct{ check.Host }

// try runs a program and gives its result whatever the exit code.
func (p place) try(ctx context.Context, argv ...string) (check.Result, error) {
	return p.feed(ctx, nil, argv...)
}

func (p place) feed(ctx context.Context, stdin []byte, argv ...string) (check.Result, error) {
	result, err := p.Exec(ctx, check.Command{Argv: argv, Dir: "/", Env: []string{"LC_ALL=C"}, Stdin: stdin})
	if err == nil && result.Signal != "" {
		err = fmt.Errorf("ended by signal: %s", result.Signal)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", argv[0], err)
	}
	return result, err
}

// run runs a program that must succeed; that it did not is certain.
func (p place) run(ctx context.Context, argv ...string) (string, error) {
	result, err := p.try(ctx, argv...)
	if err == nil && result.Code != 0 {
		err = refuse("%s", complaint(result))
	}
	return strings.TrimSuffix(string(result.Stdout), "\n"), err
}

// write puts a text into a file, whole or not at all.
func (p place) write(ctx context.Context, name string, text []byte) error {
	part := path.Join(path.Dir(name), "."+strings.TrimPrefix(path.Base(name), ".")+".part")
	result, err := p.feed(ctx, text, "tee", "--", part)
	if err == nil && result.Code != 0 {
		err = refuse("%s", complaint(result))
	}
	if err != nil {
		return err
	}
	_, err = p.run(ctx, "mv", "-f", "-T", "--", part, name)
	return err
}

// link gives what a symbolic link says; "" when nothing is there. Anything but a
// link is a certain failure.
func (p place) link(ctx context.Context, name string) (string, error) {
	info, err := p.Lstat(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case info.Mode&fs.ModeSymlink == 0:
		return "", refuse("%s is there, but is no link: it is left alone", name)
	}
	text, err := p.run(ctx, "readlink", "--", name)
	if err != nil || text == "" {
		return "", fmt.Errorf("read the link %s: %w", name, errors.Join(err, errors.New("it says nothing")))
	}
	if !path.IsAbs(text) {
		text = path.Join(path.Dir(name), text)
	}
	return path.Clean(text), nil
}

// away removes a folder that was only begun, also after ctx has ended.
func (p place) away(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	_, _ = p.try(ctx, "rm", "-rf", "--", name)
}

// places gives the hosts by name; this machine when none is named.
func places(env *check.Env, names []string) ([]place, error) {
	if len(names) == 0 {
		names = []string{""}
	}
	var all []place
	for _, name := range names {
		host, err := env.Host(name)
		if err != nil {
			return nil, err
		}
		all = append(all, place{host})
	}
	return all, nil
}

// eachOnce refuses a host that stands twice, which would be acted on twice.
func eachOnce(names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			return fmt.Errorf("on: %s stands there twice", name)
		}
		seen[name] = true
	}
	return nil
}

// whole accepts a path from the root that is written without detours, so that it
// means the same folder for every program.
func whole(what, name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsAny(name, "\x00\r\n") {
		return fmt.Errorf("%s: %.200q is not a whole path such as /srv/app/releases", what, name)
	}
	return nil
}

// folderName accepts a name for a release's folder: it is no path, no option and
// not hidden.
func folderName(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$`).MatchString(name) {
		return fmt.Errorf("%.100q cannot be a folder's name: want letters, digits and . _ + - with a letter or digit first", name)
	}
	return nil
}
