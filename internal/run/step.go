package run

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// maxRepeats is how often a repeatable action is started again after its outcome
// stayed unknown, before a person must decide.
const maxRepeats = 3

// Step gives the state after an event and what the shell must do now. It is
// total: an event that does not fit (a duplicate, a late answer, a refused
// request) changes nothing but the time.
func Step(s State, e Event) (State, []Effect) {
	s = s.clone()
	if e.At.After(s.Now) {
		s.Now = e.At
	}
	if s.Closed || Refuse(&s, e) != nil {
		return s, nil
	}
	m := &machine{State: &s, own: map[int]bool{}}
	m.apply(e)
	m.advance()
	return s, m.effects
}

func (m *machine) emit(e Effect) {
	if e.Type == Notify {
		m.Notices++
		e.Attempt = m.Notices
	}
	m.effects = append(m.effects, e)
}

func (m *machine) timer(id string, at time.Time) {
	m.emit(Effect{Type: SetTimer, Timer: id, At: at})
}

// tell notifies people about an item once.
func (m *machine) tell(i int, about, key, text string) {
	key = about + " " + key
	if m.Items[i].Told == key {
		return
	}
	m.edit(i).Told = key
	m.emit(Effect{Type: Notify, Reason: about, Item: m.Plan.Items[i].ID, Text: text})
}

// learnOf keeps the facts that an item has found. One host of several says nothing
// about the others: its facts carry its name ("migration.seconds@db-2").
func (m *machine) learnOf(i int, facts map[string]string) {
	host := m.Plan.Items[i].Host
	if host == "" {
		m.learn(facts)
		return
	}
	named := make(map[string]string, len(facts))
	for name, value := range facts {
		named[name+"@"+host] = value
	}
	m.learn(named)
}

// learn keeps facts of the run.
func (m *machine) learn(facts map[string]string) {
	if len(facts) == 0 {
		return
	}
	m.Facts = maps.Clone(m.Facts)
	maps.Copy(m.Facts, facts)
}

func (m *machine) apply(e Event) {
	switch e.Type {
	case RunStarted:
		m.start(e)
	case RunResumed:
		m.Epoch = max(m.Epoch, e.Epoch)
		m.resume()
	case TimerFired:
		m.fired(e.Timer)
	case Paused:
		m.Paused, m.PausedBy, m.PauseReason = true, e.Actor, e.Reason
	case Unpaused:
		m.unpause()
	case Aborted:
		m.abort(e)
	case RollbackStarted:
		m.rollback(e)
	case RunClosed:
		if m.closeAsked {
			m.Closed, m.ClosedAt = true, m.Now
		}
	default:
		if i, ok := m.at(e.Item); ok {
			m.applyItem(i, e)
		}
	}
}

func (m *machine) applyItem(i int, e Event) {
	switch e.Type {
	case CheckFinished:
		m.checkFinished(i, e)
	case SampleTaken:
		m.sampled(i, e)
	case ActionIntended:
		m.intended(i, e)
	case ActionFinished:
		m.actionFinished(i, e)
	case ActionProbed:
		m.probed(i, e)
	case UndoIntended:
		m.undoIntended(i, e)
	case UndoFinished:
		m.undoFinished(i, e)
	case Attested:
		m.attested(i, e)
	case Signed:
		m.signed(i, e)
	case SignRevoked:
		m.void(i, "revoked by "+e.Actor+": "+e.Reason)
	case Waived:
		m.waive(i, e)
	case MarkedNA:
		m.settle(i, NA, e)
	case Retried:
		m.retried(i)
	case Resolved:
		m.resolved(i, e)
	}
}

func (m *machine) start(e Event) {
	m.Run, m.Plan, m.Starter, m.StartedAt, m.Epoch = e.Run, e.Plan, e.Actor, e.At, e.Epoch
	m.PlanDigest, m.shape = e.Plan.Digest(), shapeOf(e.Plan)
	items, phases := len(e.Plan.Items), len(e.Plan.Phases)
	m.Items, m.marks = make([]*ItemState, items), make([]mark, items)
	m.Passed, m.GateAt = make([]bool, phases), make([]time.Time, phases)
	m.unlet, m.rest = make([]int, phases), make([]int, phases)
	m.Windows, m.Held, m.Facts = map[string]WindowState{}, map[string]string{}, map[string]string{}
	m.Open = -1
	for i := range e.Plan.Items {
		it := &e.Plan.Items[i]
		m.Items[i] = &ItemState{Status: Pending}
		if it.Applies == NotApplicable {
			m.Items[i] = &ItemState{Status: NA, Verdict: string(NA), Reason: it.Because, SettledAt: e.At}
		}
		m.unlet[m.shape.spots[i].gate]++
		if it.Kind != Signoff {
			m.rest[m.shape.spots[i].gate]++
		}
		m.own[i], m.touched = true, append(m.touched, i)
	}
	m.learn(e.Facts)
}

func (m *machine) unpause() {
	m.Paused, m.PausedBy, m.PauseReason = false, "", ""
	for i, st := range m.Items {
		if st.Status == InDoubt && !st.Probing {
			m.pursue(i)
		}
	}
}

// free reports whether anything new may be begun for an item.
func (m *machine) free(i int) bool {
	return !m.Paused && !m.Aborting && !m.Closing && m.opened(m.shape.spots[i].gate)
}

