package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Subject is the digest of what a sign-off of a gate approves: the release, the
// plan with its checklist and migrations, and how every item of this and earlier
// gates stands, with the waivers. Running a check again with the same verdict
// changes nothing of it; any other change does.
func (s *State) Subject(gate string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s %s\nplan %s\nchecklist %s\nmigrations %s\n", s.Plan.Release.Version, s.Plan.Release.Revision, s.PlanDigest, s.Plan.Checklist, s.Plan.Migrations+s.Facts["migrations.plan"])
	last := s.phase(gate)
	for i := range s.Plan.Items {
		it, st := &s.Plan.Items[i], &s.Items[i]
		k := s.phase(it.Gate)
		if it.Kind == Signoff || k > last || (k >= 0 && s.Plan.Phases[k].Rollback != s.Plan.Phases[last].Rollback) {
			continue
		}
		fmt.Fprintf(&b, "%s %s", it.ID, st.Verdict)
		if it.Kind == Attest {
			for _, a := range st.Artefacts {
				fmt.Fprintf(&b, " %s", a.SHA256)
			}
		}
		if st.Waiver != nil {
			fmt.Fprintf(&b, " waived %s %q", st.Waiver.Person, st.Waiver.Reason)
		}
		b.WriteByte('\n')
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

func (m *machine) attested(i int, e Event) {
	status := Pass
	if Status(e.Verdict) == Fail {
		status = Fail
	}
	if status == Fail {
		m.failed(i, Fail, e)
		return
	}
	m.settle(i, Pass, e)
}

func (m *machine) signed(i int, e Event) {
	st := &m.Items[i]
	st.Sign = &Signature{
		Person: e.Actor, Role: e.Role, Approve: e.Verdict == "approve", Subject: e.Subject, At: m.Now,
		Until: e.Until, Statement: e.Statement, Armored: e.Signature, KeyPrint: e.KeyPrint, Note: e.Reason,
	}
	if !st.Sign.Approve {
		e.Reason = "no-go by " + e.Actor + ": " + e.Reason
		m.failed(i, Fail, e)
		return
	}
	m.settle(i, Pass, e)
	if !e.Until.IsZero() {
		m.timer("sign:"+e.Item, e.Until)
	}
}

// voidSignatures takes back the signatures whose content has changed or whose
// time is over, as long as their gate has not been passed.
func (m *machine) voidSignatures() bool {
	changed := false
	for i := range m.Plan.Items {
		it, st := &m.Plan.Items[i], &m.Items[i]
		if it.Kind != Signoff || st.Sign == nil || !st.Sign.Approve || st.Status != Pass || m.Passed[m.phase(it.Gate)] {
			continue
		}
		switch {
		case !st.Sign.Until.IsZero() && !st.Sign.Until.After(m.Now):
			m.void(i, "the signature has expired")
		case st.Sign.Subject != m.Subject(it.Gate):
			m.void(i, "what was signed has changed")
		default:
			continue
		}
		changed = true
	}
	return changed
}

func (m *machine) void(i int, why string) {
	st := &m.Items[i]
	if st.Sign == nil || !st.Sign.Approve {
		return
	}
	st.Voided = append(slices.Clone(st.Voided), Voided{Person: st.Sign.Person, Role: st.Sign.Role, At: m.Now, Reason: why})
	st.Sign = nil
	st.Status, st.Verdict, st.Reason = Pending, "", "signature void: "+why
}

// abort stops the run: nothing new is begun, what is under way ends, what is held
// is given back.
func (m *machine) abort(e Event) {
	m.Aborting, m.AbortReason = true, e.Reason
	m.supersedeWatches()
}

func (m *machine) supersedeWatches() {
	for i := range m.Items {
		if m.Items[i].Status == Watching {
			m.Items[i].Status, m.Items[i].SettledAt = Superseded, m.Now
		}
		if m.Items[i].Status == WaitingRetry {
			m.Items[i].Status = Status(m.Items[i].Verdict)
		}
	}
}

// rollback turns the run round: the ordinary phases stop and the rollback phases
// open. An emergency owes its statements: they are let through, marked, and the
// review of them blocks the next run.
func (m *machine) rollback(e Event) {
	m.Rollback, m.RollbackAt, m.RollbackBy, m.RollbackReason, m.Emergency = true, m.Now, e.Actor, e.Reason, e.Emergency
	m.Paused = false
	m.Facts["rollback.started_at"] = m.Now.UTC().Format(time.RFC3339)
	m.Facts["rollback.reason"] = e.Reason
	m.supersedeWatches()
	if !e.Emergency {
		return
	}
	for i := range m.Plan.Items {
		it := &m.Plan.Items[i]
		k := m.phase(it.Gate)
		if k < 0 || !m.Plan.Phases[k].Rollback || (it.Kind != Signoff && it.Kind != Attest) || m.Items[i].Status == NA {
			continue
		}
		m.settle(i, Inconclusive, Event{Reason: "owed: emergency rollback", Actor: e.Actor})
		m.Items[i].Waiver = &Waiver{Person: e.Actor, Reason: "emergency rollback: " + e.Reason, Until: m.Now.Add(10 * 365 * 24 * time.Hour)}
	}
}

// Refuse says why an event by a person does not fit the present state, or nil.
// Events of the shell itself are never refused.
func Refuse(s *State, e Event) error {
	switch e.Type {
	case Attested, Signed, SignRevoked, Waived, MarkedNA, Retried, Resolved:
		i, ok := s.index[e.Item]
		if !ok {
			return fmt.Errorf("there is no item %q in this run", e.Item)
		}
		if s.Closing {
			return errors.New("the run is closing")
		}
		return refuseItem(s, i, e)
	case Paused:
		if s.Paused {
			return errors.New("the run is paused already")
		}
	case Unpaused:
		if !s.Paused {
			return errors.New("the run is not paused")
		}
	case Aborted:
		if s.Aborting || s.Closing {
			return errors.New("the run is ending already")
		}
	case RollbackStarted:
		return refuseRollback(s, e)
	}
	return nil
}

func refuseItem(s *State, i int, e Event) error {
	it, st := &s.Plan.Items[i], &s.Items[i]
	switch e.Type {
	case Attested:
		if it.Kind != Attest {
			return fmt.Errorf("%s is not an attestation but %s", it.ID, article(it.Kind))
		}
		if st.Status == Pending {
			return fmt.Errorf("%s is not asked for yet", it.ID)
		}
	case Signed:
		return refuseSign(s, i, e)
	case SignRevoked:
		if st.Sign == nil || st.Sign.Person != e.Actor {
			return fmt.Errorf("%s has not signed %s", e.Actor, it.ID)
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
		return refuseRetry(it, st)
	case Resolved:
		if st.Status != InDoubt {
			return fmt.Errorf("%s is not in doubt but %s", it.ID, st.Status)
		}
		if st.Probing {
			return fmt.Errorf("%s is being probed", it.ID)
		}
	}
	return nil
}

func refuseRetry(it *Item, st *ItemState) error {
	switch {
	case it.UndoFailed(st):
		return nil
	case st.Status == InDoubt:
		return fmt.Errorf("%s is in doubt: resolve it first", it.ID)
	case it.Kind == Signoff:
		return errors.New("a no-go is final for its gate: abort, or roll back")
	case it.Kind == Attest && st.Status != Fail:
		return fmt.Errorf("%s is stated by a person: attest it", it.ID)
	case it.Kind == Action && st.Status != Failed && st.Status != Undone:
		return fmt.Errorf("%s is %s: only a failed action is tried again", it.ID, st.Status)
	case !st.Status.Settled() || st.Status == NA:
		return fmt.Errorf("%s is %s", it.ID, st.Status)
	}
	return nil
}

func refuseSign(s *State, i int, e Event) error {
	it, st := &s.Plan.Items[i], &s.Items[i]
	switch {
	case it.Kind != Signoff:
		return fmt.Errorf("%s is not a sign-off but %s", it.ID, article(it.Kind))
	case st.Status == Pending:
		return fmt.Errorf("%s is not asked for yet: the rest of its gate comes first", it.ID)
	case st.Status != Waiting:
		return fmt.Errorf("%s has been decided already", it.ID)
	case e.Subject != s.Subject(it.Gate):
		return errors.New("what was signed is not what stands now: look again and sign again")
	case it.Person != nil && len(it.Person.Roles) > 0 && !slices.Contains(it.Person.Roles, e.Role):
		return fmt.Errorf("%s is signed as %s, not as %s", it.ID, strings.Join(it.Person.Roles, " or "), e.Role)
	case !e.Until.IsZero() && !e.Until.After(s.Now):
		return errors.New("the signature has expired")
	case e.Actor == s.Starter && !slices.Contains(s.Plan.Rules.StarterRoles, e.Role):
		return fmt.Errorf("SOD-1: %s started this run and may not sign as %s", e.Actor, e.Role)
	}
	return refuseTwice(s, i, e)
}

// refuseTwice holds the rules that compare the signer with others of the gate.
func refuseTwice(s *State, i int, e Event) error {
	it := &s.Plan.Items[i]
	for j := range s.Plan.Items {
		other := s.Items[j].Sign
		if j == i || other == nil || other.Person != e.Actor {
			continue
		}
		same := s.Plan.Items[j].Gate == it.Gate
		if s.Plan.Rules.Distinct && same {
			return fmt.Errorf("SOD-4: %s has already signed this gate as %s", e.Actor, other.Role)
		}
		if it.Person != nil && (slices.Contains(it.Person.NotSameAs, other.Role) || slices.Contains(it.Person.NotSameAs, s.Plan.Items[j].ID)) {
			return fmt.Errorf("%s signed as %s, which excludes %s", e.Actor, other.Role, e.Role)
		}
	}
	return nil
}

func refuseRollback(s *State, e Event) error {
	if s.Rollback {
		return errors.New("the rollback is under way already")
	}
	if s.Closing {
		return errors.New("the run is closing")
	}
	if !slices.ContainsFunc(s.Plan.Phases, func(p Phase) bool { return p.Rollback }) {
		return errors.New("the checklist has no phase with `phase: rollback`")
	}
	if strings.TrimSpace(e.Reason) == "" {
		return errors.New("a rollback needs a reason")
	}
	if e.Emergency {
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
