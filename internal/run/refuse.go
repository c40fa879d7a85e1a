package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Refuse says why an event does not fit the present state, or nil. Of the events
// of the shell only a start is ever refused; a late answer is no offence.
func Refuse(s *State, e Event) error {
	switch {
	case s.Plan != nil && e.Type == RunStarted:
		return errors.New("the run has begun already")
	case s.Plan == nil && e.Type != RunStarted:
		return errors.New("no run has begun")
	case s.Plan == nil && e.Plan == nil:
		return errors.New("a run begins with its plan")
	case s.Plan == nil:
		return e.Plan.Valid()
	}
	switch e.Type {
	case Attested, Signed, SignRevoked, Waived, MarkedNA, Retried, Resolved, Paused, Unpaused, Aborted, RollbackStarted:
		if s.Closed || s.closeAsked {
			return errors.New("the run is over")
		}
		return refusePerson(s, e)
	}
	return nil
}

func refusePerson(s *State, e Event) error {
	switch e.Type {
	case Paused:
		if s.Paused {
			return errors.New("the run is paused already")
		}
		return nil
	case Unpaused:
		if !s.Paused {
			return errors.New("the run is not paused")
		}
		return nil
	case Aborted:
		if s.Aborting || s.Closing {
			return errors.New("the run is ending already")
		}
		return nil
	case RollbackStarted:
		return refuseRollback(s, e)
	}
	i, ok := s.at(e.Item)
	if !ok {
		return fmt.Errorf("there is no item %q in this run", e.Item)
	}
	if s.Closing && e.Type != Resolved && !(e.Type == Retried && s.Plan.Items[i].UndoFailed(s.Items[i])) {
		return errors.New("the run is closing")
	}
	return refuseItem(s, i, e)
}

func refuseItem(s *State, i int, e Event) error {
	it, st := &s.Plan.Items[i], s.Items[i]
	switch e.Type {
	case Attested:
		return refuseAttest(s, i, e)
	case Signed:
		return refuseSign(s, i, e)
	case SignRevoked:
		switch {
		case st.Sign == nil || st.Sign.Person != e.Actor:
			return fmt.Errorf("%s has not signed %s", e.Actor, it.ID)
		case !st.Sign.Approve:
			return errors.New("a no-go is final for its gate")
		}
	case Waived:
		switch {
		case it.Kind == Signoff:
			return errors.New("a sign-off cannot be waived")
		case strings.TrimSpace(e.Reason) == "" || !e.Until.After(s.Now):
			return errors.New("a waiver needs a reason and an end in the future")
		case st.Status == InDoubt:
			return fmt.Errorf("%s is in doubt: resolve it first", it.ID)
		}
	case MarkedNA:
		switch {
		case it.Kind == Signoff:
			return errors.New("a sign-off is always applicable")
		case strings.TrimSpace(e.Reason) == "":
			return errors.New("n/a needs a reason")
		case st.Status == InDoubt || st.Status == Running || st.Status == Done:
			return fmt.Errorf("%s is %s", it.ID, st.Status)
		}
	case Retried:
		return refuseRetry(s, i)
	case Resolved:
		return refuseResolve(s, i, e)
	}
	return nil
}

func refuseAttest(s *State, i int, e Event) error {
	it, st := &s.Plan.Items[i], s.Items[i]
	switch {
	case it.Kind != Attest:
		return fmt.Errorf("%s is not an attestation but %s", it.ID, article(it.Kind))
	case st.Status == Pending:
		return fmt.Errorf("%s is not asked for yet", it.ID)
	case st.Status == Superseded || !s.opened(s.shape.spots[i].gate):
		return fmt.Errorf("%s is not asked for any more", it.ID)
	case it.Applies == NotApplicable:
		return fmt.Errorf("%s does not apply: %s", it.ID, it.Because)
	case e.Verdict != string(Pass) && e.Verdict != string(Fail):
		return fmt.Errorf("an attestation states pass or fail, not %q", e.Verdict)
	}
	if err := refuseFacts(it, e); err != nil {
		return err
	}
	return refuseSame(s, i, e)
}

// refuseFacts holds that a person's word sets exactly the fact that is asked for.
func refuseFacts(it *Item, e Event) error {
	wanted := ""
	if it.Person != nil {
		wanted = it.Person.Fact
	}
	for name := range e.Sets {
		if name != wanted {
			return fmt.Errorf("%s does not ask for a value of %s", it.ID, name)
		}
	}
	if wanted != "" && e.Verdict == string(Pass) && e.Sets[wanted] == "" {
		return fmt.Errorf("%s asks for a value", it.ID)
	}
	return nil
}

// refuseRetry lets what has ended begin anew, except where only a person's own
// statement counts.
func refuseRetry(s *State, i int) error {
	it, st := &s.Plan.Items[i], s.Items[i]
	byPerson := st.Status == NA && it.Applies != NotApplicable
	switch {
	case it.UndoFailed(st):
		return nil
	case st.Status == InDoubt:
		return fmt.Errorf("%s is in doubt: resolve it first", it.ID)
	case it.Kind == Signoff:
		return errors.New("a no-go is final for its gate: abort, or roll back")
	case byPerson:
	case it.Kind == Attest && st.Status != Fail:
		return fmt.Errorf("%s is stated by a person: attest it", it.ID)
	case it.Kind == Action && st.Status != Failed && st.Status != Undone && st.Status != Inconclusive:
		return fmt.Errorf("%s is %s: only a failed action is tried again", it.ID, st.Status)
	case !st.Status.Settled() || st.Status == NA:
		return fmt.Errorf("%s is %s", it.ID, st.Status)
	}
	if !s.opened(s.shape.spots[i].gate) {
		return fmt.Errorf("%s belongs to a phase that is not open", it.ID)
	}
	return nil
}

