package run

import (
	"fmt"
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
	if s.Closed || (s.Plan == nil) != (e.Type == RunStarted) || Refuse(&s, e) != nil {
		return s, nil
	}
	m := &machine{State: &s}
	m.apply(e)
	m.advance()
	return s, m.effects
}

// machine is a state being changed and the effects that follow.
type machine struct {
	*State
	effects []Effect
}

func (m *machine) emit(e Effect) { m.effects = append(m.effects, e) }

func (m *machine) timer(id string, at time.Time) {
	m.emit(Effect{Type: SetTimer, Timer: id, At: at})
}

// tell notifies people once.
func (m *machine) tell(about, key, item, text string) {
	if m.Told[about+":"+key] {
		return
	}
	m.Told[about+":"+key] = true
	m.emit(Effect{Type: Notify, Reason: about, Item: item, Text: text})
}

func (m *machine) apply(e Event) {
	switch e.Type {
	case RunStarted:
		m.start(e)
	case RunResumed:
		m.Epoch = e.Epoch
		m.resume()
	case TimerFired:
		m.fired(e.Timer)
	case Paused:
		m.Paused = true
	case Unpaused:
		m.Paused = false
	case Aborted:
		m.abort(e)
	case RollbackStarted:
		m.rollback(e)
	case RunClosed:
		m.Closed, m.ClosedAt = true, m.Now
	default:
		if i, ok := m.index[e.Item]; ok {
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
		m.Items[i].Waiver = &Waiver{Person: e.Actor, Reason: e.Reason, Until: e.Until}
		m.timer("waiver:"+e.Item, e.Until)
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
	m.PlanDigest = e.Plan.Digest()
	m.Items = make([]ItemState, len(e.Plan.Items))
	m.Passed, m.GateAt = make([]bool, len(e.Plan.Phases)), make([]time.Time, len(e.Plan.Phases))
	m.Windows, m.Held, m.Facts, m.Told = map[string]WindowState{}, map[string]string{}, map[string]string{}, map[string]bool{}
	m.Open, m.index = -1, map[string]int{}
	for i, it := range e.Plan.Items {
		m.index[it.ID] = i
		m.Items[i].Status = Pending
		if it.Applies == NotApplicable {
			m.Items[i] = ItemState{Status: NA, Verdict: string(NA), Reason: it.Because, SettledAt: e.At}
		}
	}
	for name, value := range e.Facts {
		m.Facts[name] = value
	}
}

// settle ends an item's attempt with a status.
func (m *machine) settle(i int, status Status, e Event) {
	st := &m.Items[i]
	st.Status, st.Verdict, st.Reason = status, string(status), e.Reason
	st.SettledAt, st.Actor, st.Facts, st.Artefacts = m.Now, e.Actor, e.Facts, e.Artefacts
	st.Intended, st.Probing = false, false
	if e.Target != "" {
		st.Target = e.Target
	}
	for name, value := range e.Sets {
		m.Facts[name] = value
	}
}

// begin starts an item that nothing holds back any more.
func (m *machine) begin(i int) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	if it.Applies == Undecided {
		m.failed(i, Inconclusive, Event{Reason: "its condition cannot be decided: " + it.Because})
		return
	}
	st.ReadyAt = m.Now
	switch it.Kind {
	case Group:
		m.settle(i, Pass, Event{Reason: "everything below it is settled"})
	case Attest, Signoff:
		st.Status = Waiting
		m.tell("your_turn", it.ID+"#"+fmt.Sprint(len(st.Voided)), it.ID, it.Text)
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
	it, st := &m.Plan.Items[i], &m.Items[i]
	st.Status, st.StartedAt, st.Intended, st.Probing = Running, m.Now, false, false
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
	it, st := &m.Plan.Items[i], &m.Items[i]
	if it.Kind != Check || st.Status != Running || st.Attempt != e.Attempt {
		return
	}
	switch Status(e.Verdict) {
	case Pass:
		st.Retries = 0
		m.settle(i, Pass, e)
	case Fail:
		m.failed(i, Fail, e)
	default: // whatever else was answered is not an answer
		m.failed(i, Inconclusive, e)
	}
}

// failed settles an attempt that is not green, or plans the next one.
func (m *machine) failed(i int, status Status, e Event) {
	it, st := &m.Plan.Items[i], &m.Items[i]
	m.settle(i, status, e)
	if st.Retries < it.Retry.Times && !m.Aborting && it.Applies != Undecided && it.Kind != Attest {
		st.Retries++
		st.Status = WaitingRetry
		st.RetryAt = m.Now.Add(it.Retry.Every)
		m.timer(fmt.Sprintf("retry:%s:%d", it.ID, st.Attempt), st.RetryAt)
		return
	}
	if !it.Optional && st.Waiver == nil {
		m.tell("held", fmt.Sprintf("%s#%d", it.ID, st.Attempt), it.ID, e.Reason)
	}
}

func (m *machine) retried(i int) {
	st := &m.Items[i]
	if m.Plan.Items[i].UndoFailed(st) {
		st.UndoReason = ""
		m.undo(i)
		return
	}
	st.Retries = 0
	st.Status = Pending
}

// UndoFailed reports whether taking the action back has failed.
func (it *Item) UndoFailed(st *ItemState) bool {
	return it.Kind == Action && !st.Undoing && st.UndoReason != ""
}

// fired handles a timer by its id: what, item or window, attempt.
func (m *machine) fired(timer string) {
	what, rest, _ := strings.Cut(timer, ":")
	switch what {
	case "window":
		m.windowFired(rest)
		return
	case "waiver", "sign":
		return // advance looks at the time
	}
	id, attempt, _ := strings.Cut(rest, ":")
	i, ok := m.index[id]
	if !ok {
		return
	}
	st := &m.Items[i]
	switch {
	case what == "retry" && st.Status == WaitingRetry && attempt == fmt.Sprint(st.Attempt):
		st.Status = Pending
	case what == "sample" && st.Status == Watching && strings.HasPrefix(attempt, fmt.Sprint(st.Attempt)+":"):
		m.sampleDue(i)
	}
}
