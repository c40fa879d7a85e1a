package cli

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/run"
)

// readiness is whether an item could be resolved in an environment.
type readiness string

// The answers: everything is there, only the run will know, the item does not
// apply, or something is missing.
const (
	ready   readiness = "ready"
	later   readiness = "later"
	without readiness = "n/a"
	lacks   readiness = "lacks"
)

// examined is what was found about one item.
type examined struct {
	Item  string    `json:"item"`
	Text  string    `json:"text"`
	Ready readiness `json:"ready"`
	Found string    `json:"found"`
	Fix   string    `json:"fix,omitempty"`
	// Targets are what has to be supplied: names of the configuration, secrets,
	// roles.
	Targets []string `json:"targets,omitempty"`
}

// unlock is one target and what supplying it, after those before, makes ready.
type unlock struct {
	Target string `json:"target"`
	Items  int    `json:"items"`
	Total  int    `json:"total"`
}

// examineItems looks at every item of a plan, without any effect.
func (o *options) examineItems(ctx context.Context, s *site, p *run.Plan, facts map[string]string) ([]examined, error) {
	world, err := s.world()
	if err != nil { // the bypass is a secret with a line of its own
		world = newWorld(s.root, s.dataDir, nil)
	}
	world.Discard = true
	eng := engine.New(engine.Options{World: world, Open: s.openEnvironment})
	state, _ := run.Step(run.State{}, run.Event{Type: run.RunStarted, At: time.Now(), Run: "doctor", Plan: p, Facts: facts, Actor: "doctor"})
	out := make([]examined, len(p.Items))
	slots := make(chan struct{}, 4*runtime.NumCPU())
	var working sync.WaitGroup
	for i := range p.Items {
		working.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i] = examineItem(ctx, s, eng, &state, &p.Items[i])
		})
	}
	working.Wait()
	return out, ctx.Err()
}

func examineItem(ctx context.Context, s *site, eng *engine.Engine, state *run.State, it *run.Item) examined {
	x := examined{Item: it.ID, Text: it.Text, Ready: ready}
	switch {
	case it.Applies == run.NotApplicable:
		x.Ready, x.Found = without, it.Because
		return x
	case len(it.Missing) > 0:
		x.Ready, x.Targets, x.Found = lacks, it.Missing, strings.Join(it.Missing, ", ")+" is not set"
		x.Fix = strings.Join(needed(s.environment, it.Missing), "; ")
		return x
	case it.Person != nil:
		return examinePerson(s, it, x)
	}
	found := eng.Examine(ctx, state, it)
	switch {
	case found.Err != nil:
		x.Ready, x.Found = lacks, found.Err.Error()
		if x.Fix = "see " + it.Type + ": allclear types " + it.Type; !found.Secret.IsZero() {
			x.Targets, x.Fix = []string{"secret " + found.Secret.String()}, "supply "+found.Secret.String()
		}
	case found.Later != "":
		x.Ready, x.Found = later, found.Later+" is known only during the run"
	default:
		x.Found = found.Found
	}
	if it.Applies == run.Undecided && x.Ready == ready {
		x.Ready, x.Found = later, it.Because
	}
	return x
}

// examinePerson looks whether somebody may attest or sign, and has a key to do so.
func examinePerson(s *site, it *run.Item, x examined) examined {
	var people []string
	for _, role := range it.Person.Roles {
		people = append(people, peopleWith(s, role)...)
	}
	if len(it.Person.Roles) == 0 {
		for id := range s.cfg.People {
			people = append(people, id)
		}
	}
	slices.Sort(people)
	people = slices.Compact(people)
	withKey := slices.DeleteFunc(slices.Clone(people), func(id string) bool { return len(s.cfg.People[id].Keys) == 0 })
	switch {
	case len(people) == 0:
		x.Ready, x.Found = lacks, "nobody may do it"
		x.Fix, x.Targets = "name people in allclear.yaml", []string{"people"}
		if len(it.Person.Roles) > 0 {
			x.Fix, x.Targets = "give somebody the role "+strings.Join(it.Person.Roles, " or "), []string{"roles." + it.Person.Roles[0]}
		}
	case it.Kind == run.Signoff && len(withKey) == 0:
		x.Ready, x.Found = lacks, strings.Join(people, ", ")+" may sign and has no key"
		x.Fix, x.Targets = fmt.Sprintf("add people.%s.key, a public SSH key, to allclear.yaml", people[0]), []string{"key of " + people[0]}
	default:
		x.Found = "asks " + strings.Join(people, ", ")
	}
	return x
}

// unlocks orders what is to be supplied: first what makes most items ready by
// itself, then what does so with it. A target that always comes with others is
// counted where the last of them is.
func unlocks(items []examined) []unlock {
	open := map[int][]string{}
	for i, x := range items {
		if x.Ready == lacks && len(x.Targets) > 0 {
			open[i] = slices.Clone(x.Targets)
		}
	}
	var out []unlock
	total := 0
	for len(open) > 0 {
		alone, all := map[string]int{}, map[string]int{}
		for _, targets := range open {
			for _, t := range targets {
				if all[t]++; len(targets) == 1 {
					alone[t]++
				}
			}
		}
		best := ""
		for t := range all {
			if best == "" || alone[t] > alone[best] || alone[t] == alone[best] && (all[t] > all[best] || all[t] == all[best] && t < best) {
				best = t
			}
		}
		total += alone[best]
		out = append(out, unlock{best, alone[best], total})
		for i, targets := range open {
			if targets = slices.DeleteFunc(targets, func(t string) bool { return t == best }); len(targets) == 0 {
				delete(open, i)
				continue
			}
			open[i] = targets
		}
	}
	return out
}