// settle ends an item's attempt with a status.
func (m *machine) settle(i int, status Status, e Event) {
	st := m.edit(i)
	st.Status, st.Verdict, st.Reason = status, string(status), e.Reason
	st.SettledAt, st.Actor, st.Facts, st.Artefacts = m.Now, e.Actor, e.Facts, e.Artefacts
	st.Intended, st.Probing, st.ToldNot = false, false, false
	if e.Target != "" {
		st.Target = e.Target
	}
	m.learnOf(i, e.Sets)
}

// begin starts an item that nothing holds back any more. A sign-off whose
// condition cannot be decided is asked for: who knows better says so by signing.
func (m *machine) begin(i int) {
	it, st := &m.Plan.Items[i], m.edit(i)
	if it.Applies == Undecided && it.Kind != Signoff {
		m.failed(i, Inconclusive, Event{Reason: "its condition cannot be decided: " + it.Because})
		return
	}
	st.ReadyAt = m.Now
	switch it.Kind {
	case Group:
		m.settle(i, Pass, Event{Reason: "everything below it is settled"})
	case Attest, Signoff:
		st.Status = Waiting
		if !m.Green(i) {
			m.tell(i, "your_turn", fmt.Sprintf("%d %d", len(st.Voided), st.Refreshes), it.Text)
		}
	case Watch:
		m.beginWatch(i)
	default:
		st.Attempt++
		st.Occurrence++
		st.Repeats = 0
		m.launch(i)
	}
}

// launch asks the shell to run the current attempt of a check or an action.
func (m *machine) launch(i int) {
	it, st := &m.Plan.Items[i], m.edit(i)
	st.Status, st.StartedAt, st.Intended, st.Probing, st.ToldNot = Running, m.Now, false, false, false
	if it.Kind == Action {
		m.emit(Effect{Type: Intend, Item: it.ID, Attempt: st.Attempt, Key: m.key(i)})
		return
	}
	m.emit(Effect{Type: RunCheck, Item: it.ID, Attempt: st.Attempt})
}

// key identifies one deliberate start of an item to targets that drop repeats.
func (m *machine) key(i int) string {
	return fmt.Sprintf("allclear/%s/%s/%d", m.Run, m.Plan.Items[i].ID, m.Items[i].Occurrence)
}

func (m *machine) checkFinished(i int, e Event) {
	it, st := &m.Plan.Items[i], m.Items[i]
	if it.Kind != Check || st.Status != Running || st.Attempt != e.Attempt {
		return
	}
	switch Status(e.Verdict) {
	case Pass:
		m.edit(i).Retries = 0
		m.settle(i, Pass, e)
	case Fail:
		m.failed(i, Fail, e)
	default: // whatever else was answered is not an answer
		m.failed(i, Inconclusive, e)
	}
}

// failed settles an attempt that is not green, or plans the next one.
func (m *machine) failed(i int, status Status, e Event) {
	it := &m.Plan.Items[i]
	m.settle(i, status, e)
	st := m.edit(i)
	if st.Retries < it.Retry.Times && m.repeatable(i) {
		st.Retries++
		st.Status = WaitingRetry
		st.RetryAt = m.Now.Add(it.Retry.Every)
		m.timer(m.retryTimer(i), st.RetryAt)
		return
	}
	if !it.Optional && st.Waiver == nil {
		m.tell(i, "held", fmt.Sprintf("%s %d", status, st.Attempt), e.Reason)
	}
}

// repeatable reports whether a failed attempt may be tried again without asking
// anybody. That an unsafe action has failed does not mean that nothing happened.
func (m *machine) repeatable(i int) bool {
	it := &m.Plan.Items[i]
	if m.Aborting || m.Closing || it.Applies == Undecided || !m.opened(m.shape.spots[i].gate) {
		return false
	}
	return it.Kind == Check || it.Kind == Action && (it.Class == Pure || it.Class == Idempotent || it.Class == Keyed)
}

func (m *machine) retryTimer(i int) string {
	return fmt.Sprintf("retry:%d:%s", m.Items[i].Attempt, m.Plan.Items[i].ID)
}

// retried starts an item anew, or taking an action back, which giveBack does.
func (m *machine) retried(i int) {
	st := m.edit(i)
	if m.Plan.Items[i].UndoFailed(st) {
		st.UndoReason = ""
		return
	}
	st.Retries, st.Refreshes = 0, 0
	st.Status = Pending
}

// UndoFailed reports whether taking the action back has failed.
func (it *Item) UndoFailed(st *ItemState) bool {
	return it.Kind == Action && !st.Undoing && st.UndoReason != ""
}

// fired handles a timer by its id: what, which attempt, which item or window.
func (m *machine) fired(timer string) {
	what, rest, _ := strings.Cut(timer, ":")
	switch what {
	case "window":
		m.windowFired(rest)
	case "waiver":
		if i, ok := m.at(rest); ok {
			m.waiverFired(i)
		}
	case "retry":
		_, id, _ := strings.Cut(rest, ":")
		if i, ok := m.at(id); ok && m.Items[i].Status == WaitingRetry && timer == m.retryTimer(i) {
			m.retryDue(i)
		}
	case "sample":
		_, id, _ := strings.Cut(rest, ":")
		_, id, _ = strings.Cut(id, ":")
		if i, ok := m.at(id); ok && m.Items[i].Status == Watching && timer == m.sampleTimer(i) {
			m.sampleDue(i)
		}
	}
}

// retryDue tries again; a timer that comes too early is set again.
func (m *machine) retryDue(i int) {
	if at := m.Items[i].RetryAt; m.Now.Before(at) {
		m.timer(m.retryTimer(i), at)
		return
	}
	m.edit(i).Status = Pending
}
