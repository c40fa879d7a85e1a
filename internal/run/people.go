package run

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SubjectOf is the digest of what a sign-off approves: the release, the plan with
// its checklist and migrations, and how every item of its own and earlier gates
// stands, with the waivers. On a rollback a sign-off stands where it is written:
// it approves what is above it, and why the rollback was started. Running a check
// again with the same verdict changes nothing of it; any other change does. It is
// empty for what is no sign-off.
func (s *State) SubjectOf(item string) string {
	own, ok := s.at(item)
	if !ok || s.Plan.Items[own].Kind != Signoff {
		return ""
	}
	var b strings.Builder
	line := func(words ...string) {
		b.WriteString(strings.Join(words, " "))
		b.WriteByte('\n')
	}
	line("release", s.Plan.Release.Version, s.Plan.Release.Revision)
	line("plan", s.PlanDigest)
	line("checklist", s.Plan.Checklist)
	line("migrations", s.Plan.Migrations+s.Facts["migrations.plan"])
	last := s.shape.spots[own].gate
	back := s.Plan.Phases[last].Rollback
	if back {
		line("rollback", strconv.Quote(s.RollbackReason))
	}
	for i := range s.Plan.Items {
		k := s.shape.spots[i].gate
		if s.Plan.Items[i].Kind == Signoff || k > last || s.Plan.Phases[k].Rollback != back || back && k == last && i > own {
			continue
		}
		line(s.standing(i)...)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// standing is what a signature binds of an item.
func (s *State) standing(i int) []string {
	it, st := &s.Plan.Items[i], s.Items[i]
	words := []string{it.ID, st.Verdict}
	if it.Kind == Attest {
		for _, a := range st.Artefacts {
			words = append(words, a.SHA256)
		}
	}
	if w := st.Waiver; w != nil {
		words = append(words, "waived", w.Person, strconv.Quote(w.Reason), w.Until.UTC().Format(time.RFC3339Nano))
	}
	return words
}

func (m *machine) attested(i int, e Event) {
	if Status(e.Verdict) == Pass {
		m.settle(i, Pass, e)
		return
	}
	m.failed(i, Fail, e)
}

// waive lets an item through until the waiver ends.
func (m *machine) waive(i int, e Event) {
	m.edit(i).Waiver = &Waiver{Person: e.Actor, Reason: e.Reason, At: m.Now, Until: e.Until}
	if !slices.Contains(m.waived, i) {
		m.waived = append(slices.Clone(m.waived), i)
	}
	m.timer("waiver:"+m.Plan.Items[i].ID, e.Until)
}

// waiverFired tells people when the end of a waiver stops the run.
func (m *machine) waiverFired(i int) {
	st, it := m.Items[i], &m.Plan.Items[i]
	if st.Waiver == nil || st.Waiver.Until.After(m.Now) || it.Optional || m.Green(i) || !m.opened(m.shape.spots[i].gate) {
		return
	}
	switch {
	case st.Status == Waiting:
		m.tell(i, "your_turn", "waiver "+st.Waiver.Until.String(), it.Text)
	case st.Status.Settled():
		m.tell(i, "held", "waiver "+st.Waiver.Until.String(), "the waiver of "+st.Waiver.Person+" has ended: "+st.Reason)
	}
}

// signed takes a decision. A signature never stands longer than its item allows.
func (m *machine) signed(i int, e Event) {
	it, st := &m.Plan.Items[i], m.edit(i)
	if it.Person != nil && it.Person.Expires > 0 {
		if limit := m.Now.Add(it.Person.Expires); e.Until.IsZero() || e.Until.After(limit) {
			e.Until = limit
		}
	}
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
// time is over, as long as their gate has not been passed. A sign-off that is
// asked for while the rest of its gate no longer stands is asked for later.
func (m *machine) voidSignatures() bool {
	changed := false
	for _, i := range m.shape.signoffs {
		at, st := &m.shape.spots[i], m.Items[i]
		if st.Status == Waiting && m.rest[at.gate] > 0 && !m.Plan.Phases[at.gate].Rollback {
			m.edit(i).Status = Pending
			changed = true
			continue
		}
		if st.Sign == nil || !st.Sign.Approve || st.Status != Pass || m.Passed[at.gate] {
			continue
		}
		switch {
		case !st.Sign.Until.IsZero() && !st.Sign.Until.After(m.Now):
			m.void(i, "the signature has expired")
		case st.Sign.Subject != m.SubjectOf(m.Plan.Items[i].ID):
			m.void(i, "what was signed has changed")
		default:
			continue
		}
		changed = true
	}
	return changed
}

func (m *machine) void(i int, why string) {
	st := m.edit(i)
	st.Voided = append(slices.Clone(st.Voided), Voided{Person: st.Sign.Person, Role: st.Sign.Role, At: m.Now, Reason: why})
	st.Sign = nil
	st.Status, st.Verdict, st.Reason = Pending, "", "signature void: "+why
}

// abort stops the run: nothing new is begun, what is under way ends, what is held
// is given back.
func (m *machine) abort(e Event) {
	m.Aborting, m.AbortReason = true, e.Reason
	m.Paused, m.PausedBy, m.PauseReason = false, "", ""
	m.supersede()
}

// supersede ends what a run that turns round or stops does not need any more:
// checks and watches under way and what people have been asked for. Actions under
// way are left to end.
func (m *machine) supersede() {
	for i, st := range m.Items {
		kind := m.shape.spots[i].kind
		switch {
		case !m.Aborting && m.inScope(m.shape.spots[i].gate):
		case st.Status == Watching, st.Status == Waiting, st.Status == Running && kind != Action:
			st = m.edit(i)
			st.Status, st.SettledAt = Superseded, m.Now
		case st.Status == WaitingRetry:
			m.edit(i).Status = Status(st.Verdict)
		}
	}
}

// rollback turns the run round: the ordinary phases stop and the rollback phases
// open. An emergency owes its statements: they are let through, marked, and the
// review of them blocks the next run.
func (m *machine) rollback(e Event) {
	m.Rollback, m.RollbackAt, m.RollbackBy, m.RollbackReason, m.Emergency = true, m.Now, e.Actor, e.Reason, e.Emergency
	m.Paused, m.PausedBy, m.PauseReason = false, "", ""
	m.Aborting, m.Closing, m.Result = false, false, ""
	m.learn(map[string]string{"rollback.started_at": m.Now.UTC().Format(time.RFC3339), "rollback.reason": e.Reason})
	m.supersede()
	for i, st := range m.Items { // what could not be given back is tried again at the end
		if m.Plan.Items[i].UndoFailed(st) {
			m.edit(i).UndoReason = ""
		}
	}
	if !e.Emergency {
		return
	}
	const lasts = 10 * 365 * 24 * time.Hour
	for i := range m.Plan.Items {
		at := &m.shape.spots[i]
		if !m.Plan.Phases[at.gate].Rollback || at.kind != Signoff && at.kind != Attest || m.Items[i].Status == NA {
			continue
		}
		m.settle(i, Inconclusive, Event{Reason: "owed: emergency rollback", Actor: e.Actor})
		m.waive(i, Event{Actor: e.Actor, Reason: "emergency rollback: " + e.Reason, Until: m.Now.Add(lasts)})
	}
}
