package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

const (
	// PayloadType is the media type of in-toto statements in envelopes.
	PayloadType = "application/vnd.in-toto+json"
	// StatementType is in-toto's Statement v1.
	StatementType = "https://in-toto.io/Statement/v1"
	// PredicateType names what the statement says.
	PredicateType = "https://allclear.dev/attestation/deployment-run/v1"
)

type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     predicate `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	Run         string          `json:"run"`
	Project     string          `json:"project"`
	Environment string          `json:"environment"`
	Release     run.Release     `json:"release"`
	Plan        string          `json:"planSha256"`
	Policy      string          `json:"policySha256"`
	Starter     string          `json:"starter"`
	StartedAt   time.Time       `json:"startedAt"`
	EndedAt     time.Time       `json:"endedAt,omitzero"`
	Result      run.RunStatus   `json:"result"`
	Emergency   bool            `json:"emergency"`
	Gates       []gateStatement `json:"gates"`
	Items       []itemStatement `json:"items"`
	Checkpoint  string          `json:"checkpoint"`
}

type gateStatement struct {
	ID       string    `json:"id"`
	Passed   bool      `json:"passed"`
	PassedAt time.Time `json:"passedAt,omitzero"`
}

type itemStatement struct {
	ID       string     `json:"id"`
	Kind     run.Kind   `json:"kind"`
	Class    run.Class  `json:"class"`
	Attempts int        `json:"attempts"`
	Outcome  run.Status `json:"outcome"`
	WaivedBy string     `json:"waivedBy,omitempty"`
	Person   string     `json:"person,omitempty"`
	Evidence []string   `json:"evidenceSha256,omitempty"`
}

// Statement is the in-toto statement about a run: its subjects are the plan, the
// checklist, the revision that was deployed and every artefact, its predicate how
// the run stands. The checkpoint is the log's head behind the run.
func Statement(s *run.State, checkpoint journal.Checkpoint) ([]byte, error) {
	if s == nil || s.Plan == nil {
		return nil, errors.New("the run has not been started")
	}
	st := statement{
		Type: StatementType, PredicateType: PredicateType, Subject: subjects(s),
		Predicate: predicate{
			Run: s.Run, Project: s.Plan.Project, Environment: s.Plan.Environment, Release: s.Plan.Release,
			Plan: s.PlanDigest, Policy: s.Plan.Policy, Starter: s.Starter, StartedAt: s.StartedAt, EndedAt: s.ClosedAt,
			Result: s.Status(), Emergency: s.Emergency, Checkpoint: checkpoint.Text(),
		},
	}
	for k, ph := range s.Plan.Phases {
		st.Predicate.Gates = append(st.Predicate.Gates, gateStatement{ph.ID, s.Passed[k], s.GateAt[k]})
	}
	for i := range s.Plan.Items {
		it, is := &s.Plan.Items[i], s.Items[i]
		item := itemStatement{ID: it.ID, Kind: it.Kind, Class: it.Class, Attempts: is.Attempt, Outcome: is.Status, Person: is.Actor}
		if s.Waived(i) {
			item.WaivedBy = is.Waiver.Person
		}
		for _, a := range is.Artefacts {
			item.Evidence = append(item.Evidence, a.SHA256)
		}
		st.Predicate.Items = append(st.Predicate.Items, item)
	}
	text, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	return text, nil
}

// subjects lists what the statement is about, each with its digest.
func subjects(s *run.State) []subject {
	out := []subject{
		{"plan", map[string]string{"sha256": s.PlanDigest}},
		{"checklist", map[string]string{"sha256": s.Plan.Checklist}},
	}
	if r := s.Plan.Release.Revision; r != "" {
		out = append(out, subject{"release " + s.Plan.Release.Version, map[string]string{"gitCommit": r}})
	}
	var seen []string
	for i := range s.Items {
		for _, a := range s.Items[i].Artefacts {
			if !slices.Contains(seen, a.SHA256) {
				seen = append(seen, a.SHA256)
				out = append(out, subject{a.Name, map[string]string{"sha256": a.SHA256}})
			}
		}
	}
	return out
}

// Signer makes a signature over bytes and names its key.
type Signer interface {
	Sign(message []byte) (signature []byte, keyID string, err error)
}

// envelope is a DSSE envelope.
type envelope struct {
	PayloadType string              `json:"payloadType"`
	Payload     string              `json:"payload"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// Envelope puts a statement into a DSSE envelope, signed by each of the signers.
// Without any the envelope is unsigned and proves nothing.
func Envelope(payload []byte, signers ...Signer) ([]byte, error) {
	e := envelope{PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []envelopeSignature{}}
	for _, signer := range signers {
		sig, id, err := signer.Sign(PAE(PayloadType, payload))
		if err != nil {
			return nil, fmt.Errorf("sign statement: %w", err)
		}
		e.Signatures = append(e.Signatures, envelopeSignature{id, base64.StdEncoding.EncodeToString(sig)})
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	return append(text, '\n'), nil
}

// PAE is what a DSSE signature is made over (DSSE v1.0, pre-authentication
// encoding): "DSSEv1", the length and the text of the type and of the body,
// separated by spaces; lengths are decimal and in bytes.
func PAE(payloadType string, body []byte) []byte {
	head := fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(body))
	return append(head, body...)
}
