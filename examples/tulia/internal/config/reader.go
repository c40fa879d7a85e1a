package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minKeyLength keeps out keys that can be guessed: 32 characters of base64 are 192 bits.
const minKeyLength = 32

// reader turns settings into values and collects what is wrong with them.
type reader struct {
	lookup   func(string) string
	problems []error
}

func (r *reader) wrong(name, why string) {
	r.problems = append(r.problems, fmt.Errorf("%s %s", name, why))
}

func (r *reader) text(name, fallback string) string {
	if v := r.lookup(name); v != "" {
		return v
	}
	return fallback
}

func (r *reader) required(name string) string {
	v := r.lookup(name)
	if v == "" {
		r.wrong(name, "is not set")
	}
	return v
}

func (r *reader) key(name string) []byte {
	v := r.required(name)
	if v != "" && len(v) < minKeyLength {
		r.wrong(name, fmt.Sprintf("is shorter than %d characters", minKeyLength))
	}
	return []byte(v)
}

// oneOf takes the first of allowed as its default.
func (r *reader) oneOf(name string, allowed ...string) string {
	v := r.text(name, allowed[0])
	if !slices.Contains(allowed, v) {
		r.wrong(name, "is none of "+strings.Join(allowed, ", "))
	}
	return v
}

func (r *reader) boolean(name string) bool {
	v, err := strconv.ParseBool(strings.ToLower(r.text(name, "false")))
	if err != nil {
		r.wrong(name, "is neither true nor false")
	}
	return v
}

func (r *reader) number(name string, fallback int) int {
	v, err := strconv.Atoi(r.text(name, strconv.Itoa(fallback)))
	if err != nil || v < 1 || v > math.MaxInt32 {
		r.wrong(name, "is not a positive number")
	}
	return v
}

func (r *reader) duration(name string, fallback time.Duration) time.Duration {
	v, err := time.ParseDuration(r.text(name, fallback.String()))
	if err != nil || v <= 0 {
		r.wrong(name, "is not a positive duration")
	}
	return v
}

func (r *reader) list(name string) []string {
	var out []string
	for part := range strings.SplitSeq(r.lookup(name), ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
