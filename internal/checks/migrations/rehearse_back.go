package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/rehearse"
)

// The ways back, as the fact rollback.database has them.
const (
	wayCode    = "code"
	wayDown    = "code and down"
	wayRestore = "restore"
)

// wayBack is what going back was found to be.
type wayBack struct {
	// Plan is one of the ways; Why are the reasons against the easier ones.
	Plan string   `json:"plan"`
	Why  []string `json:"why"`
	// Structure compares the structure after going back with the one before.
	Structure rehearse.Likeness `json:"structure,omitempty"`
	Differs   []string          `json:"differs,omitempty"`
	// Again compares the structure after going up a second time with the first.
	Again rehearse.Likeness `json:"again,omitempty"`
	// Lost are columns whose values going back did not restore.
	Lost []rehearse.Loss `json:"lost,omitempty"`
	// Writes are what users wrote in between; WritesFailure what going back said.
	Writes        []rehearse.Write `json:"writes,omitempty"`
	WritesFailure string           `json:"writes_failure,omitempty"`
	OldSmoke      string           `json:"old_smoke,omitempty"`
}

// back goes back and forward again, and says what the way back is.
func (s *stage) back(ctx context.Context) (string, error) {
	w := &s.report.Back
	if err := s.tryOld(ctx); err != nil {
		return "", err
	}
	if s.Direction == forward {
		s.choose()
		return "", nil
	}
	for _, step := range s.steps {
		if !s.tool.hasDown(step) {
			w.Why = append(w.Why, step+" has no way back")
		}
	}
	if len(w.Why) == 0 {
		if err := errors.Join(s.downAndUp(ctx), s.downAfterWrites(ctx)); err != nil {
			return "", err
		}
	}
	s.choose()
	if w.Plan == wayRestore {
		s.report.find("the migrations cannot be taken back by going down: %s", postgres.Shorten(w.Why, 5))
	}
	return "", nil
}

// tryOld runs the present release's own tests on the new structure.
func (s *stage) tryOld(ctx context.Context) error {
	if len(s.OldSmoke) == 0 {
		return nil
	}
	failure, err := s.program(ctx, s.report.up, s.OldSmoke)
	if err != nil {
		return fmt.Errorf("try the present release on the new structure: %w", err)
	}
	s.report.Back.OldSmoke = "passed"
	if failure != "" {
		s.report.Back.OldSmoke = failure
	}
	return nil
}

// choose decides the way back by what was found. What was not tried is not taken.
func (s *stage) choose() {
	w := &s.report.Back
	switch {
	case w.OldSmoke == "passed":
		w.Plan = wayCode
	case s.Direction == andBack && len(w.Why) == 0:
		w.Plan = wayDown
	default:
		w.Plan = wayRestore
		if s.Direction == forward {
			w.Why = append(w.Why, "going down was not tried (direction: forward)")
		}
	}
	if w.OldSmoke != "" && w.OldSmoke != "passed" {
		w.Why = append(w.Why, "the present release does not work on the new structure: "+w.OldSmoke)
	}
}

// downAndUp takes every step back and compares structure and data with the base,
// then goes up again and compares with the first time.
func (s *stage) downAndUp(ctx context.Context) error {
	w := &s.report.Back
	c, err := s.upCopy(ctx)
	if err != nil {
		return err
	}
	first, err := rehearse.Look(ctx, c)
	if err != nil {
		return err
	}
	before, err := rehearse.Look(ctx, s.base)
	if err != nil {
		return err
	}
	if failure, err := s.downAll(ctx, c); err != nil || failure != "" {
		w.Why = appendText(w.Why, failure)
		return errors.Join(err, s.dropLast(ctx))
	}
	after, err := rehearse.Look(ctx, c)
	if err != nil {
		return err
	}
	w.Structure, w.Differs = rehearse.Compare(before, after)
	if w.Structure == rehearse.Differs && s.SchemaEqual {
		w.Why = append(w.Why, "the structure differs after going back: "+postgres.Shorten(w.Differs, 3))
	}
	if w.Lost, err = rehearse.Losses(ctx, s.base, c, before, after, s.Table); err != nil {
		return err
	}
	for _, l := range w.Lost {
		w.Why = append(w.Why, fmt.Sprintf("%s has other values after going back (%d before, %d after)", l.Column, l.Before, l.After))
	}
	for _, step := range s.steps {
		failure, err := s.plain(ctx, c, s.tool.up, step)
		if err != nil || failure != "" {
			w.Why = appendText(w.Why, prefixed("going up again: ", failure))
			return errors.Join(err, s.dropLast(ctx))
		}
	}
	second, err := rehearse.Look(ctx, c)
	if err != nil {
		return err
	}
	var lines []string
	if w.Again, lines = rehearse.Compare(first, second); w.Again == rehearse.Differs {
		w.Why = append(w.Why, "the structure differs after going up again: "+postgres.Shorten(lines, 3))
	}
	return s.dropLast(ctx)
}

// upCopy makes a copy with all steps applied.
func (s *stage) upCopy(ctx context.Context) (*postgres.Server, error) {
	c, err := s.clone(ctx)
	if err != nil {
		return nil, err
	}
	for _, step := range s.steps {
		failure, err := s.plain(ctx, c.Server, s.tool.up, step)
		if err != nil {
			return nil, err
		}
		if failure != "" {
			return nil, fmt.Errorf("%s was applied before and is refused now: %s", step, failure)
		}
	}
	return c.Server, nil
}

// downAll takes all steps back, the last first.
func (s *stage) downAll(ctx context.Context, on *postgres.Server) (string, error) {
	for _, step := range slices.Backward(s.steps) {
		failure, err := s.plain(ctx, on, s.tool.down, step)
		if err != nil || failure != "" {
			return prefixed("taking back "+step+": ", failure), err
		}
	}
	return "", nil
}

// downAfterWrites goes back after users have written what only the new structure
// holds.
func (s *stage) downAfterWrites(ctx context.Context) error {
	w := &s.report.Back
	writes, err := rehearse.WritesBetween(ctx, s.base, s.report.up)
	if err != nil {
		return err
	}
	for _, sql := range s.Writes {
		writes = append(writes, rehearse.Write{Why: "said in writes", SQL: sql})
	}
	if len(writes) == 0 {
		return nil
	}
	c, err := s.upCopy(ctx)
	if err != nil {
		return err
	}
	if w.Writes, err = rehearse.Carry(ctx, c, writes); err != nil {
		return err
	}
	if len(w.Writes) > 0 {
		if w.WritesFailure, err = s.downAll(ctx, c); err != nil {
			return err
		}
	}
	if w.WritesFailure != "" {
		var why []string
		for _, one := range w.Writes {
			why = append(why, one.Why)
		}
		w.Why = append(w.Why, fmt.Sprintf("%s, after users have written (%s)", w.WritesFailure, postgres.Shorten(why, 3)))
	}
	return s.dropLast(ctx)
}

func appendText(list []string, text string) []string {
	if text == "" {
		return list
	}
	return append(list, text)
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + strings.TrimSpace(text)
}
