package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// maxFacts bounds how many files are described one by one.
const maxFacts = 50

// look gathers what was seen and what of it is wrong.
type look struct {
	host  check.Host
	now   time.Time
	limit int64
	seen  int
	wrong []string
	facts map[string]string
}

func (l *look) bad(path, format string, args ...any) {
	l.wrong = append(l.wrong, path+" "+fmt.Sprintf(format, args...))
}

func (l *look) path(ctx context.Context, path string, r rules) error {
	if !isPattern(path) {
		return l.one(ctx, path, r)
	}
	found, err := l.host.Glob(ctx, path)
	if err != nil {
		return err
	}
	switch {
	case r.Absent && len(found) > 0:
		l.bad(path, "should match nothing, but matches %s", firstOf(found))
	case !r.Absent && len(found) < r.MinCount:
		l.bad(path, "matches %s, want at least %d", count(len(found), "file"), r.MinCount)
	case r.MaxCount != nil && len(found) > *r.MaxCount:
		l.bad(path, "matches %s, want at most %d", count(len(found), "file"), *r.MaxCount)
	}
	if r.Absent {
		return nil
	}
	for _, p := range found {
		if err := l.one(ctx, p, r); err != nil {
			return err
		}
	}
	return nil
}

func (l *look) one(ctx context.Context, path string, r rules) error {
	info, err := l.host.Lstat(ctx, path)
	switch {
	case err != nil && missing(err):
		if !r.Absent {
			l.bad(path, "is missing")
		}
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case r.Absent:
		l.bad(path, "is there, but should not be")
		return nil
	}
	l.seen++
	real := path
	if info.Mode&fs.ModeSymlink != 0 && r.Kind != "link" {
		if !r.Follow {
			l.bad(path, "is a link; follow: true judges what it points to")
			return nil
		}
		if real, err = l.resolve(ctx, path); err != nil {
			return err
		}
		if info, err = l.host.Lstat(ctx, real); err != nil {
			return fmt.Errorf("look at %s: %w", real, err)
		}
	}
	l.describe(path, info)
	l.judge(path, info, r)
	if !r.reads() {
		return nil
	}
	if !info.Mode.IsRegular() {
		l.bad(path, "is %s, which has no content to read", kindOf(info.Mode))
		return nil
	}
	text, err := l.host.ReadFile(ctx, real, l.limit)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	l.content(path, text, r)
	return nil
}

// resolve follows links to the end; a link to nothing is not an answer about the
// file it should lead to.
func (l *look) resolve(ctx context.Context, path string) (string, error) {
	result, err := l.host.Exec(ctx, check.Command{Argv: []string{"readlink", "-e", "-n", "--", path}})
	if err != nil {
		return "", fmt.Errorf("follow %s: %w", path, err)
	}
	real := string(result.Stdout)
	if result.Code != 0 || !strings.HasPrefix(real, "/") {
		return "", fmt.Errorf("follow %s: the link leads nowhere", path)
	}
	return real, nil
}

func (l *look) describe(path string, info check.FileInfo) {
	if len(l.facts) >= maxFacts {
		return
	}
	if l.facts == nil {
		l.facts = map[string]string{}
	}
	l.facts["file."+path] = fmt.Sprintf("%s %s %s:%s %d bytes, written %s", kindOf(info.Mode), modeOf(info.Mode),
		info.Owner, info.Group, info.Size, info.ModTime.UTC().Format(time.RFC3339))
}

func (l *look) judge(path string, info check.FileInfo, r rules) {
	have := modeOf(info.Mode)
	if kind := kindOf(info.Mode); r.Kind != "" && kind != r.Kind {
		l.bad(path, "is a %s, want a %s", kind, r.Kind)
	}
	if r.Owner != "" && info.Owner != r.Owner {
		l.bad(path, "belongs to %s, want %s", info.Owner, r.Owner)
	}
	if r.Group != "" && info.Group != r.Group {
		l.bad(path, "belongs to group %s, want %s", info.Group, r.Group)
	}
	if r.Mode.given && have.bits != r.Mode.bits {
		l.bad(path, "has mode %s, want %s", have, r.Mode)
	}
	if r.AtMost.given && have.bits&^r.AtMost.bits != 0 {
		l.bad(path, "has mode %s, want at most %s", have, r.AtMost)
	}
	// The sticky bit keeps people from each other's files in a shared folder, but
	// anybody can still add one.
	if r.NotWorld && have.bits&0o002 != 0 {
		l.bad(path, "can be written by everybody (mode %s)", have)
	}
	switch {
	case r.MinSize > 0 && !info.Mode.IsRegular():
		l.bad(path, "is a %s, whose size says nothing about content", kindOf(info.Mode))
	case info.Size < int64(r.MinSize):
		l.bad(path, "has %d bytes, want at least %d", info.Size, r.MinSize)
	}
	if r.MaxAge > 0 {
		l.age(path, info, r.MaxAge)
	}
}

func (l *look) age(path string, info check.FileInfo, limit time.Duration) {
	age := l.now.Sub(info.ModTime).Round(time.Second)
	switch {
	case age > limit:
		l.bad(path, "was written %s ago, want at most %s", age, limit)
	case age < -time.Minute: // clocks differ a little; a date in the future says nothing about age
		l.bad(path, "was written %s in the future", -age)
	}
}

func (l *look) content(path string, text []byte, r rules) {
	for _, want := range r.Contains {
		if !bytes.Contains(text, []byte(want)) {
			l.bad(path, "does not contain %q", want)
		}
	}
	for _, no := range r.Lacks {
		if bytes.Contains(text, []byte(no)) {
			l.bad(path, "contains %q", no)
		}
	}
	for _, re := range r.Matches {
		if !re.Match(text) {
			l.bad(path, "has nothing that matches %s", re)
		}
	}
	if sum := sha256.Sum256(text); r.SHA256 != "" && hex.EncodeToString(sum[:]) != r.SHA256 {
		l.bad(path, "has sha256 %x", sum)
	}
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "link"
	}
	return "device, pipe or socket"
}
