package person

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"strconv"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxFile bounds a file that is shown, in bytes.
	maxFile = 4 << 20
	// notSupplied stands where a fact is missing, so that its absence is seen.
	notSupplied = "not supplied"
)

// beside is what is shown beside a question.
type beside struct {
	Facts []string `param:"attach" doc:"facts to show beside the question" default:""`
	Items []string `param:"attach_items" doc:"items (ids or patterns) whose results are shown" default:""`
	Files []string `param:"attach_files" doc:"files of the checkout that are shown and kept" default:""`
}

// gather collects it. What is missing is shown as missing; what cannot be read
// is an error, because nobody should decide on half of the picture.
func (b *beside) gather(ctx context.Context, env *check.Env, question string) (check.Outcome, error) {
	outcome := check.Outcome{Reason: cmp.Or(question, "waits for a person"), Facts: map[string]string{}}
	if err := ctx.Err(); err != nil {
		return outcome, err
	}
	for _, name := range b.Facts {
		outcome.Facts[name] = notSupplied
		if text, ok := env.Ledger.Fact(name); ok {
			outcome.Facts[name] = text
		}
	}
	if len(b.Items) > 0 {
		results, err := env.Ledger.Items(ctx, check.Query{Patterns: b.Items})
		if err != nil {
			return outcome, fmt.Errorf("gather results: %w", err)
		}
		for _, item := range results.Items {
			if item.ID != env.Run.Item {
				outcome.Facts[item.ID] = describe(item)
			}
		}
	}
	return b.files(ctx, env, outcome)
}

func describe(item check.ItemResult) string {
	if item.Reason == "" {
		return item.Verdict
	}
	return item.Verdict + ": " + item.Reason
}

func (b *beside) files(ctx context.Context, env *check.Env, outcome check.Outcome) (check.Outcome, error) {
	if len(b.Files) == 0 {
		return outcome, nil
	}
	host, err := env.Host("")
	if err != nil {
		return outcome, err
	}
	for _, name := range b.Files {
		text, err := host.ReadFile(ctx, name, maxFile)
		if err != nil {
			return outcome, fmt.Errorf("read what is to be shown: %w", err)
		}
		kept, err := env.Store(path.Base(name), bytes.NewReader(text))
		if err != nil {
			return outcome, fmt.Errorf("keep %s: %w", name, err)
		}
		outcome.Artefacts = append(outcome.Artefacts, kept)
	}
	return outcome, nil
}

// number gives numbers as such, so that a condition can reckon with them.
func number(text string) any {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n
	}
	return text
}
