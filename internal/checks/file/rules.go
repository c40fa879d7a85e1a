package file

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"time"

	"allclear.dev/allclear/internal/check"
)

// rules are what is wanted of a path.
type rules struct {
	Absent   bool             `param:"absent" doc:"nothing may be there" default:"false"`
	Kind     string           `param:"type" doc:"what it must be" default:"" enum:"file,folder,link"`
	Owner    string           `param:"owner" doc:"user it must belong to" default:""`
	Group    string           `param:"group" doc:"group it must belong to" default:""`
	Mode     mode             `param:"mode" doc:"exact permissions (0600)" default:""`
	AtMost   mode             `param:"mode_at_most" doc:"permissions of which it may have no others (0640)" default:""`
	NotWorld bool             `param:"not_world_writable" doc:"not everybody may write to it" default:"false"`
	Contains []string         `param:"contains" doc:"texts that must be in it" default:""`
	Lacks    []string         `param:"lacks" doc:"texts that must not be in it" default:""`
	Matches  []*regexp.Regexp `param:"matches" doc:"regular expressions (RE2) that must match; (?m) for lines" default:""`
	SHA256   string           `param:"sha256" doc:"checksum of its content, 64 hexadecimal digits" default:""`
	MinSize  check.Size       `param:"min_size" doc:"least size" default:"0"`
	MaxAge   time.Duration    `param:"max_age" doc:"longest time since it was last written" default:"0s"`
	Follow   bool             `param:"follow" doc:"judge what a link points to, instead of refusing links" default:"false"`
	MinCount int              `param:"min_count" doc:"of a pattern: how many must match at least" default:"1"`
	MaxCount *int             `param:"max_count" doc:"of a pattern: how many may match" default:""`
}

// any reports whether a rule was given beside the defaults.
func (r rules) any() bool {
	return r.Absent || r.others()
}

// others reports whether a rule other than absent was given.
func (r rules) others() bool {
	return r.Kind != "" || r.Owner != "" || r.Group != "" || r.Mode.given || r.AtMost.given || r.NotWorld ||
		r.reads() || r.MinSize > 0 || r.MaxAge > 0 || r.Follow || r.MinCount != 1 || r.MaxCount != nil
}

// reads reports whether the content is needed.
func (r rules) reads() bool {
	return len(r.Contains)+len(r.Lacks)+len(r.Matches) > 0 || r.SHA256 != ""
}

func (r rules) validate(path string) error {
	switch {
	case path == "":
		return errors.New("the path is empty")
	case r.Absent && r.others():
		return errors.New("absent goes with no other rule")
	case slices.Contains(r.Contains, "") || slices.Contains(r.Lacks, ""):
		return errors.New("contains and lacks: an empty text is in every file")
	case r.SHA256 != "" && !isSHA256(r.SHA256):
		return errors.New("sha256 is not 64 hexadecimal digits in lower case")
	case !isPattern(path) && (r.MinCount != 1 || r.MaxCount != nil):
		return errors.New("min_count and max_count are for patterns")
	case r.MinCount < 1:
		return errors.New("min_count must be at least 1; for none use absent")
	case r.Follow && r.Kind == "link":
		return errors.New("follow and type: link exclude each other")
	case r.reads() && (r.Kind == "folder" || r.Kind == "link"):
		return fmt.Errorf("a %s has no content to read", r.Kind)
	}
	return nil
}

func isSHA256(text string) bool { return regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(text) }

// mode is a set of permissions, written in octal as chmod(1) takes them.
type mode struct {
	bits  fs.FileMode
	given bool
}

// UnmarshalText reads octal digits.
func (m *mode) UnmarshalText(text []byte) error {
	bits, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || len(text) < 3 || bits > 0o7777 {
		return errors.New("want octal permissions such as 0640")
	}
	*m = mode{bits: fs.FileMode(bits), given: true}
	return nil
}

func (m mode) String() string { return fmt.Sprintf("%04o", uint32(m.bits)) }

// modeOf gives a file's permissions with the set-user, set-group and sticky bits
// where chmod(1) has them.
func modeOf(m fs.FileMode) mode {
	bits := m.Perm()
	for flag, bit := range map[fs.FileMode]fs.FileMode{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return mode{bits: bits, given: true}
}