// refuseResolve takes a person's word for an action in doubt, and that what could
// not be given back has been given back by hand.
func refuseResolve(s *State, i int, e Event) error {
	it, st := &s.Plan.Items[i], s.Items[i]
	switch {
	case st.Status == InDoubt && st.Probing:
		return fmt.Errorf("%s is being probed", it.ID)
	case st.Status == InDoubt && e.Verdict != "done" && e.Verdict != "not_done" && e.Verdict != "undone":
		return fmt.Errorf("what became of it is done, not_done or undone, not %q", e.Verdict)
	case st.Status == InDoubt:
		return nil
	case !s.stuck(i):
		return fmt.Errorf("%s is not in doubt but %s", it.ID, st.Status)
	case e.Verdict != "undone":
		return fmt.Errorf("%s is done: give back %s by hand and say undone", it.ID, it.Holds)
	}
	return nil
}

func refuseSign(s *State, i int, e Event) error {
	it, st := &s.Plan.Items[i], s.Items[i]
	switch {
	case it.Kind != Signoff:
		return fmt.Errorf("%s is not a sign-off but %s", it.ID, article(it.Kind))
	case st.Status == Pending:
		return fmt.Errorf("%s is not asked for yet: the rest of its gate comes first", it.ID)
	case st.Status == Superseded:
		return fmt.Errorf("%s is not asked for any more", it.ID)
	case st.Status != Waiting:
		return fmt.Errorf("%s has been decided already", it.ID)
	case strings.TrimSpace(e.Actor) == "":
		return errors.New("a signature needs a person")
	case e.Subject != s.SubjectOf(it.ID):
		return errors.New("what was signed is not what stands now: look again and sign again")
	case it.Person != nil && len(it.Person.Roles) > 0 && !slices.Contains(it.Person.Roles, e.Role):
		return fmt.Errorf("%s is signed as %s, not as %s", it.ID, strings.Join(it.Person.Roles, " or "), e.Role)
	case !e.Until.IsZero() && !e.Until.After(s.Now):
		return errors.New("the signature has expired")
	case e.Actor == s.Starter && !slices.Contains(s.Plan.Rules.StarterRoles, e.Role):
		return fmt.Errorf("SOD-1: %s started this run and may not sign as %s", e.Actor, e.Role)
	}
	if !s.Plan.Rules.Distinct {
		return refuseSame(s, i, e)
	}
	for _, j := range s.shape.signoffs {
		other := s.Items[j].Sign
		if j != i && other != nil && other.Person == e.Actor && s.Plan.Items[j].Gate == it.Gate {
			return fmt.Errorf("SOD-4: %s has already signed this gate as %s", e.Actor, other.Role)
		}
	}
	return refuseSame(s, i, e)
}

// refuseSame holds not_same_as, whichever of the two items has it.
func refuseSame(s *State, i int, e Event) error {
	it := &s.Plan.Items[i]
	for j := range s.Plan.Items {
		other, st := &s.Plan.Items[j], s.Items[j]
		person, role := "", ""
		switch {
		case other.Kind == Signoff && st.Sign != nil:
			person, role = st.Sign.Person, st.Sign.Role
		case other.Kind == Attest && (st.Status == Pass || st.Status == Fail):
			person = st.Actor
		}
		if j == i || person == "" || person != e.Actor {
			continue
		}
		if excludes(it, role, other.ID) || excludes(other, e.Role, it.ID) {
			return fmt.Errorf("%s has resolved %s, which excludes %s", e.Actor, other.ID, it.ID)
		}
	}
	return nil
}

// excludes reports whether an item may not be resolved by who has resolved another.
func excludes(it *Item, role, id string) bool {
	if it.Person == nil {
		return false
	}
	return slices.Contains(it.Person.NotSameAs, id) || role != "" && slices.Contains(it.Person.NotSameAs, role)
}

func refuseRollback(s *State, e Event) error {
	switch {
	case s.Rollback:
		return errors.New("the rollback is under way already")
	case s.Closing && !s.Aborting:
		return errors.New("the run is closing")
	case !slices.ContainsFunc(s.Plan.Phases, func(p Phase) bool { return p.Rollback }):
		return errors.New("the checklist has no phase with `phase: rollback`")
	case strings.TrimSpace(e.Reason) == "":
		return errors.New("a rollback needs a reason")
	case e.Emergency:
		return nil
	}
	for i := range s.Items {
		if s.Items[i].Status == InDoubt || (s.Items[i].Status == Running && s.Plan.Items[i].Kind == Action) {
			return fmt.Errorf("%s is %s: resolve it or wait for it first", s.Plan.Items[i].ID, s.Items[i].Status)
		}
	}
	return nil
}

func article(k Kind) string {
	if k == Action || k == Attest {
		return "an " + string(k)
	}
	return "a " + string(k)
}
